//! The schemes of one source, with its keys: verifies and signs.

use std::{borrow::Cow, time::Duration};

use base64::{
    Engine as _, alphabet,
    engine::{
        GeneralPurpose,
        general_purpose::{NO_PAD, STANDARD},
    },
};
use relay_core::time::Wall;
use serde_json::Value;

use super::{
    Algorithm, At, Encoding, KeyForm, Part, PrivateKey, SIGNATURES_MAX, Scheme, Stamp, StampAt, Style, When,
    algorithm::p256_point,
    presented::{Presented, decode_reserved, present, shape},
    stamp::{check_window, tolerance},
};
use crate::{
    ByHead, Draft, Refusal, Request, SignError, form, header,
    parameters::Parameters,
    proven::{ByKey, Covered, Proven},
    pruned::{self, unmarked},
    secret::{self, Secret},
    url,
};

/// Members of a numbered family of header fields: `DocuSign` has up to a hundred keys active at once.
const NUMBERED_MAX: usize = 100;

/// The schemes that apply to one source. A request that satisfies any one of them is genuine.
#[derive(Clone, Debug)]
pub(crate) struct Signatures(Vec<Signed>);

/// One scheme with the keys of a source.
#[derive(Clone, Debug)]
struct Signed {
    scheme: Scheme,
    /// Names of its header fields, in lower case; a numbered family has the part before the number.
    headers: Vec<Cow<'static, str>>,
    /// For [`Style::Named`].
    prefix: String,
    /// Keys as the algorithm takes them; any of them may match.
    keys: Vec<Secret>,
    tolerance: Option<Duration>,
    private: Option<PrivateKey>,
}

/// Bytes of a secret that nobody comes upon by trying, whoever made it up.
const GUESSABLE_BYTES: usize = 24;

/// What a request's head presents.
struct Head<'a> {
    presented: Presented<'a>,
    /// The timestamp, where it does not stand in the body.
    stamp: Option<&'a [u8]>,
}

impl Signatures {
    /// The schemes whose condition holds, with the keys that the parameters give.
    pub(crate) fn read(schemes: &'static [Scheme], parameters: &mut Parameters<'_>) -> Self {
        let (tolerance, private) = (tolerance(parameters), PrivateKey::given(parameters));
        let mut active = Vec::new();
        for scheme in schemes {
            if !scheme.when.holds(parameters) || (private.is_some() && !scheme.algorithm.is_asymmetric()) {
                continue;
            }
            let keys = scheme.keys(parameters);
            if keys.is_empty() && private.is_none() && !parameters.may_await_key() {
                continue;
            }
            let headers = match scheme.at {
                At::Headers(names) => names.iter().map(|name| Cow::Borrowed(*name)).collect(),
                At::Numbered(name) => vec![Cow::Borrowed(name)],
                At::Query(_) => Vec::new(),
                At::Named => vec![Cow::Owned(parameters.header_name())],
            };
            let prefix = if matches!(scheme.style, Style::Named) { parameters.one("prefix") } else { "" };
            let (private, prefix) = (private.clone(), prefix.to_owned());
            active.push(Signed { scheme: *scheme, headers, prefix, keys, tolerance, private });
        }
        if active.is_empty() && !parameters.has_faults() {
            let keys: Vec<&str> = schemes.iter().map(|scheme| scheme.key).collect();
            parameters.needs_one_of(&keys);
        }
        Self(active)
    }

    /// The same with a key that everybody knows. Not at a source whose secret is that key decoded: whoever decoded it decodes
    /// the others too, and is to find out.
    pub(crate) fn of_tests(schemes: &'static [Scheme], key: &str, parameters: &mut Parameters<'_>) -> Self {
        let mut tests = Self::read(schemes, parameters);
        for signed in &mut tests.0 {
            let decoded = STANDARD.decode(key).map(Secret::new);
            let is_misread = decoded.is_ok_and(|decoded| signed.keys.contains(&decoded));
            let key = signed.scheme.key_form.read(key).map(Secret::new);
            signed.keys = key.into_iter().filter(|_| !is_misread).collect();
        }
        tests
    }

    /// A signature over the raw body, as the parameters describe it.
    pub(crate) fn described(parameters: &mut Parameters<'_>) -> Self {
        // What is none of the choices is a fault already.
        let algorithm = match parameters.one("algorithm") {
            "sha1" => Algorithm::HmacSha1,
            "sha512" => Algorithm::HmacSha512,
            _ => Algorithm::HmacSha256,
        };
        let encoding = if parameters.one("encoding") == "base64" { Encoding::Base64 } else { Encoding::Hex };
        let prefix = parameters.one("prefix").to_owned();
        if !prefix.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            parameters.fault("prefix", "must be printable ASCII, like sha256=");
        }
        let scheme = Scheme { at: At::Named, style: Style::Named, algorithm, encoding, ..Scheme::BASE };
        let headers = vec![Cow::Owned(parameters.header_name())];
        let keys = scheme.keys(parameters);
        Self(vec![Signed { scheme, headers, prefix, keys, tolerance: None, private: None }])
    }

    /// Whether the platform has yet to hand over the secret.
    pub(crate) fn awaits_key(&self) -> bool {
        self.0.iter().all(|signed| signed.keys.is_empty())
    }

    /// What proves the request, and how much of it.
    pub(crate) fn verify(&self, request: &Request<'_>) -> Result<Proven, Refusal> {
        self.any(|signed| {
            signed.verify(request).map(|index| Proven {
                strip: signed.strip(request),
                covered: signed.scheme.covers(),
                key: ByKey { parameter: signed.scheme.key, index },
            })
        })
    }

    /// Whether one of them takes its proof out of the request.
    pub(crate) fn strips(&self) -> bool {
        self.0.iter().any(|signed| signed.scheme.strip)
    }

    /// The same without a bound of age.
    pub(crate) fn of_any_age(&self) -> Self {
        Self(self.0.iter().cloned().map(|signed| Signed { tolerance: None, ..signed }).collect())
    }

    /// What stands where a secret is sent along that could be guessed.
    pub(crate) fn shown<'a>(
        &self,
        headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        query: Option<&'a [u8]>,
    ) -> Vec<&'a [u8]> {
        let mut shown = Vec::new();
        let guessable = || self.0.iter().filter(|signed| signed.is_guessable());
        // Which of its parameters that is, is not asked: whoever tries one after the other changes the query each time.
        if guessable().any(|signed| matches!(signed.scheme.at, At::Query(_))) {
            shown.extend(query);
        }
        if guessable().any(|signed| !signed.headers.is_empty()) {
            let is_of = |name: &[u8]| guessable().any(|signed| signed.headers.iter().any(|of| of.as_bytes() == name));
            shown.extend(headers.into_iter().filter(|(name, _)| is_of(name)).map(|(_, value)| value));
        }
        shown
    }

    /// What holds of a request whatever its body is.
    pub(crate) fn judge_head(&self, request: &Request<'_>) -> ByHead {
        let judged = self.any(|signed| {
            if signed.scheme.binds_body() {
                signed.head(request).map(|_| ByHead::Open)
            } else {
                signed.verify(request).map(|_| ByHead::Proven)
            }
        });
        judged.unwrap_or_else(ByHead::refused)
    }

    /// What the first scheme says that does not refuse.
    fn any<T>(&self, judge: impl Fn(&Signed) -> Result<T, Refusal>) -> Result<T, Refusal> {
        if self.awaits_key() {
            return Err(Refusal::new("awaiting_secret", "the platform has not handed over its secret yet"));
        }
        let mut refused: Option<Refusal> = None;
        for signed in &self.0 {
            match judge(signed) {
                Ok(judged) => return Ok(judged),
                // Of several schemes the one that the sender used knows best what is wrong.
                Err(refusal) => {
                    let is_worse = |earlier: &Refusal| nearness(earlier) >= nearness(&refusal);
                    if !refused.as_ref().is_some_and(is_worse) {
                        refused = Some(refusal);
                    }
                }
            }
        }
        Err(refused.unwrap_or_else(|| Refusal::new("no_key", "this source has no key to check requests with")))
    }

    /// Makes the draft genuine under the first scheme.
    pub(crate) fn sign(&self, draft: Draft, id: &str, now: Wall) -> Result<Draft, SignError> {
        self.0.first().ok_or(SignError::Key)?.sign(draft, id, now)
    }

    /// Names of the header fields that are read.
    pub(crate) fn reads(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for name in self.0.iter().flat_map(Signed::reads) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

impl Signed {
    /// Which of the keys it is signed with.
    fn verify(&self, request: &Request<'_>) -> Result<usize, Refusal> {
        let Head { presented, stamp } = self.head(request)?;
        let key = self.compare(request, stamp.unwrap_or_default(), &presented.signatures)?;
        // A body is read only once its signature is good.
        if let Some(stamp) = self.scheme.stamp {
            self.check_body_stamp(request, stamp)?;
        }
        Ok(key)
    }

    /// The timestamp, where it stands in the body.
    fn check_body_stamp(&self, request: &Request<'_>, Stamp { at, unit }: Stamp) -> Result<(), Refusal> {
        let (StampAt::JsonIfAny(path) | StampAt::JsonOrHeader(path, _)) = at else {
            return Ok(());
        };
        let text = json_stamp(request.body, path);
        match at {
            StampAt::JsonIfAny(_) if text.is_empty() => Ok(()),
            StampAt::JsonOrHeader(_, name) if text.is_empty() => {
                let text = header::required(request, name, "missing_timestamp")?;
                check_window(text, unit, name, self.tolerance, request.now)
            }
            _ => check_window(&text, unit, &self.stamp_place(at), self.tolerance, request.now),
        }
    }

    /// Everything that can be refused whatever the body is: what is missing, does not read, or is of another time.
    fn head<'a>(&self, request: &Request<'a>) -> Result<Head<'a>, Refusal> {
        self.presented_head(request).map_err(|refusal| {
            let missing = ["missing_signature", "missing_secret", "missing_header", "missing_timestamp"];
            if missing.contains(&refusal.check) { self.all_missing(refusal, request) } else { refusal }
        })
    }

    /// The refusal with every header field that this scheme needs and the request does not have. Of several that may hold a
    /// signature one will do.
    fn all_missing(&self, refusal: Refusal, request: &Request<'_>) -> Refusal {
        let has_signature = self.field_names(request).iter().any(|name| header::first(request.headers, name).is_some());
        let signature = if has_signature { String::new() } else { self.headers.join(" or ") };
        let beside = match self.scheme.stamp.map(|stamp| stamp.at) {
            Some(StampAt::Header(name)) => Some(name),
            _ => None,
        };
        let signed = self.scheme.messages.iter().copied().flatten().filter_map(|part| match part {
            Part::Header(name) => Some(*name),
            _ => None,
        });
        let required = self.scheme.require.iter().map(|(name, _)| *name);
        let first = Some(&*signature).filter(|signature| !signature.is_empty());
        let fields: Vec<&str> = first.into_iter().chain(required).chain(signed).chain(beside).collect();
        header::all_missing(refusal, request, &fields)
    }

    fn presented_head<'a>(&self, request: &Request<'a>) -> Result<Head<'a>, Refusal> {
        let scheme = &self.scheme;
        let presented = self.presented(request)?;
        for (name, expected) in scheme.require {
            let value = header::required(request, name, "missing_header")?;
            if !value.eq_ignore_ascii_case(expected.as_bytes()) {
                return Err(Refusal::new("unsupported_algorithm", format!("{name} must be {expected}")));
            }
        }
        for part in scheme.messages.iter().copied().flatten() {
            match part {
                Part::Url | Part::UrlDecoded => drop(public_url(request.url)?),
                Part::Header(name) => drop(header::required(request, name, "missing_header")?),
                Part::Body | Part::Stamp | Part::Method | Part::Secret | Part::Literal(_) => {}
            }
        }
        let stamp = self.stamp_beside(request, presented.stamp)?;
        if let (Some(text), Some(Stamp { at, unit })) = (stamp, scheme.stamp) {
            check_window(text, unit, &self.stamp_place(at), self.tolerance, request.now)?;
        }
        Ok(Head { presented, stamp })
    }

    /// Whether its secret is sent along, and one of them is so short that somebody might come upon it.
    fn is_guessable(&self) -> bool {
        self.scheme.algorithm == Algorithm::Equal && self.keys.iter().any(|key| key.expose().len() < GUESSABLE_BYTES)
    }

    /// What the request presents as signatures.
    fn presented<'a>(&self, request: &Request<'a>) -> Result<Presented<'a>, Refusal> {
        let scheme = &self.scheme;
        let check = if scheme.algorithm == Algorithm::Equal { "missing_secret" } else { "missing_signature" };
        let max = if matches!(scheme.at, At::Numbered(_)) { NUMBERED_MAX } else { SIGNATURES_MAX };
        let mut presented = Presented::at_most(max);
        let mut found = false;
        if let At::Query(name) = scheme.at {
            let value = form::value(request.query.unwrap_or_default(), name);
            let value = value.ok_or_else(|| Refusal::new(check, format!("no {name} in the query of the URL")))?;
            presented.signatures.push(value);
            return Ok(presented);
        }
        for name in self.field_names(request) {
            if let Some(value) = header::single(request, &name)? {
                found = true;
                presented.add(value, scheme.style, &self.prefix, scheme.encoding, &name)?;
            }
        }
        if !found {
            return Err(Refusal::new(check, format!("no {} header field", self.headers.join(" or "))));
        }
        if presented.signatures.is_empty() {
            let shape = shape(scheme.style, &self.prefix, scheme.encoding);
            return Err(Refusal::new("malformed_signature", format!("{} must be {shape}", self.headers.join(" or "))));
        }
        Ok(presented)
    }

    /// The fields that may hold signatures; of a numbered family those that are there.
    fn field_names(&self, request: &Request<'_>) -> Vec<String> {
        let At::Numbered(family) = self.scheme.at else {
            return self.headers.iter().map(|name| name.clone().into_owned()).collect();
        };
        let mut names: Vec<String> = Vec::new();
        for (name, _) in request.headers {
            let number = name.strip_prefix(family.as_bytes()).filter(|number| (1..=3).contains(&number.len()));
            let is_member = number.is_some_and(|number| number.iter().all(u8::is_ascii_digit));
            let name = String::from_utf8_lossy(name);
            if is_member && names.len() < NUMBERED_MAX && !names.contains(&name.clone().into_owned()) {
                names.push(name.into_owned());
            }
        }
        names
    }

    /// The timestamp, where it stands outside of the body. A body is read only once its signature is good.
    fn stamp_beside<'a>(&self, request: &Request<'a>, item: Option<&'a [u8]>) -> Result<Option<&'a [u8]>, Refusal> {
        let place = || format!("no {}", self.stamp_place(StampAt::Item));
        match self.scheme.stamp.map(|stamp| stamp.at) {
            Some(StampAt::Header(name)) => header::required(request, name, "missing_timestamp").map(Some),
            Some(StampAt::Item) => item.map(Some).ok_or_else(|| Refusal::new("missing_timestamp", place())),
            Some(StampAt::JsonIfAny(_) | StampAt::JsonOrHeader(..)) | None => Ok(None),
        }
    }

    fn stamp_place(&self, at: StampAt) -> String {
        match at {
            StampAt::Header(name) => name.to_owned(),
            StampAt::Item => format!("timestamp in {}", self.headers.join(" or ")),
            StampAt::JsonIfAny(path) | StampAt::JsonOrHeader(path, _) => format!("{path} in the body"),
        }
    }

    /// Which key makes a presented signature. All are computed and compared, match or no match.
    fn compare(&self, request: &Request<'_>, stamp: &[u8], presented: &[Vec<u8>]) -> Result<usize, Refusal> {
        let algorithm = self.scheme.algorithm;
        let urls: Vec<Url> = match request.url.filter(|_| self.scheme.signs_url()) {
            Some(url) => url::spellings(url).into_iter().map(Url::of).collect(),
            None => vec![Url::default()],
        };
        let mut found = None;
        for (index, key) in self.keys.iter().enumerate() {
            let mut is_signed = algorithm == Algorithm::Equal && algorithm.verify(key, &[], presented);
            for (message, url) in
                self.scheme.messages.iter().flat_map(|message| urls.iter().map(move |url| (message, url)))
            {
                let parts = parts(message, request, url, stamp, key)?;
                is_signed |= algorithm.verify(key, &parts, presented);
            }
            if is_signed {
                found.get_or_insert(index);
            }
        }
        if let Some(index) = found {
            return Ok(index);
        }
        let place = match self.scheme.at {
            At::Query(name) => format!("{name} in the query"),
            At::Headers(_) | At::Numbered(_) | At::Named => self.headers.join(" or "),
        };
        Err(if algorithm == Algorithm::Equal {
            Refusal::new("wrong_secret", format!("{place} is not this source's secret"))
        } else {
            Refusal::new("bad_signature", format!("{place} is not the signature of these bytes with this source's key"))
        })
    }

    fn strip(&self, request: &Request<'_>) -> Vec<usize> {
        if !self.scheme.strip {
            return Vec::new();
        }
        let is_ours = |name: &[u8]| self.headers.iter().any(|own| own.as_bytes() == name);
        request.headers.iter().enumerate().filter(|(_, (name, _))| is_ours(name)).map(|(index, _)| index).collect()
    }

    fn reads(&self) -> Vec<String> {
        let scheme = &self.scheme;
        let mut names: Vec<String> = self.headers.iter().map(|name| name.clone().into_owned()).collect();
        if let At::Numbered(family) = scheme.at {
            names = (1..=NUMBERED_MAX).map(|number| format!("{family}{number}")).collect();
        }
        names.extend(scheme.require.iter().map(|(name, _)| (*name).to_owned()));
        if let Some(Stamp { at: StampAt::Header(name) | StampAt::JsonOrHeader(_, name), .. }) = scheme.stamp {
            names.push(name.to_owned());
        }
        for part in scheme.messages.iter().copied().flatten() {
            if let Part::Header(name) = part {
                names.push((*name).to_owned());
            }
        }
        names
    }

    fn sign(&self, mut draft: Draft, id: &str, now: Wall) -> Result<Draft, SignError> {
        let scheme = &self.scheme;
        let message = scheme.messages.first().copied().unwrap_or_default();
        for part in message {
            if let Part::Header(name) = part {
                draft.default_header(name, id.to_owned());
            }
        }
        for (name, value) in scheme.require {
            draft.default_header(name, *value);
        }
        let stamp = self.set_stamp(&mut draft, now)?;
        let signature = self.signature(&draft, message, &stamp, now)?;
        let encoded = scheme.encoding.encode(&signature);
        let value = present(scheme.style, &self.prefix, &encoded, &stamp);
        match scheme.at {
            At::Headers(_) | At::Named => {
                let name = self.headers.first().ok_or(SignError::Key)?.clone();
                draft.set_header(&name, value);
            }
            At::Numbered(family) => draft.set_header(&format!("{family}1"), value),
            At::Query(name) => {
                let separator = if draft.url.contains('?') { '&' } else { '?' };
                draft.url = format!("{}{separator}{name}={}", draft.url, form::encode(value.as_bytes()));
            }
        }
        Ok(draft)
    }

    fn signature(&self, draft: &Draft, message: &[Part], stamp: &str, now: Wall) -> Result<Vec<u8>, SignError> {
        let request = draft.request(now, &[]);
        let url = request.url.map(|url| Url::of(url.to_owned())).unwrap_or_default();
        let none = Secret::new("");
        let key = self.keys.first().unwrap_or(&none);
        let parts = parts(message, &request, &url, stamp.as_bytes(), key).map_err(|_| SignError::Key)?;
        match &self.private {
            Some(private) => private.sign(self.scheme.algorithm, &parts),
            None if self.keys.is_empty() || self.scheme.algorithm.is_asymmetric() => Err(SignError::Key),
            None => Ok(self.scheme.algorithm.mac(key, &parts)),
        }
    }

    /// Puts the time where it belongs and returns its text.
    fn set_stamp(&self, draft: &mut Draft, now: Wall) -> Result<String, SignError> {
        let Some(Stamp { at, unit }) = self.scheme.stamp else { return Ok(String::new()) };
        let text = unit.write(now);
        match at {
            StampAt::Header(name) => draft.set_header(name, text.clone()),
            StampAt::Item | StampAt::JsonIfAny(_) => {}
            StampAt::JsonOrHeader(field, _) => {
                let mut value: Value = serde_json::from_slice(&draft.body).unwrap_or_default();
                let object = value.as_object_mut().ok_or(SignError::Body("a JSON object"))?;
                // A body that has the time already keeps its bytes.
                if object.get(field).map(Value::to_string).as_deref() != Some(&text) {
                    let number = text.parse::<i64>().map_or_else(|_| Value::from(text.as_str()), Value::from);
                    object.insert(field.to_owned(), number);
                    draft.body = value.to_string().into();
                }
            }
        }
        Ok(text)
    }
}

/// How near a request came to a scheme that refused it: it has nothing of it, something else in its place, or what it should.
fn nearness(refusal: &Refusal) -> u8 {
    match refusal.check {
        check if check.starts_with("missing_s") => 0,
        "malformed_signature" => 1,
        _ => 2,
    }
}

/// The text at a path of a JSON body; empty if there is none.
fn json_stamp(body: &[u8], path: &str) -> Vec<u8> {
    let body: Value = serde_json::from_slice(unmarked(body)).unwrap_or_default();
    pruned::find(&body, path).first().and_then(|value| pruned::text(value)).unwrap_or_default().into_bytes()
}

/// The URL the sender called.
fn public_url(url: Option<&str>) -> Result<&[u8], Refusal> {
    url.map(str::as_bytes).ok_or_else(|| {
        Refusal::new("missing_url", "the signature covers the URL, and the relay does not know its own: set PUBLIC_URL")
    })
}

/// A URL as it may be signed.
#[derive(Default)]
struct Url {
    plain: Option<String>,
    /// With some of its escapes decoded.
    decoded: Option<String>,
}

impl Url {
    fn of(mut url: String) -> Self {
        // No fragment is ever sent, so none is signed.
        url.truncate(url.find('#').unwrap_or(url.len()));
        Self { decoded: Some(decode_reserved(&url).into_owned()), plain: Some(url) }
    }
}

/// The bytes that are signed, piece by piece.
fn parts<'a>(
    message: &[Part],
    request: &Request<'a>,
    url: &'a Url,
    stamp: &'a [u8],
    key: &'a Secret,
) -> Result<Vec<&'a [u8]>, Refusal> {
    let part = |part: &Part| {
        Ok(match part {
            Part::Body => request.body,
            Part::Stamp => stamp,
            Part::Method => request.method.as_bytes(),
            Part::Url => public_url(url.plain.as_deref())?,
            Part::UrlDecoded => public_url(url.decoded.as_deref())?,
            Part::Secret => key.expose(),
            Part::Literal(text) => text.as_bytes(),
            Part::Header(name) => header::required(request, name, "missing_header")?,
        })
    };
    message.iter().map(part).collect()
}

impl When {
    fn holds(self, parameters: &Parameters<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Is(name, value) => parameters.one(name) == value,
            Self::Given(name) => !parameters.all(name).is_empty(),
            Self::Absent(name) => parameters.all(name).is_empty(),
        }
    }
}

impl Scheme {
    /// Whether the proof depends on the body.
    pub(crate) fn binds_body(&self) -> bool {
        let in_body = self.stamp.is_some_and(|stamp| matches!(stamp.at, StampAt::JsonOrHeader(..)));
        in_body || self.messages.iter().copied().flatten().any(|part| matches!(part, Part::Body))
    }

    /// What all of its messages cover.
    fn covers(&self) -> Covered {
        if self.algorithm == Algorithm::Equal {
            return Covered::All;
        }
        let in_all = |part: &dyn Fn(&Part) -> bool| self.messages.iter().all(|message| message.iter().any(part));
        let first = self.messages.first().copied().unwrap_or_default().iter();
        let names = first.filter_map(|part| if let Part::Header(name) = part { Some(*name) } else { None });
        let is_signed = |name: &&str| in_all(&|part| matches!(part, Part::Header(other) if other == name));
        Covered::Signed {
            body: in_all(&|part| matches!(part, Part::Body)),
            headers: names.filter(is_signed).map(Cow::Borrowed).collect(),
        }
    }

    fn signs_url(&self) -> bool {
        self.messages.iter().copied().flatten().any(|part| matches!(part, Part::Url | Part::UrlDecoded))
    }

    fn keys(&self, parameters: &mut Parameters<'_>) -> Vec<Secret> {
        let values = parameters.agreed_secrets(self.key);
        let mut keys = Vec::new();
        for value in values.into_iter().filter(|value| self.key_form.takes(value)) {
            match self.key_form.read(value) {
                Ok(key) => keys.push(Secret::new(key)),
                Err(fault) => parameters.fault(self.key, fault),
            }
        }
        keys
    }
}

impl KeyForm {
    /// Whether a value is of this form's kind, where a parameter takes several.
    fn takes(self, value: &str) -> bool {
        match self {
            Self::Whsec => !value.starts_with("whpk_"),
            Self::Whpk => value.starts_with("whpk_"),
            Self::Text | Self::Base64 | Self::Ed25519 | Self::Spki => true,
        }
    }

    fn read(self, text: &str) -> Result<Vec<u8>, &'static str> {
        match self {
            Self::Text => Ok(text.as_bytes().to_vec()),
            Self::Base64 => STANDARD.decode(text).ok().filter(|key| !key.is_empty()).ok_or("must be base64"),
            Self::Whsec => standard_key(text),
            Self::Whpk => {
                let key = text.strip_prefix("whpk_").and_then(|encoded| STANDARD.decode(encoded).ok());
                key.filter(|key| key.len() == 32).ok_or("must be whpk_ followed by 32 bytes in base64")
            }
            Self::Ed25519 => {
                let key = secret::from_hex(text).or_else(|| STANDARD.decode(text).ok());
                key.filter(|key| key.len() == 32).ok_or("must be an Ed25519 public key: 32 bytes in hex or base64")
            }
            Self::Spki => {
                let base64: String = text.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
                let der = STANDARD.decode(base64).ok();
                let point = der.as_deref().and_then(p256_point);
                point.map(<[u8]>::to_vec).ok_or("must be a P-256 public key in base64, as the platform shows it")
            }
        }
    }
}

/// The key bytes of a `whsec_` secret. Some platforms show it behind the version of the signatures it is for
/// (`v1,whsec_`: supabase.com/docs/guides/auth/auth-hooks), or without its padding. The specification recommends 24 to 64
/// bytes, the libraries take any number, and what a platform made cannot be changed.
fn standard_key(secret: &str) -> Result<Vec<u8>, &'static str> {
    const KEY_BYTES_MIN: usize = 8;
    // Some that were made up end in bits that stand for nothing, which libraries of the specification pass over.
    const LENIENT: GeneralPurpose =
        GeneralPurpose::new(&alphabet::STANDARD, NO_PAD.with_decode_allow_trailing_bits(true));
    let secret = secret.strip_prefix("v1,").unwrap_or(secret);
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret).trim_end_matches('=');
    let key = LENIENT.decode(encoded).map_err(|_| "must be whsec_ followed by base64, as the sender shows it")?;
    if key.len() >= KEY_BYTES_MIN { Ok(key) } else { Err("must hold at least 8 bytes in base64 after whsec_") }
}
