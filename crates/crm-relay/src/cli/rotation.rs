//! Secrets of sources and tokens replaced without a gap.

use clap::Args;
use serde_json::{Value, json};

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
    /// A new one, with what the admin API wants to know about the old one.
    Begin(Value),
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
            return Ok(Step::End("finish"));
        }
        if self.abort {
            return Ok(Step::End("abort"));
        }
        let span = self.keep_old.as_deref().filter(|text| !text.is_empty());
        let read = |text: &str| {
            quantity::duration(text, Bare::Seconds).map_err(|want| Failure::option("--keep-old", text, want))
        };
        let keep_old_ms = span.map(read).transpose()?.map(|span| span.as_millis() as u64);
        Ok(Step::Begin(json!({"keep_old_ms": keep_old_ms})))
    }
}

/// What is under way, for people; `None`: nothing is.
pub(super) fn under_way(item: &Value) -> Option<String> {
    let rotation = item.get("rotation").filter(|rotation| rotation.is_object())?;
    let until = match rotation.get("until").filter(|until| until.is_string()) {
        Some(_) => format!("until {}", when(rotation, "until")),
        None => "until --finish".to_owned(),
    };
    let names = rotation.get("parameters").map(|_| format!("{}, ", text(rotation, "parameters"))).unwrap_or_default();
    let used = |which: &str| {
        let used = rotation.get(which).cloned().unwrap_or_default();
        let last = match used.get("last_at").filter(|at| at.is_string()) {
            Some(_) => format!("last used {} ({} times)", when(&used, "last_at"), text(&used, "count")),
            None => "not used since the server started".to_owned(),
        };
        let sessions = used.get("sessions").map(|open| format!(", {open} sessions open")).unwrap_or_default();
        format!("the {which} one {last}{sessions}")
    };
    Some(format!("{names}since {}, {until}: {}; {}", when(rotation, "since"), used("old"), used("new")))
}
