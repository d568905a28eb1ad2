//! A place in a JSON text, and what stands there: `$.data.object.customer=cus_1`.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    fmt,
    str::FromStr,
};

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// Steps of a path; more than any body that somebody reads has levels.
const STEPS_MAX: usize = 32;

/// A place in a JSON text: `$.data.object.customer`. Where a step leads into a list that it does not number, any of its items is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPlace(Vec<Step>);

/// A place in a JSON text, and what is to stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonPath {
    place: JsonPlace,
    /// A text, a number, `true`, `false` or `null`, as it is written there, without quotation marks.
    wanted: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// A member of this name.
    Member(String),
    /// An item of a list, the first of which is 0.
    Item(usize),
    /// Any item of a list.
    Each,
}

/// Text that is no path with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} is no JSON path with a value: {what}; want one like $.data.object.customer=cus_1, $.items[0].id=7 or $[\"a.b\"]=true"
)]
pub(crate) struct JsonPathError {
    given: String,
    what: &'static str,
}

/// Text that is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no JSON path: {what}; want one like $.data.object.customer, $.items[0].id or $[\"a.b\"]")]
pub(crate) struct JsonPlaceError {
    given: String,
    what: &'static str,
}

impl JsonPath {
    /// Whether it stands there. The text is read once, and of it nothing is kept: neither its size nor its depth costs memory. A name that is
    /// there twice leads to both.
    ///
    /// # Errors
    /// The text is no JSON to its end, and what was read of it does not have it.
    pub(crate) fn is_in(&self, json: &[u8]) -> Result<bool, serde_json::Error> {
        let found = Cell::new(false);
        let read = self.place.walk(json, &|value| found.set(found.get() || value == self.wanted));
        if found.get() { Ok(true) } else { read.map(|()| false) }
    }
}

impl JsonPlace {
    /// What stands there: texts, numbers and truth values, each once, the first so many of those that are no longer than that.
    ///
    /// # Errors
    /// The text is no JSON to its end.
    pub(crate) fn values(
        &self,
        json: &[u8],
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<String>, serde_json::Error> {
        let found = RefCell::new(Vec::new());
        self.walk(json, &|value| {
            let mut found = found.borrow_mut();
            let fits = !value.is_empty() && value.len() <= bytes_max && value != "null";
            if fits && found.len() < count_max && found.iter().all(|known| known != value) {
                found.push(value.to_owned());
            }
        })?;
        Ok(found.into_inner())
    }

    /// Gives each text, number, truth value and `null` that stands there, in their order.
    fn walk(&self, json: &[u8], each: &dyn Fn(&str)) -> Result<(), serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        Along { steps: &self.0, each }.deserialize(&mut reader)?;
        reader.end()
    }
}

/// Goes along the rest of a path.
#[derive(Clone, Copy)]
struct Along<'a> {
    steps: &'a [Step],
    each: &'a dyn Fn(&str),
}

impl<'de> DeserializeSeed<'de> for Along<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        if !self.steps.is_empty() {
            return reader.deserialize_any(self);
        }
        let raw: &RawValue = Deserialize::deserialize(reader)?;
        self.look_at(raw.get());
        Ok(())
    }
}

impl<'de> Visitor<'de> for Along<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Member(wanted), rest)) = self.steps.split_first() else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        while let Some(is_it) = map.next_key_seed(Is(wanted))? {
            if is_it {
                map.next_value_seed(Along { steps: rest, ..self })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut place = 0;
        loop {
            let (leads, steps) = match self.steps.split_first() {
                Some((Step::Item(number), rest)) => (*number == place, rest),
                Some((Step::Each, rest)) => (true, rest),
                // A list of things is asked as each of them is.
                Some((Step::Member(_), _)) => (true, self.steps),
                None => (false, self.steps),
            };
            let next = if leads {
                list.next_element_seed(Along { steps, ..self })?
            } else {
                list.next_element::<IgnoredAny>()?.map(drop)
            };
            if next.is_none() {
                return Ok(());
            }
            place += 1;
        }
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl Along<'_> {
    /// What stands at the end of the path, as it is written there.
    fn look_at(self, raw: &str) {
        match raw.as_bytes().first() {
            Some(b'"') => {
                if let Ok(text) = serde_json::from_str::<Cow<'_, str>>(raw) {
                    (self.each)(&text);
                }
            }
            // Any item of a list may have it, and none of a list in it.
            Some(b'[') => drop(Items(self).deserialize(&mut serde_json::Deserializer::from_str(raw))),
            Some(b'{') | None => {}
            Some(_) => (self.each)(raw),
        }
    }
}

/// The items of a list at the end of a path.
struct Items<'a>(Along<'a>);

impl<'de> DeserializeSeed<'de> for Items<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(raw) = list.next_element::<&RawValue>()? {
            if !raw.get().starts_with('[') {
                self.0.look_at(raw.get());
            }
        }
        Ok(())
    }
}

/// Whether a name is this one.
struct Is<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    fn from_str(given: &str) -> Result<Self, JsonPathError> {
        let wrong = |what| JsonPathError { given: begin(given), what };
        let (steps, rest) = steps(given).map_err(wrong)?;
        let wanted = rest.strip_prefix('=').ok_or_else(|| wrong("there is no = with a value behind it"))?;
        Ok(Self { place: JsonPlace(steps), wanted: wanted.to_owned() })
    }
}

impl FromStr for JsonPlace {
    type Err = JsonPlaceError;

    fn from_str(given: &str) -> Result<Self, JsonPlaceError> {
        let wrong = |what| JsonPlaceError { given: begin(given), what };
        match steps(given).map_err(wrong)? {
            (steps, "") => Ok(Self(steps)),
            _ => Err(wrong("a = with a value behind it has no place in it")),
        }
    }
}

/// As much of it as an error repeats.
fn begin(given: &str) -> String {
    given.chars().take(200).collect()
}

/// The steps of a path, and what is behind them.
fn steps(given: &str) -> Result<(Vec<Step>, &str), &'static str> {
    let mut rest = given.strip_prefix('$').ok_or("it does not begin with $")?;
    let mut steps = Vec::new();
    while !rest.is_empty() && !rest.starts_with('=') {
        let (step, behind) = step(rest)?;
        steps.push(step);
        rest = behind;
        if steps.len() > STEPS_MAX {
            return Err("it has more than 32 steps");
        }
    }
    Ok((steps, rest))
}

/// The next step, and what is behind it.
fn step(text: &str) -> Result<(Step, &str), &'static str> {
    if let Some(named) = text.strip_prefix('.') {
        let end = named.find(['.', '[', '=']).unwrap_or(named.len());
        if end == 0 {
            return Err("a name is empty");
        }
        return Ok((Step::Member(named[..end].to_owned()), &named[end..]));
    }
    let inside = text.strip_prefix('[').ok_or("want . or [ or = there")?;
    if let Some(quote) = inside.chars().next().filter(|char| matches!(char, '"' | '\'')) {
        let (name, behind) = inside[1..].split_once(quote).ok_or("a quotation mark is not closed")?;
        let behind = behind.strip_prefix(']').ok_or("a [ is not closed")?;
        return Ok((Step::Member(name.to_owned()), behind));
    }
    let (number, behind) = inside.split_once(']').ok_or("a [ is not closed")?;
    match number {
        "" | "*" => Ok((Step::Each, behind)),
        number => Ok((Step::Item(number.parse().map_err(|_| "what stands in [ ] is no number")?), behind)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_leads_to_what_stands_there() {
        let body = json!({
            "id": 7, "live": true, "gone": null, "a.b": "dotted",
            "data": {"object": {"customer": "cus_1", "note": "a=b"}},
            "items": [{"id": "x", "tags": ["new", "red"]}, {"id": 12, "tags": []}],
        });
        let body = body.to_string();
        let holds = |path: &str| path.parse::<JsonPath>().unwrap().is_in(body.as_bytes()).unwrap();
        for path in [
            "$.id=7",
            "$.live=true",
            "$.gone=null",
            "$[\"a.b\"]=dotted",
            "$['data'].object.customer=cus_1",
            "$.data.object.note=a=b",
            "$.items[0].id=x",
            "$.items[].id=12",
            "$.items[*].id=12",
            "$.items.id=12",
            "$.items.tags=red",
        ] {
            assert!(holds(path), "{path}");
        }
        for path in ["$.id=8", "$.data=cus_1", "$.items[1].id=x", "$.items[9].id=x", "$.nothing=", "$=7"] {
            assert!(!holds(path), "{path}");
        }
        assert!("$=7".parse::<JsonPath>().unwrap().is_in(b"7").unwrap());
    }

    #[test]
    fn what_stands_there_is_as_it_is_written_however_deep_and_often() {
        let is_in = |path: &str, json: &str| path.parse::<JsonPath>().unwrap().is_in(json.as_bytes()).ok();
        assert_eq!(is_in("$.amount=10.50", r#"{"amount":10.50}"#), Some(true));
        assert_eq!(is_in("$.amount=10.5", r#"{"amount":10.50}"#), Some(false));
        assert_eq!(is_in("$.n=123456789012345678901234567890", r#"{"n":123456789012345678901234567890}"#), Some(true));
        assert_eq!(is_in("$.n=1e3", r#"{"n":[2,1e3]}"#), Some(true));
        assert_eq!(is_in("$.name=J\u{f6}rg", r#"{"name":"J\u00F6rg"}"#), Some(true));
        let deep = format!("{{\"x\":{}1{},\"a\":7}}", "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(is_in("$.a=7", &deep), Some(true));
        assert_eq!(is_in("$.a=1", r#"{"a":1,"a":2}"#), Some(true));
        assert_eq!(is_in("$.a=1", r#"{"a":1,"b":"#), Some(true), "what was read has it");
        for broken in [r#"{"a":2,"b":"#, r#"{"a":2}x"#, "no JSON"] {
            assert_eq!(is_in("$.a=1", broken), None);
        }
    }

    #[test]
    fn the_values_at_a_place_are_those_that_a_search_finds_there() {
        let body = r#"{"id":7,"to":["a","b","a",["c"],null,{"x":1}],"who":{"name":"J\u00f6rg"},"rows":[{"n":1.50},{"n":true},{"n":""}]}"#;
        let values = |path: &str| path.parse::<JsonPlace>().unwrap().values(body.as_bytes(), 16, 5).unwrap();
        assert_eq!(values("$.to"), ["a", "b"]);
        assert_eq!(values("$.who.name"), ["Jörg"]);
        assert_eq!(values("$.rows.n"), ["1.50", "true"]);
        assert_eq!((values("$.id"), values("$.who"), values("$.gone")), (vec!["7".to_owned()], vec![], vec![]));
        for (path, value) in [("$.to", "b"), ("$.who.name", "Jörg"), ("$.rows.n", "1.50")] {
            assert!(format!("{path}={value}").parse::<JsonPath>().unwrap().is_in(body.as_bytes()).unwrap());
        }
        let place: JsonPlace = "$.to".parse().unwrap();
        assert_eq!(place.values(body.as_bytes(), 1, 5).unwrap(), ["a"], "the first ones");
        assert!("$.who.name".parse::<JsonPlace>().unwrap().values(body.as_bytes(), 16, 4).unwrap().is_empty());
        assert!(place.values(br#"{"to":"a","b":"#, 16, 5).is_err(), "of what is no JSON there is none");
        for text in ["", "to", "$.to=a", "$..a", "$.to[", "$.to["] {
            let error = text.parse::<JsonPlace>().unwrap_err().to_string();
            assert!(error.ends_with("$.items[0].id or $[\"a.b\"]"), "{error}");
        }
    }

    #[test]
    fn what_is_no_path_says_what_would_be() {
        for text in ["", "a.b=c", "$.a", "$..a=1", "$.a[=1", "$.a[x]=1", "$[\"a=1", "$a=1"] {
            let error = text.parse::<JsonPath>().unwrap_err().to_string();
            assert!(error.contains("$.data.object.customer=cus_1"), "{error}");
        }
        assert!(format!("${}=1", ".a".repeat(40)).parse::<JsonPath>().is_err());
    }
}
