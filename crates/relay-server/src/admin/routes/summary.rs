//! Dead letters in groups: what failed alike is told once, with how many there are.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Extension, Json};
use relay_core::{
    delivery::{Delivery, Reason, answer::Answer},
    time::Wall,
};
use relay_store::seam::{DeliveryFilter, Page};

use super::{
    cursor::Order,
    dead::ended,
    filter::{Listing, known},
    words::likened,
};
use crate::{
    admin::{
        Of,
        dto::withheld::Seen as _,
        problem::{AdminError, Asked},
    },
    api::{AnswerDto, GroupDto, SummaryDto},
    clock::rfc3339,
    principal::Principal,
};

/// Deliveries that one request looks through; the next one goes on from its cursor.
const LOOKED_AT_MAX: u64 = 20_000;
/// Deliveries read at a time.
const PAGE: u32 = 1000;
/// Groups that are kept apart; what comes after goes into one without an error.
const GROUPS_MAX: usize = 500;
/// Characters of an error that tell it from others.
const ERROR_MAX: usize = 120;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    destination: String,
    reason: Option<Reason>,
    status: Option<u16>,
    error: Option<String>,
}

struct Group {
    count: u64,
    oldest: Wall,
    newest: Wall,
    example: String,
    answer: Option<Arc<Answer>>,
}

pub(super) async fn summary(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Asked(asked): Asked<Listing>,
) -> Result<Json<SummaryDto>, AdminError> {
    if asked.state.is_some() || asked.limit.is_some() {
        return Err(AdminError::Invalid("a summary takes destination, source, reason, since and until".into()));
    }
    let filter = DeliveryFilter { states: ended(), ..asked.deliveries()? };
    let mut groups = BTreeMap::new();
    let order = Order::of(&filter);
    let (mut cursor, mut seen) = (order.read(asked.cursor.as_deref())?, 0);
    loop {
        let listing = state.archive.browse_deliveries(filter.clone(), Page { cursor, limit: PAGE }).await?;
        seen += listing.items.len() as u64;
        listing.items.iter().for_each(|delivery| count(&mut groups, delivery));
        cursor = listing.next;
        if cursor.is_none() || seen >= LOOKED_AT_MAX {
            break;
        }
    }
    if seen == 0 {
        known(&state, filter.source.as_ref(), filter.destination.as_ref()).await?;
    }
    let mut items: Vec<GroupDto> = groups.into_iter().map(|group| shown(group).listed_for(&who)).collect();
    // Where there are as many: by their words.
    let place = |group: &GroupDto| (group.destination.clone(), group.reason.map(Reason::as_str));
    items.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| place(a).cmp(&place(b))));
    Ok(Json(SummaryDto { items, next: cursor.map(|place| order.write(&place)) }))
}

fn count(groups: &mut BTreeMap<Likeness, Group>, delivery: &Delivery) {
    let last = delivery.last.as_ref();
    let status = last.and_then(|last| last.status);
    let mut likeness = Likeness {
        destination: delivery.destination.to_string(),
        reason: delivery.reason,
        status,
        error: last.and_then(|last| last.error.as_deref()).map(gist),
    };
    if groups.len() >= GROUPS_MAX && !groups.contains_key(&likeness) {
        likeness.error = None;
    }
    let at = delivery.changed_at;
    let group = groups.entry(likeness).or_insert_with(|| Group {
        count: 0,
        oldest: at,
        newest: at,
        example: delivery.id.to_string(),
        answer: last.and_then(|last| last.answer.clone()),
    });
    group.count += 1;
    (group.oldest, group.newest) = (group.oldest.min(at), group.newest.max(at));
}

fn shown((likeness, group): (Likeness, Group)) -> GroupDto {
    let Likeness { destination, reason, status, error } = likeness;
    let (oldest, newest) = (rfc3339(group.oldest), rfc3339(group.newest));
    let (count, example, answer) = (group.count, group.example, group.answer.as_deref().map(AnswerDto::from));
    GroupDto { destination, reason, status, error, count, oldest, newest, example, answer }
}

/// As far as it tells an error from others.
fn gist(error: &str) -> String {
    likened(error).chars().take(ERROR_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_the_beginning_of_its_error() {
        assert_eq!(gist("order 4711 of 12"), "order # of #");
        assert_eq!(gist(&"é".repeat(500)).chars().count(), ERROR_MAX);
    }
}
