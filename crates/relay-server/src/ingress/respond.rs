//! The answer to a webhook that was taken in, or that the hub could not take.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::Full;
use hyper::Response;
use relay_core::{hub, time::Wall};
use relay_providers::{Acknowledgement, Chosen};

use super::seam::Body;
use crate::{
    clock::rfc3339,
    error::{Code, Problem},
};

/// Room for a receipt: 100 bytes, while years have four digits.
const RECEIPT_BYTES: usize = 104;

/// The field that names the stored event.
const EVENT_ID: HeaderName = HeaderName::from_static("relay-event-id");

/// The server stops: nothing is accepted any more.
pub(super) const STOPPING: Problem =
    Problem::new(Code::ShuttingDown, "the relay is about to stop; send it again").closing();
/// The server has just begun.
pub(super) const NO_STORE: Problem =
    Problem::new(Code::StoreUnavailable, "the relay's store is not there yet; send it again").closing();
/// The commit is not certain.
pub(super) const UNCERTAIN: Problem =
    Problem::new(Code::StoreUnavailable, "it is not certain that the webhook is stored; send it again");
const BUSY: Problem =
    Problem::new(Code::StoreBusy, "too much waits to be stored at the moment, and this is not; send it again");
const FAILED: Problem =
    Problem::new(Code::StoreUnavailable, "the store of this relay has failed, and this is not stored; send it again");
const AWAY: Problem =
    Problem::new(Code::StoreUnavailable, "the store cannot be reached, and this is not stored; send it again");
const GONE: Problem = Problem::new(
    Code::StoreUnavailable,
    "what this repeats was removed, or cannot be read, as it was to be delivered again; send it again",
);
const DAMAGED: Problem = Problem::new(
    Code::StoreUnavailable,
    "what this repeats cannot be read, and this is not stored; send it again later",
);
const UNROUTED: Problem =
    Problem::new(Code::SourceBroken, "no route leads from the source, so this is not stored; send it again later");
const FULL: Problem = Problem::new(Code::StoreFull, "there is no room for the webhook; send it again later");

/// What the hub's answer means to the sender.
pub(super) fn outcome(
    answer: &hub::Answer,
    acknowledgement: Acknowledgement,
    chosen: Option<&Chosen>,
) -> Result<Response<Body>, Problem> {
    match answer {
        hub::Answer::Accepted { event, received_at, .. } => {
            let id = event.to_string();
            let mut response = match acknowledgement {
                Acknowledgement::Receipt => receipt(&id, *received_at),
                Acknowledgement::Fixed { status, content_type, body } => {
                    whole(status, content_type, body.as_bytes().into())
                }
            };
            if let Some(chosen) = chosen {
                choose(&mut response, chosen);
            }
            // What a platform wants to see leaves no room for it in the body.
            if let Ok(id) = HeaderValue::try_from(id) {
                response.headers_mut().insert(EVENT_ID, id);
            }
            Ok(response)
        }
        hub::Answer::Unavailable => Err(UNCERTAIN),
        hub::Answer::NotStored(why) => Err(not_stored(*why)),
        hub::Answer::Busy => Err(BUSY),
        hub::Answer::Full => Err(FULL),
        hub::Answer::Stopping => Err(STOPPING),
    }
}

/// Makes an acknowledgement what the source's operator chose, as far as he did.
fn choose(response: &mut Response<Body>, chosen: &Chosen) {
    if let Some(status) = chosen.status.and_then(|status| StatusCode::from_u16(status).ok()) {
        *response.status_mut() = status;
    }
    let Some((kind, body)) = &chosen.body else { return };
    *response.body_mut() = Full::new(body.clone());
    match HeaderValue::from_str(kind) {
        Ok(kind) if !body.is_empty() => response.headers_mut().insert(header::CONTENT_TYPE, kind),
        Ok(_) | Err(_) => response.headers_mut().remove(header::CONTENT_TYPE),
    };
}

/// Why it is not stored, in words for who sent it.
const fn not_stored(why: hub::NotStored) -> Problem {
    match why {
        hub::NotStored::Unrouted => UNROUTED,
        hub::NotStored::Failed => FAILED,
        hub::NotStored::Away => AWAY,
        hub::NotStored::Gone => GONE,
        hub::NotStored::Damaged => DAMAGED,
    }
}

/// The answer to a handshake.
pub(super) fn handshake(answer: relay_providers::Answer) -> Response<Body> {
    let mut response = whole(answer.status, answer.content_type, answer.body.into());
    for (name, value) in answer.headers {
        // What a sender wants back may be nothing that a header can carry; it goes without then.
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value)) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

/// `202` with the event's id, written by hand: neither member holds anything to escape.
fn receipt(event: &str, received_at: Wall) -> Response<Body> {
    let mut document = String::with_capacity(RECEIPT_BYTES);
    let at = rfc3339(received_at);
    for part in ["{\"event_id\":\"", event, "\",\"received_at\":\"", &at, "\"}\n"] {
        document.push_str(part);
    }
    whole(StatusCode::ACCEPTED.as_u16(), Some("application/json"), document.into())
}

fn whole(status: u16, content_type: Option<&'static str>, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body));
    // A table of ours gives the status; 200 is what a sender wants if that table were wrong.
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

#[cfg(test)]
mod tests {
    use relay_core::hub::{Answer, NotStored};

    use super::*;

    /// I1, I2: whatever is not certain to be stored is a 503, and only what may be stored is said to be uncertain.
    #[test]
    fn what_is_not_durable_is_told_as_what_it_is() {
        for (answer, code) in [
            (Answer::Unavailable, Code::StoreUnavailable),
            (Answer::Busy, Code::StoreBusy),
            (Answer::NotStored(NotStored::Failed), Code::StoreUnavailable),
            (Answer::NotStored(NotStored::Away), Code::StoreUnavailable),
            (Answer::NotStored(NotStored::Gone), Code::StoreUnavailable),
            (Answer::NotStored(NotStored::Damaged), Code::StoreUnavailable),
            (Answer::NotStored(NotStored::Unrouted), Code::SourceBroken),
            (Answer::Full, Code::StoreFull),
            (Answer::Stopping, Code::ShuttingDown),
        ] {
            let problem = outcome(&answer, Acknowledgement::EMPTY, None).expect_err("it is not stored");
            assert_eq!((problem.code, problem.respond().status().as_u16()), (code, 503), "{answer:?}");
            assert_eq!(problem.detail.contains("not certain"), answer == Answer::Unavailable, "{answer:?}");
        }
    }
}
