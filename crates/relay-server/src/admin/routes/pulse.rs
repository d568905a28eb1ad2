//! The pulse: as a stream of events, or once.

use std::{convert::Infallible, time::Duration};

use axum::{
    Extension, Json,
    body::{Body, Bytes},
    response::{IntoResponse, Response},
};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Of, problem::AdminError},
    api::PulseDto,
    live::Listener,
    people::{People, Present},
    principal::Principal,
};

/// How long a session that another server ended still hears (S24: five seconds at most).
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// JSON for whoever asks, a stream for a browser that wants one. It ends with the session that asked for it, and with the server.
pub(super) async fn pulse(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    headers: HeaderMap,
) -> Result<Response, AdminError> {
    let accepts = headers.get(header::ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    if !accepts.starts_with(b"text/event-stream") {
        let pulse: PulseDto = state.live.once().await?;
        return Ok(Json(pulse).into_response());
    }
    let present = present.map(|Extension(present)| present);
    let browser = present.as_ref().map(Present::handle);
    let listener = state.live.listen(&who.name, browser).ok_or(AdminError::TooManyStreams)?;
    let streamed = Streamed {
        listener,
        ends: state.people.ends(),
        people: state.people.clone(),
        present,
        look_at: Instant::now() + LOOK_EVERY,
        stop: state.supervisor.stopping(),
    };
    let fields = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        // For a proxy that would hold it back.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((fields, Body::from_stream(streamed.messages())).into_response())
}

struct Streamed {
    listener: Listener,
    people: std::sync::Arc<People>,
    present: Option<Present>,
    ends: watch::Receiver<u64>,
    look_at: Instant,
    stop: CancellationToken,
}

impl Streamed {
    fn messages(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, |mut streamed| async move {
            let message = streamed.next().await?;
            Some((Ok(Bytes::from(format!("data: {message}\n\n"))), streamed))
        })
    }

    async fn next(&mut self) -> Option<std::sync::Arc<str>> {
        loop {
            // Cancel safety: each of them may be dropped and asked again.
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return None,
                _ = self.ends.changed() => {}
                () = sleep_until(self.look_at) => {}
                message = self.listener.next() => return message,
            }
            self.look_at = Instant::now() + LOOK_EVERY;
            // A store that does not tell has no numbers either.
            let Some(present) = &self.present else { continue };
            if let Ok(None) = self.people.still(present).await {
                return None;
            }
        }
    }
}
