//! How a server begins beside the others on its store: by their clock, and with one configuration.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use relay_core::{
    hub::Hub,
    limits,
    storage::{About, Presence, Reading, StoreError, start_at},
    time::Wall,
};
use relay_store::Store;
use tokio::time::{Instant, sleep};

use crate::{Config, agreement::Agreement, clock::Clock, start_error::StartError};

/// How late what a server says of itself may be, and how often it is looked whether it does.
const PRESENCE_LATE: Duration = Duration::from_millis(500);

/// The clock of this run: the system's, or where servers share the store and that has a clock, the one that they keep; and these.
pub(super) async fn start_clock(
    store: &dyn Store,
    shares: bool,
    hub: &Hub,
    latest: Wall,
) -> Result<(Clock, Vec<Presence>), StoreError> {
    let own = || Clock::start(latest);
    if !shares {
        return Ok((own(), Vec::new()));
    }
    let Some(before) = store.clock().await? else { return Ok((own(), Vec::new())) };
    let others = store.presence(hub.first_presence(before)).await?;
    let readings: Vec<Reading> = others.iter().filter_map(|other| other.clock).collect();
    // Once more: hearing of the others took its time.
    let clock = store.clock().await?.map_or_else(own, |now| Clock::start_at(start_at(now, latest, &readings)));
    Ok((clock, others))
}

/// Comes to one with the other servers on the store, and takes back what was said of this one where it does not.
pub(super) async fn agreed(
    store: &Arc<dyn Store>,
    clock: Clock,
    config: &Config,
    hub: &Hub,
    others: &[Presence],
) -> Result<Arc<Agreement>, StartError> {
    let live =
        async |surely| if surely { still_there(&**store, clock, hub, others).await } else { Ok(others.to_vec()) };
    let agreement = Agreement::reach(store.clone(), clock, config, live).await;
    if agreement.is_err() {
        // Where it cannot be said, it is not heard of any more soon.
        let at = time_of(&**store, clock).await;
        let _ = store.presence(Presence { stopping: true, ..hub.first_presence(at) }).await;
    }
    agreement.map(Arc::new)
}

/// The time of the store, by which presence is kept: a word dated otherwise may be taken for old, or make all others old.
async fn time_of(store: &dyn Store, clock: Clock) -> Wall {
    match store.clock().await {
        Ok(Some(now)) => now,
        Ok(None) | Err(_) => clock.wall(),
    }
}

/// Those of them of which something new is heard: a server that was killed is still known for a while.
async fn still_there(
    store: &dyn Store,
    clock: Clock,
    hub: &Hub,
    known: &[Presence],
) -> Result<Vec<Presence>, StoreError> {
    let until = Instant::now() + limits::PRESENCE_EVERY * 2 + PRESENCE_LATE;
    loop {
        let mut others = store.presence(hub.first_presence(time_of(store, clock).await)).await?;
        others.retain(|other| !known.iter().any(|before| before.run == other.run && before.at >= other.at));
        if !others.is_empty() || Instant::now() >= until {
            return Ok(others);
        }
        sleep(PRESENCE_LATE).await;
    }
}

/// What it says of itself.
pub(super) fn about(config: &Config, public: Option<SocketAddr>) -> About {
    let (version, name) = (env!("CARGO_PKG_VERSION").into(), config.server.as_str().into());
    let address = public.map(|addr| addr.to_string()).unwrap_or_default().into();
    About { version, name, address, config: config.likeness().digest() }.bounded()
}
