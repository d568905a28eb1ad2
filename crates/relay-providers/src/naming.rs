//! Where a provider's requests say which webhook they are.

use relay_core::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use serde_json::Value;

use crate::{
    DedupeKey, Refusal, Request, header, media_type,
    name::{Name, kept},
    proven::Covered,
    pruned::{self, ITEMS_MAX, find, text},
    secret,
};

/// Largest body that is read for its names; of a larger one header fields count, and the body as a whole.
const JSON_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Where the id stands that is the same over the retries of one webhook.
///
/// An id that is not [`DeliveryId::Documented`], or that the proof leaves open, counts together with the body: see [`DedupeKey`].
/// A path names fields of a JSON body, with dots between and `[]` behind a list: `entry[].id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryId {
    /// Nowhere, and equal bodies can be different webhooks.
    Nothing,
    /// In a header field.
    Header(&'static str),
    /// In header fields: the first, which has to be there, and what there is of the others.
    Headers(&'static [&'static str]),
    /// In the body: these fields together, in the same way.
    Json(&'static [&'static str]),
    /// In the body, per item of a batch: lists, each with the fields that name an item. A retry repeats the batch.
    Items(&'static [(&'static str, &'static [&'static str])]),
    /// Nowhere: the body alone decides.
    Body,
    /// There, and only in a body of this media type.
    InType(&'static str, &'static DeliveryId),
    /// There, and the platform documents it on that page as the id of a delivery, the same over its retries and another for
    /// another webhook. If any of it is missing, or the proof does not cover it, the body counts too.
    Documented(&'static DeliveryId, &'static str),
    /// The first of these that there is.
    First(&'static [DeliveryId]),
    /// Where the provider's own code finds it; in words.
    Code(&'static str),
}

/// What stands where an id is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    id: Vec<u8>,
    /// Nothing of it is missing.
    is_whole: bool,
}

/// A request's body, parsed when somebody first asks.
pub(crate) struct Names<'a> {
    request: &'a Request<'a>,
    covered: &'a Covered,
    json: Option<Value>,
    /// The body is too large to look for ids in.
    is_unread: bool,
}

impl<'a> Names<'a> {
    /// For these of a provider's entry; of the body only what they name is kept, in the one pass that all of them share.
    pub(crate) fn new(request: &'a Request<'a>, covered: &'a Covered, delivery: DeliveryId, names: [Name; 2]) -> Self {
        let mut paths = delivery.paths();
        paths.extend(names.iter().flat_map(|name| name.paths(request)));
        let is_unread = request.body.len() > JSON_BYTES_MAX;
        let is_read = !paths.is_empty() && !is_unread;
        let json = if is_read { pruned::read(request.body, &paths, ITEMS_MAX) } else { None };
        Self { request, covered, json, is_unread }
    }

    /// What a repeat is known by; the id in it is bounded in length.
    ///
    /// # Errors
    /// A header field for it that no sender may send.
    pub(crate) fn delivery(&self, id: DeliveryId) -> Result<Option<DedupeKey>, Refusal> {
        match id {
            // Of a documented id that is not there whole, the rest may be anything: the id of an object, of one item of many.
            DeliveryId::Documented(place, _) => Ok(self.id(*place)?.map(|Found { id, is_whole }| {
                if is_whole && place.is_in(self.covered) { DedupeKey::documented(id) } else { DedupeKey::with_body(id) }
            })),
            DeliveryId::First(ids) => {
                // One that could have been added on the way does not come before one that could not.
                for id in ids {
                    if let Some(found) = self.delivery(*id)?.filter(DedupeKey::is_alone) {
                        return Ok(Some(found));
                    }
                }
                for id in ids {
                    if let Some(found) = self.delivery(*id)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            id => Ok(self.id(id)?.map(|found| DedupeKey::with_body(found.id))),
        }
    }

    /// The id that stands there, with another first part; `None` if it has one part, or none of them leads.
    pub(crate) fn with_first(&self, id: DeliveryId, first: &[u8]) -> Option<Vec<u8>> {
        let found = self.id(id).ok()??.id;
        let end = found.iter().position(|byte| *byte == b'\n')?;
        Some(bounded([first, &found[end..]].concat()))
    }

    fn id(&self, id: DeliveryId) -> Result<Option<Found>, Refusal> {
        Ok(match id {
            DeliveryId::Nothing | DeliveryId::Code(_) => None,
            DeliveryId::Header(name) => self.header_id(name)?.map(|id| Found { id, is_whole: true }),
            DeliveryId::Headers(names) => {
                let Some(first) = names.first().map(|name| self.header_id(name)).transpose()?.flatten() else {
                    return Ok(None);
                };
                let others =
                    names[1..].iter().map(|name| header::first(self.request.headers, name).unwrap_or_default());
                let is_whole = others.clone().all(|value| !value.is_empty());
                let id = bounded(others.fold(first, |all, value| [&all[..], b"\n", value].concat()));
                Some(Found { id, is_whole })
            }
            // A retry repeats such a body all the same.
            DeliveryId::Json(_) | DeliveryId::Items(_) if self.is_unread => {
                Some(Found { id: Vec::new(), is_whole: false })
            }
            DeliveryId::Json(fields) => self
                .json
                .as_ref()
                .and_then(|json| joined(json, fields))
                .map(|joined| Found { id: bounded(joined.text.into_bytes()), is_whole: joined.is_whole }),
            DeliveryId::Items(lists) => self.json.as_ref().and_then(|json| items(json, lists)),
            DeliveryId::Body => Some(Found { id: Vec::new(), is_whole: false }),
            DeliveryId::InType(name, id) => {
                let is_of_type = media_type::is(self.request, name);
                if is_of_type { self.id(*id)? } else { None }
            }
            DeliveryId::Documented(id, _) => self.id(*id)?,
            DeliveryId::First(ids) => {
                for id in ids {
                    if let Some(found) = self.id(*id)? {
                        return Ok(Some(found));
                    }
                }
                None
            }
        })
    }

    /// What happened: see [`Name`].
    pub(crate) fn event(&self, name: Name) -> Option<String> {
        name.read(self.request, self.json.as_ref())
    }

    /// To what it happened. Where the items of a batch speak of several things, it is about none of them.
    pub(crate) fn order(&self, name: Name) -> Option<String> {
        match name {
            Name::Json(path) => {
                let mut things = find(self.json.as_ref()?, path).into_iter().map(text);
                let first = things.next()??;
                things.all(|thing| thing.as_deref() == Some(&first)).then_some(first).and_then(kept)
            }
            Name::First(names) => names.iter().find_map(|name| self.order(*name)),
            name => self.event(name),
        }
    }

    /// A sender that leaves it empty says none; one that is too long is known by its digest.
    fn header_id(&self, name: &str) -> Result<Option<Vec<u8>>, Refusal> {
        let id = header::single(self.request, name)?.filter(|id| !id.is_empty());
        Ok(id.map(|id| bounded(id.to_vec())))
    }
}

impl DeliveryId {
    /// Whether an id that stands there can stand for the webhook by itself: the proof covers it, and the body with it.
    fn is_in(self, covered: &Covered) -> bool {
        let Covered::Signed { body, headers } = covered else { return true };
        *body
            && match self {
                Self::Header(name) => headers.iter().any(|signed| signed == name),
                Self::Headers(names) => names.iter().all(|name| headers.iter().any(|signed| signed == name)),
                Self::Json(_) | Self::Items(_) | Self::Body => true,
                Self::First(ids) => ids.iter().all(|id| id.is_in(covered)),
                // What type the body is said to be of is not signed.
                Self::Documented(id, _) => id.is_in(covered),
                Self::InType(..) | Self::Nothing | Self::Code(_) => false,
            }
    }

    /// The places of ids that may stand alone, and that people have: that of a batch is a digest over all its items.
    pub(crate) fn alone(self) -> Vec<&'static Self> {
        match self {
            Self::Documented(id, _) if id.is_of_a_batch() => Vec::new(),
            Self::Documented(id, _) => vec![id],
            Self::First(ids) => ids.iter().flat_map(|id| id.alone()).collect(),
            _ => Vec::new(),
        }
    }

    /// The fields that its id is made of, if those are several.
    pub(crate) fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Json(fields) | Self::Headers(fields) if fields.len() > 1 => fields,
            Self::Documented(id, _) | Self::InType(_, id) => id.parts(),
            _ => &[],
        }
    }

    fn is_of_a_batch(self) -> bool {
        match self {
            Self::Items(_) => true,
            Self::InType(_, id) => id.is_of_a_batch(),
            _ => false,
        }
    }

    /// What of a JSON body it reads.
    fn paths(self) -> Vec<String> {
        match self {
            Self::Nothing | Self::Header(_) | Self::Headers(_) | Self::Body | Self::Code(_) => Vec::new(),
            Self::Json(fields) => fields.iter().map(|field| (*field).to_owned()).collect(),
            Self::Items(lists) => {
                let of_list = |(list, fields): &(&str, &'static [&'static str])| {
                    let list = (*list).to_owned();
                    fields.iter().map(move |field| format!("{list}.{field}"))
                };
                lists.iter().flat_map(of_list).collect()
            }
            Self::Documented(id, _) | Self::InType(_, id) => id.paths(),
            Self::First(ids) => ids.iter().flat_map(|id| id.paths()).collect(),
        }
    }

    /// The header fields that may hold it.
    pub(crate) fn headers(self) -> Vec<&'static str> {
        match self {
            Self::Header(name) => vec![name],
            Self::Headers(names) => names.to_vec(),
            Self::Documented(id, _) => id.headers(),
            Self::InType(_, id) => id.headers().into_iter().chain(["content-type"]).collect(),
            Self::First(ids) => ids.iter().flat_map(|id| id.headers()).collect(),
            Self::Nothing | Self::Json(_) | Self::Items(_) | Self::Body | Self::Code(_) => Vec::new(),
        }
    }
}

/// Texts of some fields, one a line, and whether none of them is missing.
struct Joined {
    text: String,
    is_whole: bool,
}

/// The first of `fields`, which has to be there, and what there is of the others.
fn joined(root: &Value, fields: &[&str]) -> Option<Joined> {
    let mut texts = fields.iter().map(|field| find(root, field).first().and_then(|value| text(value)));
    let first = texts.next()?.filter(|text| !text.is_empty())?;
    let none = Joined { text: first, is_whole: true };
    Some(texts.map(Option::unwrap_or_default).fold(none, |all, text| Joined {
        is_whole: all.is_whole && !text.is_empty(),
        text: format!("{}\n{text}", all.text),
    }))
}

/// A digest over the sorted ids of all items. It is whole if each item has one.
fn items(root: &Value, lists: &[(&str, &[&str])]) -> Option<Found> {
    let (mut ids, mut is_whole) = (Vec::new(), true);
    for (list, fields) in lists {
        let found = find(root, list);
        // There may be more than were looked at.
        is_whole &= found.len() < ITEMS_MAX;
        for item in found {
            let joined = joined(item, fields);
            is_whole &= joined.as_ref().is_some_and(|joined| joined.is_whole);
            ids.extend(joined.map(|joined| joined.text));
        }
    }
    if ids.is_empty() {
        return None;
    }
    ids.sort_unstable();
    let all: Vec<u8> =
        ids.iter().flat_map(|id| [&(id.len() as u64).to_be_bytes()[..], id.as_bytes()].concat()).collect();
    Some(Found { id: secret::secret_digest(&all).to_vec(), is_whole })
}

pub(crate) fn bounded(id: Vec<u8>) -> Vec<u8> {
    if id.len() > IDEMPOTENCY_KEY_BYTES_MAX { secret::secret_digest(&id).to_vec() } else { id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_a_batch_does_not_change_its_id_and_its_items_do() {
        let id = |body| items(&body, &[("[]", &["id", "at"])]).map(|found| found.id);
        let first = id(serde_json::json!([{"id": 1, "at": 2}, {"id": 3}]));
        assert!(first.is_some());
        assert_eq!(first, id(serde_json::json!([{"id": 3}, {"id": 1, "at": 2}])));
        assert_ne!(first, id(serde_json::json!([{"id": 1, "at": 2}])));
        assert_eq!(id(serde_json::json!([{"at": 2}])), None);
        let is_whole = |body| items(&body, &[("[]", &["id", "at"])]).map(|found| found.is_whole);
        assert_eq!(is_whole(serde_json::json!([{"id": 1, "at": 2}, {"id": 3, "at": 4}])), Some(true));
        assert_eq!(is_whole(serde_json::json!([{"id": 1, "at": 2}, {"id": 3}])), Some(false));
        assert_eq!(is_whole(serde_json::json!([{"id": 1, "at": 2}, {"at": 4}])), Some(false));
        assert_eq!(is_whole(serde_json::json!([{"id": 1, "at": 2}, "text"])), Some(false));
    }
}
