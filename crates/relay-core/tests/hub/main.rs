//! The hub, input by input: what it asks of the store, sends to clients and answers.

#[path = "../rig/mod.rs"]
mod rig;

mod accepting;
mod circuits;
mod credit;
mod leases;
mod resends;
mod sessions;
mod stopping;
mod trouble;
