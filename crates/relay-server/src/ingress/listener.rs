//! The public listener's connections: what is asked on them, and which part of the server answers.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http::{HeaderValue, StatusCode, header};
use hyper::{Request, Response, body::Incoming};
use relay_net::{
    limits as net_limits,
    origin::Origin,
    proxies::Behind,
    serve::{self, Closing, Connections, Listening, Seated, Serve, Wanted},
    tls::{self, Unshaken},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Settings, arrival,
    backend::Backend,
    door::Door,
    flaw::Flaw,
    http1::{Answers, Connection},
    introductions::{Introduced, Introductions},
    path::{self, Leads},
    porch::{Books, Porch},
    respond,
    seam::{Body, Elsewhere},
    seat::unless_given_up,
};
use crate::{
    apart::apart,
    error::{Code, Problem},
    outbox, own_request,
};

/// What it is called.
const NAME: &str = "public";
/// Where clients dial in.
pub(crate) const CONNECT: &str = "/connect";
/// Where they ask whose `WebSockets` are cut.
pub(crate) const POLL: &str = "/connect/poll";
/// What has begun to come when the listener is to stop may go on for so long; then it is refused.
pub(crate) const INTAKE_WITHIN: Duration = Duration::from_millis(500);
/// What load balancers and monitors ask.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/health"];
const NO_CONNECTIONS: Problem =
    Problem::new(Code::StoreUnavailable, "every connection is at work at the moment; send it again").closing();
const NO_SHARE: Problem = Problem::new(
    Code::StoreUnavailable,
    "every connection that this address may have is at work at the moment; send it again",
)
.closing();
const SPEAKS_TLS: Problem =
    Problem::new(Code::Malformed, "this port speaks TLS: the URL begins with https://").closing();
pub(crate) const NO_SESSIONS: Problem =
    Problem::new(Code::StoreUnavailable, "as many clients are connected as there may be; come back later").closing();

const OTHER_HOST: Problem =
    Problem::new(Code::Misdirected, "this relay is not asked under the name in Host; see its ALLOWED_HOSTS");

/// Serves the public listener until `stop`; then accepts no more, finishes the requests at hand, and returns when the last
/// connection has ended. Whoever called bounds that wait by dropping the future. Without a backend no webhook is taken: there is no store.
pub(crate) async fn serve<E: Elsewhere>(
    listener: impl Listening<Socket = TcpStream> + Sync,
    (settings, books): (Settings, Books),
    backend: Option<Backend>,
    elsewhere: E,
    stop: CancellationToken,
) {
    let connections = Connections::new(settings.connections);
    let listener = Behind::new(listener, Arc::clone(&settings.proxies));
    let introductions = settings.proxy_protocol.then(|| {
        let within = settings.patience.handshake;
        Introductions::new(NAME, Arc::clone(&settings.proxies), books.clone(), within)
    });
    let (porch, refusing) = (Arc::new(Porch::new(settings, books)), CancellationToken::new());
    let door = backend.map(|backend| Door::new(Arc::clone(&porch), backend, refusing.clone()));
    let house = Arc::new(House { porch, door, elsewhere });
    let public = Public { house, introductions };
    let stopped = stop.clone();
    let refuses = async {
        stopped.cancelled().await;
        sleep(INTAKE_WITHIN).await;
        refusing.cancel();
        std::future::pending::<Infallible>().await
    };
    // Cancel safety: whichever ends first, nothing is taken any more.
    tokio::select! {
        () = serve::serve(listener, NAME, connections, Arc::new(public), stop) => {}
        never = refuses => match never {},
    }
}

/// All that answers on the public listener.
struct House<E> {
    porch: Arc<Porch>,
    /// None: there is no store.
    door: Option<Door>,
    elsewhere: E,
}

/// The public listener's connections.
struct Public<E> {
    house: Arc<House<E>>,
    /// None: whoever comes is heard.
    introductions: Option<Introductions>,
}

impl<E: Elsewhere> Serve<TcpStream> for Public<E> {
    async fn connection(&self, socket: TcpStream, origin: Origin, seat: Arc<Seated>, closing: &Closing) {
        // Best effort: without it answers only come later.
        let _ = socket.set_nodelay(true);
        outbox::prepare(&socket);
        let settings = &self.house.porch.settings;
        if settings.tls.is_none() && self.introductions.is_none() {
            return self.drive(socket, origin, seat, closing).await;
        }
        // Apart: what stands before a request is not to make each plain connection larger.
        Box::pin(self.begin(socket, origin, seat, closing)).await;
    }

    fn panicked(&self) {
        self.house.porch.books.metrics.panicked();
    }

    fn full(&self, wanted: Wanted) -> usize {
        self.house.porch.uploads.give_way(wanted)
    }

    fn refused(&self, origin: Origin) {
        self.house.porch.books.no_share(NAME, origin);
    }

    async fn turn_away(&self, socket: TcpStream) {
        // Where each connection is a proxy's, one that has a share is somebody else's.
        if self.introductions.is_none() {
            self.say_no_share(socket).await;
        }
    }
}

impl<E: Elsewhere> Public<E> {
    /// What comes before the first request: the word of the proxy, and the handshake.
    async fn begin(&self, mut socket: TcpStream, mut origin: Origin, seat: Arc<Seated>, closing: &Closing) {
        if let Some(introductions) = &self.introductions {
            let heard = introductions.hear(&mut socket, origin, &seat, closing, |wanted| self.full(wanted)).await;
            match heard {
                None => return,
                Some(Introduced::In(brought)) => origin = brought,
                Some(Introduced::WithoutShare) => {
                    // Who waits to hear that there is none gives way like one that has said nothing.
                    let said = timeout(net_limits::TURNED_AWAY_WITHIN, self.say_no_share(socket));
                    let _ = unless_given_up(&seat, closing, said).await;
                    return;
                }
            }
        }
        let Some(tls) = &self.house.porch.settings.tls else { return self.drive(socket, origin, seat, closing).await };
        if let Some(socket) = self.shake(tls, socket, &seat, closing).await {
            self.drive(socket, Origin { tls: true, ..origin }, seat, closing).await;
        }
    }

    async fn say_no_share(&self, socket: TcpStream) {
        let Some(tls) = &self.house.porch.settings.tls else { return say(socket, &NO_SHARE).await };
        if let Ok(socket) = tls.accept(socket, self.house.porch.settings.patience.handshake).await {
            say(socket, &NO_SHARE).await;
        }
    }

    /// The requests of one connection, whatever carries its bytes.
    async fn drive<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
        &self,
        socket: S,
        origin: Origin,
        seat: Arc<Seated>,
        closing: &Closing,
    ) {
        let house = &self.house;
        let patience = house.porch.settings.patience;
        let connection = Connection { socket, seat: Arc::clone(&seat), patience, answers: Answers::Short };
        let answer = |request| {
            let (house, seat) = (Arc::clone(house), Arc::clone(&seat));
            async move { house.answer(&seat, &origin, request).await }
        };
        connection.drive(closing, answer).await;
    }

    /// The handshake of one connection; none if it came to nothing. Until it is through, its peer is waited for like one that has
    /// said nothing, and gives way like one.
    async fn shake(
        &self,
        tls: &tls::Server,
        socket: TcpStream,
        seat: &Seated,
        closing: &Closing,
    ) -> Option<tls::Stream> {
        // Cancel safety: whoever has not shaken hands yet has asked for nothing.
        let shaking = tls.accept(socket, self.house.porch.settings.patience.handshake);
        let unshaken = match unless_given_up(seat, closing, shaking).await? {
            Ok(socket) => return Some(socket),
            Err(unshaken) => unshaken,
        };
        match unshaken {
            Unshaken::Plain(socket) => {
                self.house.porch.refused("no_tls");
                let problem = SPEAKS_TLS;
                let told = timeout(self.house.porch.settings.patience.handshake, say(socket, &problem));
                // Who stays after that is waited for like one that stops in a handshake.
                let _ = unless_given_up(seat, closing, told).await;
            }
            Unshaken::Proven => {}
            // Whoever looks whether the port is open, or has gone.
            Unshaken::Failed(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Unshaken::Failed(error) => {
                self.house.porch.refused("tls");
                tracing::debug!(%error, "a handshake of TLS failed");
            }
        }
        None
    }
}

/// Says so on a connection, which ends with that.
async fn say<S: AsyncRead + AsyncWrite + Unpin>(mut socket: S, problem: &Problem) {
    // Whoever goes away meanwhile has nothing to hear.
    if socket.write_all(&problem.written()).await.is_err() || socket.shutdown().await.is_err() {
        return;
    }
    // A socket closed with unread bytes is reset, and its answer with it.
    let _ = tokio::io::copy(&mut socket, &mut tokio::io::sink()).await;
}

impl<E: Elsewhere> House<E> {
    /// Answers one request, or the flaw of what is none.
    async fn answer(
        &self,
        seat: &Seated,
        origin: &Origin,
        request: Result<Box<Request<Incoming>>, Flaw>,
    ) -> Response<Body> {
        let mut response = match request {
            Ok(request) => self.ask(seat, origin, request).await,
            // It needs no place, and is answered on any.
            Err(flaw) => self.porch.turn_away(&flaw.problem()),
        };
        // What is to become a session is not to end, whatever it was told while its request was on its way.
        if seat.is_evicted() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Answers a request, if there is a place for it.
    async fn ask(&self, seat: &Seated, origin: &Origin, mut request: Box<Request<Incoming>>) -> Response<Body> {
        let settings = &self.porch.settings;
        let origin = settings.proxies.asked(*origin, request.headers());
        if let Some(target) = settings.prefix.taken_off(request.uri()) {
            *request.uri_mut() = target;
        }
        let joins = request.headers().contains_key(header::UPGRADE) && request.uri().path() == CONNECT;
        // A program of this machine that asks for itself is one that the reserve is kept for, though its connection came as a
        // trusted proxy's.
        if !joins && !origin.address.is_local() && !self.may_ask(seat).await {
            return self.porch.turn_away(&NO_CONNECTIONS);
        }
        if !is_asked_for(settings, &request) {
            return self.misdirected(origin, &request);
        }
        let response = self.route(&origin, request).await;
        // Only who has shown a token takes one of the places for sessions. The session itself waits for the upgrade, which
        // any other answer is the end of.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS && !seat.begin_session() {
            return self.porch.turn_away(&NO_SESSIONS);
        }
        response
    }

    /// Whether there is a place for what is no session.
    async fn may_ask(&self, seat: &Seated) -> bool {
        !seat.is_reserved() || seat.leaves_reserve(|wanted| self.porch.uploads.give_way(wanted)).await
    }

    fn misdirected(&self, origin: Origin, request: &Request<Incoming>) -> Response<Body> {
        let ends = arrival::is_given_up(request.headers(), request.body());
        let response = self.porch.turn_away(&Problem { close: ends, ..OTHER_HOST });
        self.porch.keep_miss(request.method(), request.uri(), origin, response.status());
        if let Some(left_out) = self.porch.may_tell("/", OTHER_HOST.code.as_str()) {
            let peer = origin.ip().map(tracing::field::display);
            tracing::warn!(
                event = "misdirected",
                peer,
                left_out,
                "asked under a name that ALLOWED_HOSTS does not have"
            );
        }
        response
    }

    async fn route(&self, origin: &Origin, request: Box<Request<Incoming>>) -> Response<Body> {
        if let Some(token) = request.headers().get(own_request::FIELD)
            && let Some(door) = &self.door
            && let Some(answer) = door.backend.own_requests.answer(token.as_bytes(), self.porch.books.clock.present())
        {
            let mut response = Response::new(Body::from(answer));
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        match (path::leads(request.uri().path()), &self.door) {
            (Leads::Elsewhere, _) => self.elsewhere(origin, request).await,
            (Leads::Source(_) | Leads::DotSegments(_), Some(door)) => door.answer(origin, request).await,
            (Leads::Source(_) | Leads::DotSegments(_), None) => self.porch.turn_away(&respond::NO_STORE),
        }
    }

    async fn elsewhere(&self, origin: &Origin, request: Box<Request<Incoming>>) -> Response<Body> {
        let ends = arrival::is_given_up(request.headers(), request.body());
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let mut response = apart(|| self.elsewhere.answer(*request, *origin)).await;
        if response.status() == StatusCode::NOT_FOUND {
            self.porch.refused(Code::NotFound.as_str());
            self.porch.miss(&method, &uri, *origin, response.status());
        }
        // What a client said was read, to its end.
        let is_read = uri.path() == POLL && response.status() == StatusCode::OK;
        if ends && !is_read && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Whether a request is meant for this relay, by the host that it names. Probes are answered under any: a load balancer asks by
/// an address, and what it is told is said of no site.
fn is_asked_for(settings: &Settings, request: &Request<Incoming>) -> bool {
    let host = || request.headers().get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    settings.allowed_hosts.is_empty() || PROBES.contains(&request.uri().path()) || settings.allowed_hosts.name(host())
}
