//! Secrets of sources and tokens replaced without a gap.

use clap::Args;
use relay_server::api::{RotationDto, UseDto};

use super::listing::{text, when};
use crate::{
    exit::Failure,
    quantity::{self, Bare},
};

/// How a rotation begins or ends.
#[derive(Debug, Args)]
pub(super) struct Rotation {
    /// How long the old one stays valid, like 24h; without a span, and without this, until --finish
    #[arg(
        long,
        value_name = "SPAN",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["finish", "abort"]
    )]
    keep_old: Option<String>,
    /// The new one is in place: the old one is worth nothing from now on
    #[arg(long, conflicts_with = "abort")]
    finish: bool,
    /// Give the new one up: the old one stays
    #[arg(long)]
    abort: bool,
}

/// What is asked for.
pub(super) enum Step {
    /// A new one, beside the old one for so long; `None`: until told.
    Begin {
        /// In milliseconds.
        keep_old_ms: Option<u64>,
    },
    /// The end, by its name in the admin API.
    End(&'static str),
}

impl Rotation {
    /// What is asked for.
    ///
    /// # Errors
    /// Text that is no span.
    pub(super) fn step(&self) -> Result<Step, Failure> {
        if self.finish {
            return Ok(Step::End("rotate/finish"));
        }
        if self.abort {
            return Ok(Step::End("rotate/abort"));
        }
        let span = self.keep_old.as_deref().filter(|text| !text.is_empty());
        let read = |text: &str| {
            quantity::duration(text, Bare::Seconds).map_err(|want| Failure::option("--keep-old", text, want))
        };
        let keep_old_ms = span.map(read).transpose()?.map(|span| span.as_millis() as u64);
        Ok(Step::Begin { keep_old_ms })
    }
}

/// What is under way, for people.
pub(super) fn under_way(rotation: &RotationDto) -> String {
    let until = match &rotation.until {
        Some(until) => format!("until {}", when(until)),
        None => "until --finish".to_owned(),
    };
    let names = rotation.parameters.as_ref().map(|names| format!("{}, ", text(names))).unwrap_or_default();
    let (old, new) = (used("old", &rotation.old), used("new", &rotation.new));
    format!("{names}since {}, {until}: {old}; {new}", when(&rotation.since))
}

fn used(which: &str, used: &UseDto) -> String {
    let last = match &used.last_at {
        Some(at) => format!("last used {} ({} times)", when(at), used.count),
        None => "not used since the server started".to_owned(),
    };
    let sessions = used.sessions.map(|open| format!(", {open} sessions open")).unwrap_or_default();
    format!("the {which} one {last}{sessions}")
}
