//! The public listener's guard by itself, to be held against other readers of HTTP.

use std::sync::Arc;

use http::{Request, request::Parts};
use hyper::body::Incoming;
use relay_net::serve::Seated;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Patience,
    http1::{self, Guarded, Switch},
    rules,
};

/// A socket whose bytes are judged as the public listener judges them; and what is to be called after each request that asked for
/// another protocol and did not get it.
pub fn guarded<S: AsyncRead + AsyncWrite + Unpin>(socket: S) -> (impl AsyncRead + AsyncWrite + Unpin, impl Fn()) {
    let switch = Arc::new(Switch::default());
    let guarded = Guarded::new(socket, Arc::clone(&switch), Seated::alone(), Patience::default());
    (guarded, move || switch.decide(false))
}

/// A request that came from behind the guard, as its sender sent it.
///
/// # Errors
/// The rule that it broke, where another stands in its place.
pub fn received(mut request: Request<Incoming>) -> Result<Request<Incoming>, String> {
    http1::received(&mut request).map(|()| request).map_err(|flaw| format!("{flaw:?}"))
}

/// The query of a target as its sender wrote it.
pub fn query(head: &Parts) -> Option<&[u8]> {
    rules::query(head)
}
