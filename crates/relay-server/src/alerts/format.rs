//! What is sent: a message as each kind of receiver reads it.

use bytes::Bytes;
use relay_core::{
    alert::{Item, News, Scope, Severity},
    time::Wall,
};
use relay_providers::{Draft, Signer};
use serde_json::{Value, json};

use super::notice::Notice;
use crate::{
    clock::rfc3339,
    config::alert::{Format, Post},
};

/// Lines of conditions in a message of a chat.
const LINES_MAX: usize = 15;
/// Characters of a line there: less than what is shown of a sentence without unfolding it.
const LINE_CHARS_MAX: usize = 300;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) headers: Vec<(Bytes, Bytes)>,
    pub(super) body: Bytes,
}

/// All requests that tell a message, in order: one, or with PagerDuty one for each condition.
///
/// # Errors
/// The secret cannot sign.
pub(super) fn requests(notice: &Notice, post: &Post, server: &str, present: Wall) -> Result<Vec<Request>, String> {
    let plain = |body: Value| Request { headers: Vec::new(), body: body.to_string().into() };
    match post.format {
        Format::StandardWebhooks => signed(notice, post, server, present).map(|request| vec![request]),
        Format::Slack => Ok(vec![plain(json!({ "text": escaped(&text(notice, server)), "mrkdwn": false }))]),
        Format::Teams => Ok(vec![plain(card(&text(notice, server)))]),
        Format::PagerDuty => {
            let key = post.secret.as_deref().unwrap_or_default();
            Ok(events(notice, key, server).into_iter().map(plain).collect())
        }
    }
}

/// What a Standard Webhook says, and a command reads.
pub(super) fn webhook(notice: &Notice, server: &str) -> Value {
    let Notice { message, is_test, .. } = notice;
    let kind = if *is_test {
        "alert.test"
    } else if message.begun.is_empty() && message.lasting.is_empty() {
        "alert.over"
    } else {
        "alert.firing"
    };
    let items = |items: &[Item]| items.iter().map(item).collect::<Vec<_>>();
    json!({
        "type": kind,
        "timestamp": rfc3339(message.at),
        "data": {
            "alert": message.alert.as_str(),
            "server": server,
            "severity": message.severity().as_str(),
            "summary": summary(notice, server),
            "begun": items(&message.begun),
            "over": items(&message.over),
            "lasting": items(&message.lasting),
            "more": message.more,
        },
    })
}

fn item(item: &Item) -> Value {
    json!({
        "kind": item.key.kind.as_str(),
        "subject": item.key.subject.as_ref().map(ToString::to_string),
        "severity": item.severity.as_str(),
        "news": item.news.as_str(),
        "words": item.words,
        "since": rfc3339(item.since),
        "count": item.count,
    })
}

/// By the present, as whoever checks it looks at his clock.
fn signed(notice: &Notice, post: &Post, server: &str, present: Wall) -> Result<Request, String> {
    let parameters = [("secret".to_owned(), post.secret.clone().unwrap_or_default())];
    let signer = Signer::new("standard-webhooks", &parameters).map_err(|_| "the secret cannot sign".to_owned())?;
    let draft = Draft::post(post.url.to_string(), webhook(notice, server).to_string());
    let draft = signer.sign(draft, &notice.id, present).map_err(|error| error.to_string())?;
    Ok(Request { headers: draft.headers, body: draft.body })
}

/// A line, for a subject or a notification.
fn summary(notice: &Notice, server: &str) -> String {
    let Notice { message, is_test, .. } = notice;
    let server = if server.is_empty() { String::new() } else { format!(" at {server}") };
    if *is_test {
        return format!("crm-relay{server}: a test of the alert {}; nothing is wrong", message.alert);
    }
    let counted = [(message.begun.len(), "new"), (message.over.len(), "over"), (message.lasting.len(), "still so")];
    let mut parts: Vec<String> =
        counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if message.more > 0 {
        parts.push(format!("{} more", message.more));
    }
    format!("crm-relay{server} [{}]: {}", message.severity().as_str(), parts.join(", "))
}

/// Some lines for people.
fn text(notice: &Notice, server: &str) -> String {
    let mut lines = vec![summary(notice, server)];
    let items: Vec<&Item> = notice.message.items().collect();
    for item in items.iter().take(LINES_MAX) {
        let news = match item.news {
            News::Begun => "new",
            News::Worse => "worse",
            News::Flapping => "comes and goes",
            News::Lasting => "still so",
            News::Over => "over",
        };
        let words: String = item.words.chars().filter(|char| !char.is_control()).take(LINE_CHARS_MAX).collect();
        lines.push(format!("{news} [{}]: {words}", item.severity.as_str()));
    }
    if items.len() > LINES_MAX {
        lines.push(format!("and {} more: crm-relay alert list", items.len() - LINES_MAX));
    }
    lines.join("\n")
}

/// Nothing in it mentions a channel, a user or a link (Slack, "Escaping text").
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An Adaptive Card of runs of text, in which nothing is markup.
fn card(text: &str) -> Value {
    let line = |line: &str| json!({ "type": "RichTextBlock", "inlines": [{ "type": "TextRun", "text": line }] });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": text.lines().map(line).collect::<Vec<_>>(),
            },
        }],
    })
}

/// Events for PagerDuty: an incident for each condition, whichever message or server says that it is over.
fn events(notice: &Notice, key: &str, server: &str) -> Vec<Value> {
    let Notice { message, is_test, .. } = notice;
    if *is_test {
        let id = format!("crm-relay/{}/test", message.alert);
        let words = summary(notice, server);
        return vec![event(key, &id, Some((&words, Severity::Info)), server), event(key, &id, None, server)];
    }
    let incident = |item: &Item| {
        let subject = item.key.subject.as_ref().map(ToString::to_string).unwrap_or_default();
        let own = match item.key.scope {
            Scope::Server => server,
            Scope::Store => "",
        };
        let id = format!("crm-relay/{}/{}/{subject}/{own}", message.alert, item.key.kind.as_str());
        let triggers = (item.news != News::Over).then_some((item.words.as_str(), item.severity));
        event(key, &id, triggers, server)
    };
    message.items().map(incident).collect()
}

fn event(key: &str, id: &str, triggers: Option<(&str, Severity)>, server: &str) -> Value {
    let source = if server.is_empty() { "crm-relay" } else { server };
    match triggers {
        Some((words, severity)) => json!({
            "routing_key": key,
            "event_action": "trigger",
            "dedup_key": id,
            "payload": { "summary": words, "source": source, "severity": severity.as_str() },
        }),
        None => json!({ "routing_key": key, "event_action": "resolve", "dedup_key": id }),
    }
}
