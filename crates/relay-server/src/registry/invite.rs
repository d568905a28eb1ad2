//! Invitations: a source with its route, a key where its senders need one, and a token for the client, in one change.

use std::fmt;

use relay_providers::provider;

use super::{NewKey, NewSource, NewToken, Registry, RegistryError, change::ShownOnce};
use crate::{
    document::{Key, Source, Token},
    principal::Principal,
    secret,
};

/// What an invitation made.
#[derive(Clone)]
pub struct Invited {
    /// The source; its route leads to the destination that was asked for.
    pub source: Source,
    /// The key its senders present, where the provider is one of keys and none was given.
    pub key: Option<ShownOnce<Key>>,
    /// Lets a client serve the destination.
    pub token: ShownOnce<Token>,
    /// Parameters that nobody gave and nobody else has to choose: to be pasted at the platform.
    pub generated: Vec<(String, String)>,
}

impl fmt::Debug for Invited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let generated: Vec<&str> = self.generated.iter().map(|(name, _)| name.as_str()).collect();
        let Self { source, key, token, .. } = self;
        let mut invited = f.debug_struct("Invited");
        invited.field("source", source).field("key", key).field("token", token).field("generated", &generated).finish()
    }
}

impl Registry {
    /// Makes all that a sender and a client need, under the source's name. What can be refused is refused before anything is
    /// written.
    ///
    /// # Errors
    /// `Taken` source or token, `Invalid` for a provider or parameters that cannot be, `NoRandomness`, `Store`.
    pub async fn invite(&self, mut new: NewSource, who: &Principal) -> Result<Invited, RegistryError> {
        let generated = generate_missing(&new)?;
        let needs_key =
            provider(&new.provider).is_some_and(|provider| provider.key_source) && new.parameters.is_empty();
        new.parameters.extend(generated.iter().cloned());
        let new_key = NewKey { source: new.name.clone(), name: new.name.clone() };
        let key = if needs_key { Some(self.new_key(&new_key)?) } else { None };
        let new_token =
            NewToken { name: new.name.clone(), destinations: Some(vec![new.destination.clone()]), pins: Vec::new() };
        let token = self.new_token(&new_token)?;
        let source = self
            .create_source_with(new, who, |directory| {
                let key = key.as_ref().map(|key| self.key_write(&key.document, who));
                let token = self.token_write(directory, &token.document, who)?;
                Ok(key.into_iter().chain([token]).collect())
            })
            .await?;
        Ok(Invited { source, key, token, generated })
    }
}

/// Values for the parameters that an operator would only make up.
fn generate_missing(new: &NewSource) -> Result<Vec<(String, String)>, RegistryError> {
    let parameters = provider(&new.provider).map_or(&[][..], |provider| provider.parameters);
    let is_missing = |name: &str| new.parameters.iter().all(|(given, _)| given != name);
    let missing = parameters.iter().filter(|parameter| parameter.made_up && is_missing(parameter.name));
    missing.map(|parameter| Ok((parameter.name.to_owned(), secret::generate("")?))).collect()
}
