//! Providers whose proof takes more than a table: a loop over items, a certificate, a signature inside the body.
//!
//! Each has a file of its own with its table entry and its code.

use std::fmt;

use relay_core::time::Wall;

use crate::{Draft, Provider, Request, SignError, Verdict};

/// The proof of one source of a provider, made once from the source's parameters and shared by its requests.
pub(crate) trait Code: fmt::Debug + Send + Sync {
    /// Judges a request. `Genuine` is completed from the provider's table entry: what it says of delivery id, event and
    /// order is looked up only where this leaves it out, and a handshake that has to be genuine is answered after this
    /// said so. A refusal's status is the table's, unless it is another than 401.
    fn judge(&self, request: &Request<'_>) -> Verdict;

    /// Makes the draft genuine as of `now`, whatever its URL, body and header fields are.
    fn sign(&self, draft: Draft, id: &str, now: Wall) -> Result<Draft, SignError>;

    /// Names, in lower case, of the header fields that it reads.
    fn reads(&self) -> Vec<String>;
}

/// Their table entries.
pub(crate) const PROVIDERS: &[Provider] = &[];
