//! A command about many events, request by request: each asks for more of the same job.

use http::Method;
use relay_server::api::BulkDto;
use serde::Serialize;

use crate::{admin_client::Api, exit::Failure, render::progress::Progress, signals};

/// Has all of so many events done, at most `step` more with each request, which `ask` makes for as many as there are to be by then; so that
/// whoever waits sees how far it is and can stop it in between: the one under way is waited for. Gives how far it came, and why no further.
///
/// # Errors
/// Nobody could stop it.
pub(super) async fn take<A: Serialize>(
    api: &Api,
    path: &str,
    (total, step): (u64, u64),
    job: Option<&str>,
    ask: impl Fn(u64) -> A,
) -> Result<(BulkDto, Option<Failure>), Failure> {
    let stop = signals::listen()?;
    let mut progress = Progress::new(total);
    let mut done = BulkDto { job: job.unwrap_or_default().to_owned(), ..BulkDto::default() };
    let mut ended = None;
    while done.matched < total && ended.is_none() {
        let upto = done.matched.saturating_add(step).min(total);
        match api.ask(Method::POST, path, &ask(upto)).await {
            Ok(now) => done = now,
            Err(failure) => {
                ended = Some(failure);
                break;
            }
        }
        progress.reach(done.matched, Some(total));
        if done.next.is_none() || done.matched < upto {
            break;
        }
        ended = (stop.is_asked() && done.matched < total).then(|| Failure::no("interrupted"));
    }
    progress.clear();
    Ok((done, ended))
}

/// So many, in words.
pub(super) fn events(count: u64) -> String {
    if count == 1 { "1 event".to_owned() } else { format!("{count} events") }
}
