//! Judges the requests of one source.

use crate::{
    Acknowledgement, ParameterFault, Provider, Request, StoredKey, Verdict, basic::Basic, keys::Keys,
    parameters::Parameters, provider::Kind, scheme::Scheme,
};

/// Judges the requests of one source. Made once, shared by every request; `Debug` shows no secret.
#[derive(Clone, Debug)]
pub struct Verifier {
    provider: &'static Provider,
    proof: Proof,
    protected: Vec<String>,
}

/// How a request proves itself.
#[derive(Clone, Debug)]
enum Proof {
    Keys(Keys),
    Basic(Basic),
    Signed(Scheme),
}

impl Verifier {
    /// For a provider and a source's parameters, in order. A secret given twice: both are valid.
    ///
    /// # Errors
    /// Every fault, all together: an unknown provider, unknown, missing or repeated parameters, values that cannot be.
    pub fn new(provider: &str, parameters: &[(String, String)]) -> Result<Self, Vec<ParameterFault>> {
        Self::with_keys(provider, parameters, Vec::new())
    }

    /// Like [`Verifier::new`], with keys of which only the digest is known; other providers than key sources ignore
    /// them. A key source without any key is valid and refuses everything.
    ///
    /// # Errors
    /// As [`Verifier::new`].
    pub fn with_keys(
        provider: &str,
        parameters: &[(String, String)],
        stored: Vec<StoredKey>,
    ) -> Result<Self, Vec<ParameterFault>> {
        let mut parameters = Parameters::check(provider, parameters)?;
        let provider = parameters.provider();
        let proof = match provider.kind {
            Kind::ApiKey => Proof::Keys(Keys::read("key", &mut parameters, stored)),
            Kind::Bearer => Proof::Keys(Keys::read("token", &mut parameters, stored)),
            Kind::Basic => Proof::Basic(Basic::read(&mut parameters)),
            Kind::Hmac => Proof::Signed(Scheme::hmac(&mut parameters)),
            Kind::StandardWebhooks => Proof::Signed(Scheme::standard_webhooks(&mut parameters)),
        };
        let protected = proof.reads();
        parameters.finish(Self { provider, proof, protected })
    }

    /// Judges one request. Does work linear in its size, whatever its bytes are.
    pub fn judge(&self, request: &Request<'_>) -> Verdict {
        match &self.proof {
            Proof::Keys(keys) => keys.judge(request),
            Proof::Basic(basic) => basic.judge(request),
            Proof::Signed(scheme) => scheme.judge(request),
        }
    }

    /// The provider's entry in the table.
    pub fn provider(&self) -> &'static Provider {
        self.provider
    }

    /// The answer to a webhook that was stored.
    pub fn acknowledgement(&self) -> Acknowledgement {
        self.provider.acknowledgement
    }

    /// Methods the source takes; anything else is answered 405.
    pub fn methods(&self) -> &'static [&'static str] {
        self.provider.methods
    }

    /// Whether a key opens the source.
    pub fn is_key_source(&self) -> bool {
        self.provider.key_source
    }

    /// Names, in lower case, of the header fields it reads. To name one of them in `Connection`, which would have it
    /// removed, is a fault of the request.
    pub fn protected_headers(&self) -> &[String] {
        &self.protected
    }
}

impl Proof {
    fn reads(&self) -> Vec<String> {
        match self {
            Self::Keys(_) => crate::keys::READ.iter().map(|name| (*name).to_owned()).collect(),
            Self::Basic(_) => crate::basic::READ.iter().map(|name| (*name).to_owned()).collect(),
            Self::Signed(scheme) => scheme.reads(),
        }
    }
}
