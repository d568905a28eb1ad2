//! Amazon SNS: an RSA signature inside the body, with a certificate at a URL that the body names.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use relay_core::time::Wall;
use serde_json::{Map, Value};

use super::{
    fetched, json, names, object,
    pin::Https,
    set_body, unreadable_key,
    x509::{self, Hash, RsaKey},
};
use crate::{
    Answer, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample, SignError, Verdict, form,
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::{PrivateKey, stamp},
    secret,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "aws-sns",
    title: "Amazon SNS",
    parameters: &[Parameter::public_key(
        "topic_arn",
        "the topic's ARN, like arn:aws:sns:us-east-1:123456789012:orders: Amazon SNS console, Topics",
    )],
    sending: &[Parameter::signing_key(
        "an RSA private key in PEM, whose certificate the receiver finds at SigningCertURL",
    )],
    answer_within: Duration::from_secs(15),
    // 4xx is final for SNS, and 401 makes it ask again with credentials.
    refusal: 403,
    again: "only after 429 and 5xx, and where no answer came",
    delivery: DeliveryId::Documented(
        &DeliveryId::Json(&["MessageId"]),
        "https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html",
    ),
    event: Name::Json("Type"),
    docs: "https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html",
    checked: "`TopicArn` is `topic_arn`, and `Signature` is an RSA signature, with SHA-1 or SHA-256 by \
        `SignatureVersion`, of the message's fields. The server fetches the certificate from `SigningCertURL`, whose host \
        must be that of Amazon SNS in the topic's own region. A confirmation of the subscription passes the same checks; then \
        the server fetches its `SubscribeURL`, of the same host, and nothing is stored.",
    unproven: "The signature covers the message and its timestamp, but no age is prescribed: whoever has seen one request \
        can send it again. Deliveries with raw message delivery enabled are not signed and are refused: leave it off. The \
        topic decides who may publish, so the topic's access policy decides whom you trust.",
    sample: Sample {
        headers: &[("content-type", "text/plain; charset=UTF-8"), ("x-amz-sns-message-type", "Notification")],
        query: "",
        body: include_str!("../../samples/aws-sns.json"),
    },
    proof: Proof::Code(|parameters| Box::new(AwsSns::read(parameters))),
    ..Provider::BASE
};

const NOTIFICATION: &str = "Notification";
const CONFIRMATION: &str = "SubscriptionConfirmation";
const REMOVAL: &str = "UnsubscribeConfirmation";
/// Where, on the topic's host, the certificate of a draft is said to be.
const SAMPLE_CERTIFICATE: &str = "/SimpleNotificationService-00000000000000000000000000000000.pem";

#[derive(Clone, Debug)]
struct AwsSns {
    topics: Vec<String>,
    signing_key: Option<PrivateKey>,
}

/// The fields of a message that matter, out of their JSON.
#[derive(Clone, Debug, Default)]
struct Message {
    kind: String,
    id: String,
    topic: String,
    subject: Option<String>,
    text: String,
    timestamp: String,
    subscribe_url: String,
    token: String,
    version: String,
    signature: String,
    certificate: String,
}

impl AwsSns {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let topics: Vec<String> = parameters.all("topic_arn").into_iter().map(str::to_owned).collect();
        if !topics.iter().all(|topic| host_of(topic).is_some()) {
            parameters.fault("topic_arn", "must be like arn:aws:sns:us-east-1:123456789012:orders");
        }
        Self { topics, signing_key: PrivateKey::given(parameters) }
    }

    fn check(&self, request: &Request<'_>) -> Result<Verdict, Refusal> {
        let message = Message::read(request.body)?;
        // A good signature only proves that some topic of some AWS account sent it.
        if !self
            .topics
            .iter()
            .fold(false, |found, ours| secret::equal(ours.as_bytes(), message.topic.as_bytes()) | found)
        {
            return Err(Refusal::new("wrong_topic", "TopicArn is none of this source's topics"));
        }
        let hash = match message.version.as_str() {
            "1" => Hash::Sha1,
            "2" => Hash::Sha256,
            _ => return Err(Refusal::new("unsupported_algorithm", "SignatureVersion must be 1 or 2")),
        };
        let host = host_of(&message.topic).unwrap_or_default();
        if !is_certificate_url(&message.certificate, &host) {
            let detail = format!("SigningCertURL must be https://{host}/SimpleNotificationService-ID.pem");
            return Err(Refusal::new("untrusted_url", detail));
        }
        let signature = STANDARD.decode(&message.signature);
        let signature = signature.map_err(|_| Refusal::new("malformed_signature", "Signature must be base64"))?;
        let signed = message.signed()?;
        let Some(certificate) = fetched(request, &message.certificate) else {
            return Ok(Verdict::NeedsKey { url: message.certificate });
        };
        let key = RsaKey::of_certificate(certificate)
            .ok_or_else(|| unreadable_key(&message.certificate, "certificate with an RSA key"))?;
        if !key.verifies(hash, signed.as_bytes(), &signature) {
            return Err(Refusal::new("bad_signature", "Signature is not that of this message with its certificate"));
        }
        if message.kind == CONFIRMATION {
            return message.confirm(&host);
        }
        Ok(Verdict::Genuine(Genuine::default()))
    }
}

impl Code for AwsSns {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        self.check(request).unwrap_or_else(Verdict::Refused)
    }

    fn sign(&self, mut draft: Draft, id: &str, now: Wall) -> Result<Draft, SignError> {
        let key = self.signing_key.as_ref().ok_or(SignError::Key)?;
        let mut body = object(&draft)?;
        let host = self.topics.first().and_then(|topic| host_of(topic)).ok_or(SignError::Key)?;
        let certificate = format!("https://{host}{SAMPLE_CERTIFICATE}");
        let mut set = |name: &str, value: &str| body.insert(name.to_owned(), Value::from(value));
        if let Some(topic) = self.topics.first() {
            set("TopicArn", topic);
        }
        set("SignatureVersion", "2");
        set("SigningCertURL", &certificate);
        set("Signature", "");
        default(&mut body, "Type", NOTIFICATION);
        default(&mut body, "MessageId", id);
        default(&mut body, "Message", "");
        default(&mut body, "Timestamp", &stamp::rfc3339(now));
        let signed =
            Message::read(Value::Object(body.clone()).to_string().as_bytes()).and_then(|message| message.signed());
        let signed = signed.map_err(|_| SignError::Body("a message as SNS sends it"))?;
        let signature = STANDARD.encode(x509::rsa_sign(key, signed.as_bytes())?);
        body.insert("Signature".to_owned(), Value::from(signature));
        set_body(&mut draft, body);
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&["x-amz-sns-message-type"])
    }
}

impl Message {
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let found = json::members(
            body,
            "the body",
            [
                "Type",
                "MessageId",
                "TopicArn",
                "Subject",
                "Message",
                "Timestamp",
                "SubscribeURL",
                "Token",
                "SignatureVersion",
                "Signature",
                "SigningCertURL",
            ],
        )?;
        let [kind, id, topic, subject, message, timestamp, subscribe_url, token, version, signature, certificate] =
            found.map(|member| member.and_then(json::string));
        let (Some(signature), Some(certificate)) = (signature, certificate) else {
            let detail = "the body has no Signature or no SigningCertURL; raw message delivery must be off";
            return Err(Refusal::new("missing_signature", detail));
        };
        let text = |member: Option<String>| member.unwrap_or_default();
        Ok(Self {
            kind: text(kind),
            id: text(id),
            topic: text(topic),
            subject,
            text: text(message),
            timestamp: text(timestamp),
            subscribe_url: text(subscribe_url),
            token: text(token),
            version: text(version),
            signature,
            certificate,
        })
    }

    /// Name and value of what is signed, each on a line, by name.
    fn signed(&self) -> Result<String, Refusal> {
        let mut lines = vec![("Message", &self.text), ("MessageId", &self.id)];
        match self.kind.as_str() {
            NOTIFICATION => lines.extend(self.subject.as_ref().map(|subject| ("Subject", subject))),
            CONFIRMATION | REMOVAL => lines.push(("SubscribeURL", &self.subscribe_url)),
            _ => return Err(Refusal::new("malformed_body", "Type is none that SNS sends")),
        }
        lines.push(("Timestamp", &self.timestamp));
        if self.kind != NOTIFICATION {
            lines.push(("Token", &self.token));
        }
        lines.extend([("TopicArn", &self.topic), ("Type", &self.kind)]);
        // With a line end in it, one of these could take over the part of its neighbour.
        let single = [&self.id, &self.timestamp, &self.token, &self.subscribe_url, &self.topic];
        if single.iter().any(|value| value.chars().any(char::is_control)) || self.id.is_empty() {
            return Err(Refusal::new("malformed_body", "MessageId, Timestamp, Token and URLs must be one line each"));
        }
        Ok(lines.into_iter().flat_map(|(name, value)| [name, "\n", value.as_str(), "\n"]).collect())
    }

    fn confirm(self, host: &str) -> Result<Verdict, Refusal> {
        if !is_confirmation_url(&self.subscribe_url, host) {
            let detail = format!("SubscribeURL must be https://{host}/?Action=ConfirmSubscription&...");
            return Err(Refusal::new("untrusted_url", detail));
        }
        Ok(Verdict::Confirm { url: self.subscribe_url, answer: Answer { status: 200, ..Answer::default() } })
    }
}

fn default(body: &mut Map<String, Value>, name: &str, value: &str) {
    body.entry(name).or_insert_with(|| Value::from(value));
}

/// The host of Amazon SNS in the region of a topic. Anybody can have another host under `amazonaws.com`, one that begins with
/// `sns.` too: `sns.s3.amazonaws.com` is a bucket.
fn host_of(topic: &str) -> Option<String> {
    let mut parts = topic.splitn(6, ':');
    let (arn, partition, service, region) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.all(|part| !part.is_empty() && !part.contains(':'));
    let is_label = !region.is_empty()
        && region.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    // https://docs.aws.amazon.com/general/latest/gr/sns.html
    let domain = match partition {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    (arn == "arn" && service == "sns" && is_label && is_whole && topic.split(':').count() == 6)
        .then(|| format!("sns.{region}.{domain}"))
}

fn is_certificate_url(url: &str, sns: &str) -> bool {
    let Some(Https { host, path, query: None }) = Https::read(url) else { return false };
    let id = path.strip_prefix("/SimpleNotificationService-").and_then(|path| path.strip_suffix(".pem"));
    host == sns && id.is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn is_confirmation_url(url: &str, sns: &str) -> bool {
    let Some(Https { host, path: "/", query: Some(query) }) = Https::read(url) else { return false };
    host == sns && form::value(query.as_bytes(), "Action").as_deref() == Some(b"ConfirmSubscription")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_comes_from_sns_alone() {
        for (topic, good) in [
            (
                "arn:aws:sns:us-east-1:1:a",
                "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123abcDEF.pem",
            ),
            (
                "arn:aws-us-gov:sns:us-gov-west-1:1:a",
                "https://sns.us-gov-west-1.amazonaws.com/SimpleNotificationService-0.pem",
            ),
            (
                "arn:aws-cn:sns:cn-north-1:1:a",
                "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-0.pem",
            ),
            (
                "arn:aws-eusc:sns:eusc-de-east-1:1:a",
                "https://sns.eusc-de-east-1.amazonaws.eu/SimpleNotificationService-0.pem",
            ),
        ] {
            assert!(is_certificate_url(good, &host_of(topic).expect("a topic")), "{good}");
        }
        for bad in [
            "",
            "arn:aws:sns:us-east-1:1",
            "arn:aws:sqs:us-east-1:1:a",
            "arn:aws:sns::1:a",
            "arn:aws:sns:s3.x:1:a",
            "arn:aws:sns:us-east-1:1:a:b",
        ] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
        let sns = host_of("arn:aws:sns:us-east-1:123456789012:orders").expect("a topic");
        for bad in [
            "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.us-east-1.amazonaws.com.evil.example/SimpleNotificationService-0.pem",
            "https://sns.us-east-1.amazonaws.com@evil.example/SimpleNotificationService-0.pem",
            "https://evil.example/sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-0.pem",
            "https://my-bucket.s3.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.x.s3.amazonaws.com/SimpleNotificationService-0.pem",
            // Buckets called sns.
            "https://sns.s3.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.s3-us-west-2.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.s3-accelerate.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.s3-external-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.us-east-2.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.us-east-1.amazonaws.com.cn/SimpleNotificationService-0.pem",
            "https://sns.us-east-1.amazonaws.eu/SimpleNotificationService-0.pem",
            "https://sns.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns..amazonaws.com/SimpleNotificationService-0.pem",
            "https://xsns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem",
            "https://sns.us-east-1.amazonaws.com/x/../SimpleNotificationService-0.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem?x",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0.pem#x",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-%30.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-.pem",
            "https://sns.us-east-1.amazonaws.com/?Action=x&y=/SimpleNotificationService-0.pem",
            "https://sns.us-east-1.amazonaws.com/other.pem",
            "https://169.254.169.254/SimpleNotificationService-0.pem",
        ] {
            assert!(!is_certificate_url(bad, &sns), "{bad}");
        }
    }

    #[test]
    fn a_subscription_is_confirmed_at_sns_alone() {
        let sns = "sns.us-east-2.amazonaws.com";
        let good = "https://sns.us-east-2.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:x&Token=2";
        assert!(is_confirmation_url(good, sns));
        for bad in [
            "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription",
            "https://sns.s3.amazonaws.com/?Action=ConfirmSubscription",
            "https://sns.us-east-2.amazonaws.com.evil.example/?Action=ConfirmSubscription",
            "https://sns.us-east-2.amazonaws.com/?Action=DeleteTopic",
            "https://sns.us-east-2.amazonaws.com/?Action=DeleteTopic&Action=ConfirmSubscription",
            "https://sns.us-east-2.amazonaws.com/x?Action=ConfirmSubscription",
            "https://sns.us-east-2.amazonaws.com/",
            "http://169.254.169.254/?Action=ConfirmSubscription",
        ] {
            assert!(!is_confirmation_url(bad, sns), "{bad}");
        }
    }

    #[test]
    fn what_is_signed_depends_on_the_type() {
        let message = Message {
            kind: NOTIFICATION.to_owned(),
            id: "1".to_owned(),
            text: "a\nb".to_owned(),
            timestamp: "t".to_owned(),
            topic: "arn".to_owned(),
            subscribe_url: "u".to_owned(),
            token: "k".to_owned(),
            ..Message::default()
        };
        let signed = |message: &Message| message.signed().map_err(|refusal| refusal.check);
        let expected = "Message\na\nb\nMessageId\n1\nTimestamp\nt\nTopicArn\narn\nType\nNotification\n";
        assert_eq!(signed(&message).as_deref(), Ok(expected));
        let with_subject = Message { subject: Some("s".to_owned()), ..message.clone() };
        assert!(signed(&with_subject).expect("good").contains("MessageId\n1\nSubject\ns\nTimestamp\n"));
        let confirmation = Message { kind: CONFIRMATION.to_owned(), ..with_subject };
        let expected = "Message\na\nb\nMessageId\n1\nSubscribeURL\nu\nTimestamp\nt\nToken\nk\nTopicArn\narn\nType\nSubscriptionConfirmation\n";
        assert_eq!(signed(&confirmation).as_deref(), Ok(expected));
        for bad in [
            Message { kind: "x".to_owned(), ..message.clone() },
            Message { id: "1\nTimestamp\nt".to_owned(), ..message.clone() },
            Message { id: String::new(), ..message.clone() },
        ] {
            assert_eq!(signed(&bad), Err("malformed_body"));
        }
    }
}
