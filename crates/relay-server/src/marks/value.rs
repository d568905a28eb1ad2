//! The values of an event: the same for rows, for a comparison and for whoever asks.

use std::borrow::Cow;

use relay_core::{event::Event, limits, name::Name};
use relay_store::seam::{MarkedEvent, Marker};

use crate::{
    document::MarkDefinition,
    mark_path::{MarkPath, MarkPlace},
    scan::needle::{body_of, json_of},
    secret,
};

/// How values are read. Whoever reads them otherwise has another number here: then all is filled anew.
const VERSION: u8 = 1;

/// A mark that is to be filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) marker: Marker,
    place: MarkPlace,
}

impl Wanted {
    /// `None`: its path does not read. Rows under another key are another's.
    pub(super) fn of(definition: &MarkDefinition, sealed_with: Option<u32>) -> Option<Self> {
        let place = definition.path.parse::<MarkPath>().ok()?.place()?;
        let of = [&[VERSION][..], &sealed_with.unwrap_or(0).to_be_bytes(), definition.path.as_bytes()].concat();
        let number = u64::from_be_bytes(*secret::sha256(&of).first_chunk()?);
        Some(Self { marker: Marker { slot: definition.slot, definition: number.max(1) }, place })
    }

    /// Its values of an event; `json`: the body, where that is known to read.
    fn values(&self, event: &Event, json: Option<&[u8]>) -> Vec<String> {
        match &self.place {
            MarkPlace::Header(name) => headers(event, name),
            MarkPlace::Json(place) => json
                .and_then(|json| place.values(json, limits::MARK_VALUES_MAX, limits::MARK_VALUE_BYTES_MAX).ok())
                .unwrap_or_default(),
        }
    }

    const fn is_in_body(&self) -> bool {
        matches!(self.place, MarkPlace::Json(_))
    }

    /// Whether an event has that value.
    pub(super) fn is_in(&self, event: &Event, value: &str) -> bool {
        let body = body(event, std::slice::from_ref(self));
        self.values(event, body.as_deref().map(json_of)).iter().any(|found| found == value)
    }
}

/// The body, where any of these looks into it and it can be.
fn body<'a>(event: &'a Event, wanted: &[Wanted]) -> Option<Cow<'a, [u8]>> {
    let is_wanted = wanted.iter().any(Wanted::is_in_body);
    if is_wanted { body_of(event, limits::MARK_BODY_BYTES_MAX) } else { None }
}

/// The values of a header, each once.
fn headers(event: &Event, name: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let of_name = event.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
    for value in of_name.filter_map(|(_, value)| str::from_utf8(value.trim_ascii()).ok()) {
        let fits = (1..=limits::MARK_VALUE_BYTES_MAX).contains(&value.len()) && found.len() < limits::MARK_VALUES_MAX;
        if fits && found.iter().all(|known| known != value) {
            found.push(value.to_owned());
        }
    }
    found
}

/// What stands for a value at a mark of a source.
pub(super) fn digest(source: &Name, slot: u8, value: &str) -> [u8; 32] {
    secret::sha256(&[source.as_str().as_bytes(), &[0, slot], value.as_bytes()].concat())
}

/// What stands for the values of an event at these marks, and how many bytes were parsed for them.
pub(super) fn marked(event: &Event, wanted: &[Wanted]) -> (MarkedEvent, usize) {
    if event.is_erased() {
        return (MarkedEvent { id: event.id, values: Vec::new() }, 0);
    }
    let body = body(event, wanted);
    let json = body.as_deref().map(json_of);
    let of_mark = |wanted: &Wanted| {
        let slot = wanted.marker.slot;
        let values = wanted.values(event, json).into_iter();
        values.map(|value| (slot, digest(&event.source, slot, &value))).collect::<Vec<_>>()
    };
    let parsed = wanted.iter().filter(|wanted| wanted.is_in_body()).count() * json.map_or(0, <[u8]>::len);
    let values = wanted.iter().flat_map(of_mark).collect();
    (MarkedEvent { id: event.id, values }, parsed)
}

#[cfg(test)]
mod tests {
    use relay_core::{id::IdMint, time::Wall};

    use super::*;

    fn made(body: &str, headers: &[(&'static str, &'static str)]) -> Event {
        let at = Wall::from_micros(1_700_000_000_000_000);
        Event {
            id: IdMint::new(0, 7).event(at),
            source: "shop".parse().unwrap(),
            method: "POST".into(),
            path: "/webhook/shop".into(),
            query: None,
            headers: headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body: body.to_owned().into(),
            body_sha256: [0; 32],
            received_at: at,
            name: None,
            key: None,
        }
    }

    fn mark(slot: u8, path: &str) -> Wanted {
        let definition = MarkDefinition { name: "customer".parse().unwrap(), slot, path: path.to_owned() };
        Wanted::of(&definition, None).unwrap()
    }

    #[test]
    fn an_event_has_the_values_at_its_marks_and_no_others() {
        let (customer, items) = (mark(1, "$.customer"), mark(2, "$.items.id"));
        let event = made(r#"{"customer":"cus_1","items":[{"id":1},{"id":2}]}"#, &[]);
        let slots: Vec<u8> =
            marked(&event, &[customer.clone(), items.clone()]).0.values.iter().map(|(slot, _)| *slot).collect();
        assert_eq!(slots, [1, 2, 2]);
        assert!(customer.is_in(&event, "cus_1") && items.is_in(&event, "2"));
        assert!(!customer.is_in(&event, "cus_2") && !customer.is_in(&event, "") && !items.is_in(&event, "cus_1"));
        assert_ne!(digest(&event.source, 1, "1"), digest(&event.source, 2, "1"));
        for none in [
            made("customer=cus_1", &[]),
            made(r#"{"customer":"cus_1","rest":"#, &[]),
            made(r#"{"customer":"cus_1"}"#, &[("content-encoding", "br")]),
            made(&format!(r#"{{"customer":"cus_1","rest":"{}"}}"#, "x".repeat(4 << 20)), &[]),
            event.erased(10, |_| [0; 32]),
        ] {
            assert!(marked(&none, std::slice::from_ref(&customer)).0.values.is_empty());
        }
    }

    /// What a platform calls its webhook stands in a header at most of them.
    #[test]
    fn a_header_is_a_place_too() {
        let delivery = mark(1, "header:X-GitHub-Delivery");
        let event = made(
            "no JSON",
            &[("x-github-delivery", " 72d3162e "), ("x-github-delivery", "72d3162e"), ("x-other", "1")],
        );
        assert_eq!(marked(&event, std::slice::from_ref(&delivery)).0.values.len(), 1);
        assert!(delivery.is_in(&event, "72d3162e") && !delivery.is_in(&event, "1"));
        let both = marked(&made(r#"{"a":1}"#, &[("x-github-delivery", "7")]), &[delivery, mark(2, "$.a")]);
        assert_eq!(both.0.values.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_is_read_elsewhere_or_kept_under_another_key_is_another_definition() {
        let one = MarkDefinition { name: "a".parse().unwrap(), slot: 1, path: "$.a".to_owned() };
        let renamed = MarkDefinition { name: "b".parse().unwrap(), ..one.clone() };
        let moved = MarkDefinition { path: "$.b".to_owned(), ..one.clone() };
        let marker = |definition: &MarkDefinition, key| Wanted::of(definition, key).unwrap().marker;
        assert_eq!(marker(&one, None), marker(&renamed, None));
        assert_ne!(marker(&one, None), marker(&moved, None));
        assert_ne!(marker(&one, None), marker(&one, Some(1)));
        assert_ne!(marker(&one, Some(2)), marker(&one, Some(1)));
        assert!(Wanted::of(&MarkDefinition { path: "a later one's".to_owned(), ..one }, None).is_none());
    }
}
