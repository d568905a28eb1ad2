//! What stands beside the door: answers that are no webhooks'.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use relay_net::origin::Origin;

/// The body of every answer on the public listener: whole, and in memory.
pub(crate) type Body = Full<Bytes>;

/// Answers what is not a webhook.
pub(crate) trait Elsewhere: Send + Sync + 'static {
    /// Answers `/connect` (by an upgrade), `/connect/poll`, `/livez`, `/readyz` and `/health`. Unknown paths get
    /// [`Problem::not_found`](crate::error::Problem::not_found).
    ///
    /// Cancel safety: may be dropped at any await; a sender that goes away takes its request's future with it.
    fn answer(&self, request: Request<Incoming>, origin: Origin) -> impl Future<Output = Response<Body>> + Send;
}
