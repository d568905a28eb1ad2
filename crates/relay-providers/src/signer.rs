//! Acts as a provider: makes the header fields that prove a request.

use bytes::Bytes;

use crate::{
    ParameterFault, Request, basic::Basic, parameters::Parameters, provider::Kind, scheme::Scheme, secret::Secret,
};

/// Signs requests as the provider of a source would. Of a secret given twice, the first signs.
#[derive(Clone, Debug)]
pub struct Signer(Proof);

#[derive(Clone, Debug)]
enum Proof {
    ApiKey(Secret),
    Bearer(Secret),
    Basic(Basic),
    Signed(Scheme),
}

impl Signer {
    /// For a provider and a source's parameters.
    ///
    /// # Errors
    /// Every fault, all together, as [`crate::Verifier::new`]; beside these, a key of which only the digest is given.
    pub fn new(provider: &str, parameters: &[(String, String)]) -> Result<Self, Vec<ParameterFault>> {
        let mut parameters = Parameters::check(provider, parameters)?;
        let proof = match parameters.provider().kind {
            Kind::ApiKey => Proof::ApiKey(key(&mut parameters, "key")),
            Kind::Bearer => Proof::Bearer(key(&mut parameters, "token")),
            Kind::Basic => Proof::Basic(Basic::read(&mut parameters)),
            Kind::Hmac => Proof::Signed(Scheme::hmac(&mut parameters)),
            Kind::StandardWebhooks => Proof::Signed(Scheme::standard_webhooks(&mut parameters)),
        };
        parameters.finish(Self(proof))
    }

    /// The header fields to add to `request`, names in lower case. `id` identifies the webhook, the same over its
    /// retries; a field for it that the request has already is left as it is, and an empty one adds none to a key.
    pub fn sign(&self, request: &Request<'_>, id: &str) -> Vec<(Bytes, Bytes)> {
        match &self.0 {
            Proof::ApiKey(key) => {
                with_idempotency_key(request, id, ("x-api-key", Bytes::copy_from_slice(key.expose())))
            }
            Proof::Bearer(token) => {
                let value = [b"Bearer ", token.expose()].concat();
                with_idempotency_key(request, id, ("authorization", value.into()))
            }
            Proof::Basic(basic) => {
                basic.present().into_iter().map(|value| (Bytes::from_static(b"authorization"), value.into())).collect()
            }
            Proof::Signed(scheme) => scheme.sign(request, id),
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

fn with_idempotency_key(request: &Request<'_>, id: &str, proof: (&'static str, Bytes)) -> Vec<(Bytes, Bytes)> {
    let mut added = vec![(Bytes::from_static(proof.0.as_bytes()), proof.1)];
    if !id.is_empty() && !request.headers.iter().any(|(name, _)| &name[..] == b"idempotency-key") {
        added.push((Bytes::from_static(b"idempotency-key"), Bytes::from(id.to_owned())));
    }
    added
}
