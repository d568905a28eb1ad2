//! Destinations: paused and resumed by operators.

use relay_core::name::Name;
use relay_store::seam::DocumentKind;

use super::{Registry, RegistryError, change::Write, key_of, listed};
use crate::{
    document::{Destination, render},
    principal::Principal,
};

impl Registry {
    /// Pauses or resumes a destination: nothing of a paused one is leased.
    ///
    /// # Errors
    /// `Unknown` when no route leads there, `Store`.
    pub async fn set_paused(&self, name: &Name, paused: bool, who: &Principal) -> Result<Destination, RegistryError> {
        let wanted = Destination { name: name.clone(), paused };
        self.change(|directory| {
            let known = directory.destination_names();
            if !known.contains(name) {
                let known = listed(&known);
                return Err(RegistryError::Unknown { kind: "destination", name: name.to_string(), known });
            }
            let present = directory.destinations.get(name);
            if present.map_or(!paused, |entry| entry.document.paused == paused) {
                return Ok(Vec::new());
            }
            let action = if paused { "destination.pause" } else { "destination.resume" };
            Ok(vec![Write {
                key: key_of(DocumentKind::Destination, name),
                expect: present.map_or(0, |entry| entry.version),
                body: Some(render(&wanted)),
                audit: self.audited(who, action, name.as_str()),
            }])
        })
        .await?;
        Ok(wanted)
    }
}
