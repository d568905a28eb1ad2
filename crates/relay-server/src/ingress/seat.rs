//! What a connection does with its place while its peer is waited for.

use std::{future::poll_fn, task::Poll};

use relay_net::serve::{Closing, Seated};

/// What comes of something that a connection's peer is waited for; none if it has to give way, or the server stops.
pub(crate) async fn unless_given_up<T>(
    seat: &Seated,
    closing: &Closing,
    awaited: impl Future<Output = T>,
) -> Option<T> {
    let evicted = poll_fn(|cx| if seat.waits(cx) { Poll::Ready(()) } else { Poll::Pending });
    tokio::select! {
        biased;
        () = closing.begun() => None,
        () = evicted => None,
        came = awaited => Some(came),
    }
}
