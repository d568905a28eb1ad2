//! Which bytes of a body its sender signed: those it sent, or those it had before it compressed them.

use crate::{Parameter, Provider, parameters::Parameters, proof::Proof, scheme::Scheme};

/// What a signature is over where the body has a `Content-Encoding`. Without one it is always over what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignedOver {
    /// The bytes as they were sent, as nearly every platform does it.
    #[default]
    Sent,
    /// The bytes that they are decoded: whoever judges, decodes first.
    Decoded,
    /// One or the other: what is not genuine as it was sent is decoded and judged once more.
    Either,
}

const NAME: &str = "signed";
const HELP: &str = "what the signature covers where a body has Content-Encoding gzip or deflate: sent, the bytes as they come; \
    decoded, the bytes before they were compressed; either, one of both";
/// For platforms: what they document is what counts.
const OF_PLATFORMS: Parameter = Parameter::choice(NAME, &["sent", "decoded", "either"], HELP);
/// For whoever can be told anything, and may do it one way or the other.
const OF_ANYBODY: Parameter = Parameter::choice(NAME, &["either", "sent", "decoded"], HELP);

impl SignedOver {
    /// What the parameters of a source say; what is none of the choices is a fault already.
    pub(crate) fn read(parameters: &Parameters<'_>) -> Self {
        match parameters.one(NAME) {
            "decoded" => Self::Decoded,
            "either" => Self::Either,
            _ => Self::Sent,
        }
    }
}

/// The entry with the parameter `signed`, where its signature covers a body as bytes. Not where strangers' challenges are
/// signed like events: an encoded body is no event there, or a challenge could be one once it is decoded.
pub(crate) fn with_parameter(provider: &Provider) -> Provider {
    let parameter = match provider.proof {
        Proof::Described => OF_ANYBODY,
        Proof::Signed(schemes) if schemes.iter().any(Scheme::binds_body) && !provider.signs_challenges() => {
            OF_PLATFORMS
        }
        Proof::Signed(_) | Proof::Key(_) | Proof::Basic | Proof::BasicOrHeader | Proof::Code(_) => return *provider,
    };
    // Once in a process, for a table that lives as long.
    let parameters = Box::leak([provider.parameters, &[parameter]].concat().into_boxed_slice());
    Provider { parameters, ..*provider }
}
