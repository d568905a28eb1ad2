//! Carrying it over: events, the audit log, documents, totals.

use std::{collections::BTreeMap, sync::Arc};

use relay_core::{
    id::{DeliveryId, EventId},
    storage::{
        Append, AppendError, Appended, AuditEntry, EventFilter, EventRow, Listing, Page, Replay, Replayed, StoreError,
    },
    time::Wall,
};

use super::{
    End, KINDS, MigrateError, Move, is_about_moves, line,
    mark::{Arrival, Marked, Phase, RenamedIds},
    patiently,
    whole::{self, Whole},
};
use crate::{
    Later,
    seam::{AuditFilter, Document},
    watch::Watch,
};

/// Events of one page: a lost answer has so many asked for again.
const EVENTS_A_PAGE: u32 = 64;
/// Deliveries that go in with their event, and replays that go in at once.
const DELIVERIES_AT_ONCE: usize = 64;
/// Lines of the audit log that go in one commit.
const LINES_A_PAGE: u32 = 200;

/// What is carried, and how far it is.
pub(super) struct Carrying<'a> {
    pub(super) stores: Move<'a>,
    pub(super) arrival: &'a mut Marked<Arrival>,
    pub(super) names: &'a mut RenamedIds,
    pub(super) watch: &'a Watch,
}

impl Carrying<'_> {
    /// All that is left of it.
    pub(super) async fn all(&mut self) -> Result<(), MigrateError> {
        loop {
            let next = match self.arrival.mark.phase {
                Phase::Events => {
                    self.events().await?;
                    Phase::Audit
                }
                Phase::Audit => {
                    self.audit().await?;
                    Phase::Documents
                }
                Phase::Documents => {
                    self.documents().await?;
                    Phase::Totals
                }
                Phase::Totals => {
                    self.totals().await?;
                    Phase::Comparison
                }
                Phase::Comparison => return Ok(()),
            };
            self.arrival.mark.phase = next;
            self.arrival.put(self.stores.target, Vec::new()).await?;
        }
    }

    async fn events(&mut self) -> Result<(), MigrateError> {
        loop {
            let Listing { items, next } = self.stores.page(self.arrival.mark.cursor.clone()).await?;
            let count = items.len() as u64;
            for group in whole::groups(items) {
                let wholes = whole::read(End::Source, self.stores.source, group).await?;
                let wholes = self.make_room(wholes).await?;
                self.store(&wholes).await?;
            }
            self.watch.add(count);
            let Some(next) = next else { return Ok(()) };
            self.arrival.mark.cursor = Some(next);
            self.arrival.put(self.stores.target, Vec::new()).await?;
            self.go_on()?;
        }
    }

    fn go_on(&self) -> Result<(), MigrateError> {
        if self.watch.is_stopped() { Err(MigrateError::Stopped) } else { Ok(()) }
    }

    /// Gives them the ids that they can have in the target. New ones are written down before anything is stored under them, or it would
    /// be stored once more by whoever goes on.
    async fn make_room(&mut self, wholes: Vec<Whole>) -> Result<Vec<Whole>, MigrateError> {
        let renamed = &self.names.renamed;
        let (old_events, old_deliveries) = ids(&wholes);
        let mut events: Vec<EventId> = old_events.iter().map(|id| renamed.event(*id)).collect();
        let mut deliveries: Vec<DeliveryId> = old_deliveries.iter().map(|id| renamed.delivery(*id)).collect();
        loop {
            let target = self.stores.target;
            let room = patiently(End::Target, || target.have_room(events.clone(), deliveries.clone())).await?;
            if room.is_all() {
                break;
            }
            for (id, _) in events.iter_mut().zip(room.events).filter(|(_, has_room)| !has_room) {
                *id = id.one_behind();
            }
            for (id, _) in deliveries.iter_mut().zip(room.deliveries).filter(|(_, has_room)| !has_room) {
                *id = id.one_behind();
            }
        }
        let others = old_events.into_iter().zip(events).filter(|(old, new)| renamed.event(*old) != *new);
        let mut texts: BTreeMap<String, String> = others.map(|(old, new)| (old.to_string(), new.to_string())).collect();
        let others = old_deliveries.into_iter().zip(deliveries).filter(|(old, new)| renamed.delivery(*old) != *new);
        texts.extend(others.map(|(old, new)| (old.to_string(), new.to_string())));
        if !texts.is_empty() {
            let at = Wall::from_micros(self.arrival.mark.at_ms * 1_000);
            let said = texts.iter().map(|(old, new)| line(at, "renamed", format!("{old} is {new} here"))).collect();
            self.names.put(self.stores.target, texts, said).await?;
        }
        Ok(wholes.into_iter().map(|whole| whole.renamed(&self.names.renamed)).collect())
    }

    async fn store(&self, wholes: &[Whole]) -> Result<(), MigrateError> {
        let mut by_source: BTreeMap<&str, Vec<Append>> = BTreeMap::new();
        let mut replays = Vec::new();
        let mut attempts = Vec::new();
        for whole in wholes {
            let all = whole.deliveries.iter().map(|tried| tried.delivery.clone());
            let (later, mut first): (Vec<_>, Vec<_>) = all.partition(|delivery| delivery.replay);
            let beyond = first.split_off(first.len().min(DELIVERIES_AT_ONCE));
            replays.extend(beyond.into_iter().chain(later));
            let tried = whole.deliveries.iter().filter(|tried| !tried.earlier.is_empty());
            attempts.extend(tried.map(|tried| (tried.delivery.id, tried.earlier.clone())));
            let event = Arc::clone(&whole.event);
            let append = Append { event, deliveries: first, dedupe: whole.dedupe.clone(), deadline: Wall::MAX };
            by_source.entry(whole.event.source.as_str()).or_default().push(append);
        }
        for appends in by_source.into_values() {
            self.append(appends).await?;
        }
        for some in replays.chunks(DELIVERIES_AT_ONCE) {
            let replay = || self.stores.target.replay(Replay::anyway(some.to_vec()), Vec::new());
            match patiently(End::Target, replay).await? {
                Replayed::Stored(stored) if stored.iter().all(|is_stored| *is_stored) => {}
                other => return Err(MigrateError::Differs(format!("replays were not stored: {other:?}"))),
            }
        }
        for some in attempts.chunks(DELIVERIES_AT_ONCE) {
            patiently(End::Target, || self.stores.target.put_attempts(some.to_vec())).await?;
        }
        Ok(())
    }

    /// Events of one source; those that are stored already are not stored again.
    async fn append(&self, appends: Vec<Append>) -> Result<(), MigrateError> {
        let appended = || -> Later<Result<Vec<Appended>, StoreError>> {
            let ids: Vec<EventId> = appends.iter().map(|append| append.event.id).collect();
            let answers = self.stores.target.append(appends.clone());
            Box::pin(async move {
                let answers = answers.await.into_iter().zip(ids);
                answers.map(|(answer, id)| answer.map_err(|error| as_store_error(&error, id))).collect()
            })
        };
        for (appended, append) in patiently(End::Target, appended).await?.into_iter().zip(&appends) {
            if let Appended::Repeat { first, .. } = appended {
                let what = format!("the dedupe key of {} is held by {first}", append.event.id);
                return Err(MigrateError::Differs(what));
            }
        }
        Ok(())
    }

    /// From the oldest line on; each page goes with the mark that says so, in one commit.
    async fn audit(&mut self) -> Result<(), MigrateError> {
        let cursors = self.stores.lines_backward().await?;
        let mut passed = 0;
        for cursor in cursors.into_iter().rev() {
            let lines = self.stores.lines_at(cursor).await?;
            let behind = self.arrival.mark.lines.saturating_sub(passed).min(lines.len() as u64) as usize;
            passed += lines.len() as u64;
            if behind < lines.len() {
                self.arrival.mark.lines = passed;
                self.arrival.put(self.stores.target, lines[behind..].to_vec()).await?;
            }
            self.go_on()?;
        }
        Ok(())
    }

    async fn documents(&self) -> Result<(), MigrateError> {
        let Move { source, target, .. } = self.stores;
        for kind in KINDS {
            for Document { key, body, .. } in patiently(End::Source, || source.documents(kind)).await? {
                if body.is_empty() {
                    return Err(MigrateError::Damaged(format!("document {kind:?} {}", key.name)));
                }
                let put = || target.put_document(key.clone(), 0, Some(body.clone()), Vec::new());
                if patiently(End::Target, put).await?.is_some() {
                    continue;
                }
                let there = patiently(End::Target, || target.document(key.clone())).await?;
                if there.is_none_or(|there| there.body != body) {
                    return Err(MigrateError::Differs(format!("the target has another {kind:?} {}", key.name)));
                }
            }
        }
        Ok(())
    }

    async fn totals(&self) -> Result<(), MigrateError> {
        let totals = patiently(End::Source, || self.stores.source.stats()).await?;
        patiently(End::Target, || self.stores.target.put_totals(totals.clone())).await
    }
}

impl Move<'_> {
    /// A page of the source's events, the oldest first.
    pub(super) async fn page(&self, cursor: Option<String>) -> Result<Listing<EventRow>, MigrateError> {
        let filter = EventFilter { oldest_first: true, ..EventFilter::default() };
        let page = || Page { cursor: cursor.clone(), limit: EVENTS_A_PAGE };
        patiently(End::Source, || self.source.browse_events(filter.clone(), page())).await
    }

    /// Where the pages of the source's audit log begin, from the newest on.
    async fn lines_backward(&self) -> Result<Vec<Option<String>>, MigrateError> {
        let mut cursors = vec![None];
        loop {
            let cursor = cursors.last().cloned().flatten();
            let page = || Page { cursor: cursor.clone(), limit: LINES_A_PAGE };
            let listed = patiently(End::Source, || self.source.browse_audit(AuditFilter::default(), page())).await?;
            match listed.next {
                Some(next) => cursors.push(Some(next)),
                None => return Ok(cursors),
            }
        }
    }

    /// The lines of one of these pages, the oldest first; those about moves are each store's own.
    async fn lines_at(&self, cursor: Option<String>) -> Result<Vec<AuditEntry>, MigrateError> {
        let page = || Page { cursor: cursor.clone(), limit: LINES_A_PAGE };
        let listed = patiently(End::Source, || self.source.browse_audit(AuditFilter::default(), page())).await?;
        Ok(listed.items.into_iter().filter(|line| !is_about_moves(line)).rev().collect())
    }
}

fn ids(wholes: &[Whole]) -> (Vec<EventId>, Vec<DeliveryId>) {
    let deliveries = wholes.iter().flat_map(|whole| &whole.deliveries).map(|tried| tried.delivery.id);
    (wholes.iter().map(|whole| whole.event.id).collect(), deliveries.collect())
}

fn as_store_error(error: &AppendError, event: EventId) -> StoreError {
    match error {
        AppendError::Away | AppendError::TooLate => StoreError::Away,
        AppendError::Unknown => StoreError::Unknown,
        AppendError::Full => StoreError::Full,
        AppendError::Damaged => StoreError::Damaged { what: format!("what holds the key of {event}").into() },
        AppendError::Unavailable => StoreError::Unavailable,
    }
}
