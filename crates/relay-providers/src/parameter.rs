//! One parameter that a provider takes.

use crate::shape::{Characters, Shape};

/// One parameter of a provider. Every secret or key may be given twice: while one is replaced, both are valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Its value is never shown.
    pub secret: bool,
    /// Requests are checked with it: a signing secret or a public key.
    pub key: bool,
    /// It may be given several times.
    pub repeated: bool,
    /// A source cannot be without it.
    pub required: bool,
    /// The value if it is not given.
    pub default: Option<&'static str>,
    /// The values there are; none: any text.
    pub choices: &'static [&'static str],
    /// Whoever makes the source makes it up, and enters it at the platform: a random text will do.
    pub made_up: bool,
    /// What it begins with, where the platform makes it.
    pub begins: &'static [&'static str],
    /// What other values of the same platform begin with, and what these are.
    pub not: &'static [(&'static str, &'static str)],
    /// Values that everybody knows, and what these are: whoever signs with one would be taken for the platform.
    pub known: &'static [(&'static str, &'static str)],
    /// What it is made of, where the platform says so.
    pub shape: Option<Shape>,
    /// The page that its default follows from.
    pub document: Option<&'static str>,
    /// What it is, and where in the platform's console to find it.
    pub help: &'static str,
}

impl Parameter {
    /// Something that may be given and known; the others name what differs.
    const fn plain(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            secret: false,
            key: false,
            repeated: false,
            required: false,
            default: None,
            choices: &[],
            made_up: false,
            begins: &[],
            not: &[],
            known: &[],
            shape: None,
            document: None,
            help,
        }
    }

    /// The secret that requests are checked with.
    pub(crate) const fn key(name: &'static str, help: &'static str) -> Self {
        Self { secret: true, key: true, repeated: true, required: true, ..Self::plain(name, help) }
    }

    /// The public key that requests are checked with.
    pub(crate) const fn public_key(name: &'static str, help: &'static str) -> Self {
        Self { secret: false, ..Self::key(name, help) }
    }

    /// A secret beside the key.
    pub(crate) const fn secret(name: &'static str, help: &'static str) -> Self {
        Self { key: false, ..Self::key(name, help) }
    }

    /// Something that has to be given and may be known.
    pub(crate) const fn required(name: &'static str, help: &'static str) -> Self {
        Self { required: true, ..Self::plain(name, help) }
    }

    /// Something that may be given.
    pub(crate) const fn optional(name: &'static str, default: Option<&'static str>, help: &'static str) -> Self {
        Self { default, ..Self::plain(name, help) }
    }

    /// One of a few words, the first if it is not given.
    pub(crate) const fn choice(name: &'static str, choices: &'static [&'static str], help: &'static str) -> Self {
        Self { choices, ..Self::optional(name, Some(choices[0]), help) }
    }

    /// The private key to act as the provider with.
    pub(crate) const fn signing_key(help: &'static str) -> Self {
        Self { secret: true, required: true, ..Self::plain("signing_key", help) }
    }

    /// How far a signed timestamp may be from the relay's clock: what the platform prescribes, recommends or its own library takes.
    /// Where it does none of that and does not sign a retry anew, as long as it goes on trying, else each retry after an outage
    /// would be refused, and lost; what is sent again within that time is known by its delivery id. `document` says so.
    pub(crate) const fn tolerance(default: &'static str, document: &'static str) -> Self {
        let help = "how old or how far ahead the signed timestamp may be, like 300s, 10m or 1h; off: any age";
        Self { document: Some(document), ..Self::optional("tolerance", Some(default), help) }
    }

    /// The same, which whoever makes the source makes up.
    pub(crate) const fn made_up(self) -> Self {
        Self { made_up: true, ..self }
    }

    /// The same, which begins with one of these.
    pub(crate) const fn begins(self, begins: &'static [&'static str]) -> Self {
        Self { begins, ..self }
    }

    /// The same, with what it is sometimes mistaken for.
    pub(crate) const fn not(self, not: &'static [(&'static str, &'static str)]) -> Self {
        Self { not, ..self }
    }

    /// The same, with values that everybody knows.
    pub(crate) const fn known(self, known: &'static [(&'static str, &'static str)]) -> Self {
        Self { known, ..self }
    }

    /// The same, made of `min` to `max` of these characters.
    pub(crate) const fn made_of(self, of: Characters, min: usize, max: usize, words: &'static str) -> Self {
        Self { shape: Some(Shape { of, min, max, words }), ..self }
    }

    /// The same, which a source can be without.
    pub(crate) const fn or_none(self) -> Self {
        Self { required: false, ..self }
    }

    /// The same, of which several values hold at once.
    pub(crate) const fn several(self) -> Self {
        Self { repeated: true, ..self }
    }
}
