//! What a source is to whoever takes its requests in: its document, read.

use relay_core::{name::Name, time::Wall};
use relay_providers::Verifier;

use crate::network_policy::Terms;

/// What proves the requests of a source too, while its secrets are being replaced.
#[derive(Debug)]
pub struct Old {
    /// It judges by what was there before.
    pub verifier: Verifier,
    /// Since when they are being replaced.
    pub since: Wall,
    /// Until when; none: until an operator says so.
    pub until: Option<Wall>,
}

impl Old {
    /// Whether it still proves anything.
    pub fn is_valid(&self, now: Wall) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// A source as the door sees it. Part of a snapshot; replaced whole when it changes.
#[derive(Debug)]
pub struct Intake {
    /// Its name.
    pub name: Name,
    /// How its requests prove themselves.
    pub verifier: Verifier,
    /// How they proved themselves before, and do beside that while its secrets are being replaced.
    pub old: Option<Old>,
    /// Its provider's name.
    pub provider: String,
    /// Who may come, how often, and how much in a day.
    pub terms: Terms,
    /// Key sources: an empty body is taken with POST, PUT and PATCH.
    pub allow_empty: bool,
    /// A repeat of what was delivered is somebody who pressed Resend.
    pub resends: bool,
    /// Nothing is taken in at present.
    pub paused: bool,
    /// What is wrong with its parameters, where they do not read: nothing is taken in.
    pub broken: Option<String>,
    /// What is wrong with the parameters of before, where a rotation goes on and they do not read: they prove nothing.
    pub broken_old: Option<String>,
    /// Until when its platform may hand over its secret.
    pub adopts_until: Option<Wall>,
}
