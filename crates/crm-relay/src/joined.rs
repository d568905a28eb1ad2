//! A server and a client in one process, joined without a socket: `dev`, and `client --redis`.

use std::{pin::pin, time::Duration};

use futures_util::FutureExt as _;
use relay_client::{Config, Outside, Transport, run::Dialing};
use relay_server::{Joiner, Server};
use tokio_util::sync::CancellationToken;

use crate::{
    client,
    exit::{self, Exit, Outcome},
    server,
    signals::Stop,
};

/// How long forwards may go on once the server of this process is gone.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs both until a stop is asked for, or one of them ends; `begun` is called once both have begun.
///
/// # Errors
/// One of them did not begin, or did not end well.
pub(crate) async fn run(server: Server, config: Config, outside: Outside, stop: Stop, begun: impl FnOnce()) -> Outcome {
    // Whichever half ends first takes the other with it: neither is of use alone.
    let over = CancellationToken::new();
    let joiner = server.joiner();
    let mut client =
        pin!(relay_client::run_watched(config, || dial(&joiner), outside, either(stop.clone(), over.clone())));
    // A client that cannot start says so when it is first asked, before a greeting promises anything.
    if let Some(ended) = client.as_mut().now_or_never() {
        let served = Box::pin(server.run(std::future::ready(()))).await;
        return exit::worse(client::end(ended), server::end(served));
    }
    begun();
    let mut server = Box::pin(server.run(either(stop, over.clone())));
    tokio::select! {
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
    }
}

/// Completes when a stop was asked for, or the other half is over. Cancel safe.
async fn either(stop: Stop, over: CancellationToken) {
    tokio::select! {
        () = stop.asked() => {}
        () = over.cancelled() => {}
    }
}

/// A line to the server of this process.
fn dial(joiner: &Joiner) -> Dialing {
    let attached = joiner.attach();
    Box::pin(async move { Ok(Transport::memory(attached.to_server, attached.from_server)) })
}
