//! What only HTTP/1 has. Bytes of a connection go in; what comes out is each request as its sender sent it, a head of
//! `http::request::Parts` and a body, or the flaw for which it is refused.
//!
//! The bytes are judged before the HTTP library reads them: how they are framed is known here, what a request must be in any
//! version of HTTP is asked of `rules`, which know nothing of this.

mod chunks;
mod connection;
mod framing;
mod guard;
mod head;
mod rewrite;
mod stand_in;

pub(super) use connection::received;
pub(crate) use connection::{Answers, Connection};
pub(super) use guard::{Guarded, Switch};
