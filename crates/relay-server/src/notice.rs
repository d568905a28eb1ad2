//! What the hub says to people, as log lines with a fixed `event=`.
//!
//! Lines that a million deliveries could cause are limited per kind; how many were left out is said with the next line of
//! that kind.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    hub::Notice,
    id::InstanceId,
    name::Name,
    time::{Mono, Now},
};

/// Lines of one kind in one second.
const LINES_PER_SECOND: u32 = 20;
/// Lines of one kind in one second that one client with a token can cause as it likes.
const LINES_PER_SECOND_OF_CLIENTS: u32 = 4;
/// Lines about clients that come and go in one second: a server that starts meets all of its clients at once.
const LINES_PER_SECOND_OF_JOINS: u32 = 100;

/// Destinations that are down, of which it is known since when.
const DOWN_MAX: usize = 4_096;

/// Writes notices to the log.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    limits: BTreeMap<&'static str, Limit>,
    /// Since when destinations are down through an instance.
    down: BTreeMap<(Name, InstanceId), Mono>,
}

#[derive(Debug, Default)]
struct Limit {
    second: u64,
    lines: u32,
    left_out: u64,
}

impl Notices {
    /// Since when that destination has been down through that instance, now that it is up.
    pub(crate) fn up(&mut self, destination: &Name, instance: InstanceId, now: Mono) -> Duration {
        let since = self.down.remove(&(destination.clone(), instance));
        since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Tells that a destination is up again: after how long, and how much waited for it.
    pub(crate) fn on_up(&mut self, destination: &Name, instance: InstanceId, down: Duration, waiting: u64, now: Mono) {
        if self.allows("destination_up", now) {
            let down_ms = down.as_millis() as u64;
            tracing::info!(event = "destination_up", %destination, %instance, down_ms, waiting);
        }
    }

    /// Writes one notice, unless its kind had its share of this second.
    pub(crate) fn on(&mut self, notice: &Notice, now: Now) {
        match notice {
            Notice::ClientJoined { destination, instance, label, peer, token, clients } => {
                if self.allows_of("client_joined", LINES_PER_SECOND_OF_JOINS, now.mono) {
                    tracing::info!(event = "client_joined", %destination, %instance, label, peer, %token, clients);
                }
            }
            Notice::ClientUnrouted { first, destinations, instance, label, token } => {
                if self.allows_of("client_unrouted", LINES_PER_SECOND_OF_CLIENTS, now.mono) {
                    tracing::info!(
                        event = "client_unrouted", destination = %first, destinations, %instance, label, %token,
                        "no route leads to what this client wants to serve; see: crm-relay route list"
                    );
                }
            }
            Notice::ClientLeft { destination, instance, label, clients, held } => {
                if self.allows_of("client_left", LINES_PER_SECOND_OF_JOINS, now.mono) {
                    tracing::info!(event = "client_left", %destination, %instance, label, clients, held);
                }
            }
            Notice::DestinationDown { destination, instance, error } => {
                self.note_down(destination, *instance, now.mono);
                if self.allows("destination_down", now.mono) {
                    tracing::warn!(event = "destination_down", %destination, %instance, error);
                }
            }
            // Told by `on_up`, once it is known how much waits.
            Notice::DestinationUp { .. } => {}
            Notice::DeliveryDead { delivery, event, destination, reason, error } => {
                if self.allows("delivery_dead", now.mono) {
                    let (reason, error) = (reason.as_str(), error.as_deref());
                    tracing::warn!(event = "delivery_dead", %delivery, event_id = %event, %destination, reason, error);
                }
            }
            Notice::DeliveryExpired { delivery, event, destination } => {
                if self.allows("delivery_expired", now.mono) {
                    tracing::warn!(event = "delivery_expired", %delivery, event_id = %event, %destination);
                }
            }
            Notice::Tried { destination, class, retry } => {
                tracing::trace!(event = "tried", %destination, class = class.as_str(), retry);
            }
            Notice::LeaseLost { delivery, destination, losses } => {
                if self.allows("lease_lost", now.mono) {
                    tracing::warn!(event = "lease_lost", %delivery, %destination, losses);
                }
            }
            Notice::RepeatDiffers { event } => {
                if self.allows("repeat_differs", now.mono) {
                    tracing::warn!(event = "repeat_differs", event_id = %event);
                }
            }
            Notice::Redriven { delivery } => {
                if self.allows("redriven", now.mono) {
                    tracing::info!(event = "redriven", %delivery);
                }
            }
            Notice::Resent { event, destinations } => {
                if self.allows("resent", now.mono) {
                    tracing::info!(event = "resent", event_id = %event, destinations, "sent again by hand");
                }
            }
            Notice::Replaced { event, destinations } => {
                if self.allows("replaced", now.mono) {
                    tracing::info!(event = "replaced", event_id = %event, destinations, "sent again after a purge");
                }
            }
            Notice::ResentTooOften { event } => {
                if self.allows("resent_too_often", now.mono) {
                    tracing::warn!(event = "resent_too_often", event_id = %event, "not delivered again this hour");
                }
            }
            Notice::Damaged { delivery, what } => {
                if self.allows("record_damaged", now.mono) {
                    tracing::error!(event = "record_damaged", %delivery, %what, "left as it is; run: crm-relay store check");
                }
            }
            Notice::Misbehaved { conn, what } => {
                if self.allows_of("client_misbehaved", LINES_PER_SECOND_OF_CLIENTS, now.mono) {
                    tracing::warn!(event = "client_misbehaved", conn = conn.0, what);
                }
            }
        }
    }

    /// Bounded: an instance that went away while it was down is never up again.
    fn note_down(&mut self, destination: &Name, instance: InstanceId, now: Mono) {
        if self.down.len() >= DOWN_MAX {
            let oldest = self.down.iter().min_by_key(|(_, since)| **since).map(|(key, _)| key.clone());
            oldest.map(|key| self.down.remove(&key));
        }
        self.down.entry((destination.clone(), instance)).or_insert(now);
    }

    fn allows(&mut self, kind: &'static str, now: Mono) -> bool {
        self.allows_of(kind, LINES_PER_SECOND, now)
    }

    fn allows_of(&mut self, kind: &'static str, most: u32, now: Mono) -> bool {
        let limit = self.limits.entry(kind).or_default();
        let second = now.as_micros() / 1_000_000;
        if limit.second != second {
            if limit.left_out > 0 {
                tracing::warn!(event = kind, left_out = limit.left_out, "more lines like these were left out");
            }
            *limit = Limit { second, ..Limit::default() };
        }
        limit.lines += 1;
        let allowed = limit.lines <= most;
        limit.left_out += u64::from(!allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_its_share_of_each_second() {
        let mut notices = Notices::default();
        let first = (0..1000).filter(|_| notices.allows("delivery_dead", Mono::from_micros(10))).count();
        assert_eq!(first, LINES_PER_SECOND as usize);
        assert!(notices.allows("delivery_expired", Mono::from_micros(10)));
        let misbehaved = |what: u64| {
            let notice = Notice::Misbehaved { conn: relay_core::hub::ConnId(what), what: "x".into() };
            notices.on(&notice, Now::default());
            notices.limits["client_misbehaved"].left_out
        };
        let left_out = (0..300).map(misbehaved).last();
        assert_eq!(
            left_out,
            Some(300 - u64::from(LINES_PER_SECOND_OF_CLIENTS)),
            "a garbled session is a client's to make"
        );
        assert!(notices.allows("delivery_dead", Mono::from_micros(1_000_010)));
    }
}
