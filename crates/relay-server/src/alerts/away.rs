//! Servers that told of themselves and are not there: how long they have been away.

use std::{collections::BTreeMap, time::Duration};

use relay_core::time::Mono;

use super::notebook::Left;

/// Between two looks at what servers left.
const EVERY: Duration = Duration::from_mins(5);
/// Who is away for so long is not expected back: a machine is started anew in less, and a pod that was replaced never is.
const GONE_AFTER: Duration = Duration::from_hours(1);

/// Since when servers are seen to be away. Bounded by the documents that they left.
#[derive(Debug, Default)]
pub(super) struct Away {
    looked_at: Option<Mono>,
    since: BTreeMap<String, Mono>,
}

impl Away {
    /// Whether it is time for a look.
    pub(super) fn is_due(&self, now: Mono) -> bool {
        self.looked_at.is_none_or(|at| now.since(at) >= EVERY)
    }

    /// What of that was left by servers that are gone. Who was away and is back is as good as never away.
    pub(super) fn look(&mut self, left: Vec<Left>, now: Mono) -> Vec<Left> {
        self.looked_at = Some(now);
        self.since.retain(|server, _| left.iter().any(|left| left.server == *server));
        let since = &mut self.since;
        let mut away_since = |left: &Left| *since.entry(left.server.clone()).or_insert(now);
        left.into_iter().filter(|left| now.since(away_since(left)) >= GONE_AFTER).collect()
    }
}
