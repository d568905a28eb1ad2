//! Runs server and client in one process, joined without a socket.

use std::{pin::pin, time::Duration};

use futures_util::FutureExt as _;
use relay_client::{
    Outside, Transport,
    config::Destination,
    run::{Dialing, Watcher},
};
use relay_core::name::Name;
use relay_server::Joiner;
use tokio_util::sync::CancellationToken;

use crate::{
    client,
    config::{Logging, server::Plan},
    exit::{self, Exit, Failure, Outcome},
    farewell,
    hints::{self, Facts},
    output::show,
    receive::{Behaviour, Receiver},
    render::{
        forwarded::{Show, Teller},
        style,
    },
    runtime::block_on_beside_writer,
    server::{self, Started},
    signals::{self, Stop},
    telemetry,
};

/// How long forwards may go on once the server of this process is gone.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs until stopped, or until one of the two halves ends.
///
/// # Errors
/// It could not start, or the store failed.
pub(crate) fn run(plan: Plan, mut joined: relay_client::Config, what: Option<Show>, logging: &Logging) -> Outcome {
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
        let receiver = if joined.destinations.is_empty() { Some(receiver(is_quiet).await?) } else { None };
        joined.destinations.extend(receiver.as_ref().map(to_receiver).transpose()?);
        let greeting = hints::dev(&Facts::of(&server, &kept), &joined.destinations, receiver.is_some());

        // The receiver prints whole requests by itself, unless somebody wants less.
        let is_told = receiver.is_none() || is_quiet;
        let watcher = is_told.then(|| watcher(Teller::new(what.unwrap_or(Show::Line), &joined.destinations)));
        let outside = Outside { watcher, stopping: farewell::of_client(), ..Outside::default() };
        // Whichever half ends first takes the other with it: neither is of use alone.
        let over = CancellationToken::new();
        let joiner = server.joiner();
        let mut client =
            pin!(relay_client::run_watched(joined, || dial(&joiner), outside, either(stop.clone(), over.clone())));
        // A client that cannot start says so when it is first asked, before a greeting promises anything.
        if let Some(ended) = client.as_mut().now_or_never() {
            let served = server.run(std::future::ready(())).await;
            return exit::worse(client::end(ended), server::end(served));
        }
        show(&greeting);
        // The receiver outlives both, so that what is under way at a stop still arrives.
        let receiving = tokio::spawn(async move {
            if let Some(receiver) = receiver {
                receiver.serve().await;
            }
        });
        let mut server = pin!(server.run(either(stop, over.clone())));
        let outcome = tokio::select! {
            served = &mut server => {
                over.cancel();
                // Nobody is there any more to settle what the client holds: what it forwards may end, no more.
                let ended = tokio::time::timeout(FAREWELL, client).await;
                exit::worse(server::end(served), ended.map_or(Ok(Exit::Done), client::end))
            }
            ended = &mut client => {
                over.cancel();
                exit::worse(client::end(ended), server::end(server.await))
            }
        };
        receiving.abort();
        if style::is_terminal() && outcome.is_ok() {
            show("\nstopped; what is not delivered is after the next start");
        }
        outcome
    })
}

/// Completes when a stop was asked for, or the other half is over. Cancel safe.
async fn either(stop: Stop, over: CancellationToken) {
    tokio::select! {
        () = stop.asked() => {}
        () = over.cancelled() => {}
    }
}

/// Prints what the teller has to say.
fn watcher(mut teller: Teller) -> Watcher {
    Box::new(move |forward, outcome| {
        if let Some(text) = teller.tell(forward, outcome) {
            show(&text);
        }
    })
}

/// A line to the server of this process.
fn dial(joiner: &Joiner) -> Dialing {
    let attached = joiner.attach();
    Box::pin(async move { Ok(Transport::memory(attached.to_server, attached.from_server)) })
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
