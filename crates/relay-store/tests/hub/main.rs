//! The hub over the memory store, input by input: what it asks of the store, sends to clients and answers; and under random
//! steps, alone and with the client's machine.

mod accepting;
mod circuits;
mod clocks;
mod credit;
mod late;
mod leases;
mod owners;
mod pair;
mod parts;
mod random;
mod resends;
mod rig;
mod sessions;
mod slow;
mod stopping;
mod tokens;
mod traces;
mod trouble;
mod wandering;
