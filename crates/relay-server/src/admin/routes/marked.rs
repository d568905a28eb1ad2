//! Events by a value in their bodies, where their source declares that as a mark.

use axum::{Extension, Json};
use relay_core::{name::Name, storage::Page, time::Wall};
use serde::Deserialize;

use super::{cursor::Order, filter};
use crate::{
    admin::{
        Of,
        dto::{indexed_between, withheld::Seen as _},
        name,
        problem::{AdminError, Asked},
    },
    api::{EventDto, MarkedDto},
    marks::{MarksError, Sought},
    people::Present,
    principal::Principal,
    state::State,
};

/// What is looked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MarkQuery {
    pub(crate) source: String,
    /// A mark of it and its value: `NAME:VALUE`.
    pub(crate) mark: String,
    pub(crate) cursor: Option<String>,
    pub(crate) limit: Option<u32>,
}

pub(super) async fn list(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    Asked(asked): Asked<MarkQuery>,
) -> Result<Json<MarkedDto>, AdminError> {
    let present = present.map(|Extension(present)| present);
    let Sought { rows, unread, next, indexed } = run(&state, (&who, present.as_ref()), &asked).await?;
    let (indexed_from, indexed_to) = indexed_between(indexed.as_ref());
    let show = |row| EventDto::of_row(row).listed_for(&who).linked(state.admin_url());
    Ok(Json(MarkedDto { items: rows.iter().map(show).collect(), unread, next, indexed_from, indexed_to }))
}

/// Finds them. Whoever came in by the dashboard is written down with it, as with a look through bodies.
///
/// # Errors
/// There is no such mark, or the store does not tell.
pub(crate) async fn run(
    state: &State,
    (who, present): (&Principal, Option<&Present>),
    asked: &MarkQuery,
) -> Result<Sought, AdminError> {
    let source: Name = name(&asked.source)?;
    let Some((mark, value)) = asked.mark.split_once(':') else {
        let text = format!("mark is {:?}; want a mark of the source and its value: customer:cus_1", asked.mark);
        return Err(AdminError::Invalid(text));
    };
    let page = filter::page(Order::Marked, asked.cursor.as_deref(), asked.limit)?;
    let (before, cursor) = page.cursor.as_deref().and_then(walked).unzip();
    let lookup = state.marks.lookup(&source, name(mark)?.as_str(), value)?;
    if let Some(present) = present {
        let what = format!("{source}: the mark {mark}");
        state.people.note_scan(present, who, &what, &[value, ""]).await;
    }
    let mut found = state.marks.find(&lookup, Page { cursor, ..page }).await?;
    if let (Some(indexed), Some(before)) = (&mut found.indexed, before) {
        // What was filled since the first page of this walk may be newer than that.
        indexed.to = indexed.to.min(before);
    }
    let to = found.indexed.as_ref().map_or(0, |indexed| indexed.to.as_micros());
    let next = found.next.map(|next| Order::Marked.write(&format!("{to}.{next}")));
    Ok(Sought { next, ..found })
}

/// How far a walk over pages knows, and where it goes on.
fn walked(place: &str) -> Option<(Wall, String)> {
    let (to, cursor) = place.split_once('.')?;
    Some((Wall::from_micros(to.parse().ok()?), cursor.to_owned()))
}

impl From<MarksError> for AdminError {
    fn from(error: MarksError) -> Self {
        match error {
            MarksError::Unknown(error) => error.into(),
            MarksError::NoMark { .. } => Self::Unknown(error.to_string()),
            MarksError::Value(_) => Self::Invalid(format!("mark: {error}")),
            MarksError::Stopping => Self::Stopping,
            MarksError::Store(error) => Self::Store(error),
        }
    }
}
