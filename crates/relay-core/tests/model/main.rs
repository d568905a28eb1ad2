//! Random steps against references: one delivery against a few lines that say the same in another way, and the whole hub
//! against what must hold whatever happens. Every case is a seed; a failure names it.

#[expect(dead_code, reason = "the scenarios in tests/hub use more of it")]
#[path = "../rig/mod.rs"]
mod rig;

mod delivery;
mod hub;
mod pair;
