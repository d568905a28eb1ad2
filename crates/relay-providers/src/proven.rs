//! What a proof that was found good covers.

use std::borrow::Cow;

/// A proof that was found good.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    /// Indexes of the header fields that are a credential for the relay alone.
    pub(crate) strip: Vec<usize>,
    pub(crate) covered: Covered,
    pub(crate) key: ByKey,
}

/// The key that proved a request: the parameter that holds it, and which of its values it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByKey {
    pub(crate) parameter: &'static str,
    pub(crate) index: usize,
}

/// What nobody could have chosen who does not have the secret.
#[derive(Clone, Debug)]
pub(crate) enum Covered {
    /// Everything: the secret itself came along, so who sent this has it and could sign whatever he likes.
    All,
    /// What is signed.
    Signed {
        body: bool,
        /// Names of header fields.
        headers: Vec<Cow<'static, str>>,
    },
}
