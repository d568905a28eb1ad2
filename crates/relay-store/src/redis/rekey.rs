//! Sealing anew, with the newest key, what is clear or sealed with an older one: a page of keys a step, and last the documents.
//! Each value is put in the place of the one that was read only if that stands there still.

use bytes::Bytes;
use relay_core::id::{DeliveryId, EventId};

use super::{
    Core,
    backlog::Urgency,
    beside::Beside,
    client::Command,
    event,
    index::Kind,
    keys::Key,
    registry,
    reply::{Fault, Reply},
    row,
    scan::At,
    scripts::Script,
};
use crate::{
    cipher::{Sealed as _, sealed_with},
    record::{self, RecordError},
    seam::{DocumentKind, Rekeyed},
};

/// Keys that a step looks at, about.
const KEYS_AT_ONCE: i64 = 256;
/// What the place behind all keys is called.
const DOCUMENTS: &str = "documents";

/// How a value begins that was read, and the one in its place.
type Resealed = (Vec<u8>, Vec<u8>);

/// Counts what a script has said.
fn count(answer: Reply, done: &mut Rekeyed) -> Result<(), Fault> {
    match answer.number()? {
        // Changed, or gone, since it was read: the next pass looks again.
        0 => done.left += 1,
        _ => done.sealed += 1,
    }
    Ok(())
}

impl Core {
    /// One step.
    pub(super) async fn rekey(&self, from: Option<&str>) -> Result<Rekeyed, Fault> {
        self.life.check()?;
        let mut done = Rekeyed::default();
        let (place, left) = from.and_then(|from| from.rsplit_once('/')).unwrap_or_default();
        let left = left.parse().unwrap_or(0);
        if place == DOCUMENTS {
            self.rekey_documents(left, &mut done).await?;
            return Ok(done);
        }
        let at = At::read(place).unwrap_or_default();
        let (next, keys) = self.scan_keys(&at, KEYS_AT_ONCE).await?;
        for key in keys {
            let Some(within) = self.space.partitions().iter().find_map(|keys| keys.within(&key)) else { continue };
            let kind = Kind::of(within);
            match (kind, Beside::of(within)) {
                (Kind::Event(id), _) => self.rekey_event(EventId::from_u128(id), &key, &mut done).await?,
                (Kind::Delivery(id), _) => self.rekey_row(DeliveryId::from_u128(id), &key, &mut done).await?,
                (Kind::Other, Some(Beside::Attempts(id))) => self.rekey_attempts(id, &key, &mut done).await?,
                (Kind::Other | Kind::Index(_) | Kind::Strange, _) => {}
            }
        }
        let place = next.map_or_else(|| DOCUMENTS.to_owned(), |next| next.text());
        Ok(Rekeyed { next: Some(format!("{place}/{}", left + done.left)), ..done })
    }

    async fn rekey_event(&self, id: EventId, key: &Key, done: &mut Rekeyed) -> Result<(), Fault> {
        let Some(value) = self.value_of(key).await? else { return Ok(()) };
        done.read += 1;
        let resealed = event::resealed(id, &Bytes::from(value), self.ciphers());
        let resealed = resealed.map(|resealed| resealed.map(|(front, value)| (front.to_vec(), value)));
        self.put_resealed(id.to_string(), key, resealed, done).await
    }

    async fn rekey_row(&self, id: DeliveryId, key: &Key, done: &mut Rekeyed) -> Result<(), Fault> {
        let Some(found) = self.value_of(key).await? else { return Ok(()) };
        done.read += 1;
        let resealed = row::resealed(id, &found, self.ciphers());
        let resealed = resealed.map(|resealed| resealed.map(|value| (found, value)));
        self.put_resealed(id.to_string(), key, resealed, done).await
    }

    /// What is of another type than it should be is left to whoever puts that right.
    pub(super) async fn value_of(&self, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        self.nodes.readable(vec![Command::new("GET").arg(key)]).await?.pop().ok_or(Fault::Away)?.maybe_bytes()
    }

    async fn put_resealed(
        &self,
        what: String,
        key: &Key,
        resealed: Result<Option<Resealed>, RecordError>,
        done: &mut Rekeyed,
    ) -> Result<(), Fault> {
        let Some(resealed) = self.damage.passed(&what, resealed) else {
            done.left += 1;
            return Ok(());
        };
        let Some((before, value)) = resealed else { return Ok(()) };
        let call = Script::Reseal.call(std::slice::from_ref(key), [before, value]);
        count(self.nodes.commit(Urgency::Upkeep, call).await?, done)
    }

    async fn rekey_attempts(&self, id: DeliveryId, key: &Key, done: &mut Rekeyed) -> Result<(), Fault> {
        let read = vec![Command::new("LRANGE").arg(key).number(0).number(-1)];
        let found = self.nodes.readable(read).await?.pop().ok_or(Fault::Away)?;
        let Reply::Many(found) = found else { return Ok(()) };
        let found = found.into_iter().map(Reply::bytes).collect::<Result<Vec<_>, _>>()?;
        let (ciphers, mut is_old) = (self.ciphers(), false);
        let mut sealed = Vec::with_capacity(found.len());
        for bytes in &found {
            let read = record::decode_sealed_attempt(bytes, id.sequence(), ciphers);
            match self.damage.passed(&format_args!("an attempt of {id}"), read) {
                Some((attempt, Some(number))) if number != ciphers.newest_number() => {
                    let mut out = Vec::new();
                    record::encode_attempt(&attempt, id.sequence(), ciphers, &mut out);
                    sealed.push(out);
                    is_old = true;
                }
                Some(_) => sealed.push(bytes.clone()),
                None => {
                    done.left += 1;
                    return Ok(());
                }
            }
        }
        if !is_old {
            return Ok(());
        }
        let mut arguments = vec![found.len().to_string().into_bytes()];
        arguments.extend(found);
        arguments.extend(sealed);
        let call = Script::ResealList.call(std::slice::from_ref(key), arguments);
        count(self.nodes.commit(Urgency::Upkeep, call).await?, done)
    }

    /// All documents; behind a pass that left nothing, those of the keys that nothing is sealed with any more go.
    async fn rekey_documents(&self, left: u64, done: &mut Rekeyed) -> Result<(), Fault> {
        let ciphers = self.ciphers();
        for kind in DocumentKind::ALL.into_iter().filter(|kind| *kind != DocumentKind::Cipher) {
            for stored in self.documents(kind).await? {
                done.read += 1;
                if sealed_with(&stored.body) == ciphers.newest_number() {
                    continue;
                }
                let Ok(opened) = self.open(stored) else {
                    done.left += 1;
                    continue;
                };
                let body = ciphers.seal_document(&opened.key, opened.version, opened.body);
                let keys = [self.space.documents(kind), self.space.version(), self.space.registry_audit()];
                let arguments = registry::reseal_arguments(&opened.key, opened.version, &body);
                let written = self.nodes.commit(Urgency::Other, Script::Document.call(&keys, arguments)).await?;
                match registry::Written::of(written)? {
                    registry::Written::Not => done.left += 1,
                    registry::Written::Behind(_) => {
                        self.acknowledged.remember_one(&opened.key, opened.version, Some(&body));
                        done.sealed += 1;
                    }
                }
            }
        }
        if left + done.left > 0 {
            return Ok(());
        }
        for old in self.documents(DocumentKind::Cipher).await? {
            let Some(number) = old.key.name.parse().ok().filter(|number| *number != ciphers.newest_number()) else {
                continue;
            };
            if self.put_document(old.key, old.version, None, Vec::new()).await?.is_some() {
                done.retired.push(number);
            }
        }
        Ok(())
    }
}
