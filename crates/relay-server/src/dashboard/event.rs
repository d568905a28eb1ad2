//! One event, with what became of it.

use std::sync::Arc;

use axum::{
    extract::{Path, Query},
    response::Response,
};
use relay_core::{delivery::Delivery, id::EventId, name::Name};
use relay_dashboard::{
    body::{Look, Room, View},
    proof::{NoVerdict, Proof},
    screen::{Became, DeliveryFacts, EventBecame, EventCurl, EventFacts, EventPage, Payload, Screen as _},
};
use relay_store::seam::{DeliveryFilter, Page};
use serde::Deserialize;

use super::frame::{Drawn, Looking};
use crate::{
    admin::{problem::AdminError, routes::id},
    judged_again::{BodyPlace, By, JudgedAgain, Unjudged, judged_again},
    principal::Permission,
};

/// Deliveries of an event that are shown, the newest of them: each is read with its tries.
const DELIVERIES_MAX: u32 = 30;

/// Destinations that are offered for a replay.
const ROUTED_MAX: usize = 100;

/// What stands in the URL of how a body is looked at.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    view: Option<String>,
    from: Option<u64>,
    all: Option<String>,
    reveal: Option<String>,
}

pub(super) async fn show(looking: Looking, Path(id): Path<String>, Query(asked): Query<Asked>) -> Response {
    let view = asked.view.as_deref().map_or(View::default(), View::of);
    let reveals = asked.reveal.as_deref() == Some("1");
    let (from, is_all) = (asked.from.unwrap_or(0), asked.all.is_some());
    let look = Look { view, from, is_all, room: Room::Page, reveals };
    let drawn = draw(&looking, &id, look).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking, text: &str, look: Look) -> Result<Drawn, AdminError> {
    let id = id::event(&looking.state, text).await?;
    if looking.wants_fragment && look.view != View::Curl {
        return became_alone(looking, id).await;
    }
    let event = seen(looking, id, look).await?;
    let gone = || AdminError::Unknown(format!("no event {id}: it never was, or its retention is over"));
    let event = event.ok_or_else(gone)?;
    if !looking.wants_fragment {
        return Ok(Drawn::page(&EventPage { page: looking.page.clone(), event }, false));
    }
    let Payload::Command(command) = &event.body else {
        return Err(AdminError::Invalid(format!("the body of {id} is not shown, so there is no command with it")));
    };
    Ok(Drawn::Fragment(EventCurl { command }.html()))
}

/// What became of an event, for a page that follows it: its body is not read for that.
async fn became_alone(looking: &Looking, id: EventId) -> Result<Drawn, AdminError> {
    let became = became(looking, id).await?;
    note(looking, id).await;
    Ok(Drawn::Fragment(EventBecame { page: &looking.page, became: &became }.html()))
}

/// The same, and that it was seen is written down where it has a payload.
pub(super) async fn seen(looking: &Looking, id: EventId, look: Look) -> Result<Option<EventFacts>, AdminError> {
    let event = facts(looking, id, look).await?;
    if event.is_some() {
        note(looking, id).await;
        let revealed = event.as_ref().is_some_and(|event| look.reveals && event.secrets > 0);
        if let Some(present) = looking.present.as_ref().filter(|_| revealed) {
            looking.state.people.note_reveal(present, &looking.who, id).await;
        }
    }
    Ok(event)
}

/// Writes down that the event was seen by whoever sees payloads.
async fn note(looking: &Looking, id: EventId) {
    if let Some(present) = looking.present.as_ref().filter(|_| looking.sees_payloads()) {
        looking.state.people.note_view(present, &looking.who, id).await;
    }
}

/// What is known of an event, as far as whoever looks may see it; `None` if it is gone.
async fn facts(looking: &Looking, id: EventId, look: Look) -> Result<Option<EventFacts>, AdminError> {
    let archive = &looking.state.archive;
    // However many look at large bodies, few are in memory.
    let held = Arc::clone(&looking.state.bodies).acquire_owned().await.map_err(|_| AdminError::Stopping)?;
    let held: BodyPlace = Arc::new(held);
    let Some(event) = archive.event(id).await? else { return Ok(None) };
    let became = became(looking, id).await?;
    let mut facts = EventFacts::of(&event, event.body.len() as u64, look, looking.sees_payloads());
    // Not beside a list, nor for each part of its body or the command: a body may be long, and is hashed whole.
    if look.room == Room::Page && look.from <= 1 && !looking.wants_fragment {
        facts = facts.judged(proof(judged_again(&looking.state, &event, Arc::clone(&held)).await));
    }
    Ok(Some(facts.with(became).routed(routed(looking, &event.source))))
}

fn proof(judged: JudgedAgain) -> Proof {
    match judged {
        JudgedAgain::Genuine(By::Present) => Proof::Holds,
        JudgedAgain::Genuine(By::Old) => Proof::HoldsUnderOld,
        JudgedAgain::Refused(refusal) => Proof::Fails(refusal.check.to_owned()),
        JudgedAgain::Unknown(why) => Proof::Unknown(no_verdict(why)),
    }
}

const fn no_verdict(why: Unjudged) -> NoVerdict {
    match why {
        Unjudged::Erased => NoVerdict::Erased,
        Unjudged::NoSource => NoVerdict::NoSource,
        Unjudged::Broken => NoVerdict::SourceBroken,
        Unjudged::NotKept => NoVerdict::NotKept,
        Unjudged::Fetched => NoVerdict::KeyFetched,
        Unjudged::Question => NoVerdict::Question,
        Unjudged::BodyUnread => NoVerdict::BodyUnread,
        Unjudged::Age => NoVerdict::Age,
    }
}

async fn became(looking: &Looking, id: EventId) -> Result<Became, AdminError> {
    let filter = DeliveryFilter { event: Some(id), ..DeliveryFilter::default() };
    let found = looking.state.archive.browse_deliveries(filter, Page { cursor: None, limit: DELIVERIES_MAX }).await?;
    let mut deliveries = Vec::new();
    for delivery in &found.items {
        deliveries.push(delivery_facts(looking, delivery).await?);
    }
    Ok(Became { deliveries, more: found.next.is_some() })
}

/// Where an event of this source can be replayed to, for whoever may have that done.
fn routed(looking: &Looking, source: &Name) -> Vec<Name> {
    let directory = looking.state.registry.directory();
    let routes = directory.routing.routes.get(source).filter(|_| looking.who.role.may(Permission::Deliver));
    routes.into_iter().flatten().take(ROUTED_MAX).map(|route| route.destination.clone()).collect()
}

async fn delivery_facts(looking: &Looking, delivery: &Delivery) -> Result<DeliveryFacts, AdminError> {
    let tries = looking.state.archive.attempts(delivery.id).await?;
    let mut facts = DeliveryFacts::of(delivery, &tries);
    if !looking.sees_payloads() {
        // What a target answers may repeat what it was sent.
        facts.tries.iter_mut().for_each(|attempt| attempt.answer = None);
    }
    Ok(facts)
}
