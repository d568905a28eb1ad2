//! Which client of a destination went last, and how: what is asked where nobody serves it.

use std::{collections::BTreeMap, sync::Arc};

use relay_core::{name::Name, time::Wall};

/// Destinations of which that is known; of any more it is not.
const DESTINATIONS_MAX: usize = 1_024;

/// How a client went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Departure {
    /// Its name for people.
    pub(crate) label: String,
    /// When.
    pub(crate) at: Wall,
    /// It said that it goes.
    pub(crate) goodbye: bool,
}

/// Who went last, by destination. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Departures(Arc<BTreeMap<Name, Departure>>);

impl Departures {
    /// Takes note of one.
    pub(crate) fn note(&mut self, destination: &Name, label: &str, goodbye: bool, at: Wall) {
        let departure = Departure { label: label.to_owned(), at, goodbye };
        let known = Arc::make_mut(&mut self.0);
        if known.len() < DESTINATIONS_MAX || known.contains_key(destination) {
            known.insert(destination.clone(), departure);
        }
    }

    /// The last of a destination since this server started.
    pub(crate) fn of(&self, destination: &Name) -> Option<&Departure> {
        self.0.get(destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_of_each_destination_is_known_and_not_of_any_number() {
        let (mut departures, at) = (Departures::default(), Wall::from_micros(1));
        let name = |number: usize| format!("d{number}").parse::<Name>().unwrap();
        for number in 0..2 * DESTINATIONS_MAX {
            departures.note(&name(number), "laptop", true, at);
        }
        departures.note(&name(7), "desk", false, at);
        assert_eq!(departures.0.len(), DESTINATIONS_MAX);
        let last = Departure { label: "desk".into(), at, goodbye: false };
        assert_eq!((departures.of(&name(7)), departures.of(&name(DESTINATIONS_MAX))), (Some(&last), None));
    }
}
