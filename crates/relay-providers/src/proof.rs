//! How requests prove themselves, as an entry of the table says it.

use std::fmt;

use relay_core::time::Wall;

use crate::{ByHead, Draft, Request, SignError, Verdict, parameters::Parameters, scheme::Scheme};

/// How the requests of a provider prove themselves.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof {
    /// By a key in `X-API-Key` or `Authorization: Bearer`, which this parameter names.
    Key(&'static str),
    /// By user name and password.
    Basic,
    /// By user name and password, or by a secret in a header field that the operator names.
    BasicOrHeader,
    /// By a signature over the body that the parameters describe.
    Described,
    /// By what these schemes describe: those whose condition holds apply, any one of them is enough.
    Signed(&'static [Scheme]),
    /// By code of its own.
    Code(fn(&mut Parameters<'_>) -> Box<dyn Code>),
}

/// The proof of one source of a provider, made once from the source's parameters and shared by its requests.
pub(crate) trait Code: fmt::Debug + Send + Sync {
    /// Judges a request. `Genuine` is completed from the provider's table entry: what that says of event and order is looked up,
    /// and of the delivery id where this leaves it out, and a handshake that has to be genuine is answered after this
    /// said so. A refusal's status is the table's, unless it is another than 401.
    fn judge(&self, request: &Request<'_>) -> Verdict;

    /// What holds of a request whatever its body is, which is not there yet: by the same checks, in the same order.
    fn judge_head(&self, _: &Request<'_>) -> ByHead {
        ByHead::Open
    }

    /// Makes the draft genuine as of `now`, whatever its URL, body and header fields are.
    fn sign(&self, draft: Draft, id: &str, now: Wall) -> Result<Draft, SignError>;

    /// Names, in lower case, of the header fields that it reads.
    fn reads(&self) -> Vec<String>;
}
