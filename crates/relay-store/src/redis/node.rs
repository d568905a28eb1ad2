//! One node that takes commits: connections to it, and how it stands.

use std::sync::Arc;

use super::{
    Options,
    commit::{Clock, Commits},
    keys::Space,
    life::Life,
    primary::Primary,
    reads::Reads,
    room::Room,
    standing::{OfStore, Standing},
};

/// What all nodes of a store have in common.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) options: Options,
    pub(super) space: Arc<Space>,
    pub(super) life: Arc<Life>,
    pub(super) clock: Clock,
    /// What is known of the store itself, wherever it is.
    pub(super) of_store: Arc<OfStore>,
}

/// A primary. What waits for its commits fails when nobody holds it any more.
pub(super) struct Node {
    /// Where it is, as long as it is one.
    pub(super) primary: Arc<Primary>,
    /// What is committed there.
    pub(super) commits: Commits,
    /// What is read there.
    pub(super) reads: Reads,
    /// How much of its memory is used.
    pub(super) room: Arc<Room>,
    /// Whether it keeps what it is given.
    pub(super) standing: Arc<Standing>,
}

impl Node {
    /// One that is connected to when it is first asked for something.
    pub(super) fn of(primary: Primary, common: &Common) -> Self {
        let primary = Arc::new(primary);
        let room = Arc::new(Room::new(common.options.full.clone()));
        let standing = Arc::new(Standing::of(&common.of_store));
        let commits = Commits::begin(common, (&primary, &room, &standing));
        let reads = Reads::new(common.options.readers, &primary, &common.life, &standing);
        Self { primary, commits, reads, room, standing }
    }
}
