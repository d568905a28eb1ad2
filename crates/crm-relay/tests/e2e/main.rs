//! End to end: the real binary as real processes, real sockets, a real disk, and a checker that knows what was promised.

#![expect(clippy::disallowed_methods, reason = "tests wait for processes, and sign as of now")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test panics on what must not be, and prints its figures"
)]

mod acme;
mod admin_api;
mod alert;
mod backup;
#[path = "../../../relay-store/tests/redis/bound.rs"]
mod bound;
mod chaos;
mod clients;
mod clock;
mod dashboard;
mod delivery;
mod descriptors;
mod dev;
mod erase;
mod export;
mod faults;
mod finding;
#[path = "../../../relay-server/src/ingress/tests/fixture.rs"]
mod fixture;
mod fronts;
mod history;
mod hostile;
mod https;
mod kills;
mod libraries;
mod listeners;
mod log;
mod looking;
mod marked;
mod other_http;
#[expect(dead_code, reason = "the tests of the command line need more of it")]
#[path = "../cli/place.rs"]
mod place;
mod polled;
#[path = "../../../relay-store/tests/redis/port.rs"]
mod port;
mod predecessor;
mod process;
mod proxied;
#[path = "../cli/redact.rs"]
mod redact;
mod refusals;
mod reload;
mod resign;
mod retention;
mod rotation;
mod sealed;
mod sender;
mod soak;
mod stop;
mod store;
mod systemd;
mod target;
mod torture;
mod traces;
mod trouble;
mod vendors;
