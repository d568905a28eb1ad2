//! Where on the way a reason of `/health` belongs.

use relay_core::name::Name;

use crate::{
    api::{CheckDto, Hop},
    health::Reason,
};

/// A reason as a check of its hop; `None`: the hop says it in its own words.
pub(super) fn told(reason: &Reason) -> Option<CheckDto> {
    let at = |hop, check| CheckDto::wrong(hop, check, reason.to_string());
    Some(match reason {
        Reason::NoClient { .. } | Reason::CircuitOpen { .. } | Reason::Paused { .. } | Reason::SourceBroken { .. } => {
            return None;
        }
        Reason::Full { .. } => at(Hop::Server, "disk"),
        Reason::NearlyFull { .. } => at(Hop::Server, "disk").mended_by("make room there, or lower DISK_RESERVE"),
        Reason::MemoryFull { .. } | Reason::MemoryRunsOut { .. } => at(Hop::Server, "memory"),
        Reason::Damaged { .. } | Reason::Store { commits: true, .. } => at(Hop::Server, "store"),
        Reason::NoCommit { .. } => {
            at(Hop::Server, "commit").mended_by("look at the disk: dmesg, the volume's console; it goes on by itself")
        }
        Reason::Store { commits: false, .. } => at(Hop::Server, "commit"),
        Reason::ClockMoved(_) => at(Hop::Server, "clock").mended_by("set the clock right, then restart the server"),
        Reason::ClockApart(_) => at(Hop::Server, "clock"),
        Reason::OtherConfiguration { .. } => at(Hop::Server, "servers"),
        Reason::CertificateEnds { .. } => at(Hop::Server, "certificate"),
        Reason::Backup(_) => at(Hop::Server, "backup"),
        Reason::Untold { alert, .. } => at(Hop::Server, "alert").about(alert.as_str()),
        Reason::OldSecretBroken { source, .. } => at(Hop::Source, "rotation")
            .about(source.as_str())
            .mended_by(format!("crm-relay source rotate finish {source}, once the platform has the new secret")),
        Reason::Stalled { destination, .. } => at(Hop::Client, "stall")
            .about(destination.as_str())
            .mended_by("a defect: report it, with the log of the server; a restart of the client may help"),
        Reason::HalfTtl { destination, .. } => at(Hop::Target, "expiry")
            .about(destination.as_str())
            .mended_by("mend what holds it up, or give the route a longer ttl for what comes"),
        Reason::DeadLetters { destination, .. } => at(Hop::Target, "dead").about(destination.as_str()),
    })
}

/// One of those that the hop says in its own words, for where it does not look.
pub(super) fn in_own_words(reason: &Reason) -> Option<CheckDto> {
    let at = |hop, check, about: &Name| CheckDto::wrong(hop, check, reason.to_string()).about(about.as_str());
    match reason {
        Reason::NoClient { destination, .. } => Some(at(Hop::Client, "connected", destination)),
        Reason::CircuitOpen { destination, .. } => Some(at(Hop::Target, "circuit", destination)),
        Reason::Paused { destination, .. } => Some(at(Hop::Route, "paused", destination)),
        Reason::SourceBroken { source, .. } => Some(at(Hop::Source, "requests", source)),
        _ => None,
    }
}
