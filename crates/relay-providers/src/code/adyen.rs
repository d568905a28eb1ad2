//! Adyen: standard webhooks are signed item by item inside the body, the others as a whole in a header field.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use relay_core::time::Wall;
use serde_json::Value;

use super::{bad_signature, base64_field, first, is_signed, json, names, object, set_body, verdict};
use crate::{
    Acknowledgement, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample, SignError,
    Verdict, form, header,
    parameters::Parameters,
    proof::{Code, Proof},
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
    event: Name::First(&[
        Name::Json("notificationItems[].NotificationRequestItem.eventCode"),
        Name::Form("eventCode"),
        Name::Json("type"),
    ]),
    docs: "https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures",
    checked: "Standard webhooks: in every item `additionalData.hmacSignature` is the HMAC-SHA256, in base64, of \
        pspReference, originalReference, merchantAccountCode, merchantReference, value, currency, eventCode and \
        success, with `:` between; so too where the method is HTTP POST and these are fields of a form. Other webhooks: the header field `hmacsignature` is that of the body. The key is \
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
/// Fields of a form that are signed.
const SIGNED: [&str; 8] = [
    "pspReference",
    "originalReference",
    "merchantAccountCode",
    "merchantReference",
    "value",
    "currency",
    "eventCode",
    "success",
];

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
        if is_form(request) {
            return self.check_form(request.body);
        }
        // The header form covers any bytes. That they are an object keeps an item's signature from being one for a
        // body that is nothing but the item's signed text.
        let [list] = json::members(request.body, "the body", [ITEMS])?;
        let Some(list) = list else {
            let presented = base64_field(request, SIGNATURE)?;
            return if is_signed(Algorithm::HmacSha256, &self.0, &[request.body], &presented) {
                Ok(Genuine::default())
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

    /// A standard webhook whose method is "HTTP POST": one item, its members as fields.
    fn check_form(&self, body: &[u8]) -> Result<Genuine, Refusal> {
        const WHAT: &str = "the form";
        let fields = form::all(body).ok_or_else(|| Refusal::new("malformed_body", "the form has too many fields"))?;
        let one = |name: &str| {
            let mut values = fields.iter().filter(|(other, _)| other == name.as_bytes()).map(|(_, value)| value);
            match (values.next(), values.next()) {
                (value, None) => Ok(value.map(|value| String::from_utf8_lossy(value).into_owned())),
                (_, Some(_)) => Err(Refusal::new("malformed_body", format!("{WHAT} has {name} more than once"))),
            }
        };
        let mut texts = SIGNED.map(|_| String::new());
        for (text, name) in texts.iter_mut().zip(SIGNED) {
            *text = one(name)?.unwrap_or_default();
        }
        let signature = one(ITEM_SIGNATURE)?;
        let signature =
            signature.ok_or_else(|| Refusal::new("missing_signature", format!("{WHAT} has no {ITEM_SIGNATURE}")))?;
        self.check_signature(&joined(&texts, WHAT)?, &signature, WHAT)?;
        Ok(Genuine::default())
    }

    fn check_item(&self, item: &str, number: usize) -> Result<(), Refusal> {
        let what = format!("item {number}");
        let [item] = json::members(item.as_bytes(), &what, [ITEM])?;
        let item = item.ok_or_else(|| Refusal::new("malformed_body", format!("{what} has no {ITEM}")))?;
        let Item { signed, signature } = Item::read(item, &what)?;
        let signature =
            signature.ok_or_else(|| Refusal::new("missing_signature", format!("{what} has no {ITEM_SIGNATURE}")))?;
        self.check_signature(&signed, &signature, &what)
    }

    fn check_signature(&self, signed: &str, signature: &str, what: &str) -> Result<(), Refusal> {
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
        json::members(&draft.body, "", [ITEMS]).map_err(|_| MESSAGE)?;
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
        let texts = [psp, original, account, reference, value, currency, event, success].map(text);
        Ok(Self { signed: joined(&texts, what)?, signature })
    }
}

/// What is signed of an item. The platform joins by colons and escapes none. Its references, and the names of its reports, may
/// hold some; in an amount or the name of an event one could only move the borders.
fn joined(texts: &[String; 8], what: &str) -> Result<String, Refusal> {
    if texts[4..].iter().any(|text| text.contains(':')) {
        let detail = format!("{what} has a colon in its amount, eventCode or success");
        return Err(Refusal::new("malformed_body", detail));
    }
    Ok(texts.join(":"))
}

fn is_form(request: &Request<'_>) -> bool {
    let content_type = header::first(request.headers, "content-type").unwrap_or_default();
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
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

    /// A standard webhook whose method in the Customer Area is "HTTP POST".
    #[test]
    fn a_form_is_signed_as_an_item_is() {
        let source = Adyen(vec![Secret::new("key")]);
        let judge = |body: &str| {
            let mut draft = Draft::post("https://h/", body.to_owned());
            draft.set_header("content-type", "application/x-www-form-urlencoded; charset=UTF-8");
            source.check(&draft.request(Wall::from_micros(0), &[])).map_err(|refusal| refusal.check)
        };
        let mac = Algorithm::HmacSha256.mac(&Secret::new("key"), &[b"8535::Test:a:b c:1130:EUR:AUTHORISATION:true"]);
        let signature = form::encode(STANDARD.encode(mac).as_bytes());
        let body = format!(
            "live=false&eventCode=AUTHORISATION&pspReference=8535&merchantAccountCode=Test&merchantReference=a%3Ab+c\
             &value=1130&currency=EUR&success=true&originalReference=&additionalData.hmacSignature={signature}"
        );
        assert_eq!(judge(&body), Ok(Genuine::default()));
        assert_eq!(judge(&format!("{body}&value=1")), Err("malformed_body"));
        assert_eq!(judge(&body.replace("1130", "1131")), Err("bad_signature"));
        assert_eq!(judge(&body.replace("value=1130", "value=11%3A30")), Err("malformed_body"));
        assert_eq!(judge("eventCode=AUTHORISATION"), Err("missing_signature"));
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
