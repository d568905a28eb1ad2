//! Mercado Pago: a line of values out of query and header fields; the body is not covered.

use std::time::Duration;

use relay_core::time::Wall;

use super::{bad_signature, first, hex_signature, is_signed, names, secrets, verdict};
use crate::{
    ByHead, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample, SignError, Verdict, form,
    header,
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::{
        Algorithm, SIGNATURES_MAX, Unit,
        stamp::{self, check_window},
    },
    secret::{self, Secret},
};

pub(super) const PROVIDER: Provider = Provider {
    name: "mercadopago",
    title: "Mercado Pago",
    parameters: &[
        Parameter::key(
            "secret",
            "the secret signature: Your integrations, your application, Webhooks, Configure notifications",
        )
        .not(&[("APP_USR-", "an access token or a public key"), ("TEST-", "an access token or a public key")]),
        // None is prescribed; the platform's library looks at the age if it is told to (toleranceSeconds).
        Parameter::tolerance("off", "https://github.com/mercadopago/sdk-nodejs"),
    ],
    answer_within: Duration::from_secs(22),
    delivery: DeliveryId::First(&[DeliveryId::Json(&["id", "type", "action"]), DeliveryId::Header(REQUEST_ID)]),
    event: Name::First(&[Name::Json("action"), Name::Json("type"), Name::Json("topic")]),
    order: Name::Json("data.id"),
    docs: "https://www.mercadopago.com/developers/en/docs/your-integrations/notifications/webhooks",
    checked: "`x-signature` is `ts=...,v1=...`; `v1` is the HMAC-SHA256, in hex, of `id:` + `data.id` of the query, as it is or in lower case, + \
        `;request-id:` + `x-request-id` + `;ts:` + `ts` + `;`, without the parts that are not there. The key is \
        `secret`, used as the text it is. `ts` is whole seconds or milliseconds since 1970; its age is checked only with \
        `tolerance`.",
    unproven: "The signature covers data.id of the query, x-request-id and a time, not the body: take nothing from the body \
        but fetch the resource by the query's data.id. No age is prescribed: without `tolerance`, whoever has seen one request \
        can send it again.",
    sample: Sample {
        headers: &[("content-type", "application/json")],
        query: "data.id={{number}}&type=payment",
        body: include_str!("../../samples/mercadopago.json"),
    },
    proof: Proof::Code(|parameters| Box::new(MercadoPago::read(parameters))),
    ..Provider::BASE
};

const SIGNATURE: &str = "x-signature";
const REQUEST_ID: &str = "x-request-id";
const DATA_ID: &str = "data.id";
/// Digits of a time in seconds, until the year 2286.
const SECONDS_DIGITS: usize = 10;

#[derive(Clone, Debug)]
struct MercadoPago {
    secrets: Vec<Secret>,
    tolerance: Option<Duration>,
}

impl MercadoPago {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        Self { secrets: secrets(parameters, "secret"), tolerance: stamp::tolerance(parameters) }
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let value = header::required(request, SIGNATURE, "missing_signature")?;
        let (timestamp, presented) = signature(value)?;
        let (id, request_id) = (data_id(request)?, header::single(request, REQUEST_ID)?);
        // The older documents sign the id in lower case, the official libraries as it stands in the URL: either may match.
        let lower = id.as_ref().map(|id| id.to_ascii_lowercase());
        let lines = [line(lower.as_deref(), request_id, timestamp), line(id.as_deref(), request_id, timestamp)];
        let is_signed =
            |line: &[u8], presented: &[u8]| is_signed(Algorithm::HmacSha256, &self.secrets, &[line], presented);
        let signed = |presented: &Vec<u8>| is_signed(&lines[0], presented) | is_signed(&lines[1], presented);
        if !presented.iter().fold(false, |found, presented| signed(presented) | found) {
            return Err(bad_signature(SIGNATURE));
        }
        if self.tolerance.is_some() {
            // In seconds or in milliseconds, by the kind of notification.
            let unit = if timestamp.len() > SECONDS_DIGITS { Unit::Millis } else { Unit::Seconds };
            check_window(timestamp, unit, "ts in x-signature", self.tolerance, request.now)?;
        }
        Ok(Genuine::default())
    }
}

impl Code for MercadoPago {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    /// Nothing of the proof is in the body.
    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        self.judge(request).into()
    }

    fn sign(&self, mut draft: Draft, _: &str, now: Wall) -> Result<Draft, SignError> {
        let request = draft.request(now, &[]);
        let data_id = data_id(&request).map_err(|_| SignError::Body("sent with one data.id in the query"))?;
        let timestamp = Unit::Millis.write(now);
        let line = line(data_id.as_deref(), header::first(request.headers, REQUEST_ID), timestamp.as_bytes());
        let mac = Algorithm::HmacSha256.mac(first(&self.secrets)?, &[&line]);
        draft.set_header(SIGNATURE, format!("ts={timestamp},v1={}", secret::to_hex(&mac)));
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[SIGNATURE, REQUEST_ID])
    }
}

/// The time and the signatures in `ts=..,v1=..`.
fn signature(value: &[u8]) -> Result<(&[u8], Vec<Vec<u8>>), Refusal> {
    let malformed = || Refusal::new("malformed_signature", format!("{SIGNATURE} must be ts=TIME,v1=SIGNATURE in hex"));
    let (mut timestamp, mut presented) = (None, Vec::new());
    for item in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
        if let Some(time) = item.strip_prefix(b"ts=") {
            if timestamp.replace(time).is_some_and(|other| other != time) {
                return Err(malformed());
            }
        } else if let Some(hex) = item.strip_prefix(b"v1=")
            && presented.len() < SIGNATURES_MAX
        {
            presented.push(hex_signature(str::from_utf8(hex).unwrap_or_default(), SIGNATURE)?);
        }
    }
    match timestamp {
        Some(timestamp) if !presented.is_empty() && !timestamp.is_empty() => Ok((timestamp, presented)),
        Some(_) | None => Err(malformed()),
    }
}

/// The id in the query. With two of them, the application might take the other.
fn data_id(request: &Request<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let pairs = form::all(request.query.unwrap_or_default());
    let pairs = pairs.ok_or_else(|| Refusal::new("malformed_query", "the query has too many parameters"))?;
    let mut ids = pairs.into_iter().filter(|(name, _)| name == DATA_ID.as_bytes());
    let Some((_, id)) = ids.next() else { return Ok(None) };
    if ids.any(|(_, other)| other != id) {
        return Err(Refusal::new("ambiguous_query", format!("{DATA_ID} is given twice with different values")));
    }
    Ok(Some(id))
}

/// What is signed. What the request does not have is left out whole.
fn line(data_id: Option<&[u8]>, request_id: Option<&[u8]>, timestamp: &[u8]) -> Vec<u8> {
    let mut line = Vec::new();
    for (name, value) in [("id", data_id), ("request-id", request_id), ("ts", Some(timestamp))] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            line.extend_from_slice(name.as_bytes());
            line.push(b':');
            line.extend_from_slice(value);
            line.push(b';');
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_parts_are_left_out_whole() {
        assert_eq!(line(Some(b"ORD1"), Some(b"r-A"), b"1"), b"id:ORD1;request-id:r-A;ts:1;");
        assert_eq!(line(None, Some(b"r"), b"1"), b"request-id:r;ts:1;");
        assert_eq!(line(Some(b"1"), None, b"1"), b"id:1;ts:1;");
        assert_eq!(line(Some(b""), None, b"1"), b"ts:1;");
    }

    #[test]
    fn a_signature_has_one_time() {
        assert_eq!(signature(b"ts=1, v1=00,v2=zz"), Ok((&b"1"[..], vec![vec![0]])));
        assert_eq!(signature(b"ts=1,v1=00,v1=FF"), Ok((&b"1"[..], vec![vec![0], vec![255]])));
        for bad in
            [&b""[..], b"ts=1", b"v1=00", b"ts=,v1=00", b"ts=1,ts=2,v1=00", b"ts=1,v1=", b"ts=1,v1=zz", b"ts=1,v1=\xff"]
        {
            assert_eq!(signature(bad).map_err(|refusal| refusal.check), Err("malformed_signature"), "{bad:?}");
        }
    }

    #[test]
    fn two_ids_are_one_too_many() {
        let id = |url: &str| {
            let draft = Draft::post(url, "");
            data_id(&draft.request(Wall::from_micros(0), &[])).map_err(|refusal| refusal.check)
        };
        assert_eq!(id("https://h/?data.id=A%42&type=x"), Ok(Some(b"AB".to_vec())));
        assert_eq!(id("https://h/?data%2Eid=1&data.id=1"), Ok(Some(b"1".to_vec())));
        assert_eq!(id("https://h/?data.id=1&data.id=2"), Err("ambiguous_query"));
        assert_eq!(id("https://h/"), Ok(None));
    }
}
