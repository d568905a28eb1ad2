//! What all nodes of a store share.

use std::sync::Arc;

use super::{Options, awake::Awake, clock::Clock, keys::Space, life::Life, standing::OfStore};

/// What all nodes of a store have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) options: Options,
    pub(super) space: Arc<Space>,
    pub(super) life: Arc<Life>,
    pub(super) clock: Clock,
    pub(super) awake: Arc<Awake>,
    /// What is known of the store itself, wherever it is.
    pub(super) of_store: Arc<OfStore>,
}
