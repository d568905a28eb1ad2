//! The relay client behind the firewall: dials out, leases, forwards.

mod answer;
mod carrier;
#[cfg(test)]
mod certificate;
#[expect(clippy::disallowed_methods, reason = "the client's clocks")]
mod clock;
pub mod config;
pub mod dial;
#[expect(
    clippy::disallowed_methods,
    reason = "how long a try took and how old an idle connection is, beside real sockets"
)]
pub mod forward;
mod heads;
pub mod health;
mod lacking;
mod lent;
mod listen;
mod notice;
mod own_fields;
mod polled;
mod read_on;
mod request;
mod request_line;
mod resign;
#[expect(clippy::disallowed_methods, reason = "the date of an answer is compared with the present")]
mod retry_after;
pub mod run;
mod status;
pub mod transport;
mod turns;
mod unreached;

pub use answer::ReportAnswers;
pub use carrier::Carrier;
pub use config::Config;
pub use resign::{ResignFault, Resigner};
pub use run::{Ended, Outside, RunError, Waiting, forwards_within, run, run_watched, run_with};
pub use transport::Transport;
