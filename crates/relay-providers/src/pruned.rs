//! JSON of which only what some paths name is built; all else is passed over, so that a large body costs no memory.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Items of a batch that are looked at.
pub(crate) const ITEMS_MAX: usize = 10_000;

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    /// Into every item of a list.
    Each,
}

/// The document as far as these paths lead, if it is JSON. At most `items_max` items of each list are kept.
pub(crate) fn read(json: &[u8], paths: &[String], items_max: usize) -> Option<Value> {
    let paths: Vec<Vec<Step>> = paths.iter().map(|path| steps(path)).collect();
    let mut reader = serde_json::Deserializer::from_slice(unmarked(json));
    let pruned = Pruned { paths: paths.iter().map(Vec::as_slice).collect(), items_max };
    let value = pruned.deserialize(&mut reader).ok()?;
    reader.end().ok().map(|()| value)
}

/// Every value at a path.
pub(crate) fn find<'a>(root: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![root];
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (field, is_list) = step.strip_suffix("[]").map_or((step, false), |field| (field, true));
        let mut next = Vec::new();
        for value in found {
            let value = if field.is_empty() { Some(value) } else { value.get(field) };
            match value {
                Some(Value::Array(list)) if is_list => next.extend(list.iter().take(ITEMS_MAX)),
                Some(value) if !is_list => next.push(value),
                Some(_) | None => {}
            }
        }
        next.truncate(ITEMS_MAX);
        found = next;
    }
    found
}

/// The text of a string, number or truth value.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// JSON without the byte order mark that some senders put in front (RFC 8259, section 8.1).
pub(crate) fn unmarked(json: &[u8]) -> &[u8] {
    json.strip_prefix("\u{feff}".as_bytes()).unwrap_or(json)
}

/// What a path such as `a[].b` leads through.
pub(crate) enum Part<'a> {
    /// A member of this name.
    Member(&'a str),
    /// The items of a list.
    Items,
}

/// The parts of a path, from the outside in.
pub(crate) fn parts(path: &str) -> impl Iterator<Item = Part<'_>> {
    path.split('.').filter(|part| !part.is_empty()).flat_map(|part| {
        let (name, is_list) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        let member = (!name.is_empty()).then_some(Part::Member(name));
        member.into_iter().chain(is_list.then_some(Part::Items))
    })
}

fn steps(path: &str) -> Vec<Step> {
    let step = |part| match part {
        Part::Member(name) => Step::Field(String::from(name)),
        Part::Items => Step::Each,
    };
    parts(path).map(step).collect()
}

/// What is left of the paths at some place in the document.
struct Pruned<'a> {
    paths: Vec<&'a [Step]>,
    items_max: usize,
}

impl<'a> Pruned<'a> {
    /// What is left of them one step further; nothing if none goes there.
    fn after(&self, is_next: impl Fn(&Step) -> bool) -> Option<Self> {
        let rest = |path: &&'a [Step]| path.split_first().filter(|(first, _)| is_next(first)).map(|(_, rest)| rest);
        let paths: Vec<_> = self.paths.iter().filter_map(rest).collect();
        (!paths.is_empty()).then_some(Self { paths, items_max: self.items_max })
    }

    fn leaf(&self, value: impl Into<Value>) -> Value {
        if self.paths.iter().any(|path| path.is_empty()) { value.into() } else { Value::Null }
    }
}

impl<'de> DeserializeSeed<'de> for Pruned<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pruned<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(self.leaf(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(self.leaf(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(self.leaf(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(self.leaf(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(self.leaf(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < self.items_max
            && let Some(inside) = self.after(|step| *step == Step::Each)
            && let Some(item) = items.next_element_seed(inside)?
        {
            kept.push(item);
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match self.after(|step| matches!(step, Step::Field(field) if *field == name)) {
                Some(inside) => {
                    let value = members.next_value_seed(inside)?;
                    kept.insert(name, value);
                }
                None => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Value::Object(kept))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pruned(json: &str, paths: &[&str]) -> Option<Value> {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        read(json.as_bytes(), &paths, 3)
    }

    #[test]
    fn only_what_a_path_names_is_built() {
        let body = r#"{"id":"e1","n":{"a":[1,2],"b":"x"},"l":[{"id":1,"x":"y"},{"id":2},3,{"id":4}],"t":true,"big":{"a":{"b":[]}}}"#;
        let found = pruned(body, &["id", "n.b", "l[].id", "t", "none.such"]).expect("JSON");
        assert_eq!(found, json!({"id": "e1", "n": {"b": "x"}, "l": [{"id": 1}, {"id": 2}, null], "t": true}));
        assert_eq!(pruned(r#"[{"id":1},{"id":2}]"#, &["[].id"]), Some(json!([{"id": 1}, {"id": 2}])));
        assert_eq!(pruned(r#"{"a":{"b":1}}"#, &["a"]), Some(json!({"a": {}})), "an object is no text");
        assert_eq!(pruned("\u{feff}{\"id\":1}", &["id"]), Some(json!({"id": 1})));
    }

    #[test]
    fn a_path_finds_every_value_it_names() {
        let body = json!({"a": {"b": 1}, "l": [{"x": ["p", "q"]}, {"x": "r"}, {}]});
        let found = |path| find(&body, path).into_iter().filter_map(text).collect::<Vec<_>>();
        assert_eq!(found("a.b"), ["1"]);
        assert_eq!(found("l[].x[]"), ["p", "q"]);
        assert_eq!(found("l[].x"), ["r"]);
        assert_eq!(found("a.c"), [""; 0]);
        let list = json!([{"id": 1}, {"id": 2}]);
        assert_eq!(find(&list, "[].id").len(), 2);
    }

    #[test]
    fn what_is_no_json_is_nothing() {
        let deep = "[".repeat(100_000);
        for body in ["", "{", "{} {}", r#"{"a":1,}"#, "<xml/>", &deep] {
            assert_eq!(pruned(body, &["a", "[].a"]), None);
        }
    }
}
