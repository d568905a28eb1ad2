//! Tokens of clients: made, changed and revoked by operators.

use relay_core::name::Name;
use relay_net::tls::Pin;
use relay_store::seam::DocumentKind;

use super::{
    Registry, RegistryError, STATIC_TOKEN,
    change::{ShownOnce, Write},
    key_of, listed,
};
use crate::{
    directory::Directory,
    document::{Token, render},
    principal::Principal,
    secret,
};

/// A token to be made.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Its name.
    pub name: Name,
    /// What it may serve; `None`: every destination.
    pub destinations: Option<Vec<Name>>,
    /// Public keys, of one of which the client's certificate is to be; none: any, and no certificate.
    pub pins: Vec<Pin>,
}

impl Registry {
    /// Makes a token; the token itself is in the answer and nowhere else.
    ///
    /// # Errors
    /// `Unknown` destination, `Taken`, `NoRandomness`, `Store`.
    pub async fn create_token(&self, new: NewToken, who: &Principal) -> Result<ShownOnce<Token>, RegistryError> {
        let made = self.new_token(&new)?;
        self.change(|directory| {
            known_destinations(directory, new.destinations.as_deref().unwrap_or_default())?;
            Ok(vec![self.token_write(directory, &made.document, who)?])
        })
        .await?;
        Ok(made)
    }

    /// A token that is not written yet.
    pub(super) fn new_token(&self, new: &NewToken) -> Result<ShownOnce<Token>, RegistryError> {
        let secret = secret::generate(secret::TOKEN_PREFIX)?;
        let document = Token {
            name: new.name.clone(),
            sha256: secret::sha256(secret.as_bytes()),
            prefix: secret::shown(&secret),
            destinations: new.destinations.as_ref().map(|names| names.iter().map(Name::to_string).collect()),
            pins: new.pins.iter().map(Pin::to_string).collect(),
            rotation: None,
            created_at: self.clock.now().wall,
            revoked_at: None,
        };
        Ok(ShownOnce { secret, document })
    }

    /// Writes a new token, unless its name is taken.
    pub(super) fn token_write(
        &self,
        directory: &Directory,
        token: &Token,
        who: &Principal,
    ) -> Result<Write, RegistryError> {
        if token.name.as_str() == STATIC_TOKEN {
            let text = format!("{STATIC_TOKEN} is the name of RELAY_TOKEN; choose another");
            return Err(RegistryError::Invalid(text));
        }
        let present = directory.tokens.get(&token.name);
        if present.is_some_and(|entry| entry.document.revoked_at.is_none()) {
            return Err(RegistryError::Taken { kind: "token", name: token.name.to_string() });
        }
        Ok(Write {
            key: key_of(DocumentKind::Token, &token.name),
            expect: present.map_or(0, |entry| entry.version),
            body: Some(render(token)),
            audit: self.audited(who, "token.create", token.name.as_str()),
        })
    }

    /// Says anew what a token may serve. Its sockets are closed, so that its clients come back with what they may.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub async fn update_token(
        &self,
        name: &Name,
        destinations: Option<Vec<Name>>,
        who: &Principal,
    ) -> Result<Token, RegistryError> {
        let wanted: Option<Vec<String>> =
            destinations.as_ref().map(|names| names.iter().map(Name::to_string).collect());
        self.change_token(name, "token.update", who, |directory, token| {
            known_destinations(directory, destinations.as_deref().unwrap_or_default())?;
            Ok(Token { destinations: wanted.clone(), ..token.clone() })
        })
        .await?;
        self.present_token(name)
    }

    /// Revokes a token: its sockets are closed, and it lets nobody in again.
    ///
    /// # Errors
    /// `Unknown`, `Store`.
    pub async fn revoke_token(&self, name: &Name, who: &Principal) -> Result<(), RegistryError> {
        let now = self.clock.now().wall.as_micros();
        self.change_token(name, "token.revoke", who, |_, token| {
            Ok(Token { revoked_at: token.revoked_at.or(Some(now)), rotation: None, ..token.clone() })
        })
        .await
    }

    /// Writes a token that is there anew.
    pub(super) fn token_rewrite(&self, token: &Token, expect: u64, action: &str, who: &Principal) -> Write {
        Write {
            key: key_of(DocumentKind::Token, &token.name),
            expect,
            body: Some(render(token)),
            audit: self.audited(who, action, token.name.as_str()),
        }
    }

    async fn change_token(
        &self,
        name: &Name,
        action: &str,
        who: &Principal,
        decide: impl Fn(&Directory, &Token) -> Result<Token, RegistryError>,
    ) -> Result<(), RegistryError> {
        self.change(|directory| {
            let entry = directory.tokens.get(name).ok_or_else(|| unknown_token(directory, name))?;
            let next = decide(directory, &entry.document)?;
            if next == entry.document {
                return Ok(Vec::new());
            }
            Ok(vec![self.token_rewrite(&next, entry.version, action, who)])
        })
        .await
    }
}

pub(super) fn unknown_token(directory: &Directory, name: &Name) -> RegistryError {
    RegistryError::Unknown { kind: "token", name: name.to_string(), known: listed(directory.tokens.keys()) }
}

fn known_destinations(directory: &Directory, names: &[Name]) -> Result<(), RegistryError> {
    let known = directory.destination_names();
    match names.iter().find(|name| !known.contains(*name)) {
        None => Ok(()),
        Some(name) => {
            let text = format!(
                "no route leads to {:?}; known: {}. Make one: crm-relay route create SOURCE {name}",
                name.as_str(),
                listed(&known)
            );
            Err(RegistryError::Invalid(text))
        }
    }
}
