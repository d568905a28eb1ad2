//! End to end, on a Redis: what the embedded store is asked in `tests/e2e`, where it is not about files; and what only that
//! backend has.

#![expect(clippy::disallowed_methods, reason = "tests wait for processes, and sign as of now")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test panics on what must not be, and prints its figures"
)]
#![expect(dead_code, reason = "what both have in common is more than what is used here")]

mod balanced;
#[path = "../e2e/clock.rs"]
mod clock;
mod cluster_torture;
#[path = "../../../relay-store/tests/redis/clustered.rs"]
mod clustered;
mod configuration;
#[path = "../e2e/delivery.rs"]
mod delivery;
#[path = "../e2e/export.rs"]
mod export;
#[path = "../e2e/finding.rs"]
mod finding;
mod front;
#[path = "../../../relay-store/tests/redis/gate.rs"]
mod gate;
mod gone;
#[path = "../e2e/history.rs"]
mod history;
mod keyed;
mod main_job;
mod migrate;
#[path = "../../../relay-store/tests/redis/node.rs"]
mod node;
mod operate;
#[path = "../e2e/predecessor.rs"]
mod predecessor;
#[path = "../e2e/process.rs"]
mod process;
#[path = "../e2e/refusals.rs"]
mod refusals;
#[path = "../e2e/reload.rs"]
mod reload;
#[path = "../../../relay-store/tests/redis/replicated.rs"]
mod replicated;
#[path = "../e2e/retention.rs"]
mod retention;
#[path = "../e2e/sealed.rs"]
mod sealed;
#[path = "../e2e/sender.rs"]
mod sender;
mod sentinel_torture;
mod several;
mod several_torture;
#[path = "../e2e/stop.rs"]
mod stop;
mod store;
#[path = "../e2e/target.rs"]
mod target;
mod together;
#[path = "../e2e/torture.rs"]
mod torture;
mod trouble;
mod way;

use self::node::bound;
