//! Authorize.Net: an HMAC over a body whose amounts may have been written in another way when it was signed.

use std::borrow::Cow;

use relay_core::time::Wall;

use super::{bad_signature, first, hex_signature, is_signed, names, verdict};
use crate::{
    ByHead, Characters, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample, SignError,
    Verdict, header,
    parameters::Parameters,
    proof::{Code, Proof},
    provider::NO_TIME,
    scheme::Algorithm,
    secret::{self, Secret},
    walk::{Step, Walk},
};

pub(super) const PROVIDER: Provider = Provider {
    name: "authorize_net",
    title: "Authorize.Net",
    parameters: &[Parameter::key(
        "signature_key",
        "the signature key, 128 hex digits: Merchant Interface, Account, Settings, API Credentials & Keys",
    )
    .made_of(Characters::Hex, 128, 128, "128 hex digits")],
    delivery: DeliveryId::Json(&["notificationId"]),
    event: Name::Json("eventType"),
    order: Name::Json("payload.id"),
    docs: "https://developer.authorize.net/api/reference/features/webhooks.html",
    checked: "`x-anet-signature` is `sha512=` and the HMAC-SHA512 of the body, in hex. The key is `signature_key`, used as \
        the text it is, or decoded from its hex digits: the platform's page does not say which, its webhooks have the text. \
        Where it signs an amount with two decimals and sends it with fewer (`1.10` and `1.1`), the spelling with two counts too.",
    unproven: NO_TIME,
    sample: Sample::json(include_str!("../../samples/authorize_net.json")),
    proof: Proof::Code(|parameters| Box::new(AuthorizeNet::read(parameters))),
    ..Provider::BASE
};

const SIGNATURE: &str = "x-anet-signature";
const PREFIX: &str = "sha512=";
/// The decimals of an amount when it is signed.
const DECIMALS: usize = 2;

/// Keys as text, then the same decoded.
#[derive(Clone, Debug)]
struct AuthorizeNet(Vec<Secret>);

impl AuthorizeNet {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let values = parameters.agreed_secrets("signature_key");
        let decoded = values.iter().map(|value| secret::from_hex(value).filter(|key| !key.is_empty()));
        let decoded: Option<Vec<_>> = decoded.collect();
        if decoded.is_none() {
            parameters.fault("signature_key", "must be hex digits");
        }
        let as_text = values.into_iter().map(Secret::new);
        Self(as_text.chain(decoded.unwrap_or_default().into_iter().map(Secret::new)).collect())
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let presented = head(request)?;
        let is_of = |body: &[u8]| is_signed(Algorithm::HmacSha512, &self.0, &[body], &presented);
        let found = is_of(request.body) | matches!(with_decimals(request.body), Cow::Owned(body) if is_of(&body));
        if found { Ok(Genuine::default()) } else { Err(bad_signature(SIGNATURE)) }
    }
}

impl Code for AuthorizeNet {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        ByHead::of(head(request))
    }

    fn sign(&self, mut draft: Draft, _: &str, _: Wall) -> Result<Draft, SignError> {
        let mac = Algorithm::HmacSha512.mac(first(&self.0)?, &[&draft.body]);
        draft.set_header(SIGNATURE, format!("{PREFIX}{}", secret::to_hex(&mac).to_ascii_uppercase()));
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[SIGNATURE])
    }
}

fn head(request: &Request<'_>) -> Result<Vec<u8>, Refusal> {
    let value = header::required(request, SIGNATURE, "missing_signature")?;
    let digits = str::from_utf8(value).unwrap_or_default().strip_prefix(PREFIX).unwrap_or_default();
    hex_signature(digits, SIGNATURE)
}

/// The body with every amount as the platform signs it: members whose name ends in `amount` and whose number has fewer than two
/// decimals. A request of 2023 with its key and signature, signed over `1.10` and sent with `1.1`:
/// <https://community.developer.cybersource.com/t5/Integration-and-Testing/The-verification-of-the-webhook-signature-is-contingent-on-the/td-p/88640>
fn with_decimals(body: &[u8]) -> Cow<'_, [u8]> {
    let (mut written, mut kept_from) = (Vec::new(), 0);
    let mut walk = Walk::over(body);
    while let Some((begin, end)) = walk.next_value() {
        if walk.trail().is_some_and(is_amount)
            && let Some(missing) = missing_decimals(&body[begin..end])
        {
            written.extend_from_slice(&body[kept_from..end]);
            written.extend_from_slice(missing);
            kept_from = end;
        }
    }
    if kept_from == 0 {
        return Cow::Borrowed(body);
    }
    written.extend_from_slice(&body[kept_from..]);
    Cow::Owned(written)
}

fn is_amount(trail: &[Step<'_>]) -> bool {
    const NAME: &[u8] = b"amount";
    let Some(Step::Member(name)) = trail.last() else { return false };
    name.len() >= NAME.len() && name[name.len() - NAME.len()..].eq_ignore_ascii_case(NAME)
}

/// What a number lacks to have two decimals.
fn missing_decimals(number: &[u8]) -> Option<&'static [u8]> {
    let is_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let unsigned = number.strip_prefix(b"-").unwrap_or(number);
    let point = unsigned.iter().position(|byte| *byte == b'.');
    let Some(point) = point else { return is_digits(unsigned).then_some(b".00") };
    let decimals = &unsigned[point + 1..];
    (is_digits(&unsigned[..point]) && is_digits(decimals) && decimals.len() < DECIMALS).then_some(b"0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(body: &str) -> String {
        String::from_utf8(with_decimals(body.as_bytes()).into_owned()).expect("text")
    }

    #[test]
    fn amounts_are_written_with_two_decimals_and_nothing_else_is() {
        for (sent, signed) in [
            (r#"{"payload":{"authAmount":1.1,"id":"1"}}"#, r#"{"payload":{"authAmount":1.10,"id":"1"}}"#),
            (r#"{"authAmount": 2 }"#, r#"{"authAmount": 2.00 }"#),
            (r#"{"amount":0,"requestedAmount":-3.5}"#, r#"{"amount":0.00,"requestedAmount":-3.50}"#),
            (r#"{"authAmount":[{"authAmount":20.0}]}"#, r#"{"authAmount":[{"authAmount":20.00}]}"#),
        ] {
            assert_eq!(written(sent), signed);
        }
        for same in [
            r#"{"authAmount":1.10}"#,
            r#"{"authAmount":1.125}"#,
            r#"{"authAmount":"1.1"}"#,
            r#"{"authAmount":1e2}"#,
            r#"{"authAmount":null,"responseCode":1}"#,
            r#"{"authAmount":[1]}"#,
            r#"{"text":"\"authAmount\":1.1"}"#,
            r#"{"amounts":1}"#,
            "",
            "{\"authAmount\":",
            "\"authAmount\":1.",
        ] {
            assert_eq!(written(same), same);
        }
    }
}
