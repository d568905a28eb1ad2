//! What each fuzz target does with its bytes. Nothing here knows of libFuzzer: `crates/crm-relay/tests/corpus.rs` runs the
//! same functions over `fuzz/corpus` with every `make test`.
//!
//! **Invariant:** the outcome depends on the bytes alone: no clock, no randomness, nothing kept from one input to the next.

pub mod ingress;
pub mod keys;
pub mod parameters;
pub mod record;
pub mod request;
pub mod signed;
pub mod verify;
pub mod wire;

/// Both sides of every provider, with keys made for tests.
#[path = "../../crates/relay-providers/tests/providers/acting.rs"]
#[expect(dead_code, reason = "the providers' own tests need more of it")]
mod acting;

/// What is said of a head holds with any body.
#[path = "../../crates/relay-providers/tests/providers/agree.rs"]
mod agree;

/// Takes arbitrary bytes; panics on a defect.
pub type Run = fn(&[u8]);

/// Every target by its name, which is also that of its folder in `fuzz/corpus`.
pub const TARGETS: [(&str, Run); 7] = [
    ("ingress", ingress::run),
    ("keys", keys::run),
    ("parameters", parameters::run),
    ("record", record::run),
    ("signed", signed::run),
    ("verify", verify::run),
    ("wire", wire::run),
];
