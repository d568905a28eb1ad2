//! The events: a page of them, and the one that is open.

use axum::{extract::Query, response::Response};
use relay_core::{
    glob::Glob,
    id::{DeliveryId, EventId},
    name::Name,
};
use relay_dashboard::{
    body::View,
    screen::{EventLine, EventLines, EventList, Events, EventsFilter, Screen as _},
    since::Since,
};
use relay_store::seam::{EventFilter, EventRow, Range};
use serde::Deserialize;

use super::{
    event,
    frame::{Drawn, Looking},
};
use crate::{
    admin::{
        self,
        problem::AdminError,
        routes::{by_key, cursor::Order, filter, id},
    },
    state::State,
};

/// Lines of a page.
const LINES: u32 = 50;
/// Sources that are asked for what their senders call a word, if none is chosen.
const SOURCES_ASKED: usize = 100;

/// What stands in the URL.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    source: Option<String>,
    since: Option<String>,
    q: Option<String>,
    cursor: Option<String>,
    open: Option<String>,
}

pub(super) async fn show(looking: Looking, Query(asked): Query<Asked>) -> Response {
    let drawn = draw(&looking, asked).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking, asked: Asked) -> Result<Drawn, AdminError> {
    let state = &looking.state;
    let mut fault = None;
    let filter = EventsFilter {
        source: given(asked.source),
        since: since(asked.since.as_deref()),
        find: given(asked.q),
        cursor: given(asked.cursor),
        open: asked.open.and_then(|open| open.parse().ok()),
    };
    // An id leads to its event.
    if let Some(find) = filter.find.as_deref().filter(|find| is_id(find)) {
        match id::event(state, find).await {
            Ok(id) => return Ok(Drawn::Elsewhere(looking.site().event(&id))),
            Err(error @ (AdminError::Unknown(_) | AdminError::Invalid(_))) => fault = Some(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let word = filter.find.as_deref().filter(|_| fault.is_none() && filter.cursor.is_none() && !looking.wants_fragment);
    let mut remembered = None;
    if let Some(word) = word {
        match called(looking, filter.source.as_deref(), word).await? {
            rows if rows.is_empty() => remembered = state.registry.memory(),
            rows => return found(looking, filter, &rows).await,
        }
    }
    let list = match (&fault, list(looking, &filter).await) {
        (None, Ok(list)) => list,
        (_, Err(error @ (AdminError::Unknown(_) | AdminError::Invalid(_) | AdminError::Registry(_)))) => {
            fault.get_or_insert(error.to_string());
            EventList::default()
        }
        (_, Err(error)) => return Err(error),
        (Some(_), Ok(_)) => EventList::default(),
    };
    if looking.wants_fragment {
        return Ok(Drawn::Fragment(EventLines { page: &looking.page, filter: &filter, list: &list }.html()));
    }
    let open = match filter.open {
        Some(open) => event::seen(looking, open, View::Text).await?,
        None => None,
    };
    let is_faulty = fault.is_some();
    let (page, sources) = (looking.page.clone(), sources(state));
    Ok(Drawn::page(&Events { page, filter, sources, list, open, fault, remembered }, is_faulty))
}

fn sources(state: &State) -> Vec<Name> {
    state.registry.directory().sources.keys().cloned().collect()
}

/// The events that their senders call so: at most one of each source.
async fn called(looking: &Looking, source: Option<&str>, word: &str) -> Result<Vec<EventRow>, AdminError> {
    let state = &looking.state;
    let sources = match source.map(admin::name) {
        Some(Ok(source)) => vec![source],
        // The list says what is wrong with it.
        Some(Err(_)) => Vec::new(),
        None => sources(state),
    };
    let mut rows = Vec::new();
    for source in sources.iter().take(SOURCES_ASKED) {
        match by_key::look(state, source, word).await {
            Ok(by_key::Found::Events(found)) => rows.extend(found),
            Ok(by_key::Found::NotByItself) | Err(AdminError::Unknown(_) | AdminError::Registry(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}

/// One leads to its page, as an id of ours does.
async fn found(looking: &Looking, filter: EventsFilter, rows: &[EventRow]) -> Result<Drawn, AdminError> {
    if let [row] = rows {
        return Ok(Drawn::Elsewhere(looking.site().event(&row.event.id)));
    }
    let lines = rows.iter().map(line).collect();
    let open = match filter.open {
        Some(open) => event::seen(looking, open, View::Text).await?,
        None => None,
    };
    let (page, sources, list) = (looking.page.clone(), sources(&looking.state), EventList { lines, next: None });
    Ok(Drawn::page(&Events { page, filter, sources, list, open, fault: None, remembered: None }, false))
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
