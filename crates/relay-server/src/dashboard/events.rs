//! The events: a page of them, and the one that is open.

use axum::{extract::Query, response::Response};
use relay_core::{
    glob::Glob,
    id::{DeliveryId, EventId},
    name::Name,
};
use relay_dashboard::{
    body::{Look, Room, View},
    screen::{
        EventLine, EventLines, EventList, Events, EventsFilter, LookedThrough, MarkedBetween, Screen as _, SendersAsked,
    },
    since::Since,
};
use relay_store::seam::{EventFilter, EventRow, Range};
use serde::Deserialize;

use super::{
    event, find,
    frame::{Drawn, Looking},
};
use crate::admin::{
    self,
    problem::AdminError,
    routes::{cursor::Order, filter, id},
};

/// Lines of a page.
const LINES: u32 = 50;

/// What stands in the URL.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    source: Option<String>,
    since: Option<String>,
    q: Option<String>,
    /// Where that is looked for; `bodies`: in the events themselves.
    r#in: Option<String>,
    cursor: Option<String>,
    open: Option<String>,
    view: Option<String>,
    from: Option<u64>,
}

pub(super) async fn show(looking: Looking, Query(asked): Query<Asked>) -> Response {
    let drawn = draw(&looking, asked).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking, asked: Asked) -> Result<Drawn, AdminError> {
    let find = given(asked.q);
    let view = asked.view.as_deref().map_or(View::default(), View::of);
    let look = Look { view, from: asked.from.unwrap_or(0), is_all: false, room: Room::Pane, reveals: false };
    let filter = EventsFilter {
        source: given(asked.source),
        since: since(asked.since.as_deref()),
        inside: asked.r#in.as_deref() == Some("bodies")
            || find.as_deref().is_some_and(|find| find::is_path(looking, find)),
        find,
        cursor: given(asked.cursor),
        open: asked.open.and_then(|open| open.parse().ok()),
        view: look.view,
    };
    let (shown, fault) = match wanted(looking, &filter).await {
        Ok(Wanted::One(id)) => return Ok(Drawn::Elsewhere(looking.site().event(&id))),
        Ok(Wanted::These(shown)) => (shown, None),
        Err(error @ (AdminError::Unknown(_) | AdminError::Invalid(_) | AdminError::Registry(_))) => {
            (Shown::default(), Some(error.to_string()))
        }
        Err(error) => return Err(error),
    };
    let Shown { list, asked: senders, looked, marked } = shown;
    if looking.wants_fragment {
        return Ok(Drawn::Fragment(EventLines { page: &looking.page, filter: &filter, list: &list }.html()));
    }
    let open = match filter.open {
        Some(open) => event::seen(looking, open, look).await?,
        None => None,
    };
    let is_faulty = fault.is_some();
    let (page, sources) = (looking.page.clone(), find::sources(looking));
    Ok(Drawn::page(&Events { page, filter, sources, list, open, fault, asked: senders, looked, marked }, is_faulty))
}

/// What a filter leads to.
enum Wanted {
    /// The page of one.
    One(EventId),
    /// A list.
    These(Shown),
}

/// A list, and what is said of it.
#[derive(Default)]
struct Shown {
    list: EventList,
    asked: Option<SendersAsked>,
    looked: Option<LookedThrough>,
    marked: Option<MarkedBetween>,
}

async fn wanted(looking: &Looking, filter: &EventsFilter) -> Result<Wanted, AdminError> {
    let mut senders = None;
    if let Some(find) = filter.find.as_deref() {
        if is_id(find) {
            return Ok(Wanted::One(id::event(&looking.state, find).await?));
        }
        if filter.inside && !looking.wants_fragment {
            let (rows, next, looked) = find::inside(looking, filter, find).await?;
            let list = EventList { lines: rows.iter().map(line).collect(), next };
            return Ok(Wanted::These(Shown { list, looked: Some(looked), ..Shown::default() }));
        }
        if !looking.wants_fragment
            && let Some((rows, next, marked)) = find::marked(looking, filter, find).await?
        {
            let list = EventList { lines: rows.iter().map(line).collect(), next };
            return Ok(Wanted::These(Shown { list, marked: Some(marked), ..Shown::default() }));
        }
        if filter.cursor.is_none() && !looking.wants_fragment && !find.contains('*') {
            let (rows, asked) = find::called(looking, filter.source.as_deref(), find).await?;
            match &rows[..] {
                [] => senders = asked,
                [row] => return Ok(Wanted::One(row.event.id)),
                rows => {
                    let list = EventList { lines: rows.iter().map(line).collect(), next: None };
                    return Ok(Wanted::These(Shown { list, ..Shown::default() }));
                }
            }
        }
    }
    Ok(Wanted::These(Shown { list: list(looking, filter).await?, asked: senders, ..Shown::default() }))
}

fn line(row: &EventRow) -> EventLine {
    EventLine::of(&row.event, row.body_bytes, &row.deliveries)
}

async fn list(looking: &Looking, filter: &EventsFilter) -> Result<EventList, AdminError> {
    let state = &looking.state;
    let name = filter.find.as_deref().filter(|find| !is_id(find));
    let name: Option<Glob> = name
        .map(|glob| glob.parse().map_err(|error: relay_core::glob::GlobError| AdminError::Invalid(error.to_string())))
        .transpose()?;
    let source: Option<Name> = filter.source.as_deref().map(admin::name).transpose()?;
    let range = Range { since: filter.since.from(looking.page.now), until: None };
    let page = filter::page(Order::Events, filter.cursor.as_deref(), Some(LINES))?;
    let asked = EventFilter { source: source.clone(), range, name, oldest_first: false };
    let listing = state.archive.browse_events(asked, page).await?;
    if listing.items.is_empty() {
        filter::known(state, source.as_ref(), None).await?;
    }
    let (lines, next) = Order::Events.page(&listing, line);
    Ok(EventList { lines, next })
}

/// A value that a form sent, or left empty.
pub(super) fn given(value: Option<String>) -> Option<String> {
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// How far back; a word that is none is as far as anything is kept.
pub(super) fn since(word: Option<&str>) -> Since {
    word.and_then(Since::of).unwrap_or_default()
}

fn is_id(find: &str) -> bool {
    find.starts_with(EventId::PREFIX) || find.starts_with(DeliveryId::PREFIX)
}
