//! Runs server and client in one process, joined without a socket.

use std::time::Duration;

use relay_client::{Outside, config::Destination, run::Watcher};
use relay_core::name::Name;

use crate::{
    config::{Logging, server::Plan},
    exit::{Exit, Failure, Outcome},
    farewell,
    hints::{self, Facts},
    joined,
    output::show,
    receive::{Behaviour, Receiver},
    render::{
        forwarded::{Show, Teller},
        style,
    },
    runtime::block_on_beside_writer,
    server::{self, Started},
    signals, telemetry,
};

/// How long the link to the dashboard is good that is shown at the start: until somebody has read that.
const LINK_KEPT: Duration = Duration::from_mins(15);

/// Runs until stopped, or until one of the two halves ends.
///
/// # Errors
/// It could not start, or the store failed.
pub(crate) fn run(plan: Plan, mut config: relay_client::Config, what: Option<Show>, logging: &Logging) -> Outcome {
    let printer = telemetry::start(logging)?;
    for note in &plan.notes {
        tracing::warn!(event = "configuration", "{note}");
    }
    block_on_beside_writer(async {
        let (stop, _) = signals::attend()?;
        let told = relay_server::Outside { lost_lines: printer.lost(), ..Default::default() };
        let Some(started) = Box::pin(server::start_in_project(plan, told, &stop)).await? else { return Ok(Exit::Done) };
        let Started { server, kept, occupied: _occupied } = started;
        let is_quiet = what.is_some();
        let receiver = if config.destinations.is_empty() { Some(receiver(is_quiet).await?) } else { None };
        config.destinations.extend(receiver.as_ref().map(to_receiver).transpose()?);
        let facts = Facts::of(&server, &kept).with_link(link(&server).await);
        let greeting = hints::dev(&facts, &config.destinations, receiver.is_some());

        // The receiver prints whole requests by itself, unless somebody wants less.
        let is_told = receiver.is_none() || is_quiet;
        let watcher = is_told.then(|| watcher(Teller::new(what.unwrap_or(Show::Line), &config.destinations)));
        let outside = Outside { watcher, stopping: farewell::of_client(), ..Outside::default() };
        // The receiver outlives both, so that what is under way at a stop still arrives.
        let mut receiving = None;
        let begun = || {
            show(&greeting);
            receiving = receiver.map(|receiver| tokio::spawn(async move { receiver.serve().await }));
        };
        let outcome = joined::run(server, config, outside, stop, begun).await;
        if let Some(receiving) = receiving {
            receiving.abort();
        }
        if style::is_terminal() && outcome.is_ok() {
            show("\nstopped; what is not delivered is after the next start");
        }
        outcome
    })
}

/// A link that opens the dashboard, for whoever sits at the terminal; in a log it would be for whoever reads that.
async fn link(server: &relay_server::Server) -> Option<String> {
    if !style::is_terminal() {
        return None;
    }
    let made = server.dashboard_link(LINK_KEPT).await;
    made.inspect_err(|error| tracing::warn!(event = "no_link", %error, "there is no link to the dashboard")).ok()?
}

/// Prints what the teller has to say.
fn watcher(mut teller: Teller) -> Watcher {
    Box::new(move |forward, outcome| {
        if let Some(text) = teller.tell(forward, outcome) {
            show(&text);
        }
    })
}

/// The built-in receiver, at any free port.
async fn receiver(quiet: bool) -> Result<Receiver, Failure> {
    let behaviour = Behaviour { status: http::StatusCode::OK, delay: Duration::ZERO, fail_first: 0, quiet };
    Receiver::bind(([127, 0, 0, 1], 0).into(), behaviour).await
}

fn to_receiver(receiver: &Receiver) -> Result<Destination, Failure> {
    let url = format!("http://{}/", receiver.address()).parse();
    let url: relay_client::config::TargetUrl =
        url.map_err(|_| Failure::new(Exit::Unreachable, "the receiver has no address"))?;
    Ok(Destination::new(Name::fallback(), url))
}
