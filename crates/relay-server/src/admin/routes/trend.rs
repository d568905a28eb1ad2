//! How much came and went, by the minute.

use axum::Json;
use serde::Deserialize;

use crate::{
    admin::{
        Of,
        problem::{AdminError, Asked},
    },
    api::TrendDto,
    clock::rfc3339,
    trend::{Flow, MINUTES_MAX, Stretch},
};

/// An hour.
const MINUTES_USUALLY: usize = 60;

/// How far back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Back {
    minutes: Option<usize>,
}

pub(super) async fn show(Of(state): Of, Asked(back): Asked<Back>) -> Result<Json<TrendDto>, AdminError> {
    let minutes = back.minutes.unwrap_or(MINUTES_USUALLY);
    if !(1..=MINUTES_MAX).contains(&minutes) {
        return Err(AdminError::Invalid(format!("minutes is a number from 1 to {MINUTES_MAX}")));
    }
    // What has moved until now is in it, where the store tells: what is known already is there without it.
    let _ = state.health.report().await;
    let Stretch { since, known_since, minutes } = state.health.trend().latest(minutes, state.clock.now());
    let of = |part: fn(&Flow) -> u64| minutes.iter().map(|moved| moved.as_ref().map(part)).collect();
    Ok(Json(TrendDto {
        since: rfc3339(since),
        known_since: known_since.map(rfc3339),
        accepted: of(|moved| moved.accepted),
        delivered: of(|moved| moved.delivered),
        dead: of(|moved| moved.ended),
        refused: of(|moved| moved.refused),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use relay_core::storage::StoreError;
    use relay_store::memory::{MemoryStore, Trouble};

    use super::*;

    #[tokio::test]
    async fn while_the_store_is_away_it_tells_what_it_has() {
        let store = Arc::new(MemoryStore::new());
        let state = crate::offline::tests::admin(store.clone()).await;
        let asked = || show(Of(Arc::clone(&state)), Asked(Back { minutes: Some(1) }));
        store.set_trouble(vec![(Trouble::Upkeep, StoreError::Away)]);
        assert_eq!(asked().await.unwrap().0.accepted, [None]);
        store.set_trouble(Vec::new());
        state.health.forget().await;
        assert_eq!(asked().await.unwrap().0.accepted, [Some(0)]);
    }

    #[tokio::test]
    async fn the_minutes_before_the_server_began_are_not_known_and_that_is_said() {
        let state = crate::offline::tests::admin(Arc::new(MemoryStore::new())).await;
        let asked = |minutes| show(Of(Arc::clone(&state)), Asked(Back { minutes }));
        let Json(hour) = asked(None).await.unwrap();
        assert_eq!((hour.accepted.len(), hour.refused[59], hour.dead[58]), (60, Some(0), None));
        assert!(hour.known_since.is_some_and(|known| known > hour.since));
        for minutes in [0, MINUTES_MAX + 1] {
            let refused = asked(Some(minutes)).await.unwrap_err().to_string();
            assert!(refused.contains("from 1 to 1440"), "{refused}");
        }
    }
}
