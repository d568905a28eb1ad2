//! `crm-relay client --redis`: a client that has its server in its own process, which nobody else reaches, beside others on the same Redis.
//! No token, no session over a network: for networks in which whoever reaches the Redis is trusted.

use relay_client::{Config, Outside};
use relay_store::redis;

use crate::{
    config::{Logging, server::Plan},
    exit::{Exit, Outcome},
    farewell, joined,
    runtime::block_on,
    server::{self, Started},
    signals,
    systemd::Notifier,
    telemetry,
};

/// What it does, for the service manager.
const SERVING: &str = "forwarding webhooks out of a Redis";

/// Runs until stopped, or until one of the two halves ends.
///
/// # Errors
/// It could not start, or the store failed.
pub(crate) fn run(plan: Plan, redis: redis::Options, config: Config, logging: &Logging) -> Outcome {
    let printer = telemetry::start(logging)?;
    for note in &plan.notes {
        tracing::warn!(event = "configuration", "{note}");
    }
    let targets: Vec<String> = config.destinations.iter().map(|d| format!("{} -> {}", d.name, d.url)).collect();
    tracing::info!(event = "starting", server = %redis.address, targets = targets.join(", "));
    let notifier = Notifier::of_environment();
    block_on(async {
        let (stop, _) = signals::attend()?;
        let told = relay_server::Outside { lost_lines: printer.lost(), ..Default::default() };
        let Some(started) = Box::pin(server::start_nowhere(plan, redis, told, &stop)).await? else {
            return Ok(Exit::Done);
        };
        let Started { server, occupied: _occupied, .. } = started;
        let outside = Outside { stopping: farewell::of_client(), ..Outside::default() };
        let pulse = server.pulse();
        let running = joined::run(server, config, outside, stop, || notifier.ready(SERVING));
        let ended = tokio::select! {
            ended = running => ended,
            never = notifier.keep_watchdog(|| pulse.beat()) => match never {},
        };
        farewell::last(&ended);
        ended
    })
}
