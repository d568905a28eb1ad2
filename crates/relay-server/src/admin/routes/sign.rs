//! Signing a request as the provider of a source would: for samples. The source's secrets stay in the server.

use axum::Json;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{Draft, Signer};

use crate::{
    admin::{
        Of, name,
        problem::{AdminError, At, Body},
    },
    api::{DraftDto, UnsignedAsk},
    registry::{RegistryError, listed},
};

pub(super) async fn sign(
    Of(state): Of,
    At(source): At<String>,
    Body(unsigned): Body<UnsignedAsk>,
) -> Result<Json<DraftDto>, AdminError> {
    let directory = state.registry.directory();
    let entry = directory.sources.get(&name(&source)?).ok_or_else(|| {
        let known = listed(directory.sources.keys());
        RegistryError::Unknown { kind: "source", name: source.clone(), known }
    })?;
    let signer = Signer::new(&entry.document.provider, &entry.document.parameters).map_err(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        AdminError::Conflict(format!("the server cannot sign for source {source:?}: {}", faults.join("; ")))
    })?;
    let at = Wall::from_micros(unsigned.at_ms.saturating_mul(1_000));
    let (draft, id) = read(unsigned)?;
    let signed = signer.sign(draft, &id, at).map_err(|error| AdminError::Invalid(error.to_string()))?;
    Ok(Json(DraftDto::new(&signed)))
}

/// What is to be signed, and what identifies it.
fn read(unsigned: UnsignedAsk) -> Result<(Draft, String), AdminError> {
    let UnsignedAsk { method, url, headers, body, id, .. } = unsigned;
    let body = BASE64_STANDARD.decode(body).map_err(|_| AdminError::Invalid("body: not base64".into()))?;
    let field = |(name, value): (String, String)| (Bytes::from(name.to_ascii_lowercase()), Bytes::from(value));
    let headers = headers.into_iter().map(field).collect();
    Ok((Draft { method, url, headers, body: body.into() }, id))
}
