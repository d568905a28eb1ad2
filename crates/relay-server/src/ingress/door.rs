//! The door: what takes webhooks in, as all its steps know it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Settings, buckets::Buckets, cors::Cors, uploads::Uploads};

/// Takes webhooks in.
#[derive(Debug)]
pub(super) struct Door<B> {
    pub(super) backend: Arc<B>,
    pub(super) settings: Settings,
    pub(super) cors: Cors,
    /// How often requests came lately.
    pub(super) buckets: Buckets,
    /// Bodies that are waited for.
    pub(super) uploads: Uploads,
    /// Is cancelled when the server stops.
    pub(super) stop: CancellationToken,
}
