//! What a proof that was found good covers.

use std::borrow::Cow;

/// A proof that was found good.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    /// Indexes of the header fields that are a credential for the relay alone.
    pub(crate) strip: Vec<usize>,
    pub(crate) covered: Covered,
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
