//! Mandrill (Mailchimp Transactional): the URL and the sorted fields of a form, and a test that has a key of its own.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use relay_core::time::Wall;

use super::{bad_signature, base64_field, batch_id, first, is_signed, json, names, public_url, secrets};
use crate::{
    Answer, ByHead, DedupeKey, DeliveryId, Draft, Exchange, Genuine, Handshake, Name, Parameter, Provider, Refusal,
    Request, Sample, SignError, Verdict,
    form::{self, Pairs},
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::Algorithm,
    secret::Secret,
    url,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "mandrill",
    title: "Mandrill (Mailchimp Transactional)",
    parameters: &[Parameter::key(
        "webhook_key",
        "the webhook's key: mandrillapp.com, Settings, Webhooks, View Details",
    )
    .known(&[(TEST_KEY, "the key of Mandrill's test")])
    .not(&[("md-", "an API key")])],
    methods: &["HEAD", "POST"],
    signs_url: true,
    handshakes: &[Handshake { method: "HEAD", on: &[], signed: false, exchange: Exchange::OK }],
    delivery: DeliveryId::Code("_id of every event in mandrill_events"),
    event: Name::FormJson(EVENTS, "[].event"),
    docs: "https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/",
    checked: "`x-mandrill-signature` is the HMAC-SHA1, in base64, of the URL and of name and value of every field of \
        the form, sorted by name. The key is `webhook_key`, used as the text it is. Mandrill's test, an empty list \
        signed with the key `test-webhook`, is answered and not stored.",
    unproven: "The signature covers the URL and the form, but no time: whoever has seen one request can send it again.",
    sample: Sample {
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        query: "",
        body: "mandrill_events=%5B%7B%22event%22%3A%22send%22%2C%22_id%22%3A%22{{hex}}%22%2C%22ts%22%3A{{seconds}}%2C\
            %22msg%22%3A%7B%22_id%22%3A%22{{hex}}%22%2C%22email%22%3A%22ada%40example.com%22%2C%22subject%22%3A\
            %22Your+order+has+shipped%22%2C%22state%22%3A%22sent%22%7D%7D%5D",
    },
    proof: Proof::Code(|parameters| Box::new(Mandrill::read(parameters))),
    ..Provider::BASE
};

const SIGNATURE: &str = "x-mandrill-signature";
const EVENTS: &str = "mandrill_events";
/// The key of the request without events that tests a URL before the webhook, and with it a key, exists.
const TEST_KEY: &str = "test-webhook";

#[derive(Clone, Debug)]
struct Mandrill(Vec<Secret>);

impl Mandrill {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        Self(secrets(parameters, "webhook_key"))
    }

    fn check(&self, request: &Request<'_>) -> Result<Verdict, Refusal> {
        let (url, presented) = head(request)?;
        let fields = form::all(request.body);
        let fields = fields.ok_or_else(|| Refusal::new("malformed_body", "the body is a form of too many fields"))?;
        let events = events(&fields).ok_or_else(|| {
            Refusal::new("malformed_body", format!("the body must be a form with one field {EVENTS}"))
        })?;
        let signed = signed_fields(&fields);
        let is_test = events.trim_ascii() == b"[]";
        let test_key = if is_test { vec![Secret::new(TEST_KEY)] } else { Vec::new() };
        let keys: Vec<Secret> = self.0.iter().cloned().chain(test_key).collect();
        let found = url::spellings(url).iter().fold(false, |found, url| {
            is_signed(Algorithm::HmacSha1, &keys, &[url.as_bytes(), &signed], &presented) | found
        });
        if !found {
            return Err(bad_signature(SIGNATURE));
        }
        if is_test {
            return Ok(Verdict::Handshake(Answer { status: 200, ..Answer::default() }));
        }
        let dedupe = ids(events).map(DedupeKey::with_body);
        Ok(Verdict::Genuine(Genuine { dedupe, ..Genuine::default() }))
    }
}

impl Code for Mandrill {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        self.check(request).unwrap_or_else(Verdict::Refused)
    }

    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        ByHead::of(head(request))
    }

    fn sign(&self, mut draft: Draft, _: &str, _: Wall) -> Result<Draft, SignError> {
        const FORM: SignError = SignError::Body("a form with one field mandrill_events");
        let fields = form::all(&draft.body).ok_or(FORM)?;
        events(&fields).ok_or(FORM)?;
        let mac = Algorithm::HmacSha1.mac(first(&self.0)?, &[draft.url.as_bytes(), &signed_fields(&fields)]);
        draft.set_header(SIGNATURE, STANDARD.encode(mac));
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[SIGNATURE])
    }
}

/// The URL the sender called, and its signature.
fn head<'a>(request: &Request<'a>) -> Result<(&'a str, Vec<u8>), Refusal> {
    Ok((public_url(request)?, base64_field(request, SIGNATURE)?))
}

/// The field with the events. There must be one: with two, the application might read the other.
fn events(fields: &Pairs) -> Option<&[u8]> {
    let mut found = fields.iter().filter(|(name, _)| name == EVENTS.as_bytes());
    let (_, events) = found.next()?;
    found.next().is_none().then_some(events)
}

fn signed_fields(fields: &Pairs) -> Vec<u8> {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_unstable();
    sorted.into_iter().flat_map(|(name, value)| name.iter().chain(value)).copied().collect()
}

/// The batch's id.
fn ids(events: &[u8]) -> Option<Vec<u8>> {
    let items = str::from_utf8(events).ok().and_then(|events| json::items(events, EVENTS).ok()).unwrap_or_default();
    let ids: Option<Vec<String>> = items.iter().map(|item| json::at(item.as_bytes(), &["_id"])).collect();
    ids.and_then(batch_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_known_by_all_of_its_ids_or_not_at_all() {
        let id = ids(br#"[{"_id": "a", "event": "send"}, {"_id": "b", "event": "open"}]"#);
        assert!(id.is_some() && id == ids(br#"[{"_id": "b"}, {"_id": "a"}]"#));
        for events in [&br#"[{"_id": "a"}, {}]"#[..], b"[]", b"{}", b"\xff"] {
            assert_eq!(ids(events), None);
        }
    }

    #[test]
    fn the_events_stand_in_one_field() {
        let found = |form: &[u8]| form::all(form).as_ref().and_then(|fields| events(fields).map(<[u8]>::to_vec));
        assert_eq!(found(b"mandrill_events=%5B%5D&x=1").as_deref(), Some(&b"[]"[..]));
        assert_eq!(found(b"mandrill_events=a&mandrill_events=b"), None);
        assert_eq!(found(b"x=1"), None);
    }
}
