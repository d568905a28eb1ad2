//! One connection of HTTP/1: its bytes are judged, the HTTP library reads what may go on, and what comes out of it is handed on
//! as its sender sent it.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use relay_net::serve::{Closing, Seated};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    guard::{BUFFER_BYTES_MAX, Guarded, Switch},
    rewrite, stand_in,
};
use crate::{
    apart::apart,
    ingress::{flaw::Flaw, patience::Patience, rules::SentQuery},
};

/// What the answers on a connection are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answers {
    /// One short piece each.
    Short,
    /// Of any length, in any number of pieces.
    Any,
}

/// A connection that was accepted.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    /// Its bytes.
    pub(crate) socket: S,
    /// Its place among those of its listener.
    pub(crate) seat: Arc<Seated>,
    /// How long its peer may take.
    pub(crate) patience: Patience,
    /// What it is answered.
    pub(crate) answers: Answers,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection<S> {
    /// Has each of its requests answered, one after the other, until its peer or `closing` ends it. A request is what its sender
    /// sent, or the flaw for which it is refused: its answer ends the connection. Other protocols begin with an answer of 101.
    ///
    /// Dropped, it ends at once, and the request that is being answered with it.
    pub(crate) async fn drive<B, F>(
        self,
        closing: &Closing,
        answer: impl Fn(Result<Box<Request<Incoming>>, Flaw>) -> F + Send + Sync,
    ) where
        B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
        F: Future<Output = Response<B>> + Send,
    {
        let switch = Arc::new(Switch::default());
        let guarded = Guarded::new(self.socket, Arc::clone(&switch), self.seat, self.patience);
        let service = service_fn(|request: Request<Incoming>| {
            // It is handed from one future to the next: a pointer, not a copy in each.
            let mut request = Box::new(request);
            let asks_upgrade = request.headers().contains_key(header::UPGRADE);
            let request = received(&mut request).map(|()| request);
            let (switch, answer) = (&switch, &answer);
            // The library moves what it is given.
            apart(move || async move {
                let response = answer(request).await;
                if asks_upgrade {
                    switch.decide(response.status() == StatusCode::SWITCHING_PROTOCOLS);
                }
                Ok::<_, Infallible>(response)
            })
        });
        closing.drive(&self.answers.builder(), guarded, || switch.close(), service).await;
    }
}

impl Answers {
    fn builder(self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        // Whoever closes its side once it has sent everything still wants its answer.
        builder.half_close(true);
        if self == Self::Short {
            builder
                // Answers that are gathered are lost where one ends the connection before the end of its request.
                .pipeline_flush(false)
                // One piece is cheaper to send than two.
                .writev(false)
                .max_buf_size(BUFFER_BYTES_MAX);
        }
        builder
    }
}

/// Makes what came out of the HTTP library what its sender sent; or gives the flaw of the request that it stands in for.
pub(in crate::ingress) fn received<B>(request: &mut Request<B>) -> Result<(), Flaw> {
    if let Some(flaw) = stand_in::flaw(request.uri()) {
        return Err(flaw);
    }
    if let Some(query) = rewrite::sent_query(request.uri()) {
        request.extensions_mut().insert(SentQuery(Bytes::from(query)));
        if let Some(target) = request.uri().path_and_query().cloned() {
            *request.uri_mut() = Uri::from(target);
        }
    }
    Ok(())
}
