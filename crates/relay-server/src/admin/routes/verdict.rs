//! An event, judged again.

use std::sync::Arc;

use axum::Json;

use super::event::find;
use crate::{
    admin::{
        Of,
        problem::{AdminError, At},
    },
    api::VerdictDto,
    clock::rfc3339,
    judged_again::{By, JudgedAgain, judged_again},
};

pub(super) async fn show(Of(state): Of, At(id): At<String>) -> Result<Json<VerdictDto>, AdminError> {
    let held = Arc::clone(&state.bodies).acquire_owned().await.map_err(|_| AdminError::Stopping)?;
    let event = find(&state, &id).await?;
    let (verdict, secret, why) = match judged_again(&state, &event, Arc::new(held)).await {
        JudgedAgain::Genuine(By::Present) => ("genuine", Some("present"), None),
        JudgedAgain::Genuine(By::Old) => ("genuine", Some("old"), None),
        JudgedAgain::Refused(refusal) => ("refused", None, Some(refusal.check)),
        JudgedAgain::Unknown(why) => ("unknown", None, Some(why.as_str())),
    };
    Ok(Json(VerdictDto {
        event_id: event.id.to_string(),
        verdict: verdict.to_owned(),
        secret: secret.map(str::to_owned),
        why: why.map(str::to_owned),
        key: event.key.as_ref().map(ToString::to_string),
        received_at: rfc3339(event.received_at),
    }))
}

#[cfg(test)]
mod tests {
    use relay_core::{id::IdMint, time::Wall};
    use relay_store::{memory::MemoryStore, seam::Queue as _};

    use super::*;
    use crate::tests;

    /// Its source is deleted by now, and its secrets with it.
    #[tokio::test]
    async fn an_event_of_no_source_is_judged_by_nothing() {
        let store = Arc::new(MemoryStore::new());
        let state = crate::offline::tests::admin(store.clone()).await;
        let event = tests::event(&mut IdMint::new(0, 7), Wall::from_micros(1_700_000_000_000_000), "gone");
        let id = event.id.to_string();
        assert!(store.append(vec![tests::append(event, Vec::new())]).await.iter().all(Result::is_ok));
        let Json(judged) = show(Of(Arc::clone(&state)), At(id.clone())).await.unwrap();
        assert_eq!((judged.verdict.as_str(), judged.why.as_deref()), ("unknown", Some("no_source")));
        assert_eq!(judged.event_id, id);
    }
}
