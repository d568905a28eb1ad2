//! Adyen: standard webhooks are signed item by item inside the body, the others as a whole in a header field.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use relay_core::time::Wall;
use serde_json::Value;

use super::{Code, bad_signature, base64_field, first, is_signed, json, names, object, set_body, verdict};
use crate::{
    Acknowledgement, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample, SignError,
    Verdict,
    parameters::Parameters,
    provider::Proof,
    scheme::Algorithm,
    secret::{self, Secret},
};

pub(super) const PROVIDER: Provider = Provider {
    name: "adyen",
    title: "Adyen",
    parameters: &[Parameter::key(
        "hmac_key",
        "the webhook's HMAC key, 64 hex digits: Customer Area, Developers, Webhooks, your webhook, Security",
    )],
    acknowledgement: Acknowledgement::Fixed { status: 200, content_type: Some("text/plain"), body: "[accepted]" },
    delivery: DeliveryId::First(&[
        DeliveryId::Items(&[(
            "notificationItems[].NotificationRequestItem",
            &["pspReference", "eventCode", "success"],
        )]),
        DeliveryId::Body,
    ]),
    event: Name::Json("notificationItems[].NotificationRequestItem.eventCode"),
    docs: "https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures",
    checked: "Standard webhooks: in every item `additionalData.hmacSignature` is the HMAC-SHA256, in base64, of \
        pspReference, originalReference, merchantAccountCode, merchantReference, value, currency, eventCode and \
        success, with `:` between. Other webhooks: the header field `hmacsignature` is that of the body. The key is \
        `hmac_key`, decoded from hex.",
    unproven: "In standard webhooks eight fields of each item are signed: pspReference, originalReference, \
        merchantAccountCode, merchantReference, amount, eventCode and success. Everything else, such as eventDate, reason \
        and additionalData, can be changed by whoever passes the request on, and no time is signed: whoever has seen one \
        request can send it again. Where a reference holds a colon, the borders between the four references are open.",
    sample: Sample::json(include_str!("../../samples/adyen.json")),
    proof: Proof::Code(|parameters| Box::new(Adyen::read(parameters))),
    ..Provider::BASE
};

const SIGNATURE: &str = "hmacsignature";
const ITEMS: &str = "notificationItems";
const ITEM: &str = "NotificationRequestItem";
const ITEM_SIGNATURE: &str = "additionalData.hmacSignature";

#[derive(Clone, Debug)]
struct Adyen(Vec<Secret>);

impl Adyen {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let mut keys = Vec::new();
        for key in parameters.agreed_secrets("hmac_key") {
            match secret::from_hex(key) {
                Some(key) => keys.push(Secret::new(key)),
                None => parameters.fault("hmac_key", "must be hex digits, as the Customer Area shows it once"),
            }
        }
        Self(keys)
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        // The header form covers any bytes. That they are an object keeps an item's signature from being one for a
        // body that is nothing but the item's signed text.
        let [list, kind] = json::members(request.body, "the body", [ITEMS, "type"])?;
        let Some(list) = list else {
            let presented = base64_field(request, SIGNATURE)?;
            return if is_signed(Algorithm::HmacSha256, &self.0, &[request.body], &presented) {
                let event = kind.and_then(json::string).filter(|kind| kind.len() <= 64);
                Ok(Genuine { event, ..Genuine::default() })
            } else {
                Err(bad_signature(SIGNATURE))
            };
        };
        let items = json::items(list, ITEMS)?;
        if items.is_empty() {
            return Err(Refusal::new("missing_signature", format!("{ITEMS} is empty: nothing in the body is signed")));
        }
        for (index, item) in items.into_iter().enumerate() {
            self.check_item(item, index + 1)?;
        }
        Ok(Genuine::default())
    }

    fn check_item(&self, item: &str, number: usize) -> Result<(), Refusal> {
        let what = format!("item {number}");
        let [item] = json::members(item.as_bytes(), &what, [ITEM])?;
        let item = item.ok_or_else(|| Refusal::new("malformed_body", format!("{what} has no {ITEM}")))?;
        let Item { signed, signature } = Item::read(item, &what)?;
        let signature =
            signature.ok_or_else(|| Refusal::new("missing_signature", format!("{what} has no {ITEM_SIGNATURE}")))?;
        let presented = STANDARD.decode(signature);
        let presented = presented
            .map_err(|_| Refusal::new("malformed_signature", format!("{ITEM_SIGNATURE} of {what} must be base64")))?;
        if !is_signed(Algorithm::HmacSha256, &self.0, &[signed.as_bytes()], &presented) {
            return Err(bad_signature(&format!("{ITEM_SIGNATURE} of {what}")));
        }
        Ok(())
    }
}

impl Code for Adyen {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn sign(&self, mut draft: Draft, _: &str, _: Wall) -> Result<Draft, SignError> {
        const MESSAGE: SignError = SignError::Body("a JSON object whose notificationItems are as Adyen sends them");
        let key = first(&self.0)?;
        let mut body = object(&draft)?;
        // What the check would refuse cannot be signed.
        json::members(&draft.body, "", [ITEMS, "type"]).map_err(|_| MESSAGE)?;
        let Some(items) = body.get_mut(ITEMS) else {
            draft.set_header(SIGNATURE, STANDARD.encode(Algorithm::HmacSha256.mac(key, &[&draft.body])));
            return Ok(draft);
        };
        let items = items.as_array_mut().filter(|items| !items.is_empty()).ok_or(MESSAGE)?;
        for item in items {
            let item = item.get_mut(ITEM).and_then(Value::as_object_mut).ok_or(MESSAGE)?;
            let signed = Item::read(&Value::Object(item.clone()).to_string(), "").map_err(|_| MESSAGE)?.signed;
            let signature = STANDARD.encode(Algorithm::HmacSha256.mac(key, &[signed.as_bytes()]));
            let data = item.entry("additionalData").or_insert_with(|| Value::Object(serde_json::Map::new()));
            data.as_object_mut().ok_or(MESSAGE)?.insert("hmacSignature".to_owned(), Value::from(signature));
        }
        set_body(&mut draft, body);
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[SIGNATURE])
    }
}

/// What is signed of an item, and its signature.
struct Item {
    signed: String,
    signature: Option<String>,
}

impl Item {
    fn read(item: &str, what: &str) -> Result<Self, Refusal> {
        let [psp, original, account, reference, amount, event, success, additional] = json::members(
            item.as_bytes(),
            what,
            [
                "pspReference",
                "originalReference",
                "merchantAccountCode",
                "merchantReference",
                "amount",
                "eventCode",
                "success",
                "additionalData",
            ],
        )?;
        let [value, currency] = match amount {
            Some(amount) => json::members(amount.as_bytes(), what, ["value", "currency"])?,
            None => [None, None],
        };
        let signature = match additional {
            Some(data) => json::members(data.as_bytes(), what, ["hmacSignature"])?[0].and_then(json::string),
            None => None,
        };
        let text = |member: Option<&str>| member.and_then(json::scalar).unwrap_or_default();
        let [psp, original, account, value, currency, event, success] =
            [psp, original, account, value, currency, event, success].map(text);
        // The platform joins by colons and escapes none. Its references, and the names of its reports, may hold some; in an
        // amount or the name of an event one could only move the borders.
        if [&value, &currency, &event, &success].iter().any(|field| field.contains(':')) {
            let detail = format!("{what} has a colon in its amount, eventCode or success");
            return Err(Refusal::new("malformed_body", detail));
        }
        let reference = text(reference);
        let signed = [psp, original, account, reference, value, currency, event, success].join(":");
        Ok(Self { signed, signature })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_fields_are_signed_and_missing_ones_are_empty() {
        let item = r#"{"pspReference":"p","amount":{"value":1130,"currency":"EUR"},"eventCode":"AUTHORISATION",
            "success":"true","merchantReference":"a:b\\","reason":"x"}"#;
        assert_eq!(
            Item::read(item, "").map(|item| item.signed).as_deref(),
            Ok("p:::a:b\\:1130:EUR:AUTHORISATION:true")
        );
    }

    /// **Source** github.com/Adyen/adyen-ruby-api-library, issue 108, and `hmac_validator` of Adyen's own libraries.
    #[test]
    fn references_may_hold_colons_as_the_platform_signs_them() {
        let item = r#"{"pspReference":"report_2022-11-01T00:00:00.csv","merchantAccountCode":"A:B","amount":{"value":0,
            "currency":"EUR"},"eventCode":"REPORT_AVAILABLE","success":"true"}"#;
        assert_eq!(
            Item::read(item, "").map(|item| item.signed).as_deref(),
            Ok("report_2022-11-01T00:00:00.csv::A:B::0:EUR:REPORT_AVAILABLE:true")
        );
    }

    #[test]
    fn borders_between_fields_cannot_be_moved() {
        for item in [
            r#"{"success":"true:x"}"#,
            r#"{"amount":{"value":"1:2"}}"#,
            r#"{"pspReference":"p","pspReference":"q"}"#,
            r#"{"amount":{"value":1,"value":2}}"#,
            r#"{"additionalData":{"hmacSignature":"a","hmacsignature":"b"}}"#,
        ] {
            assert_eq!(Item::read(item, "item 1").err().map(|refusal| refusal.check), Some("malformed_body"), "{item}");
        }
    }
}
