//! Encryption of what is stored: what goes in, what comes out, and under which bounds is in `docs/internals/sealing.md`.
//!
//! AES-256-GCM under a key of its own for each record: HKDF-SHA256 of one of the operator's numbered keys, what is sealed, and
//! what it is about. The nonce is random.
//!
//! **Invariant:** nothing that does not open under its key is used, and which key that is stands beside it.

mod document;
mod file;
mod registered;

use std::{collections::BTreeMap, fmt, num::NonZeroU32, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf, rand,
};

pub(crate) use self::{
    document::{Sealed, sealed_with},
    registered::judge,
};
pub use self::{
    file::KeysError,
    registered::{Unfit, fingerprint_of},
};

/// Bytes of a key.
pub(crate) const KEY_BYTES: usize = 32;
/// Bytes of a nonce, in front of what is sealed.
const NONCE_BYTES: usize = 12;
/// Bytes behind it that tell whether it is what was sealed.
const TAG_BYTES: usize = 16;
/// What a sealed record has more than a clear one.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;
/// Of whatever is derived from a key: another version of all this would have another one.
const LABEL: &[u8] = b"crm-relay 1";

/// What is sealed. The numbers go into keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Part {
    /// The head of an event, behind what stays clear.
    Head = 1,
    /// The body of an event.
    Body = 2,
    /// What a target said with its refusal.
    Answer = 3,
    /// A registry document.
    Document = 4,
    /// Nothing: what tells one key from another.
    Fingerprint = 5,
    /// Nothing: what stands for a value that events are found by.
    Mark = 6,
}

/// Why something does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CipherError {
    /// Its key is not at hand.
    #[error("it is sealed with key {0}, which is not in ENCRYPTION_KEY_FILE")]
    Unknown(u32),
    /// It is not what was sealed, or not where it was.
    #[error("it does not open with its key")]
    Unauthentic,
}

/// The keys that an operator has given; none: what is written is clear.
#[derive(Clone, Default)]
pub struct Ciphers(Arc<BTreeMap<NonZeroU32, Cipher>>);

/// One of them.
pub(crate) struct Cipher {
    number: NonZeroU32,
    secret: hkdf::Prk,
}

impl Ciphers {
    fn of(keys: impl IntoIterator<Item = (NonZeroU32, [u8; KEY_BYTES])>) -> Self {
        let cipher = |(number, key): (NonZeroU32, [u8; KEY_BYTES])| {
            (number, Cipher { number, secret: hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &key) })
        };
        Self(Arc::new(keys.into_iter().map(cipher).collect()))
    }

    /// The one that is used to seal: that of the highest number.
    pub(crate) fn newest(&self) -> Option<&Cipher> {
        self.0.values().next_back()
    }

    /// The number of the one that is used to seal; 0: nothing is sealed.
    pub fn newest_number(&self) -> u32 {
        self.newest().map_or(0, Cipher::number)
    }

    /// The same, where there is one.
    pub(crate) fn newest_number_given(&self) -> Option<u32> {
        self.newest().map(Cipher::number)
    }

    /// The numbers of all of them.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.0.keys().map(|number| number.get())
    }

    /// The one of this number; `None` for 0, which is that of what is clear.
    pub(crate) fn find(&self, number: u32) -> Result<Option<&Cipher>, CipherError> {
        let Some(wanted) = NonZeroU32::new(number) else { return Ok(None) };
        self.0.get(&wanted).map(Some).ok_or(CipherError::Unknown(number))
    }
}

impl fmt::Debug for Ciphers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ciphers").field(&self.0.keys()).finish()
    }
}

impl Cipher {
    pub(crate) fn number(&self) -> u32 {
        self.number.get()
    }

    /// Seals it: a nonce, what is sealed, a tag. `about`: whose part it is; `beside`: what stays clear and must not change either.
    pub(crate) fn seal(&self, part: Part, about: &[u8], beside: &[u8], clear: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(clear.len() + OVERHEAD_BYTES);
        let mut nonce = [0; NONCE_BYTES];
        rand::fill(&mut nonce).expect("the system's generator gives random bytes once it has given any");
        out.extend(nonce);
        out.extend(clear);
        let tag = self
            .derived(part, about)
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(beside), &mut out[NONCE_BYTES..])
            .expect("no record is as long as GCM bounds one");
        out.extend(tag.as_ref());
        out
    }

    /// Opens what [`seal`](Self::seal) gave.
    pub(crate) fn open(&self, part: Part, about: &[u8], beside: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CipherError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(CipherError::Unauthentic)?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(CipherError::Unauthentic)?;
        let mut clear = vec![0; text.len()];
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.derived(part, about).open_separate_gather(nonce, Aad::from(beside), text, tag, &mut clear);
        opened.map(|()| clear).map_err(|_| CipherError::Unauthentic)
    }

    /// What tells this key from another one of the same number, and nothing else about it.
    pub(crate) fn fingerprint(&self) -> String {
        format!("{:032x}", self.number_of(&[LABEL, &[Part::Fingerprint as u8]]))
    }

    /// What stands for a value that events are found by: nobody without the key tells which value that is, nor tries those that it may be.
    pub(crate) fn number_for(&self, value: &[u8; 32]) -> u128 {
        self.number_of(&[LABEL, &[Part::Mark as u8], value])
    }

    fn number_of(&self, info: &[&[u8]]) -> u128 {
        let mut bytes = [0; 16];
        let derived = self.secret.expand(info, Bytes16).and_then(|derived| derived.fill(&mut bytes));
        derived.expect("a digest has as many bytes");
        u128::from_be_bytes(bytes)
    }

    fn derived(&self, part: Part, about: &[u8]) -> LessSafeKey {
        let info = [LABEL, &[part as u8], about];
        let derived = self.secret.expand(&info, &AES_256_GCM).expect("a digest has as many bytes as a key");
        LessSafeKey::new(UnboundKey::from(derived))
    }
}

/// How long a fingerprint is.
struct Bytes16;

impl hkdf::KeyType for Bytes16 {
    fn len(&self) -> usize {
        16
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Keys with these numbers, each of other bytes.
    pub(crate) fn ciphers(numbers: &[u8]) -> Ciphers {
        Ciphers::of(
            numbers.iter().map(|number| (NonZeroU32::from(std::num::NonZeroU8::new(*number).unwrap()), [*number; 32])),
        )
    }

    /// S32: what was sealed opens where it was sealed, and nowhere else; no bit of it may be another, and no two seals are alike.
    #[test]
    fn what_is_sealed_opens_whole_and_in_its_place() {
        let known = ciphers(&[1, 2]);
        let cipher = known.newest().unwrap();
        assert_eq!((cipher.number(), known.newest_number()), (2, 2));
        for clear in [&b""[..], b"a", &[7; 1000]] {
            let sealed = cipher.seal(Part::Body, b"id", b"beside", clear);
            assert_eq!(sealed.len(), clear.len() + OVERHEAD_BYTES);
            assert_eq!(cipher.open(Part::Body, b"id", b"beside", &sealed).as_deref(), Ok(clear));
            assert_ne!(cipher.seal(Part::Body, b"id", b"beside", clear), sealed);
            let other = known.find(1).unwrap().unwrap();
            for wrong in [
                other.open(Part::Body, b"id", b"beside", &sealed),
                cipher.open(Part::Head, b"id", b"beside", &sealed),
                cipher.open(Part::Body, b"di", b"beside", &sealed),
                cipher.open(Part::Body, b"id", b"besides", &sealed),
            ] {
                assert_eq!(wrong, Err(CipherError::Unauthentic));
            }
            for bit in 0..sealed.len() * 8 {
                let mut bad = sealed.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(cipher.open(Part::Body, b"id", b"beside", &bad), Err(CipherError::Unauthentic), "bit {bit}");
            }
            for length in 0..sealed.len() {
                assert!(cipher.open(Part::Body, b"id", b"beside", &sealed[..length]).is_err(), "length {length}");
            }
        }
        assert!(known.find(0).unwrap().is_none());
        assert_eq!(known.find(3).err(), Some(CipherError::Unknown(3)));
        assert_eq!(format!("{known:?}"), "Ciphers([1, 2])");
    }
}
