//! `crm-relay store rekey`: a pass over all that is stored, step by step, in the server that runs or in the store of one that does not.

use std::sync::Arc;

use http::Method;
use relay_core::storage::StoreError;
use relay_server::api::{RekeyAsk, RekeyDto};
use relay_store::{Store, sqlite::Options};
use serde_json::json;

use crate::{
    admin_client::Api,
    config::{self, layers::Layers},
    exit::{Exit, Failure, Outcome},
    opening,
    output::{pretty, print, tell},
    place,
    render::progress::Progress,
    runtime::block_on,
    signals,
};

/// Passes: what others changed while it was read is looked at again.
const PASSES_MAX: u32 = 3;

/// Whoever takes the steps.
enum Way {
    Server(Api),
    Store(Arc<dyn Store>),
}

/// What all steps came to.
#[derive(Debug, Default)]
struct Sum {
    read: u64,
    sealed: u64,
    left: u64,
    retired: Vec<u32>,
}

/// Does it.
///
/// # Errors
/// There is no key, or no store; or it was interrupted.
pub(crate) fn run(layers: &Layers, is_redis: bool, json: bool) -> Outcome {
    block_on(async {
        let way = way(layers, is_redis).await?;
        let (mut key, mut sum) = (0, Sum::default());
        let mut progress = Progress::endless();
        let stop = signals::listen()?;
        for _ in 0..PASSES_MAX {
            key = pass(&way, &stop, &mut sum, &mut progress).await?;
            if sum.left == 0 {
                break;
            }
        }
        drop(progress);
        if let Way::Store(store) = &way {
            store.close().await;
        }
        let Sum { read, sealed, left, retired } = &sum;
        if json {
            print(&pretty(&json!({"key": key, "read": read, "sealed": sealed, "left": left, "retired": retired})))?;
        } else {
            tell(&in_words(key, &sum))?;
        }
        Ok(if *left == 0 { Exit::Done } else { Exit::No })
    })
}

fn in_words(key: u32, sum: &Sum) -> String {
    let Sum { sealed, left, retired, .. } = sum;
    if *left > 0 {
        return format!(
            "{sealed} records were sealed anew with key {key}, and {left} are left as they were, because they do not read: the log names \
             them, and crm-relay store check does. Older keys are still needed"
        );
    }
    let text = format!("All is sealed with key {key}: {sealed} records were sealed anew");
    if retired.is_empty() {
        return text;
    }
    let shown: Vec<String> = retired.iter().map(ToString::to_string).collect();
    format!(
        "{text}. Nothing here needs key {} any more: take it out of ENCRYPTION_KEY_FILE, and keep it for the backups that were made before",
        shown.join(", ")
    )
}

async fn way(layers: &Layers, is_redis: bool) -> Result<Way, Failure> {
    if let Some(api) = Api::find(layers).await? {
        return Ok(Way::Server(api));
    }
    if is_redis {
        // Who else is there, and seals with which key, a server knows.
        return Err(Failure::unreachable(
            "no server runs here, and on a Redis one has to: say where it is: --data-dir DIR or --admin-url URL",
        ));
    }
    let dirs = config::data_dirs(layers);
    let dir = dirs.into_iter().find(|dir| place::holds_store(dir)).ok_or_else(|| {
        Failure::unreachable(format!("no store in {}. Say where it is: --data-dir DIR", config::looked_in(layers)))
    })?;
    let ciphers = config::ciphers(layers)?;
    Ok(Way::Store(Arc::new(opening::open(Options { ciphers, ..Options::new(dir) })?)))
}

/// One pass; gives the number of the key.
async fn pass(way: &Way, stop: &signals::Stop, sum: &mut Sum, progress: &mut Progress) -> Result<u32, Failure> {
    let mut from = None;
    sum.left = 0;
    loop {
        if stop.is_asked() {
            let Sum { sealed, .. } = sum;
            return Err(Failure::no(format!(
                "interrupted: {sealed} records were sealed anew by then, and stay so. Run it again"
            )));
        }
        let step = step(way, from).await?;
        let Some(key) = step.key else {
            return Err(Failure::new(
                Exit::Configuration,
                "there is no key to seal anything with: set ENCRYPTION_KEY_FILE, and restart the server",
            ));
        };
        sum.read += step.read;
        sum.sealed += step.sealed;
        sum.left += step.left;
        progress.reach(sum.read, None);
        sum.retired.extend(step.retired);
        from = step.next;
        if from.is_none() {
            return Ok(key);
        }
    }
}

async fn step(way: &Way, from: Option<String>) -> Result<RekeyDto, Failure> {
    match way {
        Way::Server(api) => api.ask(Method::POST, "/api/v1/store/rekey", &RekeyAsk { from }).await,
        Way::Store(store) => {
            let failed = |error: StoreError| Failure::new(Exit::StoreFailed, format!("the store: {error}"));
            let key = store.promises().sealed_with;
            let done = store.rekey(from).await.map_err(failed)?;
            let relay_store::seam::Rekeyed { read, sealed, left, next, retired } = done;
            Ok(RekeyDto { key, read, sealed, left, next, retired })
        }
    }
}
