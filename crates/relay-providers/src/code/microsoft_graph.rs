//! Microsoft Graph: a secret of the subscription in every notification of a batch.

use std::time::Duration;

use relay_core::time::Wall;
use serde_json::Value;

use super::{batch_id, first, is_one_of, json, names, object, secrets, set_body, verdict};
use crate::{
    Characters, DedupeKey, DeliveryId, Draft, Exchange, Genuine, Handshake, Name, On, Parameter, Provider, Refusal,
    Request, Sample, SignError, Tries, Verdict,
    parameters::Parameters,
    proof::{Code, Proof},
    secret::Secret,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "microsoft-graph",
    title: "Microsoft Graph",
    parameters: &[Parameter::key(
        "client_state",
        "the clientState you create the subscription with, at most 128 characters (https://learn.microsoft.com/graph/api/resources/subscription); make one with: openssl rand -hex 32",
    )
    .made_of(Characters::Printable, 1, 128, "at most 128 characters of ASCII")
    .made_up()],
    answer_within: Duration::from_secs(3),
    handshakes: &[Handshake {
        method: "POST",
        on: &[On::Query("validationToken"), On::NoBody],
        signed: false,
        exchange: Exchange::EchoQuery("validationToken"),
    }],
    tries_for: Some(Tries::minutes(4 * 60, "https://learn.microsoft.com/graph/change-notifications-delivery-webhooks")),
    delivery: DeliveryId::Code("id of every notification, else its subscriptionId, resource, changeType and etag"),
    // What happens to a subscription itself, and what to a resource.
    event: Name::First(&[Name::Json("value[].lifecycleEvent"), Name::Json("value[].changeType")]),
    docs: "https://learn.microsoft.com/graph/change-notifications-delivery-webhooks",
    checked: "`clientState` of every notification in `value` is `client_state`.",
    unproven: "Nothing is signed: clientState is sent along with every notification, so whoever has seen one can send \
        anything. The tokens of rich notifications (validationTokens) are passed on and not checked.",
    sample: Sample::json(include_str!("../../samples/microsoft-graph.json")),
    proof: Proof::Code(|parameters| Box::new(Graph::read(parameters))),
    ..Provider::BASE
};

const ITEMS: &str = "value";
const CLIENT_STATE: &str = "clientState";
/// Of a notification. A subscription's may have 128, which is asked for where a source is made; one that is there already may be
/// from before.
///
/// **Source** learn.microsoft.com/graph/api/resources/changenotification.
const CLIENT_STATE_CHARS_MAX: usize = 255;

#[derive(Clone, Debug)]
struct Graph(Vec<Secret>);

impl Graph {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let states = secrets(parameters, "client_state");
        if states.iter().any(|state| state.expose().len() > CLIENT_STATE_CHARS_MAX) {
            parameters.fault("client_state", "must be at most 255 characters, as Microsoft Graph keeps no more");
        }
        Self(states)
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let [list] = json::members(request.body, "the body", [ITEMS])?;
        let list = list.ok_or_else(|| Refusal::new("missing_token", "the body has no value with notifications"))?;
        let items = json::items(list, ITEMS)?;
        if items.is_empty() {
            return Err(Refusal::new("missing_token", "value is empty: nothing in the body carries clientState"));
        }
        let mut ids = Some(Vec::new());
        for (index, item) in items.into_iter().enumerate() {
            let what = format!("notification {}", index + 1);
            let [state, id] = json::members(item.as_bytes(), &what, [CLIENT_STATE, "id"])?;
            let state = state.and_then(json::string);
            let state = state.ok_or_else(|| Refusal::new("missing_token", format!("{what} has no {CLIENT_STATE}")))?;
            if !is_one_of(state.as_bytes(), &self.0) {
                return Err(Refusal::new("wrong_token", format!("{CLIENT_STATE} of {what} is not this source's")));
            }
            match (&mut ids, id.and_then(json::string).or_else(|| change(item))) {
                (Some(ids), Some(id)) => ids.push(id),
                // Without an id for each, a batch may look like another one.
                _ => ids = None,
            }
        }
        Ok(Genuine { dedupe: ids.and_then(batch_id).map(DedupeKey::with_body), ..Genuine::default() })
    }
}

impl Code for Graph {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn sign(&self, mut draft: Draft, _: &str, _: Wall) -> Result<Draft, SignError> {
        const BATCH: SignError = SignError::Body("a JSON object with notifications in value");
        let state = String::from_utf8_lossy(first(&self.0)?.expose()).into_owned();
        let mut body = object(&draft)?;
        let items = body.get_mut(ITEMS).and_then(Value::as_array_mut).filter(|items| !items.is_empty()).ok_or(BATCH)?;
        for item in items {
            let item = item.as_object_mut().ok_or(BATCH)?;
            item.insert(CLIENT_STATE.to_owned(), Value::from(state.clone()));
        }
        set_body(&mut draft, body);
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[])
    }
}

/// What tells one change of a resource from the next, for notifications without an id.
fn change(item: &str) -> Option<String> {
    let at = |path: &[&str]| json::at(item.as_bytes(), path);
    let etag = at(&["resourceData", "@odata.etag"])?;
    let (subscription, resource) = (at(&["subscriptionId"])?, at(&["resource"])?);
    Some([subscription, resource, at(&["changeType"])?, etag].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(body: &str) -> Result<bool, &'static str> {
        let draft = Draft::post("https://h/", body.to_owned());
        let graph = Graph(vec![Secret::new("old"), Secret::new("s")]);
        let checked = graph.check(&draft.request(Wall::from_micros(0), &[]));
        checked.map(|genuine| genuine.dedupe.is_some()).map_err(|refusal| refusal.check)
    }

    #[test]
    fn every_notification_carries_the_secret() {
        assert_eq!(judge(r#"{"value":[{"id":"1","clientState":"s"},{"id":"2","clientState":"old"}]}"#), Ok(true));
        for (body, check) in [
            (r#"{"value":[{"clientState":"s"},{"clientState":"t"}]}"#, "wrong_token"),
            (r#"{"value":[{"clientState":"s"},{}]}"#, "missing_token"),
            (r#"{"value":[{"clientState":null}]}"#, "missing_token"),
            (r#"{"value":[{"clientState":["s"]}]}"#, "missing_token"),
            (r#"{"value":[{"clientState":""}]}"#, "wrong_token"),
            (r#"{"value":[{"clientState":"s","clientState":"t"}]}"#, "malformed_body"),
            (r#"{"value":[{"clientState":"s"}],"value":[{}]}"#, "malformed_body"),
            (r#"{"value":[{"clientState":"s"}],"Value":[{}]}"#, "malformed_body"),
            (r#"{"value":[]}"#, "missing_token"),
            (r#"{"value":{"clientState":"s"}}"#, "malformed_body"),
            (r#"{"value":["clientState"]}"#, "malformed_body"),
            ("{}", "missing_token"),
        ] {
            assert_eq!(judge(body), Err(check), "{body}");
        }
    }

    #[test]
    fn a_batch_without_ids_is_never_taken_for_a_repeat() {
        assert_eq!(judge(r#"{"value":[{"clientState":"s","resource":"r"}]}"#), Ok(false));
        assert_eq!(judge(r#"{"value":[{"clientState":"s","id":"1"},{"clientState":"s"}]}"#), Ok(false));
        let tagged = r#"{"value":[{"clientState":"s","subscriptionId":"a","resource":"r","changeType":"updated","resourceData":{"@odata.etag":"e"}}]}"#;
        assert_eq!(judge(tagged), Ok(true));
    }
}
