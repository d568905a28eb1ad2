//! The connections of the admin API: read as strictly as the public listener's, and asked by nobody's web page.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::IntoResponse as _};
use http::{Request, Response};
use hyper::body::Incoming;
use relay_net::{
    origin::Origin,
    proxies::{Behind, Proxies},
    serve::{self, Bounds, Closing, Connections, Listening, Seated, Serve},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::{Desk, site::Sites};
use crate::{
    ingress::{Answers, Connection, Flaw, Patience},
    metrics::Metrics,
};

/// How long an answer under way may still take once the server stops. Commands go on without their connection.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// What a listener serves.
pub(crate) struct Offer {
    pub(crate) desk: Desk,
    /// Only what is asked under one of their names is answered.
    pub(crate) sites: Option<Sites>,
    /// The proxies that are believed whom they bring.
    pub(crate) proxies: Arc<Proxies>,
}

/// Serves until `stop`, then returns when the last connection has ended. Dropped, it ends them all.
pub(crate) async fn serve<L>(
    listener: L,
    name: &'static str,
    offer: Offer,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) where
    L: Listening + Sync,
    L::Socket: AsyncRead + AsyncWrite + Unpin,
{
    let connections = Connections::new(Bounds::private());
    let listener = Behind::new(listener, Arc::clone(&offer.proxies));
    let office = Arc::new(Office { offer, metrics });
    serve::serve(listener, name, connections, office, stop).await;
}

struct Office {
    offer: Offer,
    metrics: Arc<Metrics>,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Serve<S> for Office {
    async fn connection(&self, socket: S, origin: Origin, seat: Arc<Seated>, closing: &Closing) {
        // As silent before its first head as between two.
        let patience = Patience { idle: Patience::default().head, ..Patience::default() };
        let connection = Connection { socket, seat, patience, answers: Answers::Any };
        let driven = connection.drive(closing, |request| self.answer(origin, request));
        let stopped = async {
            closing.begun().await;
            tokio::time::sleep(STOP_TIMEOUT).await;
        };
        // Cancel safety: commands go on in tasks of their own.
        tokio::select! { () = driven => {}, () = stopped => {} }
    }

    fn panicked(&self) {
        self.metrics.panicked();
    }
}

impl Office {
    async fn answer(&self, origin: Origin, request: Result<Box<Request<Incoming>>, Flaw>) -> Response<Body> {
        let request = match request {
            Ok(request) => *request,
            Err(flaw) => return flaw.problem().respond().map(Body::new),
        };
        let Offer { desk, sites, proxies } = &self.offer;
        if let Some(sites) = sites
            && let Err(error) = sites.may_ask(request.method(), request.uri().path(), request.headers())
        {
            return error.into_response();
        }
        let origin = proxies.asked(origin, request.headers());
        desk.answer(origin, request.map(Body::new)).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::{Router, routing::get};
    use relay_core::time::Wall;
    use relay_store::seam::Stats;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // A connection whose task panicked may be reset.
        let _ = socket.read_to_string(&mut answer).await;
        answer
    }

    /// What a question makes panic is counted and logged like what a command does, and ends its connection alone.
    #[tokio::test]
    async fn a_panic_of_a_question_is_counted_and_ends_one_connection() {
        async fn broken() {
            panic!("a bug")
        }
        let router = Router::new().route("/broken", get(broken)).route("/", get(async || "well"));
        let (metrics, stop) = (Arc::<Metrics>::default(), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let offer = Offer { desk: Desk::of(router), sites: Some(Sites::default()), proxies: Arc::default() };
        let served = serve(listener, "admin", offer, Arc::clone(&metrics), stop.clone());
        let served = tokio::spawn(served);
        assert_eq!(ask(address, "/broken").await, "");
        assert!(ask(address, "/").await.ends_with("well"));
        let page = metrics.render(&Stats::default(), &[], &BTreeSet::new(), (&[], &[]), Wall::MIN);
        assert!(page.contains("crm_relay_panics_total 1\n"), "{page}");
        stop.cancel();
        served.await.unwrap();
    }
}
