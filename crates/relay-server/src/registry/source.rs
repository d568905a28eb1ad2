//! Sources: made, changed and deleted by operators.

use relay_core::name::Name;
use relay_providers::Verifier;
use relay_store::seam::DocumentKind;

use super::{
    Registry, RegistryError,
    change::{Write, undeclared},
    document::{Source, render},
    key_of, key_of_pair, listed,
    route::plain_route,
};
use crate::directory::Directory;

/// A source to be made.
#[derive(Clone, Debug)]
pub struct NewSource {
    /// Its name.
    pub name: Name,
    /// Its provider.
    pub provider: String,
    /// The provider's parameters.
    pub parameters: Vec<(String, String)>,
    /// See [`Source::allow_empty`].
    pub allow_empty: bool,
    /// Where its first route leads.
    pub destination: Name,
}

/// What shall change in a source; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct SourceUpdate {
    /// All of the provider's parameters anew.
    pub parameters: Option<Vec<(String, String)>>,
    /// See [`Source::allow_empty`].
    pub allow_empty: Option<bool>,
}

impl Registry {
    /// Makes a source and its route.
    ///
    /// # Errors
    /// `Taken`, `Invalid` for a provider or parameters that cannot be, `Store`.
    pub async fn create_source(&self, new: NewSource, who: &str) -> Result<Source, RegistryError> {
        let now = self.clock.now().wall;
        let source = Source {
            name: new.name.clone(),
            provider: new.provider,
            parameters: new.parameters,
            allow_empty: new.allow_empty,
            paused: false,
            declared: None,
            created_at: now,
        };
        check_parameters(&source)?;
        let route = plain_route(&new.name, &new.destination, now);
        // The route first: killed between the two writes, there is no source without a route.
        self.change(|directory| {
            if directory.sources.contains_key(&new.name) {
                return Err(RegistryError::Taken { kind: "source", name: new.name.to_string() });
            }
            let present = directory.routes.get(&(new.name.clone(), new.destination.clone()));
            Ok(vec![
                Write {
                    key: key_of_pair(DocumentKind::Route, &new.name, &new.destination),
                    expect: present.map_or(0, |entry| entry.version),
                    body: Some(render(&route)),
                    audit: self.audited(who, "route.create", format!("{} -> {}", new.name, new.destination)),
                },
                Write {
                    key: key_of(DocumentKind::Source, &new.name),
                    expect: 0,
                    body: Some(render(&source)),
                    audit: self.audited(who, "source.create", new.name.as_str()),
                },
            ])
        })
        .await?;
        Ok(source)
    }

    /// Changes a source.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Invalid`, `Store`.
    pub async fn update_source(&self, name: &Name, update: SourceUpdate, who: &str) -> Result<Source, RegistryError> {
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            undeclared("source", name.as_str(), entry.document.declared.as_deref())?;
            let mut source = entry.document.clone();
            source.parameters = update.parameters.clone().unwrap_or(source.parameters);
            source.allow_empty = update.allow_empty.unwrap_or(source.allow_empty);
            check_parameters(&source)?;
            Ok(vec![Write {
                key: key_of(DocumentKind::Source, name),
                expect: entry.version,
                body: Some(render(&source)),
                audit: self.audited(who, "source.update", name.as_str()),
            }])
        })
        .await?;
        self.directory()
            .sources
            .get(name)
            .map(|entry| entry.document.clone())
            .ok_or_else(|| unknown_source(&self.directory(), name))
    }

    /// Deletes a source with its keys and routes. Its events and deliveries stay until their retention is over.
    ///
    /// # Errors
    /// `Unknown`, `Declared`, `Store`.
    pub async fn delete_source(&self, name: &Name, who: &str) -> Result<(), RegistryError> {
        self.change(|directory| {
            let entry = directory.sources.get(name).ok_or_else(|| unknown_source(directory, name))?;
            let still_declared = entry.document.declared.as_deref().filter(|_| !entry.document.paused);
            undeclared("source", name.as_str(), still_declared)?;
            let write = |key, version, action: &str, subject: String| Write {
                key,
                expect: version,
                body: None,
                audit: self.audited(who, action, subject),
            };
            // The keys first: killed in the middle, none is left to open a later source of the same name.
            let keys = directory.keys.values().filter(|key| key.document.source == *name).map(|key| {
                let key_name = &key.document.name;
                let document = key_of_pair(DocumentKind::Key, name, key_name);
                write(document, key.version, "key.delete", format!("{name}/{key_name}"))
            });
            let source = write(key_of(DocumentKind::Source, name), entry.version, "source.delete", name.to_string());
            let routes = directory.routes.values().filter(|route| route.document.source == *name).map(|route| {
                let destination = &route.document.destination;
                let document = key_of_pair(DocumentKind::Route, name, destination);
                write(document, route.version, "route.delete", format!("{name} -> {destination}"))
            });
            Ok(keys.chain(std::iter::once(source)).chain(routes).collect())
        })
        .await
    }
}

/// What is wrong with a source's provider or parameters, all of it together.
fn check_parameters(source: &Source) -> Result<(), RegistryError> {
    match Verifier::new(&source.provider, &source.parameters) {
        Ok(_) => Ok(()),
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Err(RegistryError::Invalid(faults.join("; ")))
        }
    }
}

pub(super) fn unknown_source(directory: &Directory, name: &Name) -> RegistryError {
    RegistryError::Unknown { kind: "source", name: name.to_string(), known: listed(directory.sources.keys()) }
}
