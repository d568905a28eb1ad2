//! Salesforce outbound messages: SOAP without a signature. What can be compared is the organisation's id.

use std::time::Duration;

use relay_core::time::Wall;

use super::{
    batch_id, first, names, secrets,
    soap::{self, Piece, Reader},
    verdict,
};
use crate::{
    Acknowledgement, DedupeKey, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample,
    SignError, Verdict,
    parameters::Parameters,
    proof::{Code, Proof},
    secret::{self, Secret},
};

pub(super) const PROVIDER: Provider = Provider {
    name: "salesforce",
    title: "Salesforce outbound messages",
    parameters: &[Parameter::key(
        "organization_id",
        "your organisation's id, 15 or 18 characters starting with 00D: Setup, Company Information",
    )],
    acknowledgement: Acknowledgement::Fixed {
        status: 200,
        content_type: Some("text/xml; charset=utf-8"),
        body: concat!(
            r#"<?xml version="1.0" encoding="UTF-8"?>"#,
            r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>"#,
            r#"<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack>"#,
            "</notificationsResponse></soapenv:Body></soapenv:Envelope>"
        ),
    },
    answer_within: Duration::from_secs(10),
    refusal: 403,
    // The same over the retries of a notification, but anybody could send one under the ids to come.
    delivery: DeliveryId::Code("`Notification/Id` of every notification"),
    event: Name::Code("`type` of the first `sObject`", |request| Message::read(request.body).ok()?.object),
    docs: "https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/sforce_api_om_outboundmessaging.htm",
    checked: "`OrganizationId` of the SOAP message is `organization_id`; its form of 15 and that of 18 characters \
        are the same. A document type (DOCTYPE) is refused.",
    guarded_by_url: true,
    unproven: "Salesforce signs nothing: whoever knows the organisation's id can send anything, and the id is no secret: it stands in \
        every Web-to-Lead and Web-to-Case form of the organisation (`oid`). All that guards the source is its URL: choose a \
        source name that nobody guesses, or let a proxy in front demand Salesforce's client certificate. A message may carry a SessionId, \
        which is a credential of your organisation: it reaches the target as it came, so switch Send Session ID off \
        unless you need it.",
    sample: Sample {
        headers: &[("content-type", "text/xml; charset=utf-8"), ("soapaction", "\"\"")],
        query: "",
        body: include_str!("../../samples/salesforce.xml"),
    },
    proof: Proof::Code(|parameters| Box::new(Salesforce::read(parameters))),
    ..Provider::BASE
};

/// An id without the three characters that make it safe where case is lost.
const SHORT_ID_BYTES: usize = 15;
/// The same with them.
const LONG_ID_BYTES: usize = 18;
const ORGANIZATION: &[&str] = &["Envelope", "Body", "notifications", "OrganizationId"];
const NOTIFICATION: &[&str] = &["Envelope", "Body", "notifications", "Notification", "Id"];
const OBJECT: &[&str] = &["Envelope", "Body", "notifications", "Notification", "sObject"];

#[derive(Clone, Debug)]
struct Salesforce(Vec<Secret>);

impl Salesforce {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let ids = secrets(parameters, "organization_id");
        if !ids.iter().all(|id| is_id(id.expose())) {
            parameters.fault("organization_id", "must be 15 or 18 letters and digits, like 00D5g000000abcdEAA");
        }
        Self(ids)
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let message = Message::read(request.body)?;
        let organization = message.organization.ok_or_else(|| {
            Refusal::new("missing_organization", "the body is no outbound message: it has no OrganizationId")
        })?;
        if !self.0.iter().fold(false, |found, ours| is_same(ours.expose(), organization.as_bytes()) | found) {
            return Err(Refusal::new("wrong_organization", "OrganizationId is not this source's"));
        }
        Ok(Genuine { dedupe: batch_id(message.notifications).map(DedupeKey::with_body), ..Genuine::default() })
    }
}

impl Code for Salesforce {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn sign(&self, mut draft: Draft, _: &str, _: Wall) -> Result<Draft, SignError> {
        const MESSAGE: SignError = SignError::Body("an outbound message with OrganizationId");
        let message = Message::read(&draft.body).map_err(|_| MESSAGE)?;
        let theirs = message.organization.ok_or(MESSAGE)?;
        let ours = String::from_utf8_lossy(first(&self.0)?.expose()).into_owned();
        let text = str::from_utf8(&draft.body).map_err(|_| MESSAGE)?;
        draft.body = text.replacen(&format!(">{theirs}<"), &format!(">{ours}<"), 1).into();
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[])
    }
}

/// What matters of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Message<'a> {
    organization: Option<&'a str>,
    notifications: Vec<String>,
    object: Option<String>,
}

impl<'a> Message<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        let mut message = Self::default();
        let mut reader = Reader::new(body)?;
        let is = |reader: &Reader<'_>, path: &[&str]| reader.path().eq(path.iter().copied());
        while let Some(piece) = reader.next()? {
            match piece {
                Piece::Text(text) if is(&reader, ORGANIZATION) => {
                    if message.organization.replace(text.trim_ascii()).is_some() {
                        return Err(Refusal::new("malformed_body", "the body has more than one OrganizationId"));
                    }
                }
                Piece::Text(text) if is(&reader, NOTIFICATION) => message.notifications.push(text.to_owned()),
                Piece::Start(_, attributes) if message.object.is_none() && is(&reader, OBJECT) => {
                    message.object = soap::attribute(attributes, "type").and_then(object_name);
                }
                Piece::Start(..) | Piece::Text(_) | Piece::End => {}
            }
        }
        Ok(message)
    }
}

fn object_name(name: &str) -> Option<String> {
    let name = name.split_once(':').map_or(name, |(_, local)| local);
    let is_name = name.len() <= 80 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_name && !name.is_empty()).then(|| name.to_owned())
}

/// Whether both are the same id. Setup shows 15 characters, messages hold 18.
fn is_same(ours: &[u8], theirs: &[u8]) -> bool {
    let length = ours.len().min(theirs.len()).max(SHORT_ID_BYTES);
    let cut = |id: &[u8]| secret::secret_digest(id.get(..length).unwrap_or_default());
    is_id(theirs) && secret::equal(&cut(ours), &cut(theirs))
}

fn is_id(id: &[u8]) -> bool {
    [SHORT_ID_BYTES, LONG_ID_BYTES].contains(&id.len()) && id.iter().all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(inside: &str) -> String {
        format!("<s:Envelope xmlns:s=\"x\"><s:Body><notifications>{inside}</notifications></s:Body></s:Envelope>")
    }

    #[test]
    fn the_short_and_the_long_spelling_are_one_id() {
        assert!(is_same(b"00D5g000000abcd", b"00D5g000000abcdEAA"));
        assert!(is_same(b"00D5g000000abcdEAA", b"00D5g000000abcdEAA"));
        for other in [
            "",
            "00D5g000000abce",
            "00D5g000000abcdEAB",
            "00D5g000000ABCDEAA",
            "00D5g000000abcdEA",
            "00D5g000000abcd&&&",
        ] {
            assert!(!is_same(b"00D5g000000abcdEAA", other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn only_the_right_place_counts() {
        let elsewhere = [
            message(
                "<Notification><sObject><OrganizationId>00D5g000000abcdEAA</OrganizationId></sObject></Notification>",
            ),
            message("<!-- <OrganizationId>00D5g000000abcdEAA</OrganizationId> -->"),
            "<OrganizationId>00D5g000000abcdEAA</OrganizationId>".to_owned(),
            message("<x y='<OrganizationId>00D5g000000abcdEAA</OrganizationId>'/>"),
        ];
        for body in elsewhere {
            assert_eq!(Message::read(body.as_bytes()).map(|message| message.organization), Ok(None), "{body}");
        }
        let twice = message("<OrganizationId>a</OrganizationId><OrganizationId>b</OrganizationId>");
        assert!(Message::read(twice.as_bytes()).is_err());
        let split = message("<OrganizationId>a<!-- -->b</OrganizationId>");
        assert!(Message::read(split.as_bytes()).is_err());
    }

    #[test]
    fn every_notification_counts_towards_the_batch() {
        let body = message(
            "<OrganizationId>o</OrganizationId><Notification><Id>b</Id><sObject xsi:type=\"sf:Lead\"><sf:Id>x</sf:Id>\
             </sObject></Notification><Notification><Id>a</Id></Notification>",
        );
        let message = Message::read(body.as_bytes()).expect("a message");
        assert_eq!(message.notifications, ["b", "a"]);
        assert_eq!(message.object.as_deref(), Some("Lead"));
    }
}
