//! Ids as somebody typed them (`last`, or a beginning), looked up once when a command begins: whatever comes in while it runs,
//! all of it is about the same things.

use std::collections::BTreeSet;

use relay_core::id::{DeliveryId, EventId};
use relay_server::api::{DeliveryDto, EventDto, List};

use crate::admin_client::{Api, encode};

/// The event's whole id. What names none stays as it is, so that the command is refused in the server's words.
pub(super) async fn event(api: &Api, typed: &str) -> String {
    if typed.parse::<EventId>().is_ok() {
        return typed.to_owned();
    }
    let found = api.get::<EventDto>(&format!("/api/v1/events/{}", encode(typed))).await;
    found.map_or_else(|_| typed.to_owned(), |event| event.id)
}

/// The deliveries' whole ids, each once. `newest`: the list whose first is `last`.
pub(super) async fn deliveries(api: &Api, typed: &[String], newest: &str) -> Vec<String> {
    let mut whole = BTreeSet::new();
    for id in typed {
        whole.insert(delivery(api, id, newest).await.unwrap_or_else(|| id.clone()));
    }
    whole.into_iter().collect()
}

async fn delivery(api: &Api, typed: &str, newest: &str) -> Option<String> {
    if typed.parse::<DeliveryId>().is_ok() {
        return None;
    }
    if typed.trim().eq_ignore_ascii_case("last") {
        let list: List<DeliveryDto> = api.get(newest).await.ok()?;
        return list.items.into_iter().next().map(|first| first.id);
    }
    let found: DeliveryDto = api.get(&format!("/api/v1/deliveries/{}", encode(typed))).await.ok()?;
    Some(found.id)
}
