//! The door: what takes webhooks in, as all its steps know it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{
    Settings,
    backend::Backend,
    buckets::Buckets,
    cors::Cors,
    porch::{Books, Porch},
};
use crate::clock::Clock;

/// Takes webhooks in.
pub(super) struct Door {
    pub(super) porch: Arc<Porch>,
    pub(super) backend: Backend,
    pub(super) cors: Cors,
    /// How often requests came lately.
    pub(super) buckets: Buckets,
    /// Is cancelled when the listener stops.
    pub(super) stop: CancellationToken,
}

impl Door {
    pub(super) fn new(porch: Arc<Porch>, backend: Backend, stop: CancellationToken) -> Self {
        Self { cors: Cors::new(&porch.settings.cors_origins), porch, backend, buckets: Buckets::new(), stop }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.porch.settings
    }

    pub(super) fn books(&self) -> &Books {
        &self.porch.books
    }

    pub(super) fn clock(&self) -> Clock {
        self.porch.books.clock
    }
}
