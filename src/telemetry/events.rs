//! Events for operators: start-up, reloads, faults. To standard error, never about single requests.

use std::io;

use tracing_subscriber::EnvFilter;

/// Why the filter of events was not taken.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{filter}` is not a filter for events; write a level such as `info`, or `keyward=debug,warn`"
)]
pub struct InvalidFilter {
    filter: String,
    #[source]
    source: tracing_subscriber::filter::ParseError,
}

/// Sends events to standard error, as JSON lines or as text for people.
///
/// `filter` is a level (`info`) or a list of targets with levels (`keyward=debug,warn`). In a process that has
/// a subscriber already (tests), that one stays.
///
/// # Errors
/// When `filter` cannot be read.
pub fn init_tracing(json: bool, filter: &str) -> Result<(), InvalidFilter> {
    let filter = EnvFilter::builder()
        .parse(filter)
        .map_err(|source| InvalidFilter {
            filter: filter.to_owned(),
            source,
        })?;
    let events = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // The only failure is that a subscriber is there already, and then that one is to stay.
    let _ = if json {
        tracing::subscriber::set_global_default(events.json().finish())
    } else {
        tracing::subscriber::set_global_default(events.finish())
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::init_tracing;

    #[test]
    fn a_filter_that_cannot_be_read_is_named() {
        let error = init_tracing(true, "keyward=loud").unwrap_err();
        assert!(error.to_string().contains("`keyward=loud`"));
    }

    #[test]
    fn a_second_call_is_harmless() {
        init_tracing(false, "info").unwrap();
        init_tracing(true, "keyward=debug,warn").unwrap();
    }
}
