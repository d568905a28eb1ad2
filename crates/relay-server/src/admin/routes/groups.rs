//! Dead letters in groups: those that failed alike, with how many there are. Whoever looks may choose some of them by their keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use axum::{Extension, Json};
use relay_core::{
    delivery::{Delivery, State as DeliveryState, alike::Alike, answer::Answer},
    id::DeliveryId,
    time::Wall,
};
use relay_store::seam::{self, DeliveryFilter, Page};

use super::filter::{Listing, known};
use crate::{
    admin::{
        Of,
        dto::withheld::Seen as _,
        problem::{AdminError, Asked},
    },
    api::{AnswerDto, GroupDto, GroupsDto},
    clock::rfc3339,
    principal::Principal,
    secret::{hex, sha256},
    state::State,
};

/// The newest dead letters, which are looked through: however many there are.
const LOOKED_AT_MAX: u64 = 10_000;
/// Deliveries read at a time, and how often: a store looks at more than match where it has no index for that.
const PAGE: u32 = 1_000;
const PAGES_MAX: u32 = 10;
/// How long one waits for those who look already.
const WAITS_MAX: Duration = Duration::from_secs(5);
/// Groups that are named in words.
const NAMED_MAX: usize = 5;
/// By how much less the clock of another server may be behind.
const AHEAD: Duration = Duration::from_hours(1);
/// Groups that are kept apart.
const GROUPS_MAX: usize = 500;
/// Bytes of a key.
const KEY_BYTES: usize = 16;

/// Groups of dead letters.
#[derive(Default)]
pub(crate) struct Groups {
    all: BTreeMap<Alike, Group>,
    /// Dead letters that were looked at.
    pub(crate) looked_at: u64,
    /// Those of them that are in no group: there are too many.
    pub(crate) others: u64,
    /// There is none that was not looked at.
    pub(crate) is_all: bool,
    /// Pages that were read.
    pages: u32,
}

/// Dead letters that failed alike.
pub(crate) struct Group {
    pub(crate) count: u64,
    /// When the first and the last of them ended.
    pub(crate) oldest: Wall,
    pub(crate) newest: Wall,
    /// One of them.
    pub(crate) example: DeliveryId,
    answer: Option<Arc<Answer>>,
}

/// Groups of the newest dead letters that match.
pub(super) async fn list(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Asked(asked): Asked<Listing>,
) -> Result<Json<GroupsDto>, AdminError> {
    if asked.state.is_some() || asked.limit.is_some() || asked.cursor.is_some() {
        return Err(AdminError::Invalid("groups take destination, source, reason, since and until".into()));
    }
    let now = state.clock.wall();
    let groups = grouped(&state, asked.deliveries()?).await?;
    let (looked_at, others, is_all) = (groups.looked_at, groups.others, groups.is_all);
    let named = |(alike, group): (Alike, Group)| GroupDto { key: Some(key(&alike)), ..group.shown(&alike) };
    let items = groups.by_count().into_iter().map(|group| named(group).listed_for(&who)).collect();
    Ok(Json(GroupsDto { items, looked_at, others, is_all, as_of: rfc3339(now) }))
}

/// The newest of the dead letters that match, in groups. Few look at a time: each reads thousands.
///
/// # Errors
/// `Unknown`, with the names that there are; `Store`; the server stops.
pub(crate) async fn grouped(state: &State, filter: DeliveryFilter) -> Result<Groups, AdminError> {
    let held = tokio::time::timeout(WAITS_MAX, state.groupings.acquire()).await;
    let busy = |_| AdminError::Busy("others have dead letters put in groups already".to_owned());
    let _held = held.map_err(busy)?.map_err(|_| AdminError::Stopping)?;
    looked_through(state, filter).await
}

/// The same for whoever has one of the places.
async fn looked_through(state: &State, filter: DeliveryFilter) -> Result<Groups, AdminError> {
    let mut filter = DeliveryFilter { states: DeliveryState::DEAD_LETTER.to_vec(), ..filter };
    // By when they ended.
    filter.range.until.get_or_insert(state.clock.wall() + AHEAD);
    let (mut groups, mut cursor) = (Groups::default(), None);
    loop {
        let listing = state.archive.browse_deliveries(filter.clone(), Page { cursor, limit: PAGE }).await?;
        cursor = groups.take_page(listing);
        if cursor.is_none() {
            break;
        }
    }
    if groups.looked_at == 0 {
        known(state, filter.source.as_ref(), filter.destination.as_ref()).await?;
    }
    Ok(groups)
}

/// Names the group of a delivery: nobody makes an error whose group has the name of another.
pub(crate) fn key(alike: &Alike) -> String {
    hex(&sha256(format!("group {alike:?}").as_bytes())[..KEY_BYTES])
}

/// Those of these keys in words, for who reads of them when they are gone: as far as they are found, and few.
pub(super) async fn in_words(state: &State, filter: DeliveryFilter, keys: &BTreeSet<String>) -> String {
    // A command does not wait for a place, and is no worse for words that are missing.
    let found = match state.groupings.try_acquire() {
        Ok(_held) => looked_through(state, filter).await.unwrap_or_default(),
        Err(_) => Groups::default(),
    };
    let named = found.by_count().into_iter().filter(|(alike, _)| keys.contains(&key(alike)));
    let mut words: Vec<String> = named.take(NAMED_MAX).map(|(alike, _)| told(&alike)).collect();
    if words.is_empty() {
        return format!("{} groups", keys.len());
    }
    if words.len() < keys.len() {
        words.push(format!("{} more", keys.len() - words.len()));
    }
    format!("groups {}", words.join("; "))
}

/// `crm rejected 422 "no such customer"`.
fn told(alike: &Alike) -> String {
    let reason = alike.reason.map(|reason| format!(" {}", reason.as_str())).unwrap_or_default();
    let status = alike.status.map(|status| format!(" {status}")).unwrap_or_default();
    let error = alike.error.as_ref().map(|error| format!(" {error:?}")).unwrap_or_default();
    format!("{}{reason}{status}{error}", alike.destination)
}

/// Whether a text may be the key of a group.
pub(super) fn is_key(text: &str) -> bool {
    text.len() == 2 * KEY_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Groups {
    /// Takes a page, and gives where the next one begins; `None`: that was all, or enough.
    fn take_page(&mut self, page: seam::Listing<Delivery>) -> Option<String> {
        page.items.iter().for_each(|delivery| self.take(delivery));
        self.pages += 1;
        self.is_all = page.next.is_none();
        page.next.filter(|_| self.looked_at < LOOKED_AT_MAX && self.pages < PAGES_MAX)
    }

    /// Puts one more into its group, or beside all of them.
    fn take(&mut self, delivery: &Delivery) {
        self.looked_at += 1;
        self.others += u64::from(!self.count(Alike::of(delivery), delivery));
    }

    /// Counts one in a group; `false`: there is no such group and no room for another.
    pub(super) fn count(&mut self, alike: Alike, delivery: &Delivery) -> bool {
        if self.all.len() >= GROUPS_MAX && !self.all.contains_key(&alike) {
            return false;
        }
        self.put(alike, delivery);
        true
    }

    /// Counts one in a group, which is made if there is none.
    pub(super) fn put(&mut self, alike: Alike, delivery: &Delivery) {
        let at = delivery.changed_at;
        let group = self.all.entry(alike).or_insert_with(|| Group {
            count: 0,
            oldest: at,
            newest: at,
            example: delivery.id,
            answer: delivery.last.as_ref().and_then(|last| last.answer.clone()),
        });
        group.count += 1;
        (group.oldest, group.newest) = (group.oldest.min(at), group.newest.max(at));
    }

    /// The largest first; where there are as many, by their words.
    pub(crate) fn by_count(self) -> Vec<(Alike, Group)> {
        let mut all: Vec<(Alike, Group)> = self.all.into_iter().collect();
        let place = |alike: &Alike| (alike.destination.clone(), alike.reason.map(relay_core::delivery::Reason::as_str));
        all.sort_by(|(a, ours), (b, theirs)| theirs.count.cmp(&ours.count).then_with(|| place(a).cmp(&place(b))));
        all
    }
}

impl Group {
    pub(super) fn shown(&self, alike: &Alike) -> GroupDto {
        let Alike { destination, reason, status, error } = alike.clone();
        GroupDto {
            key: None,
            destination: destination.to_string(),
            reason,
            status,
            error,
            count: self.count,
            oldest: rfc3339(self.oldest),
            newest: rfc3339(self.newest),
            example: self.example.to_string(),
            answer: self.answer.as_deref().map(AnswerDto::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command says what its groups are called, and does not wait for whoever has others put in groups.
    #[tokio::test(start_paused = true)]
    async fn groups_are_called_by_number_where_others_look() {
        let state = crate::offline::tests::admin(Arc::new(relay_store::memory::MemoryStore::new())).await;
        let began = tokio::time::Instant::now();
        let _held = state.groupings.acquire_many(crate::state::GROUPINGS_AT_ONCE as u32).await.unwrap();
        let keys = ["a", "b"].map(str::to_owned).into();
        assert_eq!(in_words(&state, DeliveryFilter::default(), &keys).await, "2 groups");
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    /// A store that looks at many and finds few gives short pages: few are read of those too.
    #[test]
    fn pages_on_which_nothing_matches_come_to_an_end() {
        let mut groups = Groups::default();
        let page = || seam::Listing { items: Vec::new(), next: Some("behind".to_owned()) };
        let read = (1..100).find(|_| groups.take_page(page()).is_none());
        assert_eq!((read, groups.is_all), (Some(PAGES_MAX), false));
    }
}
