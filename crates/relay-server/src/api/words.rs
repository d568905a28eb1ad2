//! Words of the core's enums, as they stand in JSON.

use relay_core::delivery::{Reason, State, outcome::Class};
use serde::{Deserialize, Deserializer, Serializer};
use utoipa::openapi::{
    Schema,
    schema::{ObjectBuilder, SchemaType, Type},
};

/// An enum whose values have one word each.
pub(super) trait Word: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// Its word.
    fn word(self) -> &'static str;
}

impl Word for State {
    const ALL: &'static [Self] = &Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for Reason {
    const ALL: &'static [Self] = &Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for Class {
    const ALL: &'static [Self] = &Self::ALL;

    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// One of these words, for the document of the API; or null.
pub(super) fn schema(words: impl IntoIterator<Item = &'static str>, or_null: bool) -> Schema {
    let kind = if or_null { SchemaType::Array(vec![Type::String, Type::Null]) } else { SchemaType::Type(Type::String) };
    let words = words.into_iter().map(serde_json::Value::from).chain(or_null.then_some(serde_json::Value::Null));
    Schema::Object(ObjectBuilder::new().schema_type(kind).enum_values(Some(words)).build())
}

/// The words of [`State`].
pub(super) fn states() -> Schema {
    schema(State::ALL.map(State::as_str), false)
}

/// The words of [`Class`].
pub(super) fn classes() -> Schema {
    schema(Class::ALL.map(Class::as_str), false)
}

/// The words of [`Reason`], where there may be none.
pub(super) fn reasons() -> Schema {
    schema(Reason::ALL.map(Reason::as_str), true)
}

fn find<W: Word, E: serde::de::Error>(text: &str) -> Result<W, E> {
    let found = W::ALL.iter().copied().find(|known| known.word() == text);
    found.ok_or_else(|| E::custom(format!("unknown word {text:?}")))
}

/// As its word.
pub(super) fn serialize<W: Word, S: Serializer>(word: &W, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(word.word())
}

/// From its word.
pub(super) fn deserialize<'de, W: Word, D: Deserializer<'de>>(deserializer: D) -> Result<W, D::Error> {
    find(&String::deserialize(deserializer)?)
}

/// The same where there may be none.
pub(super) mod opt {
    use super::{Deserialize, Deserializer, Serializer, Word, find};

    /// As its word, or null.
    #[expect(clippy::ref_option, reason = "serde hands over a reference")]
    pub(in crate::api) fn serialize<W: Word, S: Serializer>(
        word: &Option<W>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match word {
            Some(word) => serializer.serialize_str(word.word()),
            None => serializer.serialize_none(),
        }
    }

    /// From its word, or null.
    pub(in crate::api) fn deserialize<'de, W: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<W>, D::Error> {
        Option::<String>::deserialize(deserializer)?.map(|text| find(&text)).transpose()
    }
}

/// Counts by state.
pub(super) mod counts {
    use std::collections::BTreeMap;

    use super::{Deserialize, Deserializer, Serializer, State, find};

    /// Each state with its count, in the order of a delivery's life.
    pub(in crate::api) fn serialize<S: Serializer>(counts: &[u64; 7], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(State::ALL.iter().zip(counts).map(|(state, count)| (state.as_str(), count)))
    }

    /// Those that are named; others are none.
    pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u64; 7], D::Error> {
        let mut counts = [0; 7];
        for (word, count) in BTreeMap::<String, u64>::deserialize(deserializer)? {
            let state: State = find::<_, D::Error>(&word)?;
            let at = State::ALL.iter().position(|known| *known == state).unwrap_or_default();
            counts[at] = count;
        }
        Ok(counts)
    }
}
