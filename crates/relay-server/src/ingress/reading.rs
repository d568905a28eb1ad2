//! The public listener's guard by itself, to be held against other readers of HTTP.

use std::{borrow::Cow, sync::Arc};

use hyper::Uri;
use relay_net::serve::Seated;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    flaw::Flaw,
    http1::{self, Gate, Guarded, Patience},
};

/// A socket whose bytes are judged as the public listener judges them; and what is to be called after each request that asked for
/// another protocol and did not get it.
pub fn guarded<S: AsyncRead + AsyncWrite + Unpin>(socket: S) -> (impl AsyncRead + AsyncWrite + Unpin, impl Fn()) {
    let gate = Arc::new(Gate::default());
    let guarded = Guarded::new(socket, Arc::clone(&gate), Seated::alone(), Patience::default());
    (guarded, move || gate.decide(false))
}

/// The rule that a request broke, where another stands in its place.
pub fn rule(target: &Uri) -> Option<String> {
    Flaw::of(target).map(|flaw| format!("{flaw:?}"))
}

/// The query of a target as its sender wrote it.
pub fn query(target: &Uri) -> Option<Cow<'_, [u8]>> {
    http1::query(target)
}
