//! One node that takes commits: connections to it, and how it stands.

use std::sync::Arc;

use super::{commit::Commits, primary::Primary, reads::Reads, room::Room, shared::Shared, standing::RedisState};

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
    pub(super) standing: Arc<RedisState>,
}

impl Node {
    /// One that is connected to when it is first asked for something.
    pub(super) fn of(primary: Primary, shared: &Shared) -> Self {
        let primary = Arc::new(primary);
        let room = Arc::new(Room::new(shared.options.full.clone()));
        let standing = Arc::new(RedisState::of(&shared.of_store));
        let commits = Commits::begin(shared, (&primary, &room, &standing));
        let reads = Reads::new(shared, &primary, &standing);
        Self { primary, commits, reads, room, standing }
    }
}
