//! Runs server and client in one process, joined without a socket.

use relay_client::{Transport, config::Destination, run::Dialing};
use relay_core::name::Name;
use relay_server::Joiner;

use crate::{
    cli::{block_on_beside_writer, print},
    client,
    config::{Logging, server::Plan},
    exit::{Exit, Failure, Outcome},
    receive::{Behaviour, Receiver},
    render::hints,
    server::{self, Facts},
    signals, telemetry,
};

/// Runs until stopped.
///
/// # Errors
/// It could not start, or the store failed.
pub(crate) fn run(plan: Plan, mut joined: relay_client::Config, logging: &Logging) -> Outcome {
    telemetry::start(logging);
    for note in &plan.notes {
        tracing::warn!(event = "configuration", "{note}");
    }
    block_on_beside_writer(async {
        let stop = signals::listen()?;
        let (server, kept) = server::start_in_project(plan).await?;
        let receiver = if joined.destinations.is_empty() { Some(receiver().await?) } else { None };
        joined.destinations.extend(receiver.as_ref().map(to_receiver).transpose()?);
        print(&hints::dev(&Facts::of(&server, &kept), &joined.destinations, receiver.is_some()))?;

        let joiner = server.joiner();
        let client = relay_client::run_with(joined, || dial(&joiner), stop.clone().asked());
        // The receiver outlives both, so that what is under way at a stop still arrives.
        let receiving = tokio::spawn(async move {
            if let Some(receiver) = receiver {
                receiver.serve().await;
            }
        });
        let (served, ended) = tokio::join!(server.run(stop.asked()), client);
        receiving.abort();
        let worse = server::end(served)?;
        client::end(ended).map(|_| worse)
    })
}

/// A line to the server of this process.
fn dial(joiner: &Joiner) -> Dialing {
    let attached = joiner.attach();
    Box::pin(async move { Ok(Transport::memory(attached.to_server, attached.from_server)) })
}

/// The built-in receiver, at any free port.
async fn receiver() -> Result<Receiver, Failure> {
    let behaviour =
        Behaviour { status: http::StatusCode::OK, delay: std::time::Duration::ZERO, fail_first: 0, quiet: false };
    Receiver::bind(([127, 0, 0, 1], 0).into(), behaviour).await
}

fn to_receiver(receiver: &Receiver) -> Result<Destination, Failure> {
    let url = format!("http://{}/", receiver.address()).parse();
    let url: relay_client::config::TargetUrl =
        url.map_err(|_| Failure::new(Exit::Unreachable, "the receiver has no address"))?;
    Ok(Destination::new(Name::fallback(), url))
}
