//! Signatures described by data: where the signature stands, what is signed, with which key.
//!
//! One engine verifies and signs; a provider is a value of [`Scheme`]. What a scheme needs beyond this is code of its
//! own, in a file of its own.

mod algorithm;
mod presented;
mod signed;
pub(crate) mod stamp;

pub(crate) use algorithm::PrivateKey;
pub(crate) use signed::Signatures;
pub(crate) use stamp::Unit;

/// Signatures looked at in one request: more than any rotation needs, few enough to compute.
pub(crate) const SIGNATURES_MAX: usize = 16;

/// How requests are signed, or what they carry instead of a signature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scheme {
    /// Whether it applies to a source, by the source's parameters.
    pub(crate) when: When,
    /// Where the signatures stand.
    pub(crate) at: At,
    pub(crate) style: Style,
    pub(crate) encoding: Encoding,
    pub(crate) algorithm: Algorithm,
    /// The parameter that holds the key.
    pub(crate) key: &'static str,
    pub(crate) key_form: KeyForm,
    /// What is signed, in order. More than one where the platform's own rule is in doubt: either may match.
    pub(crate) messages: &'static [&'static [Part]],
    pub(crate) stamp: Option<Stamp>,
    /// Header fields that must say exactly this.
    pub(crate) require: &'static [(&'static str, &'static str)],
    /// The field is a credential for the relay alone: neither stored nor forwarded.
    pub(crate) strip: bool,
}

impl Scheme {
    /// A hex HMAC-SHA256 over the raw body, keyed with the text of `secret`.
    pub(crate) const BASE: Self = Self {
        when: When::Always,
        at: At::Headers(&[]),
        style: Style::Raw,
        encoding: Encoding::Hex,
        algorithm: Algorithm::HmacSha256,
        key: "secret",
        key_form: KeyForm::Text,
        messages: &[&[Part::Body]],
        stamp: None,
        require: &[],
        strip: false,
    };

    /// `secret` itself in a header field: nothing is signed.
    pub(crate) const fn token(header: &'static [&'static str]) -> Self {
        Self {
            at: At::Headers(header),
            encoding: Encoding::Text,
            algorithm: Algorithm::Equal,
            messages: &[],
            ..Self::BASE
        }
    }
}

/// A condition on a source's parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    Always,
    /// The parameter has this value.
    Is(&'static str, &'static str),
    /// The parameter is given.
    Given(&'static str),
    /// The parameter is not given.
    Absent(&'static str),
}

/// Where signatures stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At {
    /// In one of these header fields, or several of them.
    Headers(&'static [&'static str]),
    /// In header fields of this name and a number from 1 on.
    Numbered(&'static str),
    /// In this parameter of the query.
    Query(&'static str),
    /// In the header field that the parameter `header` names.
    Named,
}

/// How signatures stand in their field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// One, alone.
    Raw,
    /// One, behind a fixed text.
    Prefix(&'static str),
    /// One, behind the name of an authentication scheme, in whatever case, and a space (RFC 9110, section 11.1).
    Authentication(&'static str),
    /// One, behind the text of the parameter `prefix`, which may be empty.
    Named,
    /// Several, each behind a fixed text; items without it are passed over.
    List { separator: u8, prefix: &'static str },
    /// `key=value` items: several signatures, one timestamp; other keys are passed over.
    Pairs { separator: u8, signature: &'static str, stamp: &'static str },
    /// The timestamp, then signatures.
    Positional { separator: u8 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Hex digits of either case.
    Hex,
    /// Base64 with its padding.
    Base64,
    /// URL-safe base64 without padding.
    Base64Url,
    /// The bytes themselves.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    HmacSha1,
    HmacSha256,
    HmacSha384,
    HmacSha512,
    /// A plain hash of a message that holds the secret.
    Sha256,
    Ed25519,
    /// With SHA-256, signatures in DER.
    EcdsaP256,
    /// No signature: the key itself.
    Equal,
}

/// How the text of a key parameter becomes a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyForm {
    Text,
    Base64,
    /// 32 bytes in hex or base64.
    Ed25519,
    /// `whsec_` and base64.
    Whsec,
    /// `whpk_` and base64.
    Whpk,
    /// Base64 of a P-256 key's `SubjectPublicKeyInfo`, with or without PEM armour.
    Spki,
}

/// A piece of what is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    Body,
    /// The timestamp's text as it was received.
    Stamp,
    Method,
    /// The public URL as it was called.
    Url,
    /// The same with the percent-escapes decoded that stand for characters a URI may hold as they are.
    UrlDecoded,
    /// The key's text.
    Secret,
    Literal(&'static str),
    /// The value of a header field.
    Header(&'static str),
}

/// A signed timestamp. How far it may be off is the parameter `tolerance`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) at: StampAt,
    pub(crate) unit: Unit,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum StampAt {
    Header(&'static str),
    /// In the signature's own field, by its style.
    Item,
    /// In the body, at a path of a JSON body that may be without it. It is for bodies that are signed as a whole.
    JsonIfAny(&'static str),
    /// In the body, a field of a JSON object, and where it is without that in this header field, which nothing signs: so only
    /// where the platform's own library does the same.
    JsonOrHeader(&'static str, &'static str),
}

impl Stamp {
    pub(crate) const fn header(name: &'static str, unit: Unit) -> Self {
        Self { at: StampAt::Header(name), unit }
    }

    pub(crate) const fn item(unit: Unit) -> Self {
        Self { at: StampAt::Item, unit }
    }
}
