//! Providers whose proof takes more than a table: a loop over items, a certificate, a signature inside the body.
//!
//! Each has a file of its own with its table entry and its code.

mod adyen;
mod authorize_net;
mod aws_sns;
mod braintree;
mod contentful;
mod ebay;
mod google_pubsub;
mod json;
mod jwt;
mod mailgun;
mod mandrill;
mod mercadopago;
mod microsoft_graph;
mod monday;
mod paypal;
mod pin;
mod salesforce;
mod soap;
mod twilio;
mod x509;
mod zoho_crm;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use crate::{
    Draft, Genuine, Provider, Refusal, Request, SignError, Verdict, header,
    parameters::Parameters,
    scheme::Algorithm,
    secret::{self, Secret},
};

/// Their table entries.
pub(crate) const PROVIDERS: &[Provider] = &[
    adyen::PROVIDER,
    authorize_net::PROVIDER,
    aws_sns::PROVIDER,
    braintree::PROVIDER,
    contentful::PROVIDER,
    ebay::PROVIDER,
    google_pubsub::PROVIDER,
    mailgun::PROVIDER,
    mandrill::PROVIDER,
    mercadopago::PROVIDER,
    microsoft_graph::PROVIDER,
    monday::PROVIDER,
    paypal::PROVIDER,
    salesforce::PROVIDER,
    twilio::PROVIDER,
    zoho_crm::PROVIDER,
];

/// What a check says, as a verdict.
fn verdict(checked: Result<Genuine, Refusal>) -> Verdict {
    checked.map_or_else(Verdict::Refused, Verdict::Genuine)
}

/// A secret of the source: each of its values is valid.
fn secrets(parameters: &mut Parameters<'_>, name: &str) -> Vec<Secret> {
    parameters.agreed_secrets(name).into_iter().map(Secret::new).collect()
}

/// Whether one of the keys makes this signature. Each is tried and compared in constant time, match or no match.
fn is_signed(algorithm: Algorithm, keys: &[Secret], parts: &[&[u8]], presented: &[u8]) -> bool {
    keys.iter().fold(false, |found, key| secret::equal(presented, &algorithm.mac(key, parts)) | found)
}

/// Whether it is one of these secrets, in a time that depends neither on which nor on their lengths.
fn is_one_of(presented: &[u8], secrets: &[Secret]) -> bool {
    let presented = secret::secret_digest(presented);
    let equal = |valid: &Secret| secret::equal(&secret::secret_digest(valid.expose()), &presented);
    secrets.iter().fold(false, |found, valid| equal(valid) | found)
}

/// The signature in a header field, out of base64 with its padding.
fn base64_field(request: &Request<'_>, name: &str) -> Result<Vec<u8>, Refusal> {
    let value = header::required(request, name, "missing_signature")?;
    let decoded = STANDARD.decode(value).ok().filter(|bytes| !bytes.is_empty());
    decoded.ok_or_else(|| Refusal::new("malformed_signature", format!("{name} must be base64")))
}

/// The signature in hex digits of either case.
fn hex_signature(text: &str, place: &str) -> Result<Vec<u8>, Refusal> {
    let decoded = secret::from_hex(text).filter(|bytes| !bytes.is_empty());
    decoded.ok_or_else(|| Refusal::new("malformed_signature", format!("{place} must be hex")))
}

fn bad_signature(place: &str) -> Refusal {
    Refusal::new("bad_signature", format!("{place} is not the signature of this request with this source's secret"))
}

/// The URL the sender called.
fn public_url<'a>(request: &Request<'a>) -> Result<&'a str, Refusal> {
    request.url.ok_or_else(|| {
        Refusal::new("missing_url", "the signature covers the URL, and the relay does not know its own: set PUBLIC_URL")
    })
}

/// What was fetched from there, if it was.
fn fetched<'a>(request: &Request<'a>, url: &str) -> Option<&'a [u8]> {
    request.fetched.iter().find(|fetched| fetched.url == url).map(|fetched| &fetched.body[..])
}

/// What was fetched holds no key. That is not the sender's fault: it is to try again.
fn unreadable_key(url: &str, what: &str) -> Refusal {
    Refusal { status: 503, ..Refusal::new("unreadable_key", format!("{url} holds no {what}")) }
}

/// One id for the items of a batch, whatever their order: a retry repeats the batch.
fn batch_id(mut ids: Vec<String>) -> Option<Vec<u8>> {
    if ids.is_empty() {
        return None;
    }
    ids.sort_unstable();
    let mut context = digest::Context::new(&digest::SHA256);
    for id in &ids {
        context.update(&(id.len() as u64).to_be_bytes());
        context.update(id.as_bytes());
    }
    Some(context.finish().as_ref().to_vec())
}

/// The draft's body, if it is a JSON object.
fn object(draft: &Draft) -> Result<Map<String, Value>, SignError> {
    match serde_json::from_slice(&draft.body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(SignError::Body("a JSON object")),
    }
}

fn set_body(draft: &mut Draft, body: Map<String, Value>) {
    draft.body = Value::Object(body).to_string().into();
}

/// The first of several keys.
fn first(keys: &[Secret]) -> Result<&Secret, SignError> {
    keys.first().ok_or(SignError::Key)
}

/// Header fields a source reads.
fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
