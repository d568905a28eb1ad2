//! What keeps bodies from going out: those that are short of the same wait for it in the order of leasing.

use super::Bulk;
use crate::{id::InstanceId, name::Name};

/// What a body is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Room, at a destination that has nothing out.
    Room,
    /// Room beside what is kept for those.
    Rest,
    /// Its destination's part.
    Destination,
    /// The part for what is beyond the reach of its client.
    Reach,
    /// Its client's buffer, or its client's part.
    Client,
    /// Nothing that is known: it has just become the first. Looked at last, for all others came before.
    #[default]
    Nothing,
}

/// What bodies of a kind are short of, and whose.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Short {
    pub(super) kind: Kind,
    pub(super) bulk: Bulk,
    pub(super) client: Option<InstanceId>,
    pub(super) destination: Option<Name>,
}

impl Short {
    pub(super) const fn of_room(kind: Kind, bulk: Bulk) -> Self {
        Self { kind, bulk, client: None, destination: None }
    }

    pub(super) fn of_client(client: InstanceId, bulk: Bulk) -> Self {
        Self { client: Some(client), ..Self::of_room(Kind::Client, bulk) }
    }

    pub(super) fn of_destination(name: &Name, bulk: Bulk) -> Self {
        Self { destination: Some(name.clone()), ..Self::of_room(Kind::Destination, bulk) }
    }

    /// The same for bodies of that kind.
    pub(super) fn with(&self, bulk: Bulk) -> Self {
        Self { bulk, ..self.clone() }
    }
}
