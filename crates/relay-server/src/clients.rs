//! The listener of clients alone: whoever has no certificate of one of their authorities never gets to ask anything.
//!
//! **Invariant:** nothing is read of a request before its peer's certificate was judged.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use relay_net::{
    origin::Origin,
    serve::{self, Bounds, Closing, Connections, Listening, Seated, Serve},
    tls::{self, Authorities, AuthoritiesError, Pin, Unshaken},
};
use tokio::{net::TcpStream, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    connect::Gate,
    error::{Code, Problem},
    ingress::{Answers, Body, CONNECT, Connection, Flaw, NO_SESSIONS, POLL, Patience, unless_given_up},
    metrics::Metrics,
    outbox,
};

/// How soon other authorities, and lists of what they have revoked, are gone by.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// What is found another is read once more after this: it may be half written, and lists of what is revoked stand last.
const SETTLED: Duration = Duration::from_secs(1);
/// What requests of nobody's are counted under.
const UNKNOWN: &str = "unknown";

/// Whom a listener of clients takes, kept in step with its file.
#[derive(Clone, Debug)]
pub(crate) struct Trusted {
    file: PathBuf,
    in_use: Authorities,
    tls: Arc<tls::Clients>,
}

impl Trusted {
    /// Reads the file; what is shown to clients is what `shown` shows.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn open(file: &Path, shown: &tls::Server) -> Result<Self, AuthoritiesError> {
        let in_use = Authorities::in_file(file)?;
        let tls = Arc::new(tls::Clients::beside(shown, &in_use)?);
        Ok(Self { file: file.to_owned(), in_use, tls })
    }

    /// Who judges their certificates.
    pub(crate) fn tls(&self) -> Arc<tls::Clients> {
        Arc::clone(&self.tls)
    }

    /// Keeps it in step with its file for as long as it is polled. What is wrong with that is said once, and those of before are gone by.
    pub(crate) async fn keep(mut self) {
        let mut refused = None;
        loop {
            sleep(LOOK_EVERY).await;
            let mut found = self.look().await;
            if found.as_ref().is_ok_and(|found| *found != self.in_use) {
                sleep(SETTLED).await;
                let again = self.look().await;
                if again.as_ref().ok() != found.as_ref().ok() {
                    continue;
                }
                found = again;
            }
            self.take(found, &mut refused);
        }
    }

    /// What the file says now. A file system that is away holds up this task alone.
    async fn look(&self) -> Result<Authorities, AuthoritiesError> {
        let (file, name) = (self.file.clone(), self.file.display().to_string());
        let looked = tokio::task::spawn_blocking(move || Authorities::in_file(&file)).await;
        looked.unwrap_or_else(|error| Err(AuthoritiesError::File { file: name, source: error.into() }))
    }

    fn take(&mut self, found: Result<Authorities, AuthoritiesError>, refused: &mut Option<String>) {
        let file = self.file.display();
        let taken = match found {
            Ok(found) if found == self.in_use => Ok(false),
            Ok(found) => self.tls.trust(&found).map(|()| {
                self.in_use = found;
                true
            }),
            Err(error) => Err(error),
        };
        match taken {
            Ok(is_new) => {
                *refused = None;
                if is_new {
                    tracing::info!(event = "client_authorities_replaced", %file);
                }
            }
            Err(error) => {
                let error = error.to_string();
                if refused.as_ref() != Some(&error) {
                    tracing::warn!(event = "client_authorities_refused", %file, error, "those of before are gone by");
                    *refused = Some(error);
                }
            }
        }
    }
}

/// Serves until `stop`, then returns when the last connection has ended; sessions go on elsewhere.
pub(crate) async fn serve(
    listener: impl Listening<Socket = TcpStream>,
    tls: Arc<tls::Clients>,
    gate: Gate,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let connections = Connections::new(Bounds::clients());
    serve::serve(listener, "clients", connections, Arc::new(Entrance { tls, gate, metrics }), stop).await;
}

struct Entrance {
    tls: Arc<tls::Clients>,
    gate: Gate,
    metrics: Arc<Metrics>,
}

impl Serve<TcpStream> for Entrance {
    async fn connection(&self, socket: TcpStream, origin: Origin, seat: Arc<Seated>, closing: &Closing) {
        // Best effort: without it answers only come later.
        let _ = socket.set_nodelay(true);
        outbox::prepare(&socket);
        let patience = Patience::default();
        // Cancel safety: whoever has not shaken hands yet has asked for nothing.
        let shaking = self.tls.accept(socket, patience.handshake);
        let Some(shaken) = unless_given_up(&seat, closing, shaking).await else { return };
        let (socket, key) = match shaken {
            Ok(shaken) => shaken,
            Err(unshaken) => return self.refuse(unshaken, origin),
        };
        let origin = Origin { tls: true, ..origin };
        let connection = Connection { socket, seat: Arc::clone(&seat), patience, answers: Answers::Short };
        connection.drive(closing, |request| self.answer(&seat, origin, key, request)).await;
    }

    fn panicked(&self) {
        self.metrics.panicked();
    }
}

impl Entrance {
    /// Counts a handshake that came to nothing: without a certificate, or with one that is not trusted, not valid now, or revoked.
    fn refuse(&self, unshaken: Unshaken, origin: Origin) {
        match unshaken {
            Unshaken::Plain(_) => self.metrics.refused(UNKNOWN, "no_tls"),
            Unshaken::Proven => {}
            // Whoever looks whether the port is open, or has gone.
            Unshaken::Failed(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
            Unshaken::Failed(error) => {
                self.metrics.refused(UNKNOWN, "client_certificate");
                self.gate.no_certificate(origin, &error);
            }
        }
    }

    async fn answer(
        &self,
        seat: &Seated,
        origin: Origin,
        key: Pin,
        request: Result<Box<Request<Incoming>>, Flaw>,
    ) -> Response<Body> {
        let request = match request {
            Ok(request) => *request,
            Err(flaw) => return flaw.problem().respond(),
        };
        if request.uri().path() == POLL {
            return self.gate.poll(request, origin, Some(key)).await;
        }
        if request.uri().path() != CONNECT {
            return Problem::new(Code::NotFound, "this listener takes clients at /connect, and nothing else")
                .closing()
                .respond();
        }
        let response = self.gate.connect(request, origin, Some(key)).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS && !seat.begin_session() {
            return NO_SESSIONS.respond();
        }
        response
    }
}
