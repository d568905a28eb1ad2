//! What lies in the directory: database, ledger, ballast, lock; how they are opened, and what opening refuses.

pub(crate) mod damage;
pub(crate) mod edge;
pub(crate) mod ledger;
pub(crate) mod lock;
pub(crate) mod meta;
pub(crate) mod open;
pub(crate) mod room;
pub(crate) mod schema;
pub(crate) mod slack;
