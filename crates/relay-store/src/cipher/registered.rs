//! What a store says of the keys that it is sealed with: a document for each, of its number and its fingerprint. A program that
//! lacks one, or has another under its number, does not use the store.

use serde::{Deserialize, Serialize};

use super::Ciphers;
use crate::seam::{Document, DocumentKey, DocumentKind, Unread, parse};

/// Why a store cannot be used with the keys that were given. Nothing in it was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// No key was given.
    #[error(
        "it is sealed with key {0}, and no key was given: set ENCRYPTION_KEY_FILE to the file that has it. Nothing was changed"
    )]
    None(u32),
    /// A key is missing.
    #[error(
        "it is sealed with key {0}, which ENCRYPTION_KEY_FILE does not have: put it back into that file; it may leave once \
         crm-relay store rekey has come to its end. Nothing was changed"
    )]
    Missing(u32),
    /// It has another key.
    #[error(
        "it is sealed with another key {0} than the one in ENCRYPTION_KEY_FILE: put the right one back, and give a new key a \
         number of its own. Nothing was changed"
    )]
    Other(u32),
    /// What the store says of its keys does not read.
    #[error("what it says of its keys does not read: see crm-relay store check")]
    Unreadable,
    /// A later version wrote it.
    #[error("what it says of its keys is of a later version of crm-relay: start that version. Nothing was changed")]
    Later,
}

/// What stands in the document of a key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registered {
    fingerprint: String,
}

/// Judges keys by what a store says of those it is sealed with. Gives the document of the newest one, if that is not there yet: it
/// has to be stored before anything is sealed.
pub(crate) fn judge(ciphers: &Ciphers, registered: &[Document]) -> Result<Option<(DocumentKey, String)>, Unfit> {
    let mut is_there = false;
    for document in registered {
        let number: u32 = document.key.name.parse().map_err(|_| Unfit::Unreadable)?;
        let stored: Registered = parse(&document.body).map_err(|unread| match unread {
            Unread::Later(_) => Unfit::Later,
            Unread::Damaged(_) => Unfit::Unreadable,
        })?;
        let Ok(Some(cipher)) = ciphers.find(number) else {
            return Err(if ciphers.newest().is_none() { Unfit::None(number) } else { Unfit::Missing(number) });
        };
        if cipher.fingerprint() != stored.fingerprint {
            return Err(Unfit::Other(number));
        }
        is_there |= number == ciphers.newest_number();
    }
    let Some(newest) = ciphers.newest().filter(|_| !is_there) else { return Ok(None) };
    let body = Registered { fingerprint: newest.fingerprint() };
    // Of such a struct there always is a text.
    Ok(Some((key_of(newest.number()), serde_json::to_string(&body).unwrap_or_default())))
}

/// The document of a key.
pub(crate) fn key_of(number: u32) -> DocumentKey {
    DocumentKey { kind: DocumentKind::Cipher, name: number.to_string() }
}

/// What tells the newest key from another, for servers that are to have the same; `None`: there is none.
pub fn fingerprint_of(ciphers: &Ciphers) -> Option<String> {
    ciphers.newest().map(|newest| format!("{} {}", newest.number(), newest.fingerprint()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cipher::tests::ciphers;

    fn registered(numbers: &[u8]) -> Vec<Document> {
        let one = |number: &u8| {
            let (key, body) = judge(&ciphers(&[*number]), &[]).unwrap().unwrap();
            Document { key, version: 1, body }
        };
        numbers.iter().map(one).collect()
    }

    /// S32: a wrong key, a missing one and none are each told, with what to do; a new one is to be registered first.
    #[test]
    fn keys_fit_or_are_refused() {
        assert_eq!(judge(&Ciphers::default(), &[]), Ok(None));
        assert_eq!(judge(&ciphers(&[1]), &registered(&[1])), Ok(None));
        let (key, _) = judge(&ciphers(&[1, 2]), &registered(&[1])).unwrap().unwrap();
        assert_eq!(key, key_of(2));
        assert_eq!(judge(&Ciphers::default(), &registered(&[1])), Err(Unfit::None(1)));
        assert_eq!(judge(&ciphers(&[2]), &registered(&[1])), Err(Unfit::Missing(1)));
        let mut other = registered(&[2]);
        other[0].key = key_of(1);
        assert_eq!(judge(&ciphers(&[1]), &other), Err(Unfit::Other(1)));
        other[0].body = r#"{"fingerprint":"x","of":"a module"}"#.into();
        assert_eq!(judge(&ciphers(&[1]), &other), Err(Unfit::Later));
        other[0].body = "{}".into();
        assert_eq!(judge(&ciphers(&[1]), &other), Err(Unfit::Unreadable));
    }
}
