//! That nobody else works on a store that several servers may share.

use std::time::Duration;

use relay_core::{
    limits,
    storage::{About, Presence},
};
use tokio::time::sleep;

use super::{End, MigrateError, Move, patiently, random_id};
use crate::Store;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A server that has begun has said something within so long.
const SAID_WITHIN: Duration = limits::PRESENCE_EVERY.saturating_add(Duration::from_secs(1));
/// What this says of itself.
const SELF: &str = "store migrate";

/// Waits until those that were heard of are gone.
pub(super) async fn before_marks(stores: Move<'_>) -> Result<(), MigrateError> {
    for end in [End::Source, End::Target] {
        wait(end, stores.at(end)).await?;
    }
    Ok(())
}

/// Whoever began before the marks were there, which is so long ago, and had not said anything yet, has by then.
pub(super) async fn after_marks(stores: Move<'_>, since: Duration) -> Result<(), MigrateError> {
    let shared = [End::Source, End::Target].into_iter().filter(|end| stores.at(*end).promises().several_owners);
    let shared: Vec<End> = shared.collect();
    if shared.is_empty() {
        return Ok(());
    }
    sleep(SAID_WITHIN.saturating_sub(since)).await;
    for end in shared {
        wait(end, stores.at(end)).await?;
    }
    Ok(())
}

async fn wait(end: End, store: &dyn Store) -> Result<(), MigrateError> {
    if !store.promises().several_owners {
        return Ok(());
    }
    let run = u64::from_str_radix(&random_id()?[..16], 16).unwrap_or_default();
    let looks = (limits::PRESENCE_GONE + limits::PRESENCE_EVERY).as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        if others(end, store, run).await?.is_empty() {
            return Ok(());
        }
        sleep(LOOK_EVERY).await;
    }
    let others = others(end, store, run).await?;
    if others.is_empty() { Ok(()) } else { Err(MigrateError::Served { end, servers: others.join(", ") }) }
}

/// Servers that are heard of. As one that is stopping this is asked to look after nothing.
async fn others(end: End, store: &dyn Store, run: u64) -> Result<Vec<String>, MigrateError> {
    let at = patiently(end, || store.clock()).await?.unwrap_or_default();
    let server = About { name: SELF.into(), version: env!("CARGO_PKG_VERSION").into(), ..About::default() };
    let mine = Presence { run, at, server, stopping: true, clock: None, clients: Vec::new(), circuits: Vec::new() };
    let others = patiently(end, || store.presence(mine.clone())).await?;
    let others = others.into_iter().filter(|other| &*other.server.name != SELF);
    Ok(others.map(|other| format!("{} at {}", other.server.name, other.server.address)).collect())
}
