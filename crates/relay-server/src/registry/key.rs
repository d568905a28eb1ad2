//! API keys: made and revoked by operators.

use relay_core::name::Name;
use relay_providers::provider;
use relay_store::seam::DocumentKind;

use super::{
    Registry, RegistryError,
    change::{ShownOnce, Write, unknown_source},
    key_of_pair, listed,
};
use crate::{
    document::{Key, render},
    principal::Principal,
    secret,
};

/// An API key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Whose.
    pub source: Name,
    /// Its name.
    pub name: Name,
}

impl Registry {
    /// Makes an API key; the key itself is in the answer and nowhere else.
    ///
    /// # Errors
    /// `Unknown` source, `Invalid` for a source without keys, `Taken`, `NoRandomness`, `Store`.
    pub async fn create_key(&self, new: NewKey, who: &Principal) -> Result<ShownOnce<Key>, RegistryError> {
        let made = self.new_key(&new)?;
        self.change(|directory| {
            let source = directory.sources.get(&new.source).ok_or_else(|| unknown_source(directory, &new.source))?;
            if !provider(&source.document.provider).is_some_and(|provider| provider.key_source) {
                return Err(RegistryError::Invalid(format!(
                    "source {:?} is of provider {:?}, which has no API keys; change its parameters instead",
                    new.source, source.document.provider
                )));
            }
            if directory.keys.contains_key(&(new.source.clone(), new.name.clone())) {
                return Err(RegistryError::Taken { kind: "key", name: format!("{}/{}", new.source, new.name) });
            }
            Ok(vec![self.key_write(&made.document, who)])
        })
        .await?;
        Ok(made)
    }

    /// An API key that is not written yet.
    pub(super) fn new_key(&self, new: &NewKey) -> Result<ShownOnce<Key>, RegistryError> {
        let secret = secret::generate(secret::KEY_PREFIX)?;
        let document = Key {
            source: new.source.clone(),
            name: new.name.clone(),
            sha256: secret::sha256(secret.as_bytes()),
            prefix: secret::shown(&secret),
            created_at: self.clock.now().wall,
            revoked_at: None,
        };
        Ok(ShownOnce { secret, document })
    }

    /// Writes a key whose name its source does not have yet.
    pub(super) fn key_write(&self, key: &Key, who: &Principal) -> Write {
        Write {
            key: key_of_pair(DocumentKind::Key, &key.source, &key.name),
            expect: 0,
            body: Some(render(key)),
            audit: self.audited(who, "key.create", format!("{}/{}", key.source, key.name)),
        }
    }

    /// Revokes an API key: refused from the next request on.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub async fn revoke_key(&self, source: &Name, name: &Name, who: &Principal) -> Result<(), RegistryError> {
        self.change(|directory| {
            let entry = directory.keys.get(&(source.clone(), name.clone())).ok_or_else(|| {
                let known = directory.keys.keys().filter(|(of, _)| of == source).map(|(_, name)| name);
                RegistryError::Unknown { kind: "key", name: format!("{source}/{name}"), known: listed(known) }
            })?;
            if entry.document.revoked_at.is_some() {
                return Ok(Vec::new());
            }
            let revoked = Key { revoked_at: Some(self.clock.now().wall.as_micros()), ..entry.document.clone() };
            Ok(vec![Write {
                key: key_of_pair(DocumentKind::Key, source, name),
                expect: entry.version,
                body: Some(render(&revoked)),
                audit: self.audited(who, "key.revoke", format!("{source}/{name}")),
            }])
        })
        .await
    }
}
