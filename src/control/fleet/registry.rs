//! Which gateways there are, what each has applied, and until when each may act on what it has: all of it told as
//! events with the moment at which they happen.
//!
//! It knows no store, no connection and no clock. A lease ends when a gateway that was heard no more is stale by its
//! own reckoning, which is never later.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::authz::{Revision, Timestamp};
use crate::wire::Epoch;
use crate::wire::sync::{GatewayId, GatewayInfo, OnStale, Position};

/// How much later than the lease the bound is that is written down, so that not every acknowledgement is a write.
const BOUND_AHEAD: Duration = Duration::from_secs(10);
/// The bound is written anew when the lease comes so near to it.
const BOUND_MARGIN: Duration = Duration::from_secs(5);
/// A gateway that was silent for so long after its lease is forgotten.
const SILENCE_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How far apart two tags of one process are at most, whatever was lost or late between them. Each process begins at
/// its own moment, in microseconds.
const TAGS_APART_MAX: u64 = 10_000;

/// A gateway as it is written down, for other control planes and later lives of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) struct GatewayRow {
    /// Who.
    pub(in crate::control) info: GatewayInfo,
    /// The name of the token that it shows.
    pub(in crate::control) token: String,
    /// The life of the control plane that it follows.
    pub(in crate::control) plane: String,
    /// Counts its arrivals, at any control plane: the last one speaks for it.
    pub(in crate::control) session: i64,
    /// What it has applied.
    pub(in crate::control) acked: Option<Position>,
    /// When it was heard last.
    pub(in crate::control) contact: Timestamp,
    /// Its lease ends no later.
    pub(in crate::control) lease_until: Timestamp,
}

/// A gateway that has arrived at this control plane.
#[derive(Debug)]
struct Here {
    /// What is written down as the end of its lease, at the latest.
    bound: Timestamp,
    /// The tag that came last.
    tag: Option<u64>,
    /// The tag that heartbeats may echo.
    echo: u64,
    /// A newer one, and the end of the lease that it stands for: beyond the bound.
    unbounded: Option<(u64, Timestamp)>,
    /// Whether others have not read yet what it has applied.
    is_news: bool,
}

#[derive(Debug)]
struct Known {
    info: GatewayInfo,
    token: String,
    plane: String,
    session: i64,
    acked: Option<Position>,
    contact: Timestamp,
    lease_ends: Timestamp,
    /// Until then it has to be reckoned with that two processes call themselves so.
    twice_until: Option<Timestamp>,
    here: Option<Here>,
}

/// How far a change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::control) struct Count {
    /// Gateways that have applied it and whose lease runs.
    pub(in crate::control) acked: u32,
    /// Gateways whose lease runs.
    pub(in crate::control) leased: u32,
    /// Gateways without a lease that refuse everything by now.
    pub(in crate::control) silent_deny: u32,
    /// Gateways without a lease that may go on by what they have.
    pub(in crate::control) silent_serve: u32,
}

/// What is shown of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) struct Seen {
    /// Who, and what is known of it.
    pub(in crate::control) row: GatewayRow,
    /// Whether its lease runs.
    pub(in crate::control) is_leased: bool,
    /// Whether two processes call themselves so.
    pub(in crate::control) is_twice: bool,
}

/// What a heartbeat needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::control) struct Pulse {
    /// The tag to echo; 0: none.
    pub(in crate::control) echo: u64,
    /// When the gateway was heard last.
    pub(in crate::control) contact: Timestamp,
}

/// The moment so much later.
pub(in crate::control) fn later(moment: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_millis(moment.as_millis().saturating_add(millis(by)))
}

/// The moment so much earlier.
pub(in crate::control) fn earlier(moment: Timestamp, by: Duration) -> Timestamp {
    Timestamp::from_millis(moment.as_millis().saturating_sub(millis(by)))
}

/// How long it is from one moment until another; nothing where that is over.
pub(in crate::control) fn between(from: Timestamp, until: Timestamp) -> Duration {
    let millis = until.as_millis().saturating_sub(from.as_millis());
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// All gateways that are known.
#[derive(Debug, Default)]
pub(in crate::control) struct Registry {
    gateways: BTreeMap<GatewayId, Known>,
}

impl Registry {
    /// What was written down before this life of the control plane began.
    pub(in crate::control) fn restored(rows: Vec<GatewayRow>) -> Self {
        let mut registry = Self::default();
        registry.read(rows, &BTreeMap::new());
        registry
    }

    /// How many are known.
    pub(in crate::control) fn len(&self) -> usize {
        self.gateways.len()
    }

    /// Whether this one is.
    pub(in crate::control) fn knows(&self, id: GatewayId) -> bool {
        self.gateways.contains_key(&id)
    }

    /// A gateway has arrived here, which was written down as `row`; before, its lease was bounded by `before`. It stands
    /// where the row says, and was echoed nothing yet.
    pub(in crate::control) fn arrived(
        &mut self,
        row: GatewayRow,
        before: Option<Timestamp>,
        now: Timestamp,
    ) {
        let former = match self.gateways.get(&row.info.id) {
            // It has arrived once more since this was written down.
            Some(known) if known.session > row.session => return,
            Some(known) if known.here.is_some() && known.session == row.session - 1 => {
                Some(known.lease_ends)
            }
            Some(_) | None => before,
        };
        let own = later(now, row.info.max_staleness);
        let same = self.gateways.get(&row.info.id);
        let known = Known {
            twice_until: same.and_then(|known| known.twice_until),
            lease_ends: former.map_or(own, |former| own.max(former)),
            here: Some(Here {
                bound: row.lease_until,
                tag: None,
                echo: 0,
                unbounded: None,
                is_news: false,
            }),
            info: row.info,
            token: row.token,
            plane: row.plane,
            session: row.session,
            acked: row.acked,
            contact: now,
        };
        self.gateways.insert(known.info.id, known);
    }

    /// The bound to write down for a gateway that arrives.
    pub(in crate::control) fn bound_of_arrival(info: &GatewayInfo, now: Timestamp) -> Timestamp {
        later(later(now, info.max_staleness), BOUND_AHEAD)
    }

    /// A gateway says what it has applied. `false`: it has not arrived here.
    pub(in crate::control) fn acked(
        &mut self,
        info: &GatewayInfo,
        position: Position,
        tag: u64,
        now: Timestamp,
    ) -> bool {
        let Some(known) = self.gateways.get_mut(&info.id) else {
            return false;
        };
        let Some(here) = &mut known.here else {
            return false;
        };
        known.info.clone_from(info);
        known.contact = known.contact.max(now);
        known.lease_ends = known.lease_ends.max(later(now, info.max_staleness));
        let former = here.tag.replace(tag);
        if former.is_some_and(|former| former.abs_diff(tag) > TAGS_APART_MAX) {
            known.twice_until = Some(later(now, info.max_staleness));
        }
        // What one of two has applied says nothing of the other.
        let is_twice = known.twice_until.is_some_and(|until| now < until);
        let is_further = known.acked.is_none_or(|acked| {
            acked.epoch != position.epoch || acked.revision < position.revision
        });
        if is_twice && known.acked.is_some() || !is_twice && is_further {
            known.acked = (!is_twice).then_some(position);
            here.is_news = true;
        }
        if known.lease_ends <= here.bound {
            here.echo = here.echo.max(tag);
            here.unbounded = None;
        } else {
            here.unbounded = Some((tag, known.lease_ends));
        }
        true
    }

    /// Whether somebody waits for something to be written down: an echo for its bound, or other control planes for what
    /// was applied.
    pub(in crate::control) fn is_urgent(&self, others_read: bool) -> bool {
        let gateways = self.gateways.values();
        let mut here = gateways.filter_map(|known| known.here.as_ref());
        here.any(|here| here.unbounded.is_some() || others_read && here.is_news)
    }

    /// What is to be written down: leases that come near to their bounds and, where others read along, what was applied.
    pub(in crate::control) fn take_unwritten(&mut self, others_read: bool) -> Vec<GatewayRow> {
        let mut rows = Vec::new();
        for known in self.gateways.values_mut() {
            let Some(here) = &mut known.here else {
                continue;
            };
            let is_near = later(known.lease_ends, BOUND_MARGIN) > here.bound;
            if is_near || others_read && here.is_news {
                here.is_news = false;
                let lease_until = here.bound.max(later(known.lease_ends, BOUND_AHEAD));
                rows.push(known.row(lease_until));
            }
        }
        rows
    }

    /// A row is written down; or the gateway has gone on to another control plane, which speaks for it now.
    pub(in crate::control) fn written(&mut self, row: &GatewayRow, is_ours: bool) {
        let Some(known) = self.gateways.get_mut(&row.info.id) else {
            return;
        };
        let Some(here) = &mut known.here else {
            return;
        };
        if known.session != row.session {
            return;
        }
        if !is_ours {
            known.here = None;
            known.lease_ends = known.lease_ends.max(row.lease_until);
            return;
        }
        here.bound = here.bound.max(row.lease_until);
        if let Some((tag, lease_ends)) = here.unbounded
            && lease_ends <= here.bound
        {
            here.echo = here.echo.max(tag);
            here.unbounded = None;
        }
    }

    /// Nothing could be written: what was news is news again.
    pub(in crate::control) fn not_written(&mut self, rows: &[GatewayRow]) {
        for row in rows {
            let known = self.gateways.get_mut(&row.info.id);
            if let Some(here) = known.and_then(|known| known.here.as_mut()) {
                here.is_news = true;
            }
        }
    }

    /// The gateways that have arrived here, each with its session: what is read from now on has them, or they were
    /// forgotten elsewhere.
    pub(in crate::control) fn here(&self) -> BTreeMap<GatewayId, i64> {
        let here = self.gateways.iter();
        let here = here.filter(|(_, known)| known.here.is_some());
        here.map(|(id, known)| (*id, known.session)).collect()
    }

    /// What is written down of all gateways, by whatever control plane; before that was asked for, those of `here` had
    /// arrived.
    pub(in crate::control) fn read(
        &mut self,
        rows: Vec<GatewayRow>,
        here: &BTreeMap<GatewayId, i64>,
    ) {
        let mut before = std::mem::take(&mut self.gateways);
        for row in rows {
            let own = before.remove(&row.info.id);
            let known = match own {
                Some(own) if own.here.is_some() && own.session >= row.session => own,
                Some(_) | None => Known::elsewhere(row),
            };
            self.gateways.insert(known.info.id, known);
        }
        // Those that arrived while the rows were being read.
        before.retain(|id, known| known.here.is_some() && here.get(id) != Some(&known.session));
        self.gateways.extend(before);
    }

    /// How far a change has come, as far as all but `own` are concerned.
    pub(in crate::control) fn count(
        &self,
        Position { epoch, revision }: Position,
        own: Option<GatewayId>,
        now: Timestamp,
    ) -> Count {
        let mut count = Count::default();
        let others = self.gateways.values();
        for known in others.filter(|known| Some(known.info.id) != own) {
            let has_it = known.has(epoch, revision);
            if now < known.lease_ends {
                count.leased += 1;
                count.acked += u32::from(has_it);
            } else if !has_it {
                match known.info.on_stale {
                    OnStale::Deny => count.silent_deny += 1,
                    OnStale::Serve => count.silent_serve += 1,
                }
            }
        }
        count
    }

    /// Whether two processes call themselves so.
    pub(in crate::control) fn is_twice(&self, id: GatewayId, now: Timestamp) -> bool {
        let known = self.gateways.get(&id);
        known.is_some_and(|known| known.is_twice(now))
    }

    /// A gateway runs no more: nobody waits for it.
    pub(in crate::control) fn left(&mut self, id: GatewayId) {
        self.gateways.remove(&id);
    }

    /// The gateway whose lease is over for the longest time.
    pub(in crate::control) fn longest_silent(&self, now: Timestamp) -> Option<GatewayId> {
        let silent = self.gateways.values();
        let silent = silent.filter(|known| known.lease_ends <= now);
        let longest = silent.min_by_key(|known| known.lease_ends);
        longest.map(|known| known.info.id)
    }

    /// When the next lease ends.
    pub(in crate::control) fn next_lease_end(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.gateways.values().map(|known| known.lease_ends);
        ends.filter(|ends| now < *ends).min()
    }

    /// What a heartbeat needs to know; `None`: the gateway has gone on to another control plane.
    pub(in crate::control) fn pulse(&self, id: GatewayId) -> Option<Pulse> {
        let known = self.gateways.get(&id)?;
        let here = known.here.as_ref()?;
        Some(Pulse {
            echo: here.echo,
            contact: known.contact,
        })
    }

    /// All gateways, in the order of their names.
    pub(in crate::control) fn list(&self, now: Timestamp) -> Vec<Seen> {
        let gateways = self.gateways.values();
        let mut list: Vec<Seen> = gateways
            .map(|known| Seen {
                row: known.row(known.lease_ends),
                is_leased: now < known.lease_ends,
                is_twice: known.is_twice(now),
            })
            .collect();
        list.sort_by(|one, other| one.row.info.name.cmp(&other.row.info.name));
        list
    }

    /// Forgets who has been silent for a long time, and says from when on silence was too long.
    pub(in crate::control) fn forget_silent(&mut self, now: Timestamp) -> Timestamp {
        let long_ago = earlier(now, SILENCE_KEPT);
        self.gateways.retain(|_, known| long_ago < known.lease_ends);
        long_ago
    }
}

impl Known {
    fn elsewhere(row: GatewayRow) -> Self {
        Self {
            info: row.info,
            token: row.token,
            plane: row.plane,
            session: row.session,
            acked: row.acked,
            contact: row.contact,
            lease_ends: row.lease_until,
            twice_until: None,
            here: None,
        }
    }

    fn row(&self, lease_until: Timestamp) -> GatewayRow {
        GatewayRow {
            info: self.info.clone(),
            token: self.token.clone(),
            plane: self.plane.clone(),
            session: self.session,
            acked: self.acked,
            contact: self.contact,
            lease_until,
        }
    }

    fn is_twice(&self, now: Timestamp) -> bool {
        self.twice_until.is_some_and(|until| now < until)
    }

    fn has(&self, epoch: Epoch, revision: Revision) -> bool {
        self.acked
            .is_some_and(|acked| acked.epoch == epoch && revision <= acked.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn second(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn at(revision: u64) -> Position {
        Position {
            epoch: EPOCH,
            revision: Revision(revision),
        }
    }

    fn info(id: u128, on_stale: OnStale) -> GatewayInfo {
        GatewayInfo {
            id: GatewayId(id),
            name: format!("g{id}"),
            on_stale,
            max_staleness: Duration::from_secs(60),
        }
    }

    fn row(id: u128, on_stale: OnStale, session: i64, now: Timestamp) -> GatewayRow {
        let info = info(id, on_stale);
        GatewayRow {
            lease_until: Registry::bound_of_arrival(&info, now),
            info,
            token: "eu".to_owned(),
            plane: "here".to_owned(),
            session,
            acked: None,
            contact: now,
        }
    }

    /// One gateway that arrived at second 0.
    fn one(on_stale: OnStale) -> Registry {
        let mut registry = Registry::default();
        registry.arrived(row(1, on_stale, 1, second(0)), None, second(0));
        registry
    }

    fn ack(registry: &mut Registry, id: u128, revision: u64, tag: u64, now: i64) -> bool {
        registry.acked(&info(id, OnStale::Deny), at(revision), tag, second(now))
    }

    fn count(registry: &Registry, revision: u64, now: i64) -> (u32, u32, u32, u32) {
        let count = registry.count(at(revision), None, second(now));
        (
            count.acked,
            count.leased,
            count.silent_deny,
            count.silent_serve,
        )
    }

    /// Writes down what there is to write down.
    fn write(registry: &mut Registry, others_read: bool) -> Vec<GatewayRow> {
        let rows = registry.take_unwritten(others_read);
        for row in &rows {
            registry.written(row, true);
        }
        rows
    }

    fn echo(registry: &Registry) -> u64 {
        registry.pulse(GatewayId(1)).unwrap().echo
    }

    #[test]
    fn who_has_a_lease_is_waited_for_until_it_has_the_change() {
        let mut registry = one(OnStale::Deny);
        assert_eq!(count(&registry, 5, 0), (0, 1, 0, 0));
        assert!(ack(&mut registry, 1, 4, 1, 1));
        assert_eq!(count(&registry, 5, 1), (0, 1, 0, 0));
        assert!(ack(&mut registry, 1, 5, 2, 2));
        assert_eq!(count(&registry, 5, 2), (1, 1, 0, 0));
        let elsewhere = Position {
            epoch: Epoch(8),
            ..at(5)
        };
        let elsewhere = registry.count(elsewhere, None, second(2));
        assert_eq!((elsewhere.acked, elsewhere.leased), (0, 1));
        let others = registry.count(at(5), Some(GatewayId(1)), second(2));
        assert_eq!(others, Count::default());
        assert!(!ack(&mut registry, 2, 5, 1, 2));
    }

    #[test]
    fn who_is_not_heard_is_counted_apart_once_its_lease_has_run_out() {
        for (on_stale, silent) in [
            (OnStale::Deny, (0, 0, 1, 0)),
            (OnStale::Serve, (0, 0, 0, 1)),
        ] {
            let mut registry = Registry::default();
            registry.arrived(row(1, on_stale, 1, second(0)), None, second(0));
            registry.acked(&info(1, on_stale), at(4), 1, second(5));
            let ends = registry.next_lease_end(second(5));
            assert_eq!(ends, Some(second(65)));
            assert_eq!(count(&registry, 5, 64), (0, 1, 0, 0));
            assert_eq!(count(&registry, 5, 65), silent);
            assert_eq!(count(&registry, 4, 65), (0, 0, 0, 0));
            assert_eq!(registry.next_lease_end(second(65)), None);
        }
    }

    #[test]
    fn no_tag_is_echoed_whose_lease_is_not_written_down() {
        let mut registry = one(OnStale::Deny);
        assert_eq!(echo(&registry), 0);
        assert!(ack(&mut registry, 1, 1, 1, 9));
        assert_eq!(echo(&registry), 1);
        assert!(ack(&mut registry, 1, 1, 2, 11));
        assert_eq!(echo(&registry), 1);
        assert!(registry.is_urgent(false));
        let rows = registry.take_unwritten(false);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].lease_until >= second(71));
        registry.not_written(&rows);
        assert_eq!(echo(&registry), 1);
        assert_eq!(write(&mut registry, false).len(), 1);
        assert_eq!(echo(&registry), 2);
        assert!(!registry.is_urgent(false));
    }

    #[test]
    fn not_every_acknowledgement_is_a_write() {
        let mut registry = one(OnStale::Deny);
        write(&mut registry, false);
        let mut writes = 0;
        for now in 1..=60 {
            ack(&mut registry, 1, now, now, i64::try_from(now).unwrap());
            writes += write(&mut registry, false).len();
            assert_eq!(echo(&registry), now);
        }
        assert!((4..=15).contains(&writes), "{writes}");
        ack(&mut registry, 1, 61, 61, 60);
        assert!(registry.is_urgent(true) && !registry.is_urgent(false));
        assert_eq!(write(&mut registry, true).len(), 1);
        ack(&mut registry, 1, 61, 62, 60);
        assert_eq!(write(&mut registry, true).len(), 0);
    }

    #[test]
    fn what_was_written_down_is_waited_for_after_a_restart() {
        let mut registry = one(OnStale::Serve);
        ack(&mut registry, 1, 3, 1, 12);
        let rows = write(&mut registry, false);
        let echoed = echo(&registry);
        assert_eq!(echoed, 1);
        let restarted = Registry::restored(rows);
        assert_eq!(count(&restarted, 4, 71).1, 1);
        assert_eq!(count(&restarted, 3, 20), (1, 1, 0, 0));
        assert_eq!(restarted.pulse(GatewayId(1)), None);
    }

    #[test]
    fn where_a_gateway_arrived_last_speaks_for_it() {
        let mut registry = one(OnStale::Deny);
        ack(&mut registry, 1, 9, 1, 1);
        let elsewhere = GatewayRow {
            acked: Some(at(4)),
            plane: "there".to_owned(),
            ..row(1, OnStale::Deny, 2, second(2))
        };
        registry.read(vec![elsewhere], &BTreeMap::new());
        assert_eq!(count(&registry, 9, 3), (0, 1, 0, 0));
        assert!(!ack(&mut registry, 1, 9, 2, 3));
        assert_eq!(registry.pulse(GatewayId(1)), None);

        let mut behind = one(OnStale::Deny);
        ack(&mut behind, 1, 9, 1, 1);
        behind.read(vec![row(1, OnStale::Deny, 1, second(0))], &BTreeMap::new());
        assert_eq!(count(&behind, 9, 3), (1, 1, 0, 0));
        let rows = behind.take_unwritten(true);
        behind.written(&rows[0], false);
        assert!(!ack(&mut behind, 1, 10, 2, 3));
    }

    #[test]
    fn who_arrives_while_the_rows_are_read_stays_and_who_is_gone_goes() {
        let mut registry = Registry::restored(vec![row(2, OnStale::Serve, 1, second(0))]);
        registry.arrived(row(1, OnStale::Serve, 1, second(0)), None, second(0));
        registry.read(Vec::new(), &BTreeMap::new());
        assert!(registry.knows(GatewayId(1)) && !registry.knows(GatewayId(2)));
    }

    #[test]
    fn what_one_of_two_says_that_call_themselves_the_same_is_not_believed_of_both() {
        let mut registry = one(OnStale::Serve);
        let (one, other) = (1_795_132_800_000_000, 1_795_132_900_000_000);
        for beat in 0..3 {
            ack(&mut registry, 1, 5, one + beat, 1);
        }
        assert_eq!(count(&registry, 5, 1), (1, 1, 0, 0));
        registry.arrived(row(1, OnStale::Serve, 2, second(2)), None, second(2));
        ack(&mut registry, 1, 5, other, 2);
        assert_eq!(
            count(&registry, 5, 2),
            (1, 1, 0, 0),
            "it may have begun again"
        );
        ack(&mut registry, 1, 5, one + 3, 3);
        assert_eq!(count(&registry, 5, 3), (0, 1, 0, 0));
        assert!(registry.list(second(3))[0].is_twice);
        registry.arrived(row(1, OnStale::Serve, 3, second(4)), None, second(4));
        assert!(registry.is_twice(GatewayId(1), second(62)));
        ack(&mut registry, 1, 5, other + 1, 63);
        assert_eq!(count(&registry, 5, 63), (1, 1, 0, 0));
    }

    #[test]
    fn who_was_forgotten_elsewhere_is_gone_unless_it_has_arrived_again() {
        let mut registry = one(OnStale::Serve);
        let here = registry.here();
        registry.arrived(row(1, OnStale::Serve, 2, second(1)), None, second(1));
        registry.read(Vec::new(), &here);
        assert!(registry.knows(GatewayId(1)));
        let here = registry.here();
        registry.read(Vec::new(), &here);
        assert!(!registry.knows(GatewayId(1)));
    }

    #[test]
    fn who_is_silent_longest_makes_room_and_nobody_whose_lease_runs() {
        let mut registry = one(OnStale::Serve);
        registry.arrived(row(2, OnStale::Deny, 1, second(5)), None, second(5));
        assert_eq!(registry.longest_silent(second(59)), None);
        assert_eq!(registry.longest_silent(second(99)), Some(GatewayId(1)));
    }

    #[test]
    fn who_comes_back_keeps_its_longer_lease_and_is_echoed_nothing_of_before() {
        let mut registry = one(OnStale::Deny);
        ack(&mut registry, 1, 5, 40, 8);
        assert_eq!(echo(&registry), 40);
        let mut again = row(1, OnStale::Deny, 2, second(9));
        again.info.max_staleness = Duration::from_secs(1);
        again.acked = Some(at(3));
        registry.arrived(again, Some(second(70)), second(9));
        assert_eq!(echo(&registry), 0);
        assert_eq!(count(&registry, 5, 67), (0, 1, 0, 0));
        assert_eq!(count(&registry, 3, 67), (1, 1, 0, 0));
    }

    #[test]
    fn of_two_arrivals_the_one_that_was_written_down_last_holds_whichever_is_told_last() {
        let mut registry = one(OnStale::Deny);
        registry.arrived(row(1, OnStale::Deny, 3, second(2)), None, second(2));
        registry.arrived(row(1, OnStale::Deny, 2, second(1)), None, second(3));
        assert_eq!(registry.list(second(3))[0].row.session, 3);
    }

    #[test]
    fn who_comes_from_elsewhere_keeps_what_it_was_promised_there() {
        let mut registry = Registry::default();
        let mut row = row(1, OnStale::Deny, 5, second(9));
        row.info.max_staleness = Duration::from_secs(1);
        registry.arrived(row, Some(second(50)), second(9));
        assert_eq!(registry.next_lease_end(second(9)), Some(second(50)));
    }

    #[test]
    fn who_is_silent_for_long_is_forgotten() {
        let mut registry = one(OnStale::Serve);
        let week = 7 * 24 * 60 * 60;
        registry.forget_silent(second(week));
        assert_eq!(registry.len(), 1);
        assert_eq!(registry.forget_silent(second(week + 60)), second(60));
        assert_eq!(registry.len(), 0);
    }

    #[test]
    fn who_leaves_in_good_order_is_waited_for_no_more() {
        let mut registry = one(OnStale::Serve);
        registry.left(GatewayId(1));
        assert_eq!(count(&registry, 5, 1), (0, 0, 0, 0));
    }
}
