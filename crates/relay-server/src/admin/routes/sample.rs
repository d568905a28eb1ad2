//! A sample of a source's provider, signed with the source's secrets and sent to this server as a sender would.

use std::net::{Ipv4Addr, SocketAddr};

use axum::{Extension, Json};
use bytes::Bytes;
use http::{StatusCode, Uri};
use relay_providers::{Draft, Provider, Signer, provider};

use crate::{
    admin::{
        Of, name,
        problem::{AdminError, At, Body},
    },
    api::{SampleAsk, SampleDto},
    document::Source,
    fetch::{Asked, Post, may_be_public},
    principal::Principal,
    reach::{Reached, WITHIN},
    registry::{RegistryError, listed},
    secret,
    state::{Listening, State},
};

/// Bytes of an answer that are shown.
const ANSWER_BYTES_MAX: usize = 512;
/// What a key is called where it is given to a provider of keys.
const KEY: &str = "key";

/// It is stored and delivered like any other webhook.
pub(super) async fn send(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(source): At<String>,
    Body(asked): Body<SampleAsk>,
) -> Result<Json<SampleDto>, AdminError> {
    let directory = state.registry.directory();
    let entry = directory.sources.get(&name(&source)?).ok_or_else(|| {
        let known = listed(directory.sources.keys());
        RegistryError::Unknown { kind: "source", name: source.clone(), known }
    })?;
    let (base, is_public) = base(&state)?;
    let path = format!("/webhook/{}", entry.document.name);
    // As the sender knows it: some sign that.
    let known_as = format!("{}{path}", state.public_url.as_deref().unwrap_or(&base));
    let draft = signed(&state, &entry.document, &known_as, asked)?;
    if draft.method != "POST" {
        return Err(AdminError::Conflict(format!(
            "a sample of {} is no POST; crm-relay send",
            entry.document.provider
        )));
    }
    let rest = draft.url.strip_prefix(&known_as).unwrap_or_default();
    let url: Uri = format!("{base}{path}{rest}").parse().map_err(|_| unsent(&source, "its URL is none"))?;
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    // What proves it is for nobody else.
    if is_public {
        let reached = state.reach.ask(&base, &entry.document.name, &state.own_requests, state.clock.present()).await;
        if reached != Reached::Here {
            return Err(unsent(
                &source,
                "PUBLIC_URL does not lead to this server from here; crm-relay doctor says where to",
            ));
        }
    }
    let allow_private = !is_public || !may_be_public(host);
    let post = Post {
        url: &url,
        headers: &draft.headers,
        body: draft.body.clone(),
        allow_private,
        allow_plain: !is_public,
        within: WITHIN,
    };
    state.registry.note(state.audited(&who, "source.sample", entry.document.name.as_str())).await?;
    match state.reach.send(post, ANSWER_BYTES_MAX).await {
        Asked::Answered(status, answer) => Ok(Json(shown(status, &answer))),
        Asked::Inside => Err(unsent(&source, "PUBLIC_URL leads to an address of this network from here")),
        Asked::Silent => Err(unsent(&source, "nobody answered in time")),
        Asked::Unfit(why) | Asked::Unasked(why) => Err(unsent(&source, &why)),
    }
}

fn unsent(source: &str, why: &str) -> AdminError {
    AdminError::Conflict(format!("the sample was not sent: {why}; from elsewhere: crm-relay send --source {source}"))
}

fn shown(status: StatusCode, answer: &Bytes) -> SampleDto {
    let told: Option<serde_json::Value> = serde_json::from_slice(answer).ok();
    let text = |name: &str| told.as_ref().and_then(|told| told.get(name)?.as_str()).map(str::to_owned);
    SampleDto { status: status.as_u16(), event_id: text("event_id"), detail: text("detail") }
}

/// Where this server is reached from here, and whether that is by its public name.
fn base(state: &State) -> Result<(String, bool), AdminError> {
    let listening = state.listening.get();
    let is_direct = |listening: &&Listening| !listening.tls && !listening.proxy_protocol && listening.host.is_none();
    if let Some(address) = listening.filter(is_direct).and_then(|listening| listening.public.parse::<SocketAddr>().ok())
    {
        let ip = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
        return Ok((format!("http://{}", SocketAddr::new(ip, address.port())), false));
    }
    let url = state.public_url.clone().map(|url| (url, true));
    url.ok_or_else(|| {
        AdminError::Conflict(
            "the server reaches itself by PUBLIC_URL alone here, and that is not set; crm-relay send".into(),
        )
    })
}

/// The provider's sample, as it would come from there.
fn signed(state: &State, source: &Source, known_as: &str, asked: SampleAsk) -> Result<Draft, AdminError> {
    let provider = known(&source.provider)?;
    let mut parameters: Vec<(String, String)> = source.parameters.to_vec();
    if let Some(key) = asked.key.filter(|_| provider.key_source) {
        parameters.retain(|(name, _)| name != KEY && name != "key_sha256");
        parameters.push((KEY.to_owned(), key));
    }
    let signer = Signer::new(&source.provider, &parameters).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        AdminError::Conflict(format!("the server cannot sign for source {:?}: {}", source.name, faults.join("; ")))
    })?;
    let (id, now) = (secret::hex(&rand::random::<[u8; 8]>()), state.clock.present());
    let draft = provider.draft(known_as, &id, now);
    signer.sign(draft, &id, now).map_err(|error| AdminError::Conflict(format!("the sample cannot be signed: {error}")))
}

fn known(name: &str) -> Result<&'static Provider, AdminError> {
    provider(name).ok_or_else(|| AdminError::Conflict(format!("no provider {name:?} in this version")))
}
