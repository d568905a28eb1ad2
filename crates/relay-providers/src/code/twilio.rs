//! Twilio: the URL and the sorted fields of a form, or the URL with a hash of the body in it.

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use relay_core::time::Wall;

use super::{bad_signature, base64_field, first, is_signed, names, public_url, secrets, verdict};
use crate::{
    Acknowledgement, ByHead, DedupeKey, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request,
    Sample, SignError, Verdict,
    form::{self, Pairs},
    header,
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::Algorithm,
    secret::{self, Secret},
    url,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "twilio",
    title: "Twilio",
    parameters: &[Parameter::key(
        "auth_token",
        "the primary auth token: console.twilio.com, Account Info on the dashboard, or Admin, Account management, API keys & auth tokens",
    )
    .not(&[("AC", "the account's SID"), ("SK", "the SID of an API key")])],
    // Instructions, and none: an empty answer without their type is an error in the account's log.
    // https://www.twilio.com/docs/usage/webhooks/messaging-webhooks, https://www.twilio.com/docs/api/errors/15003
    acknowledgement: Acknowledgement::Fixed {
        status: 200,
        content_type: Some("text/xml"),
        body: "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response></Response>",
    },
    answer_within: std::time::Duration::from_secs(15),
    methods: &["GET", "POST"],
    signs_url: true,
    again: "where no connection came about, and once; with `#rc=5&rp=all` behind the URL five times after any failure",
    delivery: DeliveryId::First(&[
        // The same over retries, but not signed.
        DeliveryId::Code("the header field `i-twilio-idempotency-token`"),
        DeliveryId::Code("`MessageSid` or `CallSid` with its status"),
    ]),
    // Conversations, tasks and other products name events; a message or a call has a status.
    event: Name::First(&[
        Name::Form("EventType"),
        Name::Form("MessageStatus"),
        Name::Form("SmsStatus"),
        Name::Form("CallStatus"),
    ]),
    docs: "https://www.twilio.com/docs/usage/security#validating-requests",
    checked: "`x-twilio-signature` is the HMAC-SHA1 (HMAC-SHA256 where `x-twilio-webhooks-signature-settings` says so), in base64, of the URL and of name and value of every field of \
        the form, sorted by name; of the URL alone where the body is no form, and then `bodySHA256` of the query is \
        the SHA-256 of the body. The URL counts with and without its default port, and in each spelling of its query that twilio-node tries. The key is `auth_token`, used as \
        the text it is.",
    unproven: "The signature covers the URL and the body, but no time, no method and no other header field: whoever has \
        seen one request can send it again. In forms, where one field's name ends and its value begins is not covered.",
    sample: Sample {
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        query: "",
        body: "AccountSid=AC00000000000000000000000000000000&ApiVersion=2010-04-01&Body=Is+it+still+available%3F\
            &From=%2B14155552671&MessageSid=SM{{hex}}&NumMedia=0&NumSegments=1&SmsStatus=received&To=%2B18005551212",
    },
    proof: Proof::Code(|parameters| Box::new(Twilio::read(parameters))),
    ..Provider::BASE
};

const SIGNATURE: &str = "x-twilio-signature";
/// `key=NAME,algorithm=HMAC_SHA256`: what signed the request, where that is not the account's token with SHA-1.
const SETTINGS: &str = "x-twilio-webhooks-signature-settings";
const IDEMPOTENCY_TOKEN: &str = "i-twilio-idempotency-token";
const BODY_HASH: &str = "bodySHA256";
const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Clone, Debug)]
struct Twilio(Vec<Secret>);

impl Twilio {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        Self(secrets(parameters, "auth_token"))
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let head = Head::read(request)?;
        let fields = if head.is_form { form::all(request.body) } else { Some(Vec::new()) };
        let fields = fields.ok_or_else(|| Refusal::new("malformed_body", "the body is a form of too many fields"))?;
        self.check_signature(&head, &signed_fields(&fields))?;
        check_body(request, &fields)?;
        Ok(Genuine { dedupe: delivery(request, &fields), ..Genuine::default() })
    }

    /// Everything that can be refused whatever the body is: where it is no form, the URL alone is signed.
    fn check_head(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let head = Head::read(request)?;
        if head.is_form { Ok(()) } else { self.check_signature(&head, b"") }
    }

    fn check_signature(&self, head: &Head<'_>, fields: &[u8]) -> Result<(), Refusal> {
        // The vendor's own libraries try the URL with and without a port too: proxies and frameworks add and drop it.
        let found = spellings(head.url).iter().fold(false, |found, url| {
            is_signed(head.algorithm, &self.0, &[url.as_bytes(), fields], &head.presented) | found
        });
        if found { Ok(()) } else { Err(bad_signature(SIGNATURE)) }
    }
}

/// What the head of a request presents, and whether a form is to come.
struct Head<'a> {
    url: &'a str,
    presented: Vec<u8>,
    algorithm: Algorithm,
    is_form: bool,
}

impl<'a> Head<'a> {
    fn read(request: &Request<'a>) -> Result<Self, Refusal> {
        let url = public_url(request)?;
        let presented = base64_field(request, SIGNATURE)?;
        let algorithm = announced(request)?;
        let content_type = header::single(request, "content-type")?;
        // What comes without a type is a form, unless the URL has a hash of it.
        let is_hashed = content_type.is_none() && body_hash(request).is_some();
        Ok(Self { url, presented, algorithm, is_form: !is_hashed && is_form(content_type) })
    }
}

impl Code for Twilio {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        ByHead::of(self.check_head(request))
    }

    fn sign(&self, mut draft: Draft, id: &str, _: Wall) -> Result<Draft, SignError> {
        draft.url = without_body_hash(&draft.url);
        let fields = if is_form(draft.header("content-type")) { form::all(&draft.body) } else { Some(Vec::new()) };
        let fields = fields.ok_or(SignError::Body("a form of fewer fields"))?;
        if fields.is_empty() && !draft.body.is_empty() {
            let separator = if draft.url.contains('?') { '&' } else { '?' };
            let hash = secret::to_hex(&secret::secret_digest(&draft.body));
            draft.url = format!("{}{separator}{BODY_HASH}={hash}", draft.url);
        }
        let mac = Algorithm::HmacSha1.mac(first(&self.0)?, &[draft.url.as_bytes(), &signed_fields(&fields)]);
        draft.set_header(SIGNATURE, STANDARD.encode(mac));
        if !id.is_empty() {
            draft.default_header(IDEMPOTENCY_TOKEN, id.to_owned());
        }
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[SIGNATURE, SETTINGS, IDEMPOTENCY_TOKEN, "content-type"])
    }
}

/// Whether a body of this type is a form; what comes without one is.
fn is_form(content_type: Option<&[u8]>) -> bool {
    content_type.is_none_or(|value| {
        let media_type = value.split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(FORM.as_bytes())
    })
}

/// The hash of the body that stands in the URL.
fn body_hash(request: &Request<'_>) -> Option<Vec<u8>> {
    form::value(request.query.unwrap_or_default(), BODY_HASH)
}

/// How often a hash of the body stands in the URL.
fn body_hashes(request: &Request<'_>) -> usize {
    let pairs = form::all(request.query.unwrap_or_default()).unwrap_or_default();
    pairs.iter().filter(|(name, _)| name == BODY_HASH.as_bytes()).count()
}

/// Refuses a body that the signature would leave open.
///
/// Callbacks of compliance bundles are GETs without a body, whose URL has the same hash of something else twice (twilio-php,
/// issue 861). One that stands there once goes with a body, and who leaves that out has changed the request.
fn check_body(request: &Request<'_>, fields: &Pairs) -> Result<(), Refusal> {
    if request.method == "GET" && request.body.is_empty() && body_hashes(request) > 1 {
        return Ok(());
    }
    match body_hash(request) {
        Some(hash) => {
            let valid = digest::digest(&digest::SHA256, request.body);
            let presented = str::from_utf8(&hash).ok().and_then(secret::from_hex).unwrap_or_default();
            if presented == valid.as_ref() {
                return Ok(());
            }
            Err(Refusal::new("bad_body_hash", format!("{BODY_HASH} in the URL is not the hash of this body")))
        }
        None if fields.is_empty() && !request.body.is_empty() => {
            let detail = format!("the body is no form and {BODY_HASH} is not in the URL: nothing covers it");
            Err(Refusal::new("missing_body_hash", detail))
        }
        None => Ok(()),
    }
}

/// Names and values without anything between, sorted; what stands there twice counts once.
fn signed_fields(fields: &Pairs) -> Vec<u8> {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.into_iter().flat_map(|(name, value)| name.iter().chain(value)).copied().collect()
}

/// The algorithm of the signature. What a request announces chooses between HMACs with the source's own keys, no more.
///
/// **Source** `request_validator` of twilio-python 9.13.
fn announced(request: &Request<'_>) -> Result<Algorithm, Refusal> {
    let Some(settings) = header::single(request, SETTINGS)? else { return Ok(Algorithm::HmacSha1) };
    let mut items = settings.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    match items.find_map(|item| item.strip_prefix(b"algorithm=")) {
        Some(b"HMAC_SHA256") => Ok(Algorithm::HmacSha256),
        Some(b"HMAC_SHA1") | None => Ok(Algorithm::HmacSha1),
        Some(_) => Err(Refusal::new("unsupported_algorithm", format!("{SETTINGS} must say HMAC_SHA256 or HMAC_SHA1"))),
    }
}

/// Every URL that a signature may be over: each spelling of the query, with and without the port.
///
/// **Source** `validateRequest` of twilio-node: the URL as it is, as `new URL()` and as `querystring` spell its query.
fn spellings(url: &str) -> Vec<String> {
    let typed: Vec<String> = url::spellings(url).iter().flat_map(|url| ports(url)).collect();
    let mut all = Vec::new();
    for url in typed {
        if let Some((before, query)) = url.split_once('?') {
            let queries = [query.to_owned(), as_url_writes(query), as_querystring_writes(query)];
            all.extend(queries.iter().map(|query| format!("{before}?{query}")));
        } else {
            all.push(url);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// A query with those characters escaped that the URL standard escapes in one of http or https.
fn as_url_writes(query: &str) -> String {
    let mut written = String::with_capacity(query.len());
    for byte in query.bytes() {
        if byte.is_ascii_graphic() && !b"\"'<>".contains(&byte) {
            written.push(char::from(byte));
        } else {
            written.push('%');
            written.push_str(&secret::to_hex(&[byte]).to_ascii_uppercase());
        }
    }
    written
}

/// A query taken apart and written anew, as Node's `querystring` escapes.
fn as_querystring_writes(query: &str) -> String {
    let written = |text: &[u8]| {
        let mut written = form::encode(text);
        for plain in ["!", "'", "(", ")", "*"] {
            written = written.replace(&form::encode(plain.as_bytes()), plain);
        }
        written
    };
    let pairs = form::pairs(query.as_bytes()).map(|(name, value)| format!("{}={}", written(&name), written(&value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// The URL as it is, and without its port, or with the one its scheme implies.
fn ports(url: &str) -> Vec<String> {
    let mut all = vec![url.to_owned()];
    let Some((scheme, rest)) = url.split_once("://") else { return all };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    // A colon before the bracket belongs to an IPv6 address.
    match authority.rfind(':').filter(|at| !authority[*at..].contains(']')) {
        Some(at) => all.push(format!("{scheme}://{}{rest}", &authority[..at])),
        None if scheme == "https" => all.push(format!("{scheme}://{authority}:443{rest}")),
        None if scheme == "http" => all.push(format!("{scheme}://{authority}:80{rest}")),
        None => {}
    }
    all
}

fn without_body_hash(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let name = |pair: &str| form::decode(pair.split('=').next().unwrap_or_default().as_bytes());
    let kept: Vec<&str> = query.split('&').filter(|pair| name(pair) != BODY_HASH.as_bytes()).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// The token that stays the same over retries, and is not signed; else what identifies one callback. A call's requests without a sequence
/// number are not told apart by their fields: a second `in-progress` is another question of the same call.
fn delivery(request: &Request<'_>, fields: &Pairs) -> Option<DedupeKey> {
    if let Some(token) = header::first(request.headers, IDEMPOTENCY_TOKEN)
        && (1..=255).contains(&token.len())
    {
        return Some(DedupeKey::with_body(token.to_vec()));
    }
    let together = |names: &[&str]| {
        let values: Option<Vec<&[u8]>> = names.iter().map(|name| one(fields, name)).collect();
        values.map(|values| values.join(&b'\n')).filter(|id| id.len() <= 255)
    };
    together(&["MessageSid", "MessageStatus"])
        .or_else(|| together(&["MessageSid", "SmsStatus"]))
        .or_else(|| together(&["CallSid", "CallStatus", "SequenceNumber"]))
        .map(DedupeKey::with_body)
}

fn one<'a>(fields: &'a Pairs, name: &str) -> Option<&'a [u8]> {
    fields.iter().find(|(other, _)| other == name.as_bytes()).map(|(_, value)| &value[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_tried_with_and_without_a_port() {
        for (url, other) in [
            ("https://a.example/x?y=1:2", "https://a.example:443/x?y=1:2"),
            ("https://a.example:1234/x", "https://a.example/x"),
            ("http://a.example", "http://a.example:80"),
            ("https://[::1]/x", "https://[::1]:443/x"),
            ("https://[::1]:8/x", "https://[::1]/x"),
        ] {
            assert_eq!(ports(url), [url, other]);
        }
        assert_eq!(ports("x"), ["x"]);
    }

    #[test]
    fn a_query_is_tried_as_it_is_and_as_node_spells_it() {
        let tried = |url: &str, other: &str| spellings(url).iter().any(|tried| tried == other);
        assert!(tried("https://h/x?s=Sull'Adda", "https://h/x?s=Sull%27Adda"));
        assert!(tried("https://h/x?s=Sull%27Adda", "https://h/x?s=Sull'Adda"));
        assert!(tried("https://h/x?c=sip:1@192.0.2.1&d", "https://h/x?c=sip%3A1%40192.0.2.1&d="));
        assert!(tried("https://h:1/x?a=b+c", "https://h/x?a=b%20c"));
        assert_eq!(spellings("https://h/x?a=1"), ["https://h/x?a=1", "https://h:443/x?a=1"]);
    }

    #[test]
    fn the_algorithm_is_what_the_request_announces_and_no_other_than_an_hmac() {
        let announced = |value: &str| {
            let mut draft = Draft::post("https://h/x", "");
            draft.set_header(SETTINGS, value.to_owned());
            announced(&draft.request(Wall::from_micros(0), &[])).map_err(|refusal| refusal.check)
        };
        assert_eq!(announced("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"), Ok(Algorithm::HmacSha256));
        assert_eq!(announced("key=k"), Ok(Algorithm::HmacSha1));
        assert_eq!(announced("algorithm=none"), Err("unsupported_algorithm"));
    }

    #[test]
    fn fields_are_sorted_and_count_once() {
        let signed = |form: &[u8]| signed_fields(&form::all(form).expect("few"));
        assert_eq!(signed(b"b=2&a=1&b=10&b=2&c="), b"a1b10b2c");
        assert_eq!(signed(b"Body=++hi+&a=%00%ff%2B"), b"Body  hi a\0\xff+");
        assert_eq!(form::all(&b"a&".repeat(5_000)), None);
    }

    #[test]
    fn the_body_hash_leaves_a_url_again() {
        assert_eq!(without_body_hash("https://h/x?a=1&bodySHA256=00&b=2"), "https://h/x?a=1&b=2");
        assert_eq!(without_body_hash("https://h/x?body%53HA256=00"), "https://h/x");
        assert_eq!(without_body_hash("https://h/x"), "https://h/x");
    }
}
