//! Moving a store: what has to be the same in the other, whatever happens in between.

#![expect(dead_code, reason = "the node has levers for other tests")]

mod filled;
#[path = "../redis/node.rs"]
mod node;
mod refusals;
mod sealed;
mod whole;
