//! A client made of the core's own machine, over a real WebSocket or attached, with a scripted target.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use relay_core::{
    client::{Client, Exit, Forward, Input, Output, Served, Setup},
    delivery::outcome::{Class, Outcome},
    id::InstanceId,
    wire::{codec, message::Message},
};
use relay_server::{Attached, clock::Clock};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_tungstenite::{
    client_async,
    tungstenite::{Error as WsError, Message as Frame, client::IntoClientRequest as _, http::Response},
};

/// What a target does with each webhook.
pub(crate) type Target = Arc<dyn Fn(&Forward) -> Outcome + Send + Sync>;

/// A client and what its target saw.
pub(crate) struct Joined {
    pub(crate) seen: mpsc::UnboundedReceiver<Forward>,
    stop: mpsc::Sender<()>,
    ended: tokio::task::JoinHandle<Option<Exit>>,
}

impl Joined {
    /// The next webhook that reached the target.
    pub(crate) async fn next(&mut self) -> Forward {
        let next = tokio::time::timeout(Duration::from_secs(20), self.seen.recv());
        next.await.expect("a webhook comes in time").expect("the client runs")
    }

    /// Stops the client; `None` if its session was ended by the server before.
    pub(crate) async fn stop(self) -> Option<Exit> {
        // It may have ended already.
        let _ = self.stop.send(()).await;
        self.ended().await
    }

    /// How the client ended.
    pub(crate) async fn ended(self) -> Option<Exit> {
        tokio::time::timeout(Duration::from_secs(20), self.ended).await.expect("the client ends").unwrap()
    }
}

/// A target that answers with these statuses in turn, the last one for ever.
pub(crate) fn answers(statuses: &[u16]) -> Target {
    let rest = std::sync::Mutex::new(VecDeque::from(statuses.to_vec()));
    Arc::new(move |_: &Forward| {
        let mut rest = rest.lock().unwrap();
        let status = if rest.len() > 1 { rest.pop_front() } else { rest.front().copied() };
        outcome(status.expect("at least one status"))
    })
}

fn outcome(status: u16) -> Outcome {
    Outcome {
        class: Class::of_status(status),
        status: Some(status),
        retry_after: None,
        duration: Duration::from_millis(1),
        error: None,
        answer: None,
    }
}

/// Joins over a WebSocket.
pub(crate) async fn join(addr: SocketAddr, token: &str, destination: &str, target: Target) -> Joined {
    let socket = upgrade(addr, token, Some("1")).await.expect("the server lets the client in");
    let (mut sink, mut frames) = socket.split();
    let (to_server, mut outgoing) = mpsc::channel::<Message>(64);
    let (incoming, from_server) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            if sink.send(Frame::Binary(codec::encode(message))).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    });
    tokio::spawn(async move {
        while let Some(Ok(frame)) = frames.next().await {
            if let Frame::Binary(bytes) = frame
                && let Some(message) = codec::decode(bytes).unwrap()
                && incoming.send(message).await.is_err()
            {
                return;
            }
        }
    });
    drive(Attached { to_server, from_server }, destination, target)
}

/// Asks for the upgrade; the answer's status if there is none.
pub(crate) async fn upgrade(
    addr: SocketAddr,
    token: &str,
    protocol: Option<&str>,
) -> Result<tokio_tungstenite::WebSocketStream<TcpStream>, Response<Option<Vec<u8>>>> {
    let mut request = format!("ws://{addr}/connect").into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    if let Some(protocol) = protocol {
        request.headers_mut().insert("relay-protocol", protocol.parse().unwrap());
    }
    match client_async(request, TcpStream::connect(addr).await.unwrap()).await {
        Ok((socket, _)) => Ok(socket),
        Err(WsError::Http(response)) => Err(*response),
        Err(error) => panic!("{error}"),
    }
}

/// Drives a client machine over an open session until it is stopped or the server hangs up.
pub(crate) fn drive(session: Attached, destination: &str, target: Target) -> Joined {
    let Attached { to_server, mut from_server } = session;
    let served = Served { name: destination.parse().unwrap(), slots: 8, forward_timeout: Duration::from_secs(5) };
    let setup = Setup {
        instance: InstanceId::from_u128(rand::random()),
        label: "a test".into(),
        version: "0".into(),
        destinations: vec![served],
        buffer_bytes: 1 << 26,
        seed: 1,
    };
    let (saw, seen) = mpsc::unbounded_channel();
    let (stop, mut stopped) = mpsc::channel(1);
    let ended = tokio::spawn(async move {
        let clock = Clock::start(relay_core::time::Wall::MIN);
        let mut machine = Client::new(setup, clock.now());
        machine.handle_timeout(clock.now());
        loop {
            while let Some(output) = machine.poll_output() {
                match output {
                    Output::Dial => machine.handle(Input::Connected, clock.now()),
                    Output::Send(message) => drop(to_server.send(message).await),
                    Output::Forward(forward) => {
                        let outcome = target(&forward);
                        saw.send((*forward).clone()).unwrap();
                        machine.handle(Input::Forwarded(forward.delivery, outcome), clock.now());
                    }
                    Output::Notice(_) => {}
                    Output::Hangup => return None,
                    Output::Exit(exit) => return Some(exit),
                }
            }
            let wake = machine
                .poll_timeout()
                .map_or_else(|| Instant::now() + Duration::from_mins(1), |at| clock.instant(at).into());
            tokio::select! {
                message = from_server.recv() => match message {
                    Some(message) => machine.handle(Input::Received(message), clock.now()),
                    None => return None,
                },
                Some(()) = stopped.recv() => machine.handle(Input::Stop, clock.now()),
                () = sleep_until(wake) => machine.handle_timeout(clock.now()),
            }
        }
    });
    Joined { seen, stop, ended }
}
