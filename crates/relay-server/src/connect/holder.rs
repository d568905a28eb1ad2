//! Who holds a token: what is known of a client by what it showed.

use relay_core::{hub::Serves, name::Name, time::Wall};

use crate::{directory::Directory, registry::uses::Proof, secret};

/// Who holds a token, once that was found.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) token: Name,
    pub(super) serves: Serves,
    /// SHA-256 of the secret that it showed.
    pub(super) digest: [u8; 32],
}

impl Holder {
    /// Whether its secret lets in, and to what it served.
    pub(super) fn is_in(&self, directory: &Directory, now: Wall) -> bool {
        let token = directory.tokens.get(&self.token).map(|entry| &entry.document);
        token.is_some_and(|token| {
            token.digests(now).any(|digest| secret::same(digest, &self.digest)) && token.serves() == self.serves
        })
    }

    /// Which of two secrets it showed, and since when there are two.
    pub(super) fn proof(&self, directory: &Directory) -> Option<(Wall, Proof)> {
        let token = &directory.tokens.get(&self.token)?.document;
        let by = if token.sha256 == self.digest { Proof::New } else { Proof::Old };
        Some((token.rotation.as_ref()?.since, by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        directory::Versioned,
        document::{Digest, Rotation, Token},
    };

    /// I21: a token that may serve less by the time its socket is upgraded is found out, as a revoked one is.
    #[test]
    fn a_client_is_compared_with_its_token_as_it_is_now() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let token = |destinations: Option<&[&str]>, revoked_at| Token {
            name: name("office"),
            sha256: [0; 32],
            prefix: String::new(),
            destinations: destinations.map(|names| names.iter().map(ToString::to_string).collect()),
            pins: Vec::new(),
            rotation: None,
            created_at: Wall::MIN,
            revoked_at,
        };
        let serves = token(Some(&["crm", "erp"]), None).serves();
        let holder = Holder { token: name("office"), serves, digest: [0; 32] };
        let among = |document| {
            let mut directory = Directory::default();
            directory.tokens.insert(name("office"), Versioned { document, version: 1 });
            holder.is_in(&directory, Wall::MIN)
        };
        assert!(among(token(Some(&["erp", "crm"]), None)));
        assert!(!among(token(Some(&["erp"]), None)), "narrowed");
        assert!(!among(token(None, None)), "widened: its client comes back and hears so");
        assert!(!among(token(Some(&["crm", "erp"]), Some(1))), "revoked");
        assert!(!holder.is_in(&Directory::default(), Wall::MIN), "gone");

        // I21: an old secret lets in until its time is over, a replaced one no more.
        let rotated = |until: Option<i64>| {
            let old = Digest { sha256: [0; 32], prefix: String::new() };
            let rotation = Some(Rotation { old, since: Wall::MIN, until });
            Token { sha256: [1; 32], rotation, ..token(Some(&["crm", "erp"]), None) }
        };
        assert!(among(rotated(None)) && among(rotated(Some(1))));
        assert!(!among(rotated(Some(0))), "its time is over");
        assert!(!among(Token { rotation: None, ..rotated(None) }), "finished");
    }
}
