//! Where somebody looks at a thing that is not as it should be: one page for each kind, whoever leads there.

use relay_core::{alert::Kind, name::Name};

use crate::url::{Site, Url};

/// The page of the site where that is looked at.
pub fn place(site: &Site, kind: Kind, subject: Option<&Name>) -> Url {
    let Some(subject) = subject.map(Name::as_str) else { return site.alerts() };
    match kind {
        Kind::NoClient | Kind::DestinationDown | Kind::HalfTtl | Kind::Stalled | Kind::Paused => {
            site.destination(subject)
        }
        Kind::DeadLetters => site.dead().with("destination", subject),
        Kind::Expired => site.dead().with("destination", subject).with("reason", "expired"),
        Kind::Refused | Kind::Source => site.source(subject),
        Kind::Alert => site.alerts().part("receivers"),
        Kind::Disk | Kind::Certificate | Kind::Clock | Kind::Store | Kind::Backup | Kind::Configuration => {
            site.alerts()
        }
    }
}
