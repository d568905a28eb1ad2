//! The store on a real Redis: the conformance suite, and what only that backend has.

mod backend;
mod begin;
mod cluster;
mod clustered;
mod costs;
mod counters;
mod cut;
mod ends;
mod failover;
mod gate;
mod hints;
mod loss;
mod memory;
mod mend;
mod midway;
mod node;
mod partitions;
mod proxy;
mod recount;
mod removals;
mod replicated;
mod seals;
mod settling;
mod spoiling;
mod strangers;
mod trouble;
mod writes;

use self::backend::{
    OnCluster, OnRedis8, OnRedis8Spread, OnValkey9, OnValkey9Spread, Restarted, RestartedSpread, Sealed, Shared, Spread,
};

mod one_partition {
    use super::Shared;

    relay_store::conformance_suite!(Shared);
}

mod sealed {
    use super::Sealed;

    relay_store::conformance_suite!(Sealed);
}

mod restarted {
    use super::Restarted;

    relay_store::conformance_suite!(Restarted);
}

mod sixteen_partitions {
    use super::Spread;

    relay_store::conformance_suite!(Spread);
}

mod restarted_sixteen {
    use super::RestartedSpread;

    relay_store::conformance_suite!(RestartedSpread);
}

mod three_primaries {
    use super::OnCluster;

    relay_store::conformance_suite!(OnCluster);
}

mod redis_8 {
    use super::OnRedis8;

    relay_store::conformance_suite!(OnRedis8);
}

mod valkey_9 {
    use super::OnValkey9;

    relay_store::conformance_suite!(OnValkey9);
}

mod redis_8_sixteen {
    use super::OnRedis8Spread;

    relay_store::conformance_suite!(OnRedis8Spread);
}

mod valkey_9_sixteen {
    use super::OnValkey9Spread;

    relay_store::conformance_suite!(OnValkey9Spread);
}
