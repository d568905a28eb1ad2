//! What became of webhooks that were sent: waits until their deliveries have ended.

use std::time::Duration;

use relay_core::delivery::State;
use relay_server::api::{DeliveryDto, EventDto};
use serde_json::json;
use tokio::time::Instant;

use super::listing::{last, state, text};
use crate::{
    admin_client::{Api, encode},
    exit::{Exit, Failure, Outcome},
    output::{compact, print, say},
    render::{human_duration, style},
};

/// Between two looks at the same event: the first pause, and the longest.
const LOOK_EVERY: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

/// Waits for the end of all deliveries of these events and prints each event with what became of it. `None` is one that the
/// answer did not name.
///
/// # Errors
/// Those of the admin API, and that what was sent was accepted by something that names no events.
pub(super) async fn all(api: &Api, events: &[Option<String>], at_most: Duration, as_json: bool) -> Outcome {
    let deadline = Instant::now() + at_most;
    let (mut exit, mut open) = (Exit::Done, 0_u64);
    for id in events {
        let id = id.as_ref().ok_or_else(|| {
            Failure::no("whoever accepted it named no event: --wait is for a relay server, and for one of this version")
        })?;
        let event = ended(api, id, deadline).await?;
        tell(&event, as_json)?;
        if event.deliveries.iter().any(|delivery| delivery.state.is_open()) {
            open += 1;
        } else if event.deliveries.iter().any(|delivery| delivery.state != State::Delivered) {
            exit = Exit::No;
        }
    }
    if open == 0 {
        return Ok(exit);
    }
    say(&style::warn(format!("{open} of {} have not ended within {}", events.len(), human_duration(at_most))));
    say(&style::dim("what holds them up: crm-relay status"));
    Ok(Exit::Unreachable)
}

/// The event once its deliveries have ended, or as it is at the deadline.
async fn ended(api: &Api, id: &str, deadline: Instant) -> Result<EventDto, Failure> {
    let path = format!("/api/v1/events/{}", encode(id));
    let [mut pause, longest] = LOOK_EVERY;
    loop {
        let event: EventDto = api.get(&path).await?;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !event.deliveries.iter().any(|delivery| delivery.state.is_open()) {
            return Ok(event);
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (2 * pause).min(longest);
    }
}

/// `evt_... default delivered`, a line for each delivery; and why, where it was not.
fn tell(event: &EventDto, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print(&compact(&json!({"event_id": event.id, "deliveries": event.deliveries})));
    }
    for delivery in &event.deliveries {
        print(&format!("{}  {}  {}", text(&event.id), text(&delivery.destination), state(delivery.state)))?;
        if delivery.state != State::Delivered {
            say(&style::dim(why(delivery)));
        }
    }
    Ok(())
}

fn why(delivery: &DeliveryDto) -> String {
    let last = if delivery.last.is_some() { last(delivery.last.as_ref()) } else { "not tried".to_owned() };
    format!("{last}; all of it: crm-relay delivery show {}", text(&delivery.id))
}
