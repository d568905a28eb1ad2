//! Handshakes: requests by which a platform asks whether an endpoint is there, willing, and in the know.
//!
//! **Invariant:** one is answered only at a source of its provider, is never stored, and what is echoed is plain text or
//! JSON of bounded length.
//! **Invariant:** no genuine event is taken for one. A header field or a parameter of the query that nothing signs may have come
//! on the way, so where the method does not tell them apart, the body has to be the platform's own for that handshake.

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::{
    Answer, Refusal, Request, Verdict, form, header,
    pruned::{self, unmarked},
    scheme::{Algorithm, Encoding},
    secret::{self, Secret},
};

/// Longest value that is echoed.
const ECHO_BYTES_MAX: usize = 4 * 1024;
/// Longest challenge that is answered with an HMAC. Those of platforms are UUIDs or some 30 random bytes in base64.
const CHALLENGE_BYTES_MAX: usize = 128;
/// Largest body that is read as a handshake: its sender is not known.
pub const HANDSHAKE_BODY_BYTES_MAX: usize = 64 * 1024;
/// Values of one parameter a handshake looks at.
const VALUES_MAX: usize = 16;

/// A handshake of a provider: when it is one, and how it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    /// Its HTTP method.
    pub method: &'static str,
    /// What makes it one: all of these.
    pub on: &'static [On],
    /// It has to be genuine like any event; it is answered only then.
    pub signed: bool,
    /// The answer.
    pub exchange: Exchange,
}

/// What a handshake shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// A parameter in the query.
    Query(&'static str),
    /// A header field.
    Header(&'static str),
    /// A header field with this value.
    HeaderIs(&'static str, &'static str),
    /// A field in a JSON body.
    Json(&'static str),
    /// None such.
    NoJson(&'static str),
    /// A field in a JSON body with this value.
    JsonIs(&'static str, &'static str),
    /// An empty list in a JSON body.
    JsonEmpty(&'static str),
    /// A JSON body with this one field and no other.
    JsonOnly(&'static str),
    /// A JSON body that says just this.
    JsonWhole(&'static str),
    /// A form with the first of these fields, and none besides them.
    FormOf(&'static [&'static str]),
    /// A field of a form that holds JSON with this path.
    FormJson(&'static str, &'static str),
    /// A query with the first of these parameters and none of the others.
    QueryWithout(&'static str, &'static [&'static str]),
    /// No body.
    NoBody,
}

/// How a handshake is answered. A name of a parameter is one of the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Always the same.
    Fixed {
        /// Status.
        status: u16,
        /// `Content-Type`, if there is a body.
        content_type: Option<&'static str>,
        /// Body.
        body: &'static str,
    },
    /// `hub.challenge` of the query, if `hub.verify_token` is the source's.
    HubChallenge {
        /// Parameter with the token.
        token: &'static str,
        /// The answer is JSON, not text.
        json: bool,
    },
    /// A parameter of the query, decoded, as text.
    EchoQuery(&'static str),
    /// A field of the JSON body, in the same field.
    EchoJson(&'static str),
    /// A field of the JSON body, as text.
    EchoJsonText(&'static str),
    /// A header field, in the same header field.
    EchoHeader {
        /// The header field.
        header: &'static str,
        /// Status.
        status: u16,
    },
    /// A header field, in a field of a JSON body.
    HeaderToJson {
        /// The header field.
        header: &'static str,
        /// The JSON field.
        field: &'static str,
    },
    /// X: an HMAC of `crc_token` with this parameter.
    Crc(&'static str),
    /// Of `LinkedIn`: an HMAC of `challengeCode` with this parameter.
    ChallengeCode(&'static str),
    /// Zoom: an HMAC of `payload.plainToken` with this parameter.
    PlainToken(&'static str),
    /// eBay: a hash over `challenge_code`, a token and the endpoint's URL.
    ChallengeHash {
        /// Parameter with the token.
        token: &'static str,
        /// Parameter with the URL, if it is not the one the request came to.
        endpoint: &'static str,
    },
    /// Braintree: an HMAC of `bt_challenge` with the private key's hash.
    BtChallenge {
        /// Parameter with the public key.
        public: &'static str,
        /// Parameter with the private key.
        private: &'static str,
    },
    /// Azure Event Grid: the validation code, for the subscriptions this parameter names.
    ValidationCode(&'static str),
    /// Of `CloudEvents`: permission to an origin.
    WebhookOrigin {
        /// Parameter with the origins.
        origins: &'static str,
        /// Parameter with the requests a minute.
        rate: &'static str,
    },
    /// The platform hands over the secret in a header field and wants it back in the same; only while the source has none.
    AdoptHeader {
        /// The header field.
        header: &'static str,
        /// The parameter that it becomes.
        parameter: &'static str,
    },
    /// The platform hands over the secret in a JSON field; only while the source has none.
    AdoptJson {
        /// The JSON field.
        field: &'static str,
        /// The parameter that it becomes.
        parameter: &'static str,
    },
}

/// Looks up what a source has under the name of a parameter.
pub type Lookup<'a> = dyn Fn(&str) -> Vec<String> + 'a;

impl Handshake {
    /// On any request of a method.
    pub(crate) const fn any(method: &'static str) -> Self {
        Self { method, on: &[], signed: false, exchange: Exchange::OK }
    }

    /// Whether the request is this handshake.
    pub(crate) fn is(&self, request: &Request<'_>, body: Option<&Value>) -> bool {
        request.method == self.method && self.on.iter().all(|on| on.holds(request, body))
    }

    /// Whether the request is this handshake with some body.
    pub(crate) fn may_be(&self, request: &Request<'_>) -> bool {
        let by_head = |on: &&On| !on.is_in_body();
        request.method == self.method && self.on.iter().filter(by_head).all(|on| on.holds(request, None))
    }

    /// Whether the body has a say in that.
    pub(crate) fn needs_body(&self) -> bool {
        self.on.iter().any(|on| on.is_in_body())
    }

    /// Whether a JSON body has to be read to know it.
    pub(crate) fn needs_json(&self) -> bool {
        self.on.iter().any(|on| on.is_in_body() && !matches!(on, On::FormOf(_) | On::FormJson(..) | On::NoBody))
    }

    /// The parameter that the platform hands over.
    pub(crate) fn adopts(&self) -> Option<&'static str> {
        match self.exchange {
            Exchange::AdoptHeader { parameter, .. } | Exchange::AdoptJson { parameter, .. } => Some(parameter),
            _ => None,
        }
    }
}

/// Refuses as an event what could be a challenge, or become something else than it is here: an event is a JSON object as it
/// stands in the body. A challenge is a word, so it never is one.
pub(crate) fn is_no_challenge(request: &Request<'_>) -> Result<(), Refusal> {
    if header::first(request.headers, "content-encoding").is_some() {
        let detail = "events of this platform have no Content-Encoding; its challenges are signed with the same key";
        return Err(Refusal::new("encoded_event", detail));
    }
    if !is_json_object(request.body) {
        let detail = "events of this platform are JSON objects; its challenges are signed with the same key";
        return Err(Refusal::new("no_json_object", detail));
    }
    Ok(())
}

/// Whether these bytes are a JSON object and nothing else.
pub(crate) fn is_json_object(bytes: &[u8]) -> bool {
    let begins = bytes.trim_ascii_start().first() == Some(&b'{');
    begins && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// The body as JSON, if a stranger's is small enough to be read.
pub(crate) fn small_json(request: &Request<'_>) -> Option<Value> {
    if request.body.len() > HANDSHAKE_BODY_BYTES_MAX {
        return None;
    }
    serde_json::from_slice(unmarked(request.body)).ok()
}

impl On {
    fn is_in_body(self) -> bool {
        match self {
            Self::Json(_)
            | Self::NoJson(_)
            | Self::JsonIs(..)
            | Self::JsonEmpty(_)
            | Self::JsonOnly(_)
            | Self::JsonWhole(_)
            | Self::FormOf(_)
            | Self::FormJson(..)
            | Self::NoBody => true,
            Self::Query(_) | Self::QueryWithout(..) | Self::Header(_) | Self::HeaderIs(..) => false,
        }
    }

    pub(crate) fn holds(self, request: &Request<'_>, body: Option<&Value>) -> bool {
        let texts = |path| body.into_iter().flat_map(move |body| pruned::find(body, path));
        match self {
            Self::Query(name) => form::value(request.query.unwrap_or_default(), name).is_some(),
            Self::Header(name) => header::first(request.headers, name).is_some(),
            Self::HeaderIs(name, value) => {
                header::first(request.headers, name).is_some_and(|found| found.eq_ignore_ascii_case(value.as_bytes()))
            }
            Self::Json(path) => texts(path).next().is_some(),
            // What was not read may hold anything.
            Self::NoJson(path) => body.is_some() && texts(path).next().is_none(),
            Self::JsonIs(path, value) => texts(path).any(|found| pruned::text(found).as_deref() == Some(value)),
            Self::JsonEmpty(path) => texts(path).any(|found| found.as_array().is_some_and(Vec::is_empty)),
            Self::JsonOnly(field) => body
                .and_then(Value::as_object)
                .is_some_and(|object| object.len() == 1 && object.get(field).is_some_and(Value::is_string)),
            Self::JsonWhole(text) => {
                let whole: Option<Value> = serde_json::from_str(text).ok();
                whole.is_some() && body == whole.as_ref()
            }
            Self::FormOf(names) => request.body.len() <= HANDSHAKE_BODY_BYTES_MAX && is_form_of(request.body, names),
            Self::FormJson(name, path) => {
                let is_small = request.body.len() <= HANDSHAKE_BODY_BYTES_MAX;
                let value = if is_small { form::value(request.body, name) } else { None };
                let value: Option<Value> = value.and_then(|value| serde_json::from_slice(&value).ok());
                value.is_some_and(|value| !pruned::find(&value, path).is_empty())
            }
            Self::QueryWithout(name, others) => {
                let found = form::names(request.query.unwrap_or_default());
                let has = |name: &str| found.iter().any(|found| found == name.as_bytes());
                has(name) && !others.iter().any(|other| has(other))
            }
            Self::NoBody => request.body.is_empty(),
        }
    }
}

/// Whether the form has the first of these fields, and none besides them.
fn is_form_of(body: &[u8], names: &[&str]) -> bool {
    let is = |found: &[u8], name: &&str| found == name.as_bytes();
    // One more than there may be.
    let found: Vec<Vec<u8>> = form::pairs(body).take(names.len() + 1).map(|(found, _)| found).collect();
    let has_first = found.iter().any(|found| names.first().is_some_and(|name| is(found, name)));
    has_first && found.len() <= names.len() && found.iter().all(|found| names.iter().any(|name| is(found, name)))
}

impl Exchange {
    /// Whether the answer is computed over what a stranger chose, with the key and in the way that events are signed with.
    /// At such a provider nothing that could be a challenge may pass for an event: see [`is_no_challenge`].
    pub(crate) fn is_keyed_like_an_event(&self) -> bool {
        matches!(self, Self::Crc(_) | Self::ChallengeCode(_))
    }

    /// An empty 200.
    pub const OK: Self = Self::Fixed { status: 200, content_type: None, body: "" };

    /// The answer to a request that is this handshake, or why it gets none.
    ///
    /// # Errors
    /// What the request should have shown; with the status the platform wants to see.
    pub fn answer(&self, request: &Request<'_>, lookup: &Lookup<'_>) -> Result<Verdict, Refusal> {
        let answer = match *self {
            Self::Fixed { status, content_type, body } => {
                Answer { status, content_type, headers: Vec::new(), body: body.into() }
            }
            Self::HubChallenge { token, json } => hub_challenge(request, &lookup(token), json)?,
            Self::EchoQuery(name) => text(query(request, name)?),
            Self::EchoJson(field) => json_answer(&json!({field: body_text(request, field)?})),
            Self::EchoJsonText(field) => text(body_text(request, field)?.into_bytes()),
            Self::EchoHeader { header, status } => Answer { status, ..header_answer(header, echoed(request, header)?) },
            Self::HeaderToJson { header, field } => {
                json_answer(&json!({field: String::from_utf8_lossy(&echoed(request, header)?)}))
            }
            Self::Crc(key) => {
                let token = challenge(query(request, "crc_token")?, "crc_token")?;
                let mac = mac(&lookup(key), &token, Encoding::Base64)?;
                json_answer(&json!({"response_token": format!("sha256={mac}")}))
            }
            Self::ChallengeCode(key) => {
                let code = challenge(query(request, "challengeCode")?, "challengeCode")?;
                let mac = mac(&lookup(key), &code, Encoding::Hex)?;
                json_answer(&json!({"challengeCode": String::from_utf8_lossy(&code), "challengeResponse": mac}))
            }
            Self::PlainToken(key) => {
                let token = body_text(request, "payload.plainToken")?;
                let token = challenge(token.into_bytes(), "payload.plainToken")?;
                let mac = mac(&lookup(key), &token, Encoding::Hex)?;
                let token = String::from_utf8_lossy(&token);
                json_answer(&json!({"plainToken": token, "encryptedToken": mac}))
            }
            Self::ChallengeHash { token, endpoint } => challenge_hash(request, &lookup(token), &lookup(endpoint))?,
            Self::BtChallenge { public, private } => bt_challenge(request, &lookup(public), &lookup(private))?,
            Self::ValidationCode(names) => validation_code(request, &lookup(names))?,
            Self::WebhookOrigin { origins, rate } => webhook_origin(request, &lookup(origins), &lookup(rate))?,
            Self::AdoptHeader { header, parameter } => {
                let value = echoed(request, header)?;
                return adopt(parameter, header_answer(header, value.clone()), value);
            }
            Self::AdoptJson { field, parameter } => {
                return adopt(
                    parameter,
                    Answer { status: 200, ..Answer::default() },
                    body_text(request, field)?.into_bytes(),
                );
            }
        };
        Ok(Verdict::Handshake(answer))
    }
}

fn hub_challenge(request: &Request<'_>, tokens: &[String], json: bool) -> Result<Answer, Refusal> {
    // None at all is a wrong one.
    let presented = form::value(request.query.unwrap_or_default(), "hub.verify_token").unwrap_or_default();
    if query(request, "hub.mode")? != b"subscribe" {
        return Err(Refusal { status: 403, ..Refusal::new("malformed_handshake", "hub.mode must be subscribe") });
    }
    if tokens.iter().all(String::is_empty) {
        let detail = "this source has no verify_token to compare hub.verify_token with: make one up, give it with \
                      crm-relay source update --set verify_token=..., and enter the same at the platform";
        return Err(Refusal { status: 403, ..Refusal::new("no_verify_token", detail) });
    }
    if presented.is_empty() || !is_one_of(&presented, tokens) {
        return Err(Refusal {
            status: 403,
            ..Refusal::new("wrong_verify_token", "hub.verify_token is not this source's")
        });
    }
    let challenge = query(request, "hub.challenge")?;
    if json {
        return Ok(json_answer(&json!({"hub.challenge": String::from_utf8_lossy(&challenge)})));
    }
    Ok(text(challenge))
}

fn challenge_hash(request: &Request<'_>, tokens: &[String], endpoints: &[String]) -> Result<Answer, Refusal> {
    let code = query(request, "challenge_code")?;
    let token = tokens.first().ok_or_else(no_key)?;
    let own = request.url.and_then(|url| url.split('?').next());
    let endpoint = endpoints.first().map(String::as_str).or(own).ok_or_else(|| {
        Refusal::new("missing_url", "the answer covers the URL, and the relay does not know its own: set PUBLIC_URL")
    })?;
    let hash = secret::secret_digest(&[&code, token.as_bytes(), endpoint.as_bytes()].concat());
    Ok(json_answer(&json!({"challengeResponse": secret::to_hex(&hash)})))
}

fn bt_challenge(request: &Request<'_>, public: &[String], private: &[String]) -> Result<Answer, Refusal> {
    let challenge = query(request, "bt_challenge")?;
    if !is_bt_challenge(&challenge) {
        return Err(malformed("bt_challenge must be 20 to 32 lower-case hex digits"));
    }
    let (public, private) = public.first().zip(private.first()).ok_or_else(no_key)?;
    let key = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, private.as_bytes());
    let mac = Algorithm::HmacSha1.mac(&Secret::new(key.as_ref()), &[&challenge]);
    Ok(text(format!("{public}|{}", secret::to_hex(&mac)).into_bytes()))
}

/// What Braintree sends as a challenge: 20 to 32 hex digits.
pub(crate) fn is_bt_challenge(text: &[u8]) -> bool {
    let is_hex = text.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    (20..=32).contains(&text.len()) && is_hex
}

fn validation_code(request: &Request<'_>, names: &[String]) -> Result<Answer, Refusal> {
    let name = header::first(request.headers, "aeg-subscription-name").unwrap_or_default();
    if !names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name)) {
        let detail = "aeg-subscription-name is none of this source's subscriptions";
        return Err(Refusal { status: 403, ..Refusal::new("unknown_subscription", detail) });
    }
    let code = body_text(request, "[].data.validationCode")?;
    Ok(json_answer(&json!({"validationResponse": code})))
}

fn webhook_origin(request: &Request<'_>, origins: &[String], rate: &[String]) -> Result<Answer, Refusal> {
    let origin = echoed(request, "webhook-request-origin")?;
    let allowed = origins.iter().any(|known| known == "*" || known.as_bytes().eq_ignore_ascii_case(&origin));
    if !allowed {
        let detail = "WebHook-Request-Origin is none of this source's origins";
        return Err(Refusal { status: 403, ..Refusal::new("unknown_origin", detail) });
    }
    let rate = rate.first().map_or("*", String::as_str);
    let headers =
        vec![("webhook-allowed-origin", origin), ("webhook-allowed-rate", rate.into()), ("allow", b"POST".to_vec())];
    Ok(Answer { status: 200, headers, ..Answer::default() })
}

fn adopt(parameter: &'static str, answer: Answer, value: Vec<u8>) -> Result<Verdict, Refusal> {
    let value = String::from_utf8(value).ok().filter(|value| value.bytes().all(|byte| byte.is_ascii_graphic()));
    let value = value.ok_or_else(|| malformed("the secret handed over must be printable ASCII"))?;
    Ok(Verdict::Adopt { parameter, value, answer })
}

/// A parameter of the query, decoded, that is short enough to be echoed.
fn query(request: &Request<'_>, name: &str) -> Result<Vec<u8>, Refusal> {
    let value = form::value(request.query.unwrap_or_default(), name);
    echo(value.ok_or_else(|| malformed(&format!("no {name} in the query")))?, name)
}

/// A header field's value that is short enough to be echoed.
fn echoed(request: &Request<'_>, name: &str) -> Result<Vec<u8>, Refusal> {
    let value = header::single(request, name)?;
    echo(value.ok_or_else(|| malformed(&format!("no {name} header field")))?.to_vec(), name)
}

/// A text of the JSON body that is short enough to be echoed.
fn body_text(request: &Request<'_>, path: &str) -> Result<String, Refusal> {
    let body = small_json(request);
    let value = body.as_ref().and_then(|body| pruned::find(body, path).first().and_then(|value| value.as_str()));
    let value = value.ok_or_else(|| malformed(&format!("no text {path} in a JSON body")))?;
    echo(value.as_bytes().to_vec(), path)?;
    Ok(value.to_owned())
}

fn echo(value: Vec<u8>, name: &str) -> Result<Vec<u8>, Refusal> {
    if value.is_empty() || value.len() > ECHO_BYTES_MAX {
        return Err(malformed(&format!("{name} of {} bytes, allowed are 1 to {ECHO_BYTES_MAX}", value.len())));
    }
    Ok(value)
}

/// A challenge that is answered with an HMAC: a word, as platforms make them. Where the answer is keyed like the signature
/// of an event, anything else could be an event that a stranger wants signed; see [`Exchange::is_keyed_like_an_event`].
fn challenge(value: Vec<u8>, name: &str) -> Result<Vec<u8>, Refusal> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    // Elsewhere than at its end `=` would make a form of it.
    let word = value.strip_suffix(b"=").map_or(&value[..], |word| word.strip_suffix(b"=").unwrap_or(word));
    if value.len() > CHALLENGE_BYTES_MAX || word.is_empty() || !word.iter().all(is_word) {
        let allowed = format!("1 to {CHALLENGE_BYTES_MAX} letters, digits and -._~+/, with = at the end");
        return Err(malformed(&format!("{name} must be {allowed}: the answer signs it")));
    }
    Ok(value)
}

fn is_one_of(presented: &[u8], values: &[String]) -> bool {
    let presented = secret::secret_digest(presented);
    let equal = |value: &String| secret::equal(&secret::secret_digest(value.as_bytes()), &presented);
    values.iter().take(VALUES_MAX).fold(false, |found, value| equal(value) | found)
}

/// With the first of several keys: an answer has room for one.
fn mac(keys: &[String], message: &[u8], encoding: Encoding) -> Result<String, Refusal> {
    let key = keys.first().ok_or_else(no_key)?;
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), message);
    Ok(encoding.encode(mac.as_ref()))
}

/// Never HTML: what is echoed is a stranger's.
fn text(body: Vec<u8>) -> Answer {
    Answer { status: 200, content_type: Some("text/plain"), headers: nosniff(), body }
}

fn json_answer(value: &Value) -> Answer {
    Answer {
        status: 200,
        content_type: Some("application/json"),
        headers: nosniff(),
        body: value.to_string().into_bytes(),
    }
}

fn header_answer(name: &'static str, value: Vec<u8>) -> Answer {
    Answer { status: 200, headers: vec![(name, value)], ..Answer::default() }
}

fn nosniff() -> Vec<(&'static str, Vec<u8>)> {
    vec![("x-content-type-options", b"nosniff".to_vec())]
}

fn malformed(detail: &str) -> Refusal {
    Refusal { status: 400, ..Refusal::new("malformed_handshake", detail) }
}

fn no_key() -> Refusal {
    Refusal::new("no_key", "this source has no secret to answer with")
}
