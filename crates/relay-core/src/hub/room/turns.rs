//! Turns: a destination that hangs holds up another of its client for one body, not for all that were leased before.
//!
//! A client whose buffer is full takes the next body when one is settled. Where targets answer, the order of leasing is fair, and
//! what was leased goes out before its lease ends. Where one hangs, each of its bodies has the buffer until the client gives it
//! up: then the next of that line goes behind all who wait by now, once.

use super::{Bulk, LineId, Pair, Room};
use crate::limits;

impl Room {
    /// A body is about to be settled. If it was at its target for long, the first of its line waits behind all others.
    pub(super) fn pass_turn(&mut self, pair: &Pair, bulk: Bulk) {
        let (now, place) = (self.now, self.next);
        let Some(line) = self.lines.get_mut(pair).map(|lines| lines.of(bulk)) else { return };
        if now.since(line.left_at) < limits::ROOM_TURN {
            return;
        }
        let set = line.at.clone();
        // What has begun to leave is half there: nobody has gained anything before it is whole.
        let Some(first) = line.waiting.front_mut().filter(|first| !first.again) else { return };
        let before = std::mem::replace(&mut first.place, place);
        self.next += 1;
        let at = LineId { pair: pair.clone(), bulk };
        self.take(before, &at, &set);
        self.put_first(place, &at);
    }
}
