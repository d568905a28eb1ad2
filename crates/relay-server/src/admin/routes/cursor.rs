//! Cursors as operators hold them: where a page of a store ended, with what it was a page of and a check sum.
//!
//! A store takes text that it never gave out as no cursor at all and begins anew, which is a list read twice or, in a
//! command, everything replayed. So nothing reaches it that no page here has given out.

use relay_store::seam::{DeliveryFilter, Listing};

use crate::{admin::problem::AdminError, secret};

/// In which order pages follow each other: a place in one is none in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Events, the newest first.
    Events,
    /// Events, the oldest first: replays.
    EventsFromOldest,
    /// Deliveries by when they were made.
    Deliveries,
    /// Deliveries by when they ended.
    Ended,
    /// The audit log.
    AuditLog,
    /// What a look through bodies read.
    Scan,
    /// Events that have a value.
    Marked,
}

impl Order {
    /// Every order.
    const ALL: [Self; 7] =
        [Self::Events, Self::EventsFromOldest, Self::Deliveries, Self::Ended, Self::AuditLog, Self::Scan, Self::Marked];

    /// That of the deliveries which match.
    pub(crate) fn of(filter: &DeliveryFilter) -> Self {
        if filter.comes_by_end() { Self::Ended } else { Self::Deliveries }
    }

    /// What a cursor begins with.
    const fn tag(self) -> &'static str {
        match self {
            Self::Events => "event",
            Self::EventsFromOldest => "replay",
            Self::Deliveries => "delivery",
            Self::Ended => "ended",
            Self::AuditLog => "audit",
            Self::Scan => "scan",
            Self::Marked => "marked",
        }
    }

    const fn in_words(self) -> &'static str {
        match self {
            Self::Events => "events, the newest first",
            Self::EventsFromOldest => "a replay, the oldest events first",
            Self::Deliveries => "deliveries by when they were made",
            Self::Ended => "deliveries by when they ended",
            Self::AuditLog => "the audit log",
            Self::Scan => "a look through bodies",
            Self::Marked => "events that have a value",
        }
    }

    /// The store's cursor in one that was given out.
    ///
    /// # Errors
    /// `Invalid`: no page of this order gave it out.
    pub(crate) fn read(self, given: Option<&str>) -> Result<Option<String>, AdminError> {
        let Some(text) = given else { return Ok(None) };
        let found = Self::ALL.into_iter().find_map(|order| Some((order, order.place(text)?)));
        match found {
            Some((order, place)) if order == self => Ok(Some(place.to_owned())),
            Some((order, _)) => Err(AdminError::Invalid(format!(
                "cursor {text:?} is of {}, and this goes through {}; want the next of a page with the same filters, or \
                 no cursor to begin anew",
                order.in_words(),
                self.in_words(),
            ))),
            None => Err(AdminError::Invalid(format!(
                "cursor {text:?} was not given out here; want the whole next of the page before, or no cursor to begin \
                 anew"
            ))),
        }
    }

    /// A store's cursor as it is given out.
    pub(crate) fn write(self, place: &str) -> String {
        format!("{}.{place}.{}", self.tag(), self.check(place))
    }

    /// A page as it is given out: its items made into what is shown.
    pub(crate) fn page<T, S>(self, listing: &Listing<T>, show: impl FnMut(&T) -> S) -> (Vec<S>, Option<String>) {
        (listing.items.iter().map(show).collect(), listing.next.as_deref().map(|next| self.write(next)))
    }

    fn place(self, text: &str) -> Option<&str> {
        let (place, check) = text.strip_prefix(self.tag())?.strip_prefix('.')?.rsplit_once('.')?;
        (check == self.check(place)).then_some(place)
    }

    fn check(self, place: &str) -> String {
        let [a, b, c, d, ..] = secret::sha256(format!("cursor {} {place}", self.tag()).as_bytes());
        format!("{:08x}", u32::from_be_bytes([a, b, c, d]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_out_is_read_and_nothing_else() {
        for order in Order::ALL {
            for place in ["71", "1700000000000000-5", "evt_0192f3c2", "a.b", ""] {
                let text = order.write(place);
                assert_eq!(order.read(Some(&text)).unwrap().as_deref(), Some(place));
                for other in Order::ALL.into_iter().filter(|other| *other != order) {
                    let error = other.read(Some(&text)).unwrap_err().to_string();
                    assert!(error.contains("is of") && error.contains("want the next"), "{error}");
                }
                for at in 0..text.len() {
                    let mut typo = text.clone().into_bytes();
                    typo[at] = if typo[at] == b'7' { b'8' } else { b'7' };
                    let typo = String::from_utf8(typo).unwrap();
                    assert!(order.read(Some(&typo)).is_err(), "{typo}");
                    assert!(order.read(Some(&text[..at])).is_err(), "{}", &text[..at]);
                }
            }
        }
        assert_eq!(Order::Events.read(None), Ok(None));
        for made_up in ["", "71", "TYPO", "event.71", "event.71.", "event..", "\u{1b}[2J", "event.71.00000000"] {
            let error = Order::Events.read(Some(made_up)).unwrap_err().to_string();
            assert!(error.contains("was not given out here; want") && !error.contains('\u{1b}'), "{error}");
        }
    }
}
