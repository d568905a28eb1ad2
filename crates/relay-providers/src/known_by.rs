//! What a webhook is known by that its sender calls something: the way back from an id that people have to the key that tells repeats
//! apart.

use std::sync::Arc;

use crate::{
    Name, Request, StoredKey, Verifier, keys,
    naming::{DeliveryId, Names, bounded},
    proven::Covered,
    verifier::Proof,
};

/// Parts of ids that are another with each webhook: nobody who has the id knows them, and no other webhook has them too.
const OWN_PARTS: &[&str] = &["notification_id"];

/// What one webhook may be known by, where nothing of its body belongs to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBy {
    /// The name of the key that proved it, at sources with several.
    pub key: Option<Arc<str>>,
    /// Its id, as [`DedupeKey`](crate::DedupeKey) has it.
    pub id: Vec<u8>,
}

impl StoredKey {
    /// That of whoever shows this key and calls a webhook so.
    pub fn known_by(&self, given: &[u8]) -> KnownBy {
        KnownBy { key: Some(Arc::clone(&self.name)), id: keys::idempotency_id(self, given) }
    }
}

impl Verifier {
    /// What a webhook may be known by that its sender calls `given`. An id may have parts that nobody thinks of (Stripe's: the version of
    /// its API), and those are mostly the same from one webhook to the next: `like` are some of the same source. `None`: all its ids
    /// count together with the body, so that none leads to a webhook by itself.
    pub fn known_by(&self, given: &[u8], like: &[Request<'_>]) -> Option<Vec<KnownBy>> {
        if let Proof::Keys(keys) = &self.proof {
            return Some(keys.0.iter().map(|key| key.known_by(given)).collect());
        }
        let places = self.provider().delivery.alone();
        let is_own = |place: &&DeliveryId| place.parts().iter().any(|part| OWN_PARTS.contains(part));
        if places.is_empty() || places.iter().any(is_own) {
            return None;
        }
        let mut ids = vec![bounded(given.to_vec())];
        for request in like {
            let names = Names::new(request, &Covered::All, self.provider().delivery, [Name::Nowhere; 2]);
            for id in places.iter().filter_map(|place| names.with_first(**place, given)) {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        Some(ids.into_iter().map(|id| KnownBy { key: None, id }).collect())
    }

    /// Whether an id has parts that other webhooks are looked at for.
    pub fn has_ids_of_parts(&self) -> bool {
        self.provider().delivery.alone().iter().any(|place| !place.parts().is_empty())
    }
}

#[cfg(test)]
mod tests {
    use relay_core::time::Wall;

    use super::*;
    use crate::{Draft, secret_digest};

    fn ids(verifier: &Verifier, given: &str, body: &str) -> Vec<String> {
        let like = Draft::post("https://relay.example/webhook/shop", body.to_owned());
        let known = verifier.known_by(given.as_bytes(), &[like.request(Wall::MIN, &[])]).unwrap();
        known.into_iter().map(|known| String::from_utf8(known.id).unwrap()).collect()
    }

    #[test]
    fn an_id_of_two_parts_takes_the_second_from_a_webhook_like_it() {
        let stripe = Verifier::new("stripe", &[("secret".into(), "whsec_0123456789abcdef".into())]).unwrap();
        let like = r#"{"id":"evt_1","api_version":"2024-06-20"}"#;
        assert_eq!(ids(&stripe, "evt_2", like), ["evt_2", "evt_2\n2024-06-20"]);
        assert_eq!(ids(&stripe, "evt_2", "no JSON"), ["evt_2"]);
    }

    #[test]
    fn an_id_that_counts_with_its_body_leads_nowhere() {
        let github = Verifier::new("github", &[("secret".into(), "0123456789abcdef".into())]).unwrap();
        assert_eq!(github.known_by(b"72d3162e-cc78-11e3-81ab-4c9367dc0958", &[]), None);
    }

    /// I20: the same key of two senders is two.
    #[test]
    fn each_key_of_a_source_may_have_sent_it() {
        let named = |name: &str| StoredKey { name: name.into(), digest: secret_digest(name.as_bytes()) };
        let verifier = Verifier::with_keys("api-key", &[], vec![named("shop"), named("crm")]).unwrap();
        let known = verifier.known_by(b"order-1", &[]).unwrap();
        assert_eq!(known.iter().map(|known| known.key.as_deref()).collect::<Vec<_>>(), [Some("shop"), Some("crm")]);
        assert_ne!(known[0].id, known[1].id);
    }
}
