//! Dead letters in groups: what failed alike is told once, with how many there are.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use relay_core::{
    delivery::{Delivery, Reason, answer::Answer},
    time::Wall,
};
use relay_store::seam::{DeliveryFilter, Page};

use super::{dead::ended, filter::Listing};
use crate::{
    admin::{
        Shared,
        dto::{AnswerDto, GroupDto, SummaryDto},
        problem::{AdminError, Asked},
    },
    clock::rfc3339,
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
    reason: Option<&'static str>,
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
    State(admin): Shared,
    Asked(asked): Asked<Listing>,
) -> Result<Json<SummaryDto>, AdminError> {
    if asked.state.is_some() || asked.limit.is_some() {
        return Err(AdminError::Invalid("a summary takes destination, source, reason, since and until".into()));
    }
    let filter = DeliveryFilter { states: ended(), ..asked.deliveries()? };
    let mut groups = BTreeMap::new();
    let (mut cursor, mut seen) = (asked.cursor, 0);
    loop {
        let listing = admin.archive.browse_deliveries(filter.clone(), Page { cursor, limit: PAGE }).await?;
        seen += listing.items.len() as u64;
        listing.items.iter().for_each(|delivery| count(&mut groups, delivery));
        cursor = listing.next;
        if cursor.is_none() || seen >= LOOKED_AT_MAX {
            break;
        }
    }
    let mut items: Vec<GroupDto> = groups.into_iter().map(shown).collect();
    items.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(Json(SummaryDto { items, next: cursor }))
}

fn count(groups: &mut BTreeMap<Likeness, Group>, delivery: &Delivery) {
    let last = delivery.last.as_ref();
    let status = last.and_then(|last| last.status);
    let mut likeness = Likeness {
        destination: delivery.destination.to_string(),
        reason: delivery.reason.map(Reason::as_str),
        status,
        error: last.and_then(|last| last.error.as_deref()).map(likened),
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
    let (count, example, answer) = (group.count, group.example, group.answer.as_deref().map(AnswerDto::new));
    GroupDto { destination, reason, status, error, count, oldest, newest, example, answer }
}

/// An error without what differs from one event to the next: numbers and ids become `#`.
fn likened(error: &str) -> String {
    let mut out = String::new();
    let mut rest = error;
    while !rest.is_empty() && out.len() < ERROR_MAX {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '-').unwrap_or(rest.len());
        let (part, after) =
            if word == 0 { rest.split_at(rest.chars().next().map_or(1, char::len_utf8)) } else { rest.split_at(word) };
        if part.bytes().any(|byte| byte.is_ascii_digit()) {
            if !out.ends_with('#') {
                out.push('#');
            }
        } else {
            out.push_str(part);
        }
        rest = after;
    }
    out.chars().take(ERROR_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_alike_but_for_numbers_and_ids() {
        let first = likened("order 4711 of evt_0192f3c2-7d4e-7a31-8f5e-2b1c9d0e4f6a: no such customer (17 ms)");
        let second = likened("order 12 of evt_0192f3c2-7d4e-7a32-8f5e-000000000000: no such customer (3 ms)");
        assert_eq!(first, "order # of #: no such customer (# ms)");
        assert_eq!(first, second);
        assert!(likened(&"é".repeat(500)).chars().count() <= ERROR_MAX);
    }
}
