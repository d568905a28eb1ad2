//! Marks: values in events by which those are found, filled in behind the commit that stored the events.

use super::{EventRow, Page};
use crate::{id::EventId, name::Name, time::Wall};

/// Which mark of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marker {
    /// Where its rows are: from 1 to [`MARKS_MAX`](crate::limits::MARKS_MAX).
    pub slot: u8,
    /// What it is taken from, and how: rows that were made otherwise are none of its own. Never 0.
    pub definition: u64,
}

/// How far a mark goes: of each event of its source that was minted in between, and has a value, there is a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Whose.
    pub source: Name,
    /// Which mark.
    pub marker: Marker,
    /// From then on; [`Wall::MIN`]: of all that is kept.
    pub from: Wall,
    /// Before then.
    pub to: Wall,
}

/// The values of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedEvent {
    /// Which event.
    pub id: EventId,
    /// SHA-256 of each value with its slot.
    pub values: Vec<(u8, [u8; 32])>,
}

/// What was read of events of a source, and how far marks go with it: one commit.
///
/// Of an event that is gone by then, or erased, nothing is written, nor of a slot that another definition has. No end of what a mark covers
/// is moved back, so that a call which is repeated does nothing twice. One without anything writes nothing, and is answered once what
/// was being committed when it came is through. What still waits may be stored behind it, unless its deadline is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marking {
    /// Of this source.
    pub source: Name,
    /// Its events, in the order of their ids.
    pub events: Vec<MarkedEvent>,
    /// How far the marks go then; all of the source.
    pub reach: Vec<Indexed>,
}

impl Marking {
    /// Nothing.
    pub const fn nothing(source: Name) -> Self {
        Self { source, events: Vec::new(), reach: Vec::new() }
    }

    /// Whether there is nothing to write.
    pub fn is_nothing(&self) -> bool {
        self.events.is_empty() && self.reach.is_empty()
    }
}

/// Which events have a value, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedAsk {
    /// Of this source.
    pub source: Name,
    /// At this mark.
    pub marker: Marker,
    /// SHA-256 of the value with its slot.
    pub value: [u8; 32],
    /// Where the page starts and how long it is.
    pub page: Page,
}

/// A page of those that may have it: whoever follows one reads the event, and compares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkedPage {
    /// How far the mark goes; `None`: nowhere yet.
    pub indexed: Option<Indexed>,
    /// The events, without their bodies.
    pub items: Vec<EventRow>,
    /// Cursor of the next page; `None` on the last. A page may be short, and have one.
    pub next: Option<String>,
}
