//! `crm-relay event tail`: events as they come, and what becomes of their deliveries.
//!
//! Each look reads what came since a moment before the newest that was told, for an event has its id before it is stored; so nothing is
//! missed, a break is made up for by the next look, and at 500 events a second a look costs two pages. Every tenth look goes as far back
//! as a commit may take. What has not ended by then is asked for by its id, few at a time.
//!
//! **Invariant:** what is kept is bounded: ids of the last half minute, and [`FOLLOWED_MAX`] events that have not ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::stdout,
    ops::Bound,
    time::Duration,
};

use clap::Args;
use relay_core::{delivery::State, id::EventId, time::Wall};
use relay_server::api::{DeliveryDto, EventDto, List};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::super::{
    collection::not_empty,
    filter::given,
    listing::{Form, last, state, text},
    noun::Asked,
};
use crate::{
    admin_client::{Api, encode, query},
    exit::{Exit, Failure, Outcome},
    output::{compact, print, say},
    quantity,
    render::{style, table, time},
    signals,
};

/// Between two looks.
const EVERY: Duration = Duration::from_millis(500);
/// The same while the server is away.
const AWAY_EVERY: Duration = Duration::from_secs(1);
/// How long an event nearly always takes from its id until it is seen.
const LATE: Duration = Duration::from_secs(3);
/// How long it may take: a commit is asked for again until its sender has gone.
const LATE_MAX: Duration = Duration::from_secs(30);
/// Looks of which one goes back as far as that.
const FAR_EACH: u32 = 10;
const MILLISECOND: Duration = Duration::from_millis(1);
/// Events of a page.
const PAGE: u32 = 1000;
/// Pages of a look: after a break, or where more comes than anybody reads.
const PAGES_MAX: usize = 64;
/// Events that are followed until their deliveries have ended.
const FOLLOWED_MAX: usize = 10_000;
/// Those of them that a look asks for one by one.
const ASKED_EACH: usize = 10;

/// Which events, and how they are told.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Of this source only
    #[arg(long, value_name = "NAME", value_parser = not_empty())]
    source: Option<String>,
    /// On their way to this destination only
    #[arg(long, value_name = "NAME", value_parser = not_empty())]
    destination: Option<String>,
    /// Those of before too, from then on: a time like 2026-01-31T12:00:00Z, or a span before now, like 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// What has been told.
struct Told {
    tail: Tail,
    form: Form,
    /// What is from before that is not told; none: all is.
    floor: Option<String>,
    /// When the newest was minted that a look has met.
    newest: Option<Wall>,
    /// Looks until one goes far back.
    near_left: u32,
    /// Of those that the next look may meet, all that were met.
    seen: BTreeSet<EventId>,
    /// Of events whose deliveries have not all ended, what was told of each delivery.
    open: BTreeMap<String, Deliveries>,
    /// The one of them that was asked for last: the next is the one behind it.
    asked: String,
    /// It was said that no more are followed.
    is_full: bool,
}

/// How far each delivery of an event was.
type Deliveries = BTreeMap<String, Progress>;

/// How far a delivery was when it was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Not at all.
    Untold,
    /// A try of it has failed.
    Failed,
    /// It has ended.
    Ended,
}

impl Tail {
    /// Tells until a stop is asked for, or nobody reads any more.
    ///
    /// # Errors
    /// Those of the admin API at the start; later ones are told and waited out.
    pub(super) async fn run(self, asked: &Asked) -> Outcome {
        let since = self
            .since
            .as_deref()
            .map(|text| time::point(text, time::now()).map_err(|want| Failure::option("--since", text, want)));
        let (api, since) = (asked.running().await?, since.transpose()?);
        self.check(&api).await?;
        let mut told = Told::new(self, asked.form);
        match since {
            Some(since) => told.floor = Some(since),
            None => told.skip(&api).await?,
        }
        // From here on a server that goes is waited for.
        let stop = signals::listen()?;
        if style::is_terminal() && !asked.is_json() {
            say(&style::dim("events as they come; Ctrl-C ends this"));
        }
        let stopped = stop.asked();
        tokio::pin!(stopped);
        // Cancel safety: what is given up half way is for nobody any more.
        tokio::select! {
            biased;
            () = &mut stopped => Ok(Exit::Done),
            failure = told.follow(&api) => Err(failure),
        }
    }
}

impl Tail {
    /// That there are such a source and such a destination: nobody waits for what cannot come.
    async fn check(&self, api: &Api) -> Result<(), Failure> {
        let of = [("sources", &self.source), ("destinations", &self.destination)];
        for (noun, name) in of {
            if let Some(name) = name {
                let _there: Value = api.get(&format!("/api/v1/{noun}/{}", encode(name))).await?;
            }
        }
        Ok(())
    }
}

impl Told {
    fn new(tail: Tail, form: Form) -> Self {
        Self {
            tail,
            form,
            floor: None,
            newest: None,
            near_left: 0,
            seen: BTreeSet::new(),
            open: BTreeMap::new(),
            asked: String::new(),
            is_full: false,
        }
    }

    /// What is there already is not told.
    async fn skip(&mut self, api: &Api) -> Result<(), Failure> {
        let newest = self.page(api, None, None, 1).await?;
        let Some(newest) = newest.items.first() else { return Ok(()) };
        self.newest = Some(minted(newest)?.minted_at());
        let (events, is_whole) = self.since(api, self.from(LATE_MAX)).await?;
        for event in &events {
            self.seen.insert(minted(event)?);
        }
        if let Some(oldest) = self.seen.first()
            && !is_whole
        {
            self.floor = Some(time::rfc3339(oldest.minted_at() + MILLISECOND));
        }
        Ok(())
    }

    /// Goes on until nobody reads.
    async fn follow(&mut self, api: &Api) -> Failure {
        let mut is_away = false;
        loop {
            let began = Instant::now();
            match self.look(api).await {
                Ok(()) => {
                    if std::mem::take(&mut is_away) {
                        say(&style::dim("the server is back; it goes on where it was"));
                    }
                }
                Err(Looked::Output(failure)) => return failure,
                // Asked again it would say the same.
                Err(Looked::Away(failure)) if !matches!(failure.exit, Exit::Unreachable | Exit::StoreFailed) => {
                    return failure;
                }
                Err(Looked::Away(failure)) => {
                    // What was not stored yet when it went is older than what comes first by now.
                    self.near_left = 0;
                    if !std::mem::replace(&mut is_away, true) {
                        say(&style::warn(format!("{}; it is tried again", failure.text)));
                    }
                }
            }
            let every = if is_away { AWAY_EVERY } else { EVERY };
            while began.elapsed() < every {
                if is_unread() {
                    return Failure::new(Exit::Done, "");
                }
                sleep(EVERY.min(every.saturating_sub(began.elapsed()))).await;
            }
        }
    }

    /// Tells what is new, then what became of what was.
    async fn look(&mut self, api: &Api) -> Result<(), Looked> {
        let is_far = self.near_left == 0;
        let from = self.from(if is_far { LATE_MAX } else { LATE });
        let (events, is_whole) = self.since(api, from.clone()).await.map_err(Looked::Away)?;
        self.near_left = if is_far { FAR_EACH } else { self.near_left } - 1;
        if !is_whole {
            say(&style::warn(format!(
                "more came than is told here; all of it: crm-relay event list --since {}",
                from.as_deref().unwrap_or("1h")
            )));
        }
        for event in events.iter().rev() {
            let id = minted(event).map_err(Looked::Away)?;
            self.newest = self.newest.max(Some(id.minted_at()));
            let followed = if self.seen.insert(id) {
                self.begin(event).map_err(Looked::Output)?
            } else {
                self.open.remove(&event.id)
            };
            if let Some(told) = followed {
                self.update(event, told).map_err(Looked::Output)?;
            }
        }
        if let Some(newest) = self.newest {
            self.seen.retain(|id| newest.since(id.minted_at()) <= LATE_MAX);
        }
        let met: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
        for id in self.turns(&met) {
            self.ask(api, &id).await?;
            self.asked = id;
        }
        Ok(())
    }

    /// From when on a look reads that goes so far back from the newest; none: from the first.
    fn from(&self, back: Duration) -> Option<String> {
        let from = self.newest.map(|newest| time::before(&time::rfc3339(newest), back));
        match (from, &self.floor) {
            (Some(from), Some(floor)) if time::is_before(&from, floor) => Some(floor.clone()),
            (Some(from), _) => Some(from),
            (None, floor) => floor.clone(),
        }
    }

    /// Whose turn it is to be asked for, of those that are followed and were not met.
    fn turns(&self, met: &BTreeSet<&str>) -> Vec<String> {
        let behind = self.open.range::<str, _>((Bound::Excluded(self.asked.as_str()), Bound::Unbounded));
        let before = self.open.range::<str, _>((Bound::Unbounded, Bound::Included(self.asked.as_str())));
        let unmet = behind.chain(before).map(|(id, _)| id).filter(|id| !met.contains(id.as_str()));
        unmet.take(ASKED_EACH).cloned().collect()
    }

    /// One that was not met by a look: retention may have taken it.
    async fn ask(&mut self, api: &Api, id: &str) -> Result<(), Looked> {
        match api.get::<EventDto>(&format!("/api/v1/events/{}", encode(id))).await {
            Ok(event) => match self.open.remove(id) {
                Some(told) => self.update(&event, told).map_err(Looked::Output),
                None => Ok(()),
            },
            Err(failure) if failure.exit == Exit::No => {
                self.open.remove(id);
                Ok(())
            }
            Err(failure) => Err(Looked::Away(failure)),
        }
    }

    /// Events that came since, the newest first; whether those are all.
    async fn since(&self, api: &Api, from: Option<String>) -> Result<(Vec<EventDto>, bool), Failure> {
        let (mut events, mut cursor) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let page = self.page(api, from.clone(), cursor, PAGE).await?;
            events.extend(page.items.into_iter().map(slim));
            cursor = page.next;
            if cursor.is_none() {
                return Ok((events, true));
            }
        }
        Ok((events, false))
    }

    async fn page(
        &self,
        api: &Api,
        since: Option<String>,
        cursor: Option<String>,
        limit: u32,
    ) -> Result<List<EventDto>, Failure> {
        let mut parameters = given([("source", self.tail.source.clone()), ("since", since), ("cursor", cursor)]);
        parameters.push(("limit", limit.to_string()));
        api.get(&query("/api/v1/events", parameters)).await
    }

    /// An event that is new, with all that there is to tell of its deliveries; `None`: it is not asked for.
    fn begin(&self, event: &EventDto) -> Result<Option<Deliveries>, Failure> {
        let mine: Vec<&DeliveryDto> = self.mine(event).collect();
        if self.tail.destination.is_some() && mine.is_empty() {
            return Ok(None);
        }
        if self.form == Form::Json {
            print(&compact(&json!({"event": without_headers(event)?})))?;
        } else {
            let to: Vec<String> = mine.iter().map(|delivery| text(&delivery.destination)).collect();
            let to = if to.is_empty() { "no route".to_owned() } else { to.join(", ") };
            let bytes = quantity::show_size(event.body_size);
            let cells = [
                clock(&event.received_at),
                text(&event.id),
                text(&event.source),
                text(&event.name),
                bytes,
                format!("-> {to}"),
            ];
            tell(&cells, self.form)?;
        }
        Ok(Some(mine.into_iter().map(|delivery| (delivery.id.clone(), Progress::Untold)).collect()))
    }

    /// What became of the deliveries of one; it is followed until they have ended.
    fn update(&mut self, event: &EventDto, mut told: Deliveries) -> Result<(), Failure> {
        for delivery in self.mine(event) {
            let (before, now) = (told.get(&delivery.id).copied(), Progress::of(delivery));
            if now != Progress::Untold && before != Some(now) {
                self.became(event, delivery)?;
            }
            told.insert(delivery.id.clone(), now);
        }
        if told.values().all(|progress| *progress == Progress::Ended) {
            return Ok(());
        }
        if self.open.len() < FOLLOWED_MAX {
            self.open.insert(event.id.clone(), told);
        } else if !std::mem::replace(&mut self.is_full, true) {
            say(&style::warn(format!(
                "{FOLLOWED_MAX} events have not ended: what becomes of those beyond is not told here; all that waits: \
                 crm-relay delivery list"
            )));
        }
        Ok(())
    }

    fn became(&self, event: &EventDto, delivery: &DeliveryDto) -> Result<(), Failure> {
        if self.form == Form::Json {
            return print(&compact(&json!({"delivery": delivery})));
        }
        let what = match &delivery.last {
            Some(tried) if delivery.state == State::Delivered => format!("{} ms", tried.duration_ms),
            _ => last(delivery.last.as_ref()),
        };
        let to = text(&delivery.destination);
        tell(&[clock(&delivery.changed_at), text(&event.id), to, state(delivery.state), what], self.form)
    }

    fn mine<'a>(&'a self, event: &'a EventDto) -> impl Iterator<Item = &'a DeliveryDto> {
        let wanted = self.tail.destination.as_deref();
        event.deliveries.iter().filter(move |delivery| wanted.is_none_or(|wanted| delivery.destination == wanted))
    }
}

/// Why a look came to nothing.
enum Looked {
    /// The server does not answer.
    Away(Failure),
    /// Nobody reads.
    Output(Failure),
}

impl Progress {
    fn of(delivery: &DeliveryDto) -> Self {
        if !delivery.state.is_open() {
            Self::Ended
        } else if delivery.last.is_some() {
            Self::Failed
        } else {
            Self::Untold
        }
    }
}

/// What its id says: ids are in the order of their moments, which are what `since` is about.
fn minted(event: &EventDto) -> Result<EventId, Failure> {
    let read = |error| Failure::new(Exit::No, format!("the server names an event {}: {error}", text(&event.id)));
    event.id.parse().map_err(read)
}

/// As it is told: what was left out is not said to be empty.
fn without_headers(event: &EventDto) -> Result<Value, Failure> {
    let written = |error| Failure::new(Exit::StoreFailed, format!("cannot write an event: {error}"));
    let mut document = serde_json::to_value(event).map_err(written)?;
    if let Some(document) = document.as_object_mut() {
        document.remove("headers");
    }
    Ok(document)
}

/// Without the headers: nothing here shows them, and a look may meet many events.
fn slim(mut event: EventDto) -> EventDto {
    event.headers = Vec::new();
    event
}

/// Columns on a terminal, which a line does not leave unless all of it is wanted; tabs elsewhere.
fn tell(cells: &[String], form: Form) -> Result<(), Failure> {
    if !style::is_terminal() {
        return print(&cells.join("\t"));
    }
    let line = cells.join("  ");
    print(&if form == Form::Wide { line } else { table::cut(&line, style::screen()) })
}

/// The time of day, in UTC; elsewhere than on a terminal all of it.
fn clock(at: &str) -> String {
    let time = if style::is_terminal() { at.get(11..19) } else { None };
    text(time.unwrap_or(at))
}

/// Whether whoever read the results has gone: a pipe says so without being written to.
fn is_unread() -> bool {
    let out = stdout();
    let mut asked = [PollFd::new(&out, PollFlags::empty())];
    let found = poll(&mut asked, Some(&Timespec::default()));
    found.is_ok() && asked[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
