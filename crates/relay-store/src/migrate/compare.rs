//! Comparing both stores, once all is carried over.

use aws_lc_rs::digest::{SHA256, digest};
use relay_core::{
    delivery::Delivery,
    id::{DeliveryId, EventId},
    storage::{AuditEntry, Listing, Page},
    time::Wall,
};

use super::{
    End, KINDS, MigrateError, Move, Moved, is_about_moves, patiently,
    whole::{self, Of, Renamed, Whole},
};
use crate::{
    Store,
    copy::Digest,
    seam::{AuditFilter, Stats},
    watch::Watch,
};

/// Lines of the audit log that are read at a time.
const LINES_A_PAGE: u32 = 1_000;

/// Reads both, event by event, and compares all of it. A dedupe key whose time is over by `now` is none: each store forgets it in its own
/// time.
pub(super) async fn compare(
    stores: Move<'_>,
    renamed: &Renamed,
    now: Wall,
    watch: &Watch,
) -> Result<Moved, MigrateError> {
    let mut moved = Moved::default();
    let (mut mine, mut theirs) = (Digest::new(), Digest::new());
    let mut cursor = None;
    loop {
        let Listing { items, next } = stores.page(cursor).await?;
        watch.add(items.len() as u64);
        for group in whole::groups(items) {
            let wholes = whole::read(End::Source, stores.source, group).await?;
            let wanted: Vec<Whole> = wholes.into_iter().map(|whole| whole.renamed(renamed).known_at(now)).collect();
            let found = read_there(stores.target, &wanted).await?;
            let found: Vec<Whole> = found.into_iter().map(|whole| whole.known_at(now)).collect();
            for (wanted, found) in wanted.iter().zip(&found) {
                refuse_other(wanted, found)?;
                wanted.digest(&mut mine);
                found.digest(&mut theirs);
                count(&mut moved, found);
            }
        }
        if watch.is_stopped() {
            return Err(MigrateError::Stopped);
        }
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    compare_counters(stores, &moved).await?;
    compare_documents(stores, &mut moved, (&mut mine, &mut theirs)).await?;
    compare_lines(stores, &mut moved, (&mut mine, &mut theirs)).await?;
    // All of it was read by now: what does not read is passed over where it is listed, and missed here.
    super::refuse_damaged(stores.source).await?;
    (moved.digest, moved.renamed) = (theirs.finish(), renamed.texts());
    let of_source = mine.finish();
    if moved.digest != of_source {
        return Err(MigrateError::Differs(format!("digest {of_source} of the source, {} of the target", moved.digest)));
    }
    Ok(moved)
}

/// The same events with the same deliveries, as they are in the target.
async fn read_there(target: &dyn Store, wanted: &[Whole]) -> Result<Vec<Whole>, MigrateError> {
    let mut of: Of = Vec::with_capacity(wanted.len());
    for whole in wanted {
        let ids: Vec<DeliveryId> = whole.deliveries.iter().map(|tried| tried.delivery.id).collect();
        let found: Vec<Option<Delivery>> = patiently(End::Target, || target.find(ids.clone())).await?;
        of.push((whole.event.id, found.into_iter().flatten().collect()));
    }
    whole::read(End::Target, target, of).await.map_err(|error| match error {
        MigrateError::Damaged(what) => MigrateError::Differs(what),
        other => other,
    })
}

fn refuse_other(wanted: &Whole, found: &Whole) -> Result<(), MigrateError> {
    if wanted == found {
        return Ok(());
    }
    let id: EventId = wanted.event.id;
    let what = if wanted.event != found.event {
        format!("{id} is another there")
    } else if wanted.dedupe != found.dedupe {
        format!("the dedupe key of {id} is another there")
    } else {
        format!("deliveries of {id} are others there")
    };
    Err(MigrateError::Differs(what))
}

fn count(moved: &mut Moved, whole: &Whole) {
    moved.events += 1;
    moved.keys += u64::from(whole.dedupe.is_some());
    moved.deliveries += whole.deliveries.len() as u64;
    moved.attempts += whole.deliveries.iter().map(|tried| tried.earlier.len() as u64).sum::<u64>();
}

/// All counters, and that what was read is all that is counted.
async fn compare_counters(stores: Move<'_>, moved: &Moved) -> Result<(), MigrateError> {
    let source = patiently(End::Source, || stores.source.stats()).await?;
    let target = patiently(End::Target, || stores.target.stats()).await?;
    let events: u64 = source.sources.iter().map(|of| of.stored).sum();
    let deliveries: u64 = source.destinations.iter().flat_map(|of| of.states).sum();
    if (events, deliveries) != (moved.events, moved.deliveries) {
        return Err(MigrateError::Damaged(format!(
            "it counts {events} events and {deliveries} deliveries, and has {} and {} that read",
            moved.events, moved.deliveries
        )));
    }
    let (source, target) = (counters(&source), counters(&target));
    if source == target { Ok(()) } else { Err(MigrateError::Differs(format!("counters are {source} and {target}"))) }
}

/// Counters of all names that anything was counted for, in words.
fn counters(stats: &Stats) -> String {
    let sources = stats.sources.iter().filter(|of| of.accepted + of.duplicates > 0);
    let sources =
        sources.map(|of| format!("{}: {} {} {} {}", of.source, of.accepted, of.stored, of.retired, of.duplicates));
    let destinations = stats.destinations.iter().filter(|of| of.created > 0);
    let destinations = destinations.map(|of| {
        let (states, outcomes) = (of.states, of.outcomes);
        format!("{}: {} {states:?} {} {} {outcomes:?} {}", of.destination, of.created, of.retired, of.lost, of.retried)
    });
    let mut all: Vec<String> = sources.chain(destinations).collect();
    all.sort_unstable();
    all.join("; ")
}

async fn compare_documents(
    stores: Move<'_>,
    moved: &mut Moved,
    (mine, theirs): (&mut Digest, &mut Digest),
) -> Result<(), MigrateError> {
    for kind in KINDS {
        let wanted = patiently(End::Source, || stores.source.documents(kind)).await?;
        let found = patiently(End::Target, || stores.target.documents(kind)).await?;
        for (digest, documents) in [(&mut *mine, &wanted), (&mut *theirs, &found)] {
            for document in documents {
                digest.update(document.key.name.as_bytes());
                digest.update(document.body.as_bytes());
            }
        }
        let bodies = |documents: &[crate::seam::Document]| -> Vec<(String, String)> {
            documents.iter().map(|document| (document.key.name.clone(), document.body.clone())).collect()
        };
        if bodies(&wanted) != bodies(&found) {
            return Err(MigrateError::Differs(format!("documents {kind:?} are others there")));
        }
        moved.documents += found.len() as u64;
    }
    Ok(())
}

/// Lines of one moment may be listed in another order: what they come to together is compared.
async fn compare_lines(
    stores: Move<'_>,
    moved: &mut Moved,
    (mine, theirs): (&mut Digest, &mut Digest),
) -> Result<(), MigrateError> {
    let (wanted, found) = (lines(End::Source, stores.source).await?, lines(End::Target, stores.target).await?);
    mine.update(&wanted.1.to_be_bytes());
    theirs.update(&found.1.to_be_bytes());
    if wanted != found {
        let what = format!("{} lines of the audit log, and {} there, or others", wanted.0, found.0);
        return Err(MigrateError::Differs(what));
    }
    moved.lines = found.0;
    Ok(())
}

/// How many there are but for those about moves, and what they come to.
async fn lines(end: End, store: &dyn Store) -> Result<(u64, u128), MigrateError> {
    let (mut count, mut sum, mut cursor) = (0, 0_u128, None);
    loop {
        let page = || Page { cursor: cursor.clone(), limit: LINES_A_PAGE };
        let listed = patiently(end, || store.browse_audit(AuditFilter::default(), page())).await?;
        for line in listed.items.iter().filter(|line| !is_about_moves(line)) {
            count += 1;
            sum = sum.wrapping_add(hash(line));
        }
        cursor = listed.next;
        if cursor.is_none() {
            return Ok((count, sum));
        }
    }
}

fn hash(line: &AuditEntry) -> u128 {
    let mut bytes = line.at.as_micros().to_be_bytes().to_vec();
    for text in [&line.who, &line.action, &line.subject, &line.origin] {
        bytes.extend((text.len() as u64).to_be_bytes());
        bytes.extend(text.bytes());
    }
    let hashed = digest(&SHA256, &bytes);
    hashed.as_ref().first_chunk().map_or(0, |first| u128::from_be_bytes(*first))
}
