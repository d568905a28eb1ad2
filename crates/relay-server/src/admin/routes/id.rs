//! Ids as people write them: whole, by a beginning that only one has, or `last`.
//!
//! An id begins with the millisecond in which it was made, so a beginning names a span of time: what is looked through is
//! that span alone.

use relay_core::{
    delivery::State as DeliveryState,
    id::{DeliveryId, EventId, IdError},
    time::Wall,
};
use relay_store::seam::{DeliveryFilter, EventFilter, Page, Range};

use crate::{admin::problem::AdminError, state::State};

/// Hex digits of an id that are its millisecond.
const TIME_DIGITS: usize = 12;
/// Hex digits of an id.
const DIGITS: usize = 32;
/// Ids looked through for a beginning: more than one millisecond can hold.
const LOOKED_AT_MAX: u32 = 1000;

/// The event of this id; that of a delivery leads to its event.
///
/// # Errors
/// `Invalid` for what is no id or names several, `Unknown`, `Store`.
pub(crate) async fn event(state: &State, text: &str) -> Result<EventId, AdminError> {
    let text = text.trim();
    if text.starts_with(DeliveryId::PREFIX) {
        let id = delivery(state, text).await?;
        let found = state.archive.delivery(id).await?;
        return found.map(|delivery| delivery.event).ok_or_else(|| no("delivery", text));
    }
    let parsed = match text.parse() {
        Ok(id) => return Ok(id),
        Err(error) => error,
    };
    let range = span(text, EventId::PREFIX, parsed)?;
    let filter = EventFilter { range, ..EventFilter::default() };
    let listing = state.archive.browse_events(filter, page(text)).await?;
    one("event", text, listing.items.iter().map(|row| row.event.id))
}

/// The delivery of this id.
///
/// # Errors
/// As [`event`].
pub(crate) async fn delivery(state: &State, text: &str) -> Result<DeliveryId, AdminError> {
    delivery_in(state, text, &[]).await
}

/// The same; `last` is the newest in one of these states.
///
/// # Errors
/// As [`event`].
pub(crate) async fn delivery_in(state: &State, text: &str, states: &[DeliveryState]) -> Result<DeliveryId, AdminError> {
    let text = text.trim();
    let parsed = match text.parse() {
        Ok(id) => return Ok(id),
        Err(error) => error,
    };
    let is_of_event = text.parse::<EventId>().map_or_else(|error| span(text, EventId::PREFIX, error).is_ok(), |_| true);
    if is_of_event && !is_last(text) {
        let text = format!("{text} is an event's id; its deliveries: crm-relay delivery list --event {text}");
        return Err(AdminError::Invalid(text));
    }
    let range = span(text, DeliveryId::PREFIX, parsed)?;
    let wanted = if is_last(text) { states.to_vec() } else { Vec::new() };
    let filter = DeliveryFilter { range, states: wanted, ..DeliveryFilter::default() };
    let listing = state.archive.browse_deliveries(filter, page(text)).await?;
    if is_last(text) && listing.items.is_empty() && !states.is_empty() {
        let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        return Err(AdminError::Unknown(format!("no delivery is {}", states.join(" or "))));
    }
    one("delivery", text, listing.items.iter().map(|delivery| delivery.id))
}

fn is_last(text: &str) -> bool {
    text.eq_ignore_ascii_case("last")
}

fn page(text: &str) -> Page {
    Page { cursor: None, limit: if is_last(text) { 1 } else { LOOKED_AT_MAX } }
}

/// When an id with this beginning was made.
fn span(text: &str, prefix: &'static str, error: IdError) -> Result<Range, AdminError> {
    if is_last(text) {
        return Ok(Range::default());
    }
    let shown: String = text.chars().take(48).collect();
    let wrong = || AdminError::Invalid(format!("{shown:?} is {error}; or the beginning of one, or last"));
    let digits: String = text.strip_prefix(prefix).ok_or_else(wrong)?.chars().filter(|c| *c != '-').collect();
    let is_beginning = (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let head = digits.get(..digits.len().min(TIME_DIGITS)).filter(|_| is_beginning).ok_or_else(wrong)?;
    let bound = |fill: &str| {
        let full = format!("{head}{}", fill.repeat(TIME_DIGITS - head.len()));
        i64::from_str_radix(&full, 16).map(|ms| ms.saturating_mul(1_000)).map_err(|_| wrong())
    };
    let (since, until) = (bound("0")?, bound("f")?.saturating_add(1_000));
    Ok(Range { since: Some(Wall::from_micros(since)), until: Some(Wall::from_micros(until)) })
}

/// The one that is meant.
fn one<T: Copy + std::fmt::Display>(
    kind: &'static str,
    text: &str,
    found: impl Iterator<Item = T>,
) -> Result<T, AdminError> {
    let wanted = text.to_ascii_lowercase();
    let plain = |text: &str| text.chars().filter(|c| *c != '-').collect::<String>();
    let is_meant = |id: &T| is_last(text) || plain(&id.to_string()).starts_with(&plain(&wanted));
    let mut fitting = found.filter(is_meant);
    let none = || if is_last(text) { AdminError::Unknown(format!("there is no {kind} yet")) } else { no(kind, text) };
    let first = fitting.next().ok_or_else(none)?;
    match fitting.next() {
        None => Ok(first),
        Some(other) => Err(AdminError::Invalid(format!(
            "several ids begin with {text}, like {first} and {other}; want more of it"
        ))),
    }
}

fn no(kind: &'static str, text: &str) -> AdminError {
    AdminError::Unknown(format!("no {kind} {text}: it never was, or its retention is over"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, ids: &[u128]) -> Result<u128, String> {
        let ids = ids.iter().map(|bits| EventId::from_u128(*bits));
        one("event", text, ids).map(EventId::as_u128).map_err(|error| error.to_string())
    }

    #[test]
    fn a_beginning_names_the_one_id_that_has_it() {
        let (first, second) = (0x0192_f3c2_7d4e_7001_8f5e_2b1c_9d0e_4f6a, 0x0192_f3c2_7d4e_7002_8f5e_2b1c_9d0e_4f6a);
        assert_eq!(found("evt_0192f3c2-7d4e-7002", &[first, second]), Ok(second));
        assert_eq!(found("evt_0192F3C27d4e7001", &[first, second]), Ok(first));
        assert!(found("evt_0192f3c2-7d4e", &[first, second]).unwrap_err().starts_with("several ids begin with"));
        assert!(found("evt_1", &[first]).unwrap_err().starts_with("no event evt_1"));
        assert_eq!(found("last", &[second]), Ok(second));
        assert_eq!(found("last", &[]).unwrap_err(), "there is no event yet");
    }

    #[test]
    fn a_beginning_is_a_span_of_time() {
        let error = || "x".parse::<EventId>().unwrap_err();
        let id = EventId::from_u128(0x0192_f3c2_7d4e_7001_8f5e_2b1c_9d0e_4f6a);
        for text in ["evt_0192", "evt_0192f3c2-7d4e", "evt_0192f3c2-7d4e-7001-8f"] {
            let range = span(text, "evt_", error()).unwrap();
            assert!(range.since.unwrap() <= id.minted_at() && id.minted_at() < range.until.unwrap(), "{text}");
        }
        let long = format!("evt_{}", "a".repeat(5_000));
        for text in ["evt_", "evt_x", "order 7", "dlv_0192", &long, "evt_0192f3c2-7d4e-7001-8f5e-2b1c9d0e4f6a1"] {
            let refused = span(text, "evt_", error()).unwrap_err().to_string();
            assert!(refused.contains("is not an id") && refused.len() < 250, "{refused}");
        }
    }
}
