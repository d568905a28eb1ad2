//! A look through bodies for a text, or for what stands at a place of JSON bodies.

use axum::{Extension, Json};
use relay_core::{name::Name, storage::EventRow, time::Wall};
use relay_store::seam::{DeliveryFilter, EventFilter, Page, Range};
use serde::Deserialize;

use super::{cursor::Order, event::DELIVERIES_SHOWN, filter};
use crate::{
    admin::{
        Of,
        dto::withheld::Seen as _,
        name,
        problem::{AdminError, Asked},
    },
    api::{EventDto, ScanDto},
    clock::rfc3339,
    people::Present,
    principal::Principal,
    scan::{
        Look, ScanError,
        needle::{Needle, TEXT_BYTES_MAX, Text},
    },
    state::State,
};

/// What is looked for, and where.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scan {
    pub(crate) source: Option<String>,
    /// A pattern of events' names.
    pub(crate) name: Option<String>,
    /// A text.
    pub(crate) contains: Option<String>,
    /// A place of JSON bodies and what stands there.
    pub(crate) json_path: Option<String>,
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) cursor: Option<String>,
    pub(crate) limit: Option<u32>,
}

/// What was found, and how far one came: from the beginning on, over all that were asked for one behind the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scanned {
    pub(crate) rows: Vec<EventRow>,
    pub(crate) far: Far,
    /// So many are stored, of that source or of all; `None`: only some of those are looked through.
    pub(crate) of: Option<u64>,
    /// The last that was read came then.
    pub(crate) reached: Option<Wall>,
    pub(crate) next: Option<String>,
}

/// How far a look came: part of its cursor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Far {
    /// It read so many.
    pub(crate) read: u64,
    /// Of so many nobody knows whether they have it.
    pub(crate) unread: u64,
}

pub(super) async fn scan(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    present: Option<Extension<Present>>,
    Asked(asked): Asked<Scan>,
) -> Result<Json<ScanDto>, AdminError> {
    let present = present.map(|Extension(present)| present);
    let Scanned { rows, far, of, reached, next } = run(&state, (&who, present.as_ref()), &asked).await?;
    let show = |row| EventDto::of_row(row).listed_for(&who).linked(state.admin_url());
    Ok(Json(ScanDto {
        items: rows.iter().map(show).collect(),
        next,
        read: far.read,
        unread: far.unread,
        of,
        looked_back_to: reached.map(rfc3339),
    }))
}

/// Looks as far as one look goes. Whoever came in by the dashboard is written down with it, as with a body that he sees.
///
/// # Errors
/// What is asked for is nothing to look for, somebody looks already, or the store does not tell.
pub(crate) async fn run(
    state: &State,
    (who, present): (&Principal, Option<&Present>),
    asked: &Scan,
) -> Result<Scanned, AdminError> {
    let (source, needle) = (asked.source.as_deref().map(name).transpose()?, needle(asked)?);
    let glob = asked.name.as_deref().map(str::parse).transpose();
    let filter = EventFilter {
        source: source.clone(),
        name: glob.map_err(|error: relay_core::glob::GlobError| AdminError::Invalid(format!("name: {error}")))?,
        range: filter::range(asked.since.as_deref(), asked.until.as_deref())?,
        oldest_first: false,
    };
    filter::known(state, source.as_ref(), None).await?;
    let page = filter::page(Order::Scan, asked.cursor.as_deref(), asked.limit)?;
    let (before, cursor) = page.cursor.as_deref().and_then(Far::behind).unzip();
    let turn = state.scans.turn()?;
    if let Some(present) = present {
        let from = source.as_ref().map_or("every source", Name::as_str);
        let looked_for = [&asked.contains, &asked.json_path].map(|text| text.as_deref().unwrap_or_default());
        state.people.note_scan(present, who, &format!("{from}: {needle}"), &looked_for).await;
    }
    let of = if filter.name.is_some() || filter.range != Range::default() {
        None
    } else {
        Some(stored(state, source.as_ref()).await?)
    };
    let look = Look { filter, needle, cursor, found_max: page.limit as usize };
    let looked = state.scans.look(turn, look, &state.bodies).await?;
    let before = before.unwrap_or_default();
    let far =
        Far { read: before.read.saturating_add(looked.read), unread: before.unread.saturating_add(looked.unread) };
    let next = looked.next.map(|next| Order::Scan.write(&far.place(&next)));
    let mut rows = looked.found;
    for row in &mut rows {
        let filter = DeliveryFilter { event: Some(row.event.id), ..DeliveryFilter::default() };
        let page = Page { cursor: None, limit: DELIVERIES_SHOWN };
        row.deliveries = state.archive.browse_deliveries(filter, page).await?.items;
    }
    Ok(Scanned { rows, far, of, reached: looked.reached, next })
}

fn needle(asked: &Scan) -> Result<Needle, AdminError> {
    match (&asked.contains, &asked.json_path) {
        (Some(text), None) => Text::new(text).map(Needle::Text).ok_or_else(|| {
            AdminError::Invalid(format!("contains has {} bytes; want 1 to {TEXT_BYTES_MAX}", text.len()))
        }),
        (None, Some(path)) if path.len() > TEXT_BYTES_MAX => {
            Err(AdminError::Invalid(format!("json_path has {} bytes; want {TEXT_BYTES_MAX} at most", path.len())))
        }
        (None, Some(path)) => {
            let path = path.parse().map_err(|error: crate::scan::json_path::JsonPathError| error.to_string());
            path.map(Needle::Json).map_err(AdminError::Invalid)
        }
        _ => Err(AdminError::Invalid(
            "want contains, a text, or json_path, a place and what stands there: one of both".into(),
        )),
    }
}

async fn stored(state: &State, source: Option<&Name>) -> Result<u64, AdminError> {
    let stats = state.upkeep.stats().await?;
    let of = stats.sources.iter().filter(|stats| source.is_none_or(|source| stats.source == *source));
    Ok(of.map(|stats| stats.stored).sum())
}

impl Far {
    /// As part of a cursor.
    fn place(self, behind: &str) -> String {
        format!("{}.{}.{behind}", self.read, self.unread)
    }

    fn behind(place: &str) -> Option<(Self, String)> {
        let mut parts = place.splitn(3, '.');
        let far = Self { read: parts.next()?.parse().ok()?, unread: parts.next()?.parse().ok()? };
        Some((far, parts.next()?.to_owned()))
    }
}

impl From<ScanError> for AdminError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Store(error) => Self::Store(error),
            ScanError::Busy | ScanError::NoRoom => Self::Busy(error.to_string()),
        }
    }
}
