//! Erasing what was received: of one event, or of all that match, the oldest first.

use axum::{Extension, Json};
use relay_core::{
    delivery::{self, Delivery},
    id::{EventId, IdMint},
    jobs::{Action, Command, Target},
    storage::{Erased, Step, Stepped},
};
use relay_store::seam::{DeliveryFilter, EventFilter, Page};

use super::{
    bulk::{fingerprint, through},
    cursor::Order,
    event::{find, gone},
    filter::{Listing, known},
    preview::{self, Given, Terms, previewed, terms},
};
use crate::{
    admin::{
        Of,
        problem::{AdminError, At, Body},
    },
    api::{BulkDto, EraseAsk, EraseOneAsk, EventDto},
    principal::Principal,
    state::State,
};

/// As the audit log has it.
const ACTION: &str = "event.erase";
/// In which they come.
const ORDER: Order = Order::EventsFromOldest;
/// Times that one event is looked at anew, where its deliveries change meanwhile.
const LOOKS: usize = 3;
/// Deliveries of one event that are read at a time.
const DELIVERIES: u32 = 1_000;

pub(super) async fn one(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    At(id): At<String>,
    Body(asked): Body<EraseOneAsk>,
) -> Result<Json<EventDto>, AdminError> {
    let event = super::id::event(&state, &id).await?;
    for _ in 0..LOOKS {
        let deliveries = deliveries_of(&state, event).await?;
        refuse_open(event, &deliveries, asked.cancel)?;
        let now = state.clock.wall();
        let settle: Vec<_> = deliveries.iter().filter_map(|found| delivery::give_up(found, now)).collect();
        let audit = Some(state.audited(&who, ACTION, event.to_string()));
        let job = IdMint::new(0, rand::random()).job(now);
        let step = Step { before: 0, is_over: true, settle, erase: vec![event], audit, ..Step::look(job) };
        let stepped = state.hub.step(&*state.upkeep, step).await?;
        // Elsewhere: it was done, and nobody said so.
        let Stepped::Done { erased, .. } = stepped else { continue };
        match erased.first() {
            Some(Erased::Now | Erased::Before) => return stub(&state, &id, event).await,
            Some(Erased::Damaged) => return Err(AdminError::Conflict(damaged(event))),
            Some(Erased::Gone) | None => return Err(gone(&id)),
            Some(Erased::Open) => {}
        }
    }
    Err(AdminError::Busy(format!("deliveries of {event} change all the while")))
}

pub(super) async fn many(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Body(asked): Body<EraseAsk>,
) -> Result<Json<BulkDto>, AdminError> {
    let what = what(&asked);
    let (fingerprint, previewed_as) = (fingerprint(ACTION, &what), fingerprint(ACTION, &(&what, &asked.cursor)));
    let EraseAsk { source, since, until, all, cancel, limit, cursor, dry_run, job, preview } = asked;
    if !all && source.is_none() && since.is_none() && until.is_none() {
        return Err(AdminError::Invalid("give a source, since or until, or ask for all".into()));
    }
    let listing = Listing { source, since, until, ..Listing::default() };
    let subject = format!("matching {listing:?}");
    let filter = EventFilter { oldest_first: true, ..listing.events()? };
    known(&state, filter.source.as_ref(), None).await?;
    let cursor = ORDER.read(cursor.as_deref())?;
    let given = Given { preview: preview.as_deref(), job: job.as_deref(), limit, dry_run, is_open: true };
    let (job, Terms { as_of, last, mut mark, .. }) = terms(&state, &who, previewed_as, &given).await?;
    if dry_run && cursor.is_none() && given.job.is_some() {
        // What is left of a job that has begun is counted with what it has done, as the job itself counts.
        mark = preview::mark(&state, job).await?;
    }
    let audit = (!dry_run).then(|| state.audited(&who, ACTION, format!("{job}: {subject}")));
    let (action, target) = (Action::Erase { cancels: cancel }, Target::Events(filter));
    let command = Command { job, fingerprint, action, target, pick: None, limit, cursor, as_of, last, dry_run, audit };
    let (done, sums) = through(&state, command, mark, ORDER).await?;
    if !dry_run {
        return Ok(Json(done));
    }
    Ok(Json(previewed(&state, &who, previewed_as, (as_of, limit), (job, &sums), done)))
}

/// What is asked for; not how much of it is done at a time, or by what.
fn what(asked: &EraseAsk) -> EraseAsk {
    let EraseAsk { source, since, until, all, cancel, .. } = asked.clone();
    EraseAsk { all, source, since, until, cancel, ..EraseAsk::default() }
}

async fn deliveries_of(state: &State, event: EventId) -> Result<Vec<Delivery>, AdminError> {
    let filter = DeliveryFilter { event: Some(event), ..DeliveryFilter::default() };
    let (mut all, mut cursor) = (Vec::new(), None);
    loop {
        let page = state.archive.browse_deliveries(filter.clone(), Page { cursor, limit: DELIVERIES }).await?;
        all.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return Ok(all);
        }
    }
}

/// What is on its way is not taken away from under its target without a word.
fn refuse_open(event: EventId, deliveries: &[Delivery], cancels: bool) -> Result<(), AdminError> {
    let open: Vec<&Delivery> = deliveries.iter().filter(|found| found.state.is_open()).collect();
    let Some(first) = open.first().filter(|_| !cancels) else { return Ok(()) };
    let count = if open.len() == 1 { "a delivery".to_owned() } else { format!("{} deliveries", open.len()) };
    Err(AdminError::Conflict(format!(
        "{count} of {event} may still go out, such as {} to {}; cancel first (crm-relay delivery cancel ID), or ask for it: --cancel",
        first.id, first.destination
    )))
}

async fn stub(state: &State, text: &str, event: EventId) -> Result<Json<EventDto>, AdminError> {
    let found = find(state, &event.to_string()).await.map_err(|_| gone(text))?;
    let deliveries = deliveries_of(state, event).await?;
    Ok(Json(EventDto::new(&found, found.body.len() as u64, &deliveries).linked(state.admin_url())))
}

fn damaged(event: EventId) -> String {
    format!("{event} does not read, and nothing was erased; crm-relay store check --accept-loss takes it out")
}
