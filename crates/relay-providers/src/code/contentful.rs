//! Contentful: a canonical request of method, path, the header fields the sender lists, and body.

use std::time::Duration;

use relay_core::time::Wall;

use super::{bad_signature, batch_id, first, hex_signature, is_signed, json, jwt, names, secrets, verdict};
use crate::{
    ByHead, DedupeKey, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample, SignError,
    Tries, Verdict, header,
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::{
        Algorithm,
        stamp::{self, Unit},
    },
    secret::{self, Secret},
};

pub(super) const PROVIDER: Provider = Provider {
    name: "contentful",
    title: "Contentful",
    parameters: &[
        Parameter::key(
            "signing_secret",
            "the signing secret, 64 characters: Settings, Webhooks, Settings, Request verification",
        )
        .not(&[("CFPAT-", "an access token")]),
        // None is prescribed (30 s of age is a default of the platform's library), nor is it said that a retry is signed anew: by
        // default two, 30 s apart each, by a policy of one's own over 24 hours. Repeats are known.
        Parameter::tolerance("25h", "https://www.contentful.com/developers/docs/webhooks/retry-policy/"),
    ],
    answer_within: Duration::from_secs(30),
    methods: &["GET", "POST", "PUT", "PATCH", "DELETE"],
    // With a policy of the user's own; 30 s without.
    tries_for: Some(Tries::minutes(24 * 60, "https://www.contentful.com/developers/docs/webhooks/retry-policy")),
    delivery: DeliveryId::Code(
        "X-Contentful-Topic, and space, environment, id and version, revision or deletedAt in sys",
    ),
    event: Name::Header(TOPIC),
    order: Name::Json("sys.id"),
    docs: "https://www.contentful.com/developers/docs/webhooks/request-verification/",
    checked: "`x-contentful-signature` is the HMAC-SHA256, in hex, of method, path with query, the header fields \
        that `x-contentful-signed-headers` lists, and body, a line each. The key is `signing_secret`, used as the \
        text it is. The timestamp is in `x-contentful-timestamp`, whole milliseconds since 1970, and may be off by \
        `tolerance` (25h).",
    unproven: "The signature covers method, path, body, time and the header fields it lists; other header fields can be \
        changed by whoever passes the request on.",
    sample: Sample {
        headers: &[
            ("content-type", "application/vnd.contentful.management.v1+json"),
            (TOPIC, "ContentManagement.Entry.publish"),
        ],
        query: "",
        body: include_str!("../../samples/contentful.json"),
    },
    proof: Proof::Code(|parameters| Box::new(Contentful::read(parameters))),
    ..Provider::BASE
};

const SIGNATURE: &str = "x-contentful-signature";
const SIGNED_HEADERS: &str = "x-contentful-signed-headers";
const TIMESTAMP: &str = "x-contentful-timestamp";
const TOPIC: &str = "x-contentful-topic";
/// Header fields a signature may list: as many as a request may have.
const FIELDS_MAX: usize = 100;

#[derive(Clone, Debug)]
struct Contentful {
    secrets: Vec<Secret>,
    tolerance: Option<Duration>,
}

impl Contentful {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        Self { secrets: secrets(parameters, "signing_secret"), tolerance: stamp::tolerance(parameters) }
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let Head { presented, fields } = self.head(request)?;
        let target = target(request);
        // The documents have the path as it is called, the platform's own library escapes it first: either may match.
        let found = [&escaped(&target), &target].into_iter().fold(false, |found, target| {
            let parts = [request.method.as_bytes(), b"\n", target, b"\n", &fields, b"\n", request.body];
            is_signed(Algorithm::HmacSha256, &self.secrets, &parts, &presented) | found
        });
        if !found {
            return Err(bad_signature(SIGNATURE));
        }
        Ok(Genuine { dedupe: delivery(request).map(DedupeKey::with_body), ..Genuine::default() })
    }

    /// Everything that can be refused whatever the body is.
    fn head(&self, request: &Request<'_>) -> Result<Head, Refusal> {
        let fields = [SIGNATURE, SIGNED_HEADERS, TIMESTAMP];
        self.first_fault(request).map_err(|refusal| header::all_missing(refusal, request, &fields))
    }

    fn first_fault(&self, request: &Request<'_>) -> Result<Head, Refusal> {
        let signature = header::required(request, SIGNATURE, "missing_signature")?;
        let presented = hex_signature(str::from_utf8(signature).unwrap_or_default(), SIGNATURE)?;
        let listed = header::required(request, SIGNED_HEADERS, "missing_header")?;
        let timestamp = header::required(request, TIMESTAMP, "missing_timestamp")?;
        let fields = signed_fields(request, listed)?;
        stamp::check_window(timestamp, Unit::Millis, TIMESTAMP, self.tolerance, request.now)?;
        Ok(Head { presented, fields })
    }
}

/// What the header fields of a request present, and what of them is signed.
struct Head {
    presented: Vec<u8>,
    fields: Vec<u8>,
}

impl Code for Contentful {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        ByHead::of(self.head(request))
    }

    fn sign(&self, mut draft: Draft, _: &str, now: Wall) -> Result<Draft, SignError> {
        let mut listed = vec![SIGNED_HEADERS, TIMESTAMP];
        listed.extend([TOPIC, "content-type"].into_iter().filter(|name| draft.header(name).is_some()));
        listed.sort_unstable();
        let listed = listed.join(",");
        draft.set_header(SIGNED_HEADERS, listed.clone());
        draft.set_header(TIMESTAMP, Unit::Millis.write(now));
        let request = draft.request(now, &[]);
        let fields = signed_fields(&request, listed.as_bytes());
        let fields = fields.map_err(|_| SignError::Body("sent with one value for each header field"))?;
        let target = escaped(&target(&request));
        let parts = [request.method.as_bytes(), b"\n", &target, b"\n", &fields, b"\n", request.body];
        let mac = Algorithm::HmacSha256.mac(first(&self.secrets)?, &parts);
        draft.set_header(SIGNATURE, secret::to_hex(&mac));
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[SIGNATURE, SIGNED_HEADERS, TIMESTAMP, TOPIC, "content-type"])
    }
}

/// `name:value;name:value` of the fields that are listed. The time must be among them, or it would be anybody's.
fn signed_fields(request: &Request<'_>, listed: &[u8]) -> Result<Vec<u8>, Refusal> {
    let malformed = |detail: String| Refusal::new("malformed_header", detail);
    let listed = str::from_utf8(listed).unwrap_or_default().to_ascii_lowercase();
    let listed: Vec<&str> = listed.split(',').map(str::trim).take(FIELDS_MAX + 1).collect();
    if !listed.contains(&TIMESTAMP) {
        return Err(malformed(format!("{SIGNED_HEADERS} must list {TIMESTAMP}")));
    }
    if listed.len() > FIELDS_MAX {
        return Err(malformed(format!("{SIGNED_HEADERS} lists more than {FIELDS_MAX} fields")));
    }
    let mut fields = Vec::new();
    for name in listed {
        let value = header::single(request, name)?.ok_or_else(|| {
            malformed(format!("{SIGNED_HEADERS} lists {}, which the request does not have", jwt::shown(name)))
        })?;
        if !fields.is_empty() {
            fields.push(b';');
        }
        fields.extend_from_slice(name.as_bytes());
        fields.push(b':');
        fields.extend_from_slice(value);
    }
    Ok(fields)
}

/// Path and query as the sender called them: behind a proxy, those of the public URL.
fn target(request: &Request<'_>) -> Vec<u8> {
    let public = request.url.and_then(|url| url.split_once("://")).map(|(_, rest)| rest);
    if let Some(rest) = public {
        let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
        return if path.starts_with('/') { path.into() } else { format!("/{path}").into_bytes() };
    }
    match request.query {
        Some(query) => [request.path, b"?", query].concat(),
        None => request.path.to_vec(),
    }
}

/// The target as the platform's library has it: the query escaped as one value, then all of it as a URI.
fn escaped(target: &[u8]) -> Vec<u8> {
    let at = target.iter().position(|byte| *byte == b'?').unwrap_or(target.len());
    let mut escaped = escape(&target[..at], b";/?:@&=+$,#");
    // The library drops what follows a second question mark, which would leave it to anybody: here it is a part.
    if let Some(query) = target.get(at + 1..).filter(|query| !query.is_empty()) {
        escaped.push(b'?');
        escaped.extend(escape(&escape(query, b""), b""));
    }
    escaped
}

/// Escapes everything but letters, digits, the marks of RFC 2396 and what is kept.
fn escape(bytes: &[u8], kept: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(byte) || kept.contains(byte) {
            escaped.push(*byte);
        } else {
            escaped.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    escaped
}

/// What happened to which version of what. Without a version two events could look the same.
fn delivery(request: &Request<'_>) -> Option<Vec<u8>> {
    let at = |path: &[&str]| json::at(request.body, path);
    let version = at(&["sys", "version"]).or_else(|| at(&["sys", "revision"])).or_else(|| at(&["sys", "deletedAt"]))?;
    let topic = header::first(request.headers, TOPIC).map(|topic| String::from_utf8_lossy(topic).into_owned());
    let id = [
        topic,
        at(&["sys", "space", "sys", "id"]),
        at(&["sys", "environment", "sys", "id"]),
        Some(at(&["sys", "id"])?),
        Some(version),
    ];
    batch_id(vec![id.map(Option::unwrap_or_default).join("\n")])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_micros(1_700_000_000_000_000);

    fn fields(headers: &[(&str, &str)], listed: &str) -> Result<String, &'static str> {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.to_string().into(), value.to_string().into())).collect();
        let draft = Draft { headers, ..Draft::post("https://h/", "") };
        let fields = signed_fields(&draft.request(NOW, &[]), listed.as_bytes());
        fields.map(|fields| String::from_utf8(fields).expect("text")).map_err(|refusal| refusal.check)
    }

    #[test]
    fn the_senders_list_is_followed_and_has_the_time_in_it() {
        let headers = [("b", " 2 "), (TIMESTAMP, "7"), ("a", "1;x:y"), ("twice", "1"), ("twice", "2")];
        assert_eq!(
            fields(&headers, "b,X-Contentful-Timestamp, a").as_deref(),
            Ok("b:2;x-contentful-timestamp:7;a:1;x:y")
        );
        assert_eq!(fields(&headers, "b"), Err("malformed_header"));
        assert_eq!(fields(&headers, ""), Err("malformed_header"));
        assert_eq!(fields(&headers, "x-contentful-timestamp,c"), Err("malformed_header"));
        assert_eq!(fields(&headers, "x-contentful-timestamp,twice"), Err("ambiguous_header"));
        assert_eq!(fields(&headers, &format!("x-contentful-timestamp{}", ",b".repeat(200))), Err("malformed_header"));
    }

    #[test]
    fn the_path_is_the_one_the_sender_called() {
        let draft = Draft::post("https://h.example/in/abc?x=%20", "");
        let request = draft.request(NOW, &[]);
        assert_eq!(target(&request), b"/in/abc?x=%20");
        assert_eq!(target(&Request { url: Some("https://h.example/hooks/in?y"), ..request }), b"/hooks/in?y");
        assert_eq!(target(&Request { url: None, ..request }), b"/in/abc?x=%20");
        assert_eq!(target(&Request { url: Some("https://h.example"), ..request }), b"/");
    }

    #[test]
    fn the_query_is_escaped_as_the_platforms_library_does() {
        for (target, expected) in [
            ("/in/abc", "/in/abc"),
            ("/in/a%20b", "/in/a%2520b"),
            ("/in/abc?", "/in/abc"),
            ("/in/abc?a=%20b&c=(d)", "/in/abc?a%253D%252520b%2526c%253D(d)"),
            ("/x?a?b", "/x?a%253Fb"),
        ] {
            assert_eq!(String::from_utf8_lossy(&escaped(target.as_bytes())), expected);
        }
    }
}
