//! The table against what is scraped and against what is documented.

use std::path::Path;
use std::time::Duration;

use super::table::{self, Kind};
use super::{ConnectionEnd, KeyFigures, Metrics, Outcome};
use crate::authz::{Anonymous, Reason, RouteId};

const TOOK: Duration = Duration::from_millis(3);

fn line<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(start))
        .map(str::trim)
}

#[test]
fn everything_in_the_table_is_scraped_and_nothing_else() {
    let metrics = Metrics::new();
    let routes = metrics.routes(["a"]);
    routes.finished(Some(RouteId(0)), Outcome::Allowed(200), TOOK);
    routes.unauthenticated(RouteId(0), Anonymous::Open);
    metrics.upstreams(["u"]).answered(0, TOOK);
    metrics.connection_ended(ConnectionEnd::Flood);
    metrics
        .access_log_left_out()
        .with_label_values(&["r"])
        .inc();
    let text = metrics.render(&KeyFigures::default());

    let mut scraped: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let mut expected: Vec<(&str, &str)> = table::ALL
        .iter()
        .map(|one| (one.name, one.kind.as_str()))
        .collect();
    scraped.sort_unstable();
    expected.sort_unstable();
    assert_eq!(scraped, expected);
}

#[test]
fn bounds_ascend() {
    for one in table::ALL {
        if let Kind::Histogram(bounds) = one.kind {
            assert!(bounds.is_sorted() && !bounds.is_empty(), "{}", one.name);
        }
    }
}

#[test]
fn outcomes_are_told_apart_and_counted_under_their_own_labels() {
    let metrics = Metrics::new();
    let routes = metrics.routes(["a", "b"]);
    for reason in Reason::ALL {
        routes.finished(Some(RouteId(1)), Outcome::Refused(*reason), TOOK);
    }
    for status in [100, 200, 204, 204, 404, 599, 600, 0] {
        routes.finished(Some(RouteId(0)), Outcome::Allowed(status), TOOK);
    }
    routes.finished(Some(RouteId(0)), Outcome::CLIENT_LEFT, TOOK);
    routes.finished(None, Outcome::Refused(Reason::MalformedRequest), TOOK);
    let text = metrics.render(&KeyFigures::default());

    for reason in Reason::ALL {
        let labels = format!(
            "keyward_requests_total{{reason=\"{}\",route=\"b\",status=\"{}\"}}",
            reason.as_str(),
            reason.status()
        );
        assert_eq!(line(&text, &labels), Some("1"), "{labels}");
    }
    for (status, count) in [
        ("100", "1"),
        ("200", "1"),
        ("204", "2"),
        ("404", "1"),
        ("499", "1"),
        ("599", "1"),
        ("other", "2"),
    ] {
        let labels =
            format!("keyward_requests_total{{reason=\"allowed\",route=\"a\",status=\"{status}\"}}");
        assert_eq!(line(&text, &labels), Some(count), "{labels}");
    }
    let unrouted =
        "keyward_requests_total{reason=\"malformed_request\",route=\"-\",status=\"400\"}";
    assert_eq!(line(&text, unrouted), Some("1"));
    assert_eq!(
        line(&text, "keyward_request_duration_seconds_count{route=\"a\"}"),
        Some("9")
    );
}

#[test]
fn kinds_of_unauthenticated_passes_are_told_apart() {
    let metrics = Metrics::new();
    let routes = metrics.routes(["a"]);
    let kinds = [
        Anonymous::Open,
        Anonymous::Optional,
        Anonymous::Shadow,
        Anonymous::UserToken,
        Anonymous::TrustedIdentity,
    ];
    for kind in kinds {
        routes.unauthenticated(RouteId(0), kind);
    }
    let text = metrics.render(&KeyFigures::default());
    for kind in kinds {
        let labels = format!(
            "keyward_unauthenticated_total{{kind=\"{}\",route=\"a\"}}",
            kind.as_str()
        );
        assert_eq!(line(&text, &labels), Some("1"), "{labels}");
    }
}

#[test]
fn counts_survive_a_reload_of_the_routes() {
    let metrics = Metrics::new();
    let before = metrics.routes(["a", "b"]);
    before.finished(Some(RouteId(1)), Outcome::Allowed(200), TOOK);
    let after = metrics.routes(["b"]);
    after.finished(Some(RouteId(0)), Outcome::Allowed(200), TOOK);
    assert_eq!(after.name(Some(RouteId(0))), "b");

    let text = metrics.render(&KeyFigures::default());
    let labels = "keyward_requests_total{reason=\"allowed\",route=\"b\",status=\"200\"}";
    assert_eq!(line(&text, labels), Some("2"));
}

#[test]
fn figures_of_the_keys_are_taken_over_once() {
    let metrics = Metrics::new();
    let figures = KeyFigures {
        keys: 7,
        revision: 9,
        staleness: Duration::from_millis(1500),
        changes: 4,
        cache_hits: 3,
        cache_stale: 1,
        cache_misses: 2,
        cache_unknown: 5,
        usage_dropped: 6,
        sync_streams: 8,
        sync_snapshots: 9,
        sync_refused: 10,
        sync_repeated: 11,
        sync_flaws: 12,
        state_errors: 7,
    };
    metrics.render(&figures);
    let text = metrics.render(&figures);
    for (start, value) in [
        ("keyward_keys ", "7"),
        ("keyward_revision ", "9"),
        ("keyward_staleness_seconds ", "1.5"),
        ("keyward_changes_total ", "4"),
        ("keyward_key_cache_total{result=\"hit\"}", "3"),
        ("keyward_key_cache_total{result=\"stale\"}", "1"),
        ("keyward_key_cache_total{result=\"miss\"}", "2"),
        ("keyward_key_cache_total{result=\"unknown\"}", "5"),
        ("keyward_usage_dropped_total ", "6"),
        ("keyward_sync_total{event=\"stream\"}", "8"),
        ("keyward_sync_total{event=\"snapshot\"}", "9"),
        ("keyward_sync_total{event=\"refused\"}", "10"),
        ("keyward_sync_total{event=\"repeated\"}", "11"),
        ("keyward_sync_total{event=\"flaw\"}", "12"),
        ("keyward_state_errors_total ", "7"),
    ] {
        assert_eq!(line(&text, start), Some(value), "{start}");
    }
}

#[test]
fn the_documented_metrics_are_these() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let document = table::document();
    if std::env::var_os("KEYWARD_BLESS").is_some() {
        std::fs::write(&path, &document).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == document,
        "docs/metrics.md is not what the table says: KEYWARD_BLESS=1 writes it"
    );
}
