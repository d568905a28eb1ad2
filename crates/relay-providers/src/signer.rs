//! Acts as a provider: makes requests that prove themselves.

use std::sync::Arc;

use relay_core::time::Wall;

use crate::{
    Draft, ParameterFault, Provider, SignError,
    basic::Basic,
    handshake::is_json_object,
    parameters::{Parameters, Purpose},
    proof::{self, Code},
    scheme::Signatures,
    secret::Secret,
    table, verifier,
};

/// Signs requests as the provider of a source would. Of a secret given twice, the first signs.
#[derive(Clone, Debug)]
pub struct Signer {
    provider: &'static Provider,
    proof: Proof,
}

#[derive(Clone, Debug)]
enum Proof {
    ApiKey(Secret),
    Bearer(Secret),
    Basic(Basic),
    Signed(Signatures),
    Code(Arc<dyn Code>),
}

impl Signer {
    /// For a provider and a source's parameters; where the source knows a public key alone, with the provider's
    /// `sending` parameters.
    ///
    /// # Errors
    /// Every fault, all together, as [`crate::Verifier::new`]; beside these, a key of which only the digest is given.
    pub fn new(provider: &str, parameters: &[(String, String)]) -> Result<Self, Vec<ParameterFault>> {
        let provider = table::known(provider)?;
        let mut parameters = Parameters::check(provider.takes(), parameters, Purpose::Sign);
        let proof = match provider.proof {
            proof::Proof::Key(name) if name == "key" => Proof::ApiKey(key(&mut parameters, name)),
            proof::Proof::Key(name) => Proof::Bearer(key(&mut parameters, name)),
            proof::Proof::Basic => Proof::Basic(Basic::read(&mut parameters)),
            proof::Proof::BasicOrHeader => verifier::basic_or_header(&mut parameters).into(),
            proof::Proof::Described => Proof::Signed(Signatures::described(&mut parameters)),
            proof::Proof::Signed(schemes) => Proof::Signed(Signatures::read(schemes, &mut parameters)),
            proof::Proof::Code(read) => Proof::Code(read(&mut parameters).into()),
        };
        parameters.finish(Self { provider, proof })
    }

    /// The draft with what makes it genuine as of `now`: header fields, and where the provider signs there, a changed
    /// body or URL. `id` identifies the webhook, the same over its retries; a header field for it that the draft has
    /// already is left as it is, and an empty one adds none to a key.
    ///
    /// # Errors
    /// The body cannot hold what the provider puts there, or the private key is none.
    pub fn sign(&self, mut draft: Draft, id: &str, now: Wall) -> Result<Draft, SignError> {
        if self.provider.signs_challenges() && !is_json_object(&draft.body) {
            return Err(SignError::Body("a JSON object"));
        }
        let delivery = self.provider.delivery.headers();
        if let Some(first) = delivery.first()
            && !delivery.iter().any(|name| draft.header(name).is_some())
            && !id.is_empty()
        {
            draft.set_header(first, id.to_owned());
        }
        match &self.proof {
            Proof::ApiKey(key) => {
                with_idempotency_key(&mut draft, id);
                draft.set_header("x-api-key", key.expose().to_vec());
            }
            Proof::Bearer(token) => {
                with_idempotency_key(&mut draft, id);
                draft.set_header("authorization", [b"Bearer ", token.expose()].concat());
            }
            Proof::Basic(basic) => draft.set_header("authorization", basic.present().ok_or(SignError::Key)?),
            Proof::Signed(signatures) => return signatures.sign(draft, id, now),
            Proof::Code(code) => return code.sign(draft, id, now),
        }
        Ok(draft)
    }

    /// The provider's entry in the table.
    pub fn provider(&self) -> &'static Provider {
        self.provider
    }
}

impl From<verifier::Proof> for Proof {
    fn from(proof: verifier::Proof) -> Self {
        match proof {
            verifier::Proof::Basic(basic) => Self::Basic(basic),
            verifier::Proof::Signed(signatures) => Self::Signed(signatures),
            verifier::Proof::Code(code) => Self::Code(code),
            // Keys are known by their digests alone, which is nothing to present.
            verifier::Proof::Keys(_) => Self::ApiKey(Secret::new("")),
        }
    }
}

fn key(parameters: &mut Parameters<'_>, name: &str) -> Secret {
    let values = parameters.own_secrets(name);
    if values.is_empty() {
        parameters.fault(name, format!("missing; to sign takes the {name} itself, its digest is not enough"));
    }
    Secret::new(values.first().copied().unwrap_or_default())
}

fn with_idempotency_key(draft: &mut Draft, id: &str) {
    if !id.is_empty() {
        draft.default_header("idempotency-key", id.to_owned());
    }
}
