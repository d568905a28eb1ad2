//! Why nothing arrives: what `crm-relay doctor` is told, as a page.

use std::collections::BTreeSet;

use axum::{
    extract::{Path, Query},
    response::Response,
};
use relay_core::name::Name;
use relay_dashboard::{
    screen::{CheckLine, Found, HopLine, Why},
    url::{Site, Url},
};
use serde::Deserialize;

use super::{
    events::given,
    frame::{Drawn, Looking},
};
use crate::{
    admin::{self, problem::AdminError, routes::filter::known},
    api::{CheckDto, Hop, Verdict},
    directory::Directory,
    why::why,
};

/// What stands in the URL.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    source: Option<String>,
}

/// Of all sources; or leads to the one that is asked for.
pub(super) async fn all(looking: Looking, Query(asked): Query<Asked>) -> Response {
    let drawn = match given(asked.source) {
        Some(source) => Ok(Drawn::Elsewhere(looking.site().why(&source))),
        None => draw(&looking, None).await,
    };
    looking.answer(drawn)
}

pub(super) async fn show(looking: Looking, Path(source): Path<String>) -> Response {
    let drawn = draw(&looking, Some(source)).await;
    looking.answer(drawn)
}

async fn draw(looking: &Looking, source: Option<String>) -> Result<Drawn, AdminError> {
    let source: Option<Name> = source.as_deref().map(admin::name).transpose()?;
    known(&looking.state, source.as_ref(), None).await?;
    let directory = looking.state.registry.directory();
    let pages = Pages { site: looking.site(), directory: &directory, destinations: directory.destination_names() };
    let mut hops: Vec<HopLine> = Vec::new();
    for check in why(&looking.state, source.as_ref()).await.checks {
        let hop = check.hop.as_str();
        // They come in the order of the way.
        match hops.last_mut().filter(|last| last.hop == hop) {
            Some(last) => last.checks.push(line(&pages, check)),
            None => hops.push(HopLine { hop, checks: vec![line(&pages, check)] }),
        }
    }
    let sources = directory.sources.keys().cloned().collect();
    let (page, at) = (looking.page.clone(), looking.page.now);
    Ok(Drawn::page(&Why { page, source, sources, at, hops }, false))
}

fn line(pages: &Pages<'_>, check: CheckDto) -> CheckLine {
    let url = check.about.as_deref().and_then(|about| pages.of(check.hop, about));
    let CheckDto { check, about, verdict, said, remedy, .. } = check;
    let found = match verdict {
        Verdict::Ok => Found::Well,
        Verdict::Wrong => Found::Wrong,
        Verdict::Unknown => Found::Unclear,
    };
    CheckLine { check, about, url, found, said, remedy }
}

/// What has a page.
struct Pages<'a> {
    site: &'a Site,
    directory: &'a Directory,
    destinations: BTreeSet<Name>,
}

impl Pages<'_> {
    /// The page of what a check is about, where it has one.
    fn of(&self, hop: Hop, about: &str) -> Option<Url> {
        let source = || self.directory.sources.contains_key(about).then(|| self.site.source(about));
        let destination = || self.destinations.contains(about).then(|| self.site.destination(about));
        match hop {
            Hop::Server => None,
            Hop::Source => source(),
            Hop::Route => source().or_else(destination),
            Hop::Client | Hop::Target => destination(),
        }
    }
}
