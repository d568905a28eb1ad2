//! Which replicas a commit waits for.
//!
//! As many as follow. One more is waited for as soon as it is seen; one that is gone is waited for ten seconds more, and then until
//! nobody can have been made primary in the place of the one that is asked: a failover takes replicas away before anybody hears of it, the
//! next primary first, and what only those confirm that are left is lost with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

/// One that is gone, or silent, is waited for so long.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(10);

/// The replicas of a primary.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// The primary, as long as nothing has happened to it.
    primary: String,
    since: Option<Instant>,
    /// Where each is, and when it was seen to follow.
    seen: BTreeMap<String, Instant>,
    is_settled: bool,
}

impl Following {
    /// A primary says which replicas follow it. `steady_since`: what says who is the primary was asked then, or later, and knew of no
    /// other, nor of a failover under way; `None`: it did not know that.
    ///
    /// Gives how many are waited for; nothing, as long as that cannot be told.
    pub(super) fn look(
        &mut self,
        primary: &str,
        online: &BTreeSet<String>,
        now: Instant,
        steady_since: Option<Instant>,
    ) -> Option<u32> {
        if self.primary != primary {
            *self = Self { primary: primary.to_owned(), since: Some(now), ..Self::default() };
        }
        for one in online {
            self.seen.insert(one.clone(), now);
        }
        self.seen.retain(|_, seen| steady_since.is_none_or(|since| since < *seen + GONE_AFTER));
        // Whoever is seen first in the midst of a failover does not show those that it has lost already.
        self.is_settled |= steady_since.zip(self.since).is_some_and(|(steady, since)| steady >= since);
        self.is_settled.then_some(self.seen.len() as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replicas(names: &str) -> BTreeSet<String> {
        names.split_whitespace().map(str::to_owned).collect()
    }

    struct Watched {
        following: Following,
        begin: Instant,
    }

    impl Watched {
        fn begin() -> Self {
            Self { following: Following::default(), begin: Instant::now() }
        }

        /// What is waited for, some seconds in, where it was steady at that second.
        fn look(&mut self, primary: &str, online: &str, at: u64, steady: Option<u64>) -> Option<u32> {
            let moment = |seconds| self.begin + Duration::from_secs(seconds);
            self.following.look(primary, &replicas(online), moment(at), steady.map(moment))
        }
    }

    /// I1: a failover takes the next primary away first; what the rest confirms then is lost with them.
    #[test]
    fn a_replica_that_goes_is_waited_for_until_nobody_else_can_be_primary() {
        let mut watched = Watched::begin();
        assert_eq!(watched.look("p", "a b", 0, Some(0)), Some(2));
        for at in [1, 5, 9] {
            assert_eq!(watched.look("p", "b", at, Some(at)), Some(2), "{at} s");
        }
        // Ten seconds are over, and it is not known who is the primary.
        assert_eq!(watched.look("p", "b", 12, None), Some(2));
        assert_eq!(watched.look("p", "b", 13, Some(9)), Some(2), "what was known when it was there says nothing");
        assert_eq!(watched.look("p", "b", 14, Some(13)), Some(1));
        assert_eq!(watched.look("p", "a b", 15, None), Some(2), "more of them are waited for at once");
    }

    /// I1: a server that starts in the midst of a failover does not see whom that has taken away.
    #[test]
    fn nothing_is_told_of_a_primary_until_it_is_known_to_be_one() {
        let mut watched = Watched::begin();
        assert_eq!(watched.look("p", "b", 5, None), None);
        assert_eq!(watched.look("p", "b", 6, Some(4)), None, "that was before it was looked at");
        assert_eq!(watched.look("p", "b", 7, Some(6)), Some(1));
        assert_eq!(watched.look("p", "b", 8, None), Some(1));
        assert_eq!(watched.look("q", "b", 9, Some(8)), None, "another primary begins anew");
        assert_eq!(watched.look("q", "b p", 10, Some(9)), Some(2));
    }
}
