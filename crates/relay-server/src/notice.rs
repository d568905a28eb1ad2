//! What the hub says to people, as log lines with a fixed `event=`.
//!
//! Lines that a million deliveries could cause are limited per kind; how many were left out is said with the next line of
//! that kind.

use std::{collections::BTreeMap, time::Duration};

use relay_core::{
    hub::Notice,
    id::{DeliveryId, InstanceId},
    limits,
    lines::{LogLines, Share},
    name::Name,
    time::{Mono, Now},
};

use crate::departures::Departures;

/// Destinations that are down, of which it is known since when.
const DOWN_MAX: usize = 4_096;

/// Writes notices to the log.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    lines: LogLines<&'static str>,
    /// Since when destinations are down through an instance.
    down: BTreeMap<(Name, InstanceId), Mono>,
    departures: Departures,
    /// Where the dashboard is, with a slash at its end, if anybody said so.
    dashboard: Option<String>,
}

impl Notices {
    /// Those whose lines lead to the dashboard at this URL.
    pub(crate) fn linking(dashboard: Option<String>) -> Self {
        Self { dashboard, ..Self::default() }
    }

    /// The page of a delivery.
    fn page(&self, delivery: &DeliveryId) -> Option<String> {
        self.dashboard.as_ref().map(|base| format!("{base}deliveries/{delivery}"))
    }

    /// Who went last of each destination.
    pub(crate) fn departures(&self) -> Departures {
        self.departures.clone()
    }

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
                if self.allows_of("client_joined", limits::LINES_OF_JOINS, now.mono) {
                    tracing::info!(event = "client_joined", %destination, %instance, label, peer, %token, clients);
                }
            }
            Notice::ClientUnrouted { first, destinations, instance, label, token } => {
                if self.allows_of("client_unrouted", limits::LINES_OF_CLIENTS, now.mono) {
                    tracing::info!(
                        event = "client_unrouted", destination = %first, destinations, %instance, label, %token,
                        "no route leads to what this client wants to serve; see: crm-relay route list"
                    );
                }
            }
            Notice::ClientLeft { destination, instance, label, clients, held, goodbye } => {
                self.departures.note(destination, label, *goodbye, now.wall);
                if self.allows_of("client_left", limits::LINES_OF_JOINS, now.mono) {
                    tracing::info!(event = "client_left", %destination, %instance, label, clients, held, goodbye);
                }
            }
            Notice::DestinationDown { destination, instance, error } => {
                self.note_down(destination, *instance, now.mono);
                if self.allows("destination_down", now.mono) {
                    tracing::warn!(event = "destination_down", %destination, %instance, error);
                }
            }
            // Told by `on_up`, once it is known how much waits; and to the collector.
            Notice::DestinationUp { .. } | Notice::Forwarded(_) => {}
            Notice::DeliveryDead { delivery, event, destination, reason, error } => {
                if self.allows("delivery_dead", now.mono) {
                    let (reason, error, url) = (reason.as_str(), error.as_deref(), self.page(delivery));
                    tracing::warn!(event = "delivery_dead", %delivery, event_id = %event, %destination, reason, error, url);
                }
            }
            Notice::DeliveryExpired { delivery, event, destination } => {
                if self.allows("delivery_expired", now.mono) {
                    let url = self.page(delivery);
                    tracing::warn!(event = "delivery_expired", %delivery, event_id = %event, %destination, url);
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
                if self.allows_of("client_misbehaved", limits::LINES_OF_CLIENTS, now.mono) {
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
        self.allows_of(kind, limits::LINES, now)
    }

    fn allows_of(&mut self, kind: &'static str, share: Share, now: Mono) -> bool {
        let left_out = self.lines.may_tell(&kind, share, now);
        if let Some(left_out) = left_out.filter(|left_out| *left_out > 0) {
            tracing::warn!(event = kind, left_out, "more lines like these were left out");
        }
        left_out.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads the line opens what died, if it is known where that is.
    #[test]
    fn a_dead_letter_leads_to_its_page() {
        let id = DeliveryId::from_u128(7);
        let there = Notices::linking(Some("https://ops.example/relay/".into()));
        assert_eq!(there.page(&id), Some(format!("https://ops.example/relay/deliveries/{id}")));
        assert_eq!(Notices::default().page(&id), None);
    }

    #[test]
    fn a_kind_has_its_share_of_each_second() {
        let mut notices = Notices::default();
        let first = (0..1000).filter(|_| notices.allows("delivery_dead", Mono::from_micros(10))).count();
        assert_eq!(first, limits::LINES.most as usize);
        assert!(notices.allows("delivery_expired", Mono::from_micros(10)));
        let misbehaved = |conn: u64| Notice::Misbehaved { conn: relay_core::hub::ConnId(conn), what: "x".into() };
        (0..300).for_each(|conn| notices.on(&misbehaved(conn), Now::default()));
        let left_out: Vec<_> = notices.lines.left_out().filter(|(kind, _)| **kind == "client_misbehaved").collect();
        let most = u64::from(limits::LINES_OF_CLIENTS.most);
        assert_eq!(left_out, [(&"client_misbehaved", 300 - most)], "a garbled session is a client's to make");
        assert!(notices.allows("delivery_dead", Mono::from_micros(1_000_010)));
    }
}
