//! `crm-relay status --watch`: the screen drawn again each second, until somebody has seen enough.

use std::{collections::VecDeque, time::Duration};

use relay_server::api::StatusDto;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::screen::{self, Beside, Rates, Size};
use crate::{
    admin_client::Api,
    config::layers::Layers,
    exit::{Exit, Failure, Outcome},
    render::{
        screen::{Screen, give_back_at_once},
        style, time,
    },
    signals::{self, Key, Keys},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Rates are those of the last while.
const WINDOW: Duration = Duration::from_secs(10);

/// What was counted lately.
#[derive(Debug, Default)]
struct Lately(VecDeque<(Instant, u64, u64)>);

/// Draws until a stop is asked for.
///
/// # Errors
/// There is no terminal, no server at the start, or the terminal is gone.
pub(super) async fn run(layers: &Layers) -> Outcome {
    if !style::is_terminal() {
        return Err(Failure::usage(
            "--watch draws on a terminal, and this is none; for a script: crm-relay status --json, or crm-relay event tail",
        ));
    }
    let api = Api::running(layers).await?;
    let mut status: StatusDto = api.get("/api/v1/status").await?;
    let (stop, mut resized) = (signals::listen_with(give_back_at_once)?, signals::resizes()?);
    let mut keys = Keys::listen()?;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut screen, mut lately, mut away) = (Screen::open()?, Lately::default(), None);
    lately.note(&status);
    let stopped = stop.asked();
    tokio::pin!(stopped);
    loop {
        screen.draw(&drawn(&status, &lately, away.as_deref()))?;
        // Cancel safety: a look that is given up is made again.
        tokio::select! {
            biased;
            () = &mut stopped => return Ok(Exit::Done),
            key = keys.next() => match key {
                Key::Quit => return Ok(Exit::Done),
                Key::Pause => {
                    drop(screen);
                    signals::pause()?;
                    screen = Screen::open()?;
                }
            },
            Some(()) = resized.recv() => {}
            looked = look(&api, &mut ticks) => match looked {
                Ok(fresh) => {
                    lately.note(&fresh);
                    (status, away) = (fresh, None);
                }
                Err(failure) => away = Some(failure.text),
            },
        }
    }
}

async fn look(api: &Api, ticks: &mut tokio::time::Interval) -> Result<StatusDto, Failure> {
    ticks.tick().await;
    api.get("/api/v1/status").await
}

/// As large as the terminal is now. Of a server that is away it is what was seen last.
fn drawn(status: &StatusDto, lately: &Lately, away: Option<&str>) -> Vec<String> {
    let now = time::now();
    let server = match away {
        Some(why) => style::bad(format!("away: {why}")),
        None => format!("{}  {}", style::dim(time::clock(now)), screen::server(status)),
    };
    let size = Size { columns: style::screen(), rows: style::rows() };
    let rates = Some(lately.rates());
    screen::lines(status, &Beside { server: &server, rates, now }, size)
}

impl Lately {
    fn note(&mut self, status: &StatusDto) {
        let now = Instant::now();
        let totals = &status.health.totals;
        // A store that was put back counts anew.
        if self.0.back().is_some_and(|(_, received, _)| *received > totals.webhooks_received) {
            self.0.clear();
        }
        self.0.push_back((now, totals.webhooks_received, totals.webhooks_processed));
        while self.0.len() > 2 && self.0.front().is_some_and(|(at, ..)| now.duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
    }

    fn rates(&self) -> Rates {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return Rates::default() };
        let seconds = last.0.duration_since(first.0).as_secs_f64().max(0.001);
        let rate = |from: u64, to: u64| to.saturating_sub(from) as f64 / seconds;
        Rates { received: rate(first.1, last.1), delivered: rate(first.2, last.2) }
    }
}
