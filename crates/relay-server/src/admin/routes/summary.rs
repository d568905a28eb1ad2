//! Dead letters in groups: what failed alike is told once, with how many there are.

use axum::{Extension, Json};
use relay_core::delivery::{Delivery, alike::Alike};
use relay_store::seam::{DeliveryFilter, Page};

use super::{
    cursor::Order,
    dead::ended,
    filter::{Listing, known},
    groups::Groups,
};
use crate::{
    admin::{
        Of,
        dto::withheld::Seen as _,
        problem::{AdminError, Asked},
    },
    api::SummaryDto,
    principal::Principal,
};

/// Deliveries that one request looks through; the next one goes on from its cursor.
const LOOKED_AT_MAX: u64 = 20_000;
/// Deliveries read at a time.
const PAGE: u32 = 1000;
pub(super) async fn summary(
    Of(state): Of,
    Extension(who): Extension<Principal>,
    Asked(asked): Asked<Listing>,
) -> Result<Json<SummaryDto>, AdminError> {
    if asked.state.is_some() || asked.limit.is_some() {
        return Err(AdminError::Invalid("a summary takes destination, source, reason, since and until".into()));
    }
    let filter = DeliveryFilter { states: ended(), ..asked.deliveries()? };
    let mut groups = Groups::default();
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
    let items = groups.by_count().iter().map(|(alike, group)| group.shown(alike).listed_for(&who)).collect();
    Ok(Json(SummaryDto { items, next: cursor.map(|place| order.write(&place)) }))
}

/// Where there are too many, those of an error go together with those that have none.
fn count(groups: &mut Groups, delivery: &Delivery) {
    let alike = Alike::of(delivery);
    if !groups.count(alike.clone(), delivery) {
        groups.put(Alike { error: None, ..alike }, delivery);
    }
}
