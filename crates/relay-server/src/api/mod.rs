//! What goes over the wire of the admin API, both ways: the server writes it, the command line reads it.
//!
//! Times are RFC 3339 in UTC, spans end in `_ms`. What is asked (`Ask`) refuses fields that it does not know, so that a slip
//! is noticed; what is answered (`Dto`) may have more of them in a later version. `docs/reference/admin-api.md` describes it.

mod alert;
mod audit;
mod backup;
mod bulk;
mod credential;
mod delivery;
mod event;
mod passage;
mod people;
mod problem;
mod pulse;
mod rekey;
mod route;
mod source;
mod status;
mod trend;
mod verdict;
mod why;
mod words;

use serde::{Deserialize, Serialize};

pub use self::{
    alert::*, audit::*, backup::*, bulk::*, credential::*, delivery::*, event::*, passage::*, people::*, problem::*,
    pulse::*, rekey::*, route::*, source::*, status::*, trend::*, verdict::*, why::*,
};

/// A page of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Where the next one starts; `null`: this was the last.
    pub next: Option<String>,
}

/// For members that are left out where they say nothing.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
