//! The store on a real Redis: the conformance suite, and what only that backend has.

mod backend;
mod begin;
mod costs;
mod mend;
mod node;
mod partitions;
mod proxy;
mod recount;
mod trouble;

use self::backend::{Restarted, Shared};

mod one_partition {
    use super::Shared;

    relay_store::conformance_suite!(Shared);
}

mod restarted {
    use super::Restarted;

    relay_store::conformance_suite!(Restarted);
}
