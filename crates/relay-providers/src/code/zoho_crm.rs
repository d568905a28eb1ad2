//! Zoho CRM notifications: a token of the channel inside the body.

use relay_core::time::Wall;
use serde_json::Value;

use super::{batch_id, first, is_one_of, json, names, object, secrets, set_body, verdict};
use crate::{
    Characters, DedupeKey, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample, SignError,
    Verdict,
    parameters::Parameters,
    proof::{Code, Proof},
    secret::Secret,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "zoho-crm",
    title: "Zoho CRM notifications",
    parameters: &[Parameter::key(
        "token",
        "the token you enable the notification channel with (actions/watch), at most 50 characters; make one with: openssl \
         rand -hex 24",
    )
    .made_of(Characters::Printable, 1, 50, "at most 50 characters of ASCII")],
    delivery: DeliveryId::Code("channel_id, ids, operation and server_time"),
    event: Name::Joined("", &["module", "operation"]),
    docs: "https://www.zoho.com/crm/developer/docs/api/v8/notifications/overview.html",
    checked: "`token` of the body is the source's `token`.",
    unproven: "Nothing is signed: the token is sent along in every body, so whoever has seen one can send anything. It \
        reaches the target as it came and is part of what the relay stores. A channel expires after a week at most; \
        renewing it is yours.",
    sample: Sample::json(include_str!("../../samples/zoho-crm.json")),
    proof: Proof::Code(|parameters| Box::new(Zoho::read(parameters))),
    ..Provider::BASE
};

const TOKEN: &str = "token";

#[derive(Clone, Debug)]
struct Zoho(Vec<Secret>);

impl Zoho {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        Self(secrets(parameters, TOKEN))
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let [token, channel, ids, operation, time] =
            json::members(request.body, "the body", [TOKEN, "channel_id", "ids", "operation", "server_time"])?;
        let token = token.and_then(json::string);
        let token = token.ok_or_else(|| Refusal::new("missing_token", "the body has no token"))?;
        if !is_one_of(token.as_bytes(), &self.0) {
            return Err(Refusal::new("wrong_token", "token is not this source's"));
        }
        // The records that changed at one moment; without the moment two changes of a record would look the same.
        let parts: Option<Vec<&str>> = [channel, ids, operation, time].into_iter().collect();
        let id = parts.and_then(|parts| batch_id(vec![parts.join("\n")]));
        Ok(Genuine { dedupe: id.map(DedupeKey::with_body), ..Genuine::default() })
    }
}

impl Code for Zoho {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn sign(&self, mut draft: Draft, _: &str, _: Wall) -> Result<Draft, SignError> {
        let mut body = object(&draft)?;
        let token = String::from_utf8_lossy(first(&self.0)?.expose()).into_owned();
        body.insert(TOKEN.to_owned(), Value::from(token));
        set_body(&mut draft, body);
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[])
    }
}
