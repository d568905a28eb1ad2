//! What is sent: a message as each kind of receiver reads it.

use bytes::Bytes;
use relay_core::{
    alert::{Item, News, Scope, Severity},
    time::Wall,
};
use relay_providers::{Draft, Signer};
use serde_json::{Value, json};

use super::notice::{Notice, Speaker};
use crate::{
    clock::rfc3339,
    config::alert::{Format, Post},
    secret::{hex, sha256},
};

/// Lines of conditions in a message of a chat.
const LINES_MAX: usize = 15;
/// Characters of a line there: less than what is shown of a sentence without unfolding it.
const LINE_CHARS_MAX: usize = 300;

/// Characters of what names an incident of PagerDuty, and of what it says.
const DEDUP_KEY_MAX: usize = 255;
const SUMMARY_CHARS_MAX: usize = 1_024;

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
pub(super) fn requests(notice: &Notice, post: &Post, from: &Speaker, present: Wall) -> Result<Vec<Request>, String> {
    let plain = |body: Value| Request { headers: Vec::new(), body: body.to_string().into() };
    match post.format {
        Format::StandardWebhooks => signed(notice, post, from, present).map(|request| vec![request]),
        Format::Slack => Ok(vec![plain(json!({ "text": escaped(&text(&lines(notice, from))), "mrkdwn": false }))]),
        Format::Teams => Ok(vec![plain(card(&lines(notice, from)))]),
        Format::PagerDuty => {
            let key = post.secret.as_deref().unwrap_or_default();
            Ok(events(notice, key, from).into_iter().map(plain).collect())
        }
    }
}

/// What a Standard Webhook says, and a command reads.
pub(super) fn webhook(notice: &Notice, from: &Speaker) -> Value {
    let Notice { message, is_test, .. } = notice;
    let kind = if *is_test {
        "alert.test"
    } else if message.begun.is_empty() && message.lasting.is_empty() {
        "alert.over"
    } else {
        "alert.firing"
    };
    let items = |items: &[Item]| items.iter().map(|one| item(one, from)).collect::<Vec<_>>();
    json!({
        "type": kind,
        "timestamp": rfc3339(message.at),
        "data": {
            "alert": message.alert.as_str(),
            "relay": from.relay,
            "server": from.server,
            "severity": message.severity().as_str(),
            "summary": summary(notice, from),
            "begun": items(&message.begun),
            "over": items(&message.over),
            "lasting": items(&message.lasting),
            "more": message.more,
            "url": from.page(None),
        },
    })
}

fn item(item: &Item, from: &Speaker) -> Value {
    json!({
        "kind": item.key.kind.as_str(),
        "subject": item.key.subject.as_ref().map(ToString::to_string),
        "severity": item.severity.as_str(),
        "news": item.news.as_str(),
        "words": item.words,
        "since": rfc3339(item.since),
        "count": item.count,
        "url": from.page(Some(&item.key)),
    })
}

/// By the present, as whoever checks it looks at his clock.
fn signed(notice: &Notice, post: &Post, from: &Speaker, present: Wall) -> Result<Request, String> {
    let parameters = [("secret".to_owned(), post.secret.clone().unwrap_or_default())];
    let signer = Signer::new("standard-webhooks", &parameters).map_err(|_| "the secret cannot sign".to_owned())?;
    let draft = Draft::post(post.url.to_string(), webhook(notice, from).to_string());
    let draft = signer.sign(draft, &notice.id, present).map_err(|error| error.to_string())?;
    Ok(Request { headers: draft.headers, body: draft.body })
}

/// A line, for a subject or a notification.
fn summary(notice: &Notice, from: &Speaker) -> String {
    let Notice { message, is_test, .. } = notice;
    let who = who(from);
    if *is_test {
        return format!("{who}: a test of the alert {}; nothing is wrong", message.alert);
    }
    let counted = [(message.begun.len(), "new"), (message.over.len(), "over"), (message.lasting.len(), "still so")];
    let mut parts: Vec<String> =
        counted.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if message.more > 0 {
        parts.push(format!("{} more", message.more));
    }
    format!("{who} [{}]: {}", message.severity().as_str(), parts.join(", "))
}

/// `crm-relay production at one`, as far as that has to be told.
fn who(from: &Speaker) -> String {
    let part = |word: &str, name: &str| if name.is_empty() { String::new() } else { format!("{word}{name}") };
    format!("crm-relay{}{}", part(" ", &from.relay), part(" at ", &from.server))
}

/// A line for people, and the page where they look.
struct Saying {
    words: String,
    url: Option<String>,
}

/// Some lines for people.
fn lines(notice: &Notice, from: &Speaker) -> Vec<Saying> {
    let mut lines = vec![Saying { words: summary(notice, from), url: from.page(None) }];
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
        let words = format!("{news} [{}]: {words}", item.severity.as_str());
        lines.push(Saying { words, url: from.page(Some(&item.key)) });
    }
    if items.len() > LINES_MAX {
        let words = format!("and {} more: crm-relay alert list", items.len() - LINES_MAX);
        lines.push(Saying { words, url: None });
    }
    lines
}

/// One below the other; chats make a link of what looks like one.
fn text(lines: &[Saying]) -> String {
    let line = |line: &Saying| match &line.url {
        Some(url) => format!("{} {url}", line.words),
        None => line.words.clone(),
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Nothing in it mentions a channel, a user or a link (Slack, "Escaping text").
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// An Adaptive Card of runs of text, in which nothing is markup.
fn card(lines: &[Saying]) -> Value {
    let line = |line: &Saying| {
        let mut runs = vec![json!({ "type": "TextRun", "text": line.words })];
        runs.extend(line.url.as_ref().map(|url| {
            json!({ "type": "TextRun", "text": " Look", "selectAction": { "type": "Action.OpenUrl", "url": url } })
        }));
        json!({ "type": "RichTextBlock", "inlines": runs })
    };
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": lines.iter().map(line).collect::<Vec<_>>(),
            },
        }],
    })
}

/// Events for PagerDuty: an incident for each condition of a relay, whichever message or server says that it is over.
fn events(notice: &Notice, key: &str, from: &Speaker) -> Vec<Value> {
    let Notice { message, is_test, .. } = notice;
    if *is_test {
        let id = incident(&[&from.relay, message.alert.as_str(), "test"]);
        let words = summary(notice, from);
        let triggers = event(key, &id, Some((&words, Severity::Info)), from);
        return vec![linked(triggers, from.page(None)), event(key, &id, None, from)];
    }
    let of_item = |item: &Item| {
        let subject = item.key.subject.as_ref().map(ToString::to_string).unwrap_or_default();
        let own = match item.key.scope {
            Scope::Server => from.server.as_str(),
            Scope::Store => "",
        };
        let id = incident(&[&item.relay, message.alert.as_str(), item.key.kind.as_str(), &subject, own]);
        let words = if from.relay.is_empty() { item.words.clone() } else { format!("{}: {}", from.relay, item.words) };
        let triggers = (item.news != News::Over).then_some((words.as_str(), item.severity));
        linked(event(key, &id, triggers, from), triggers.and_then(|_| from.page(Some(&item.key))))
    };
    message.items().map(of_item).collect()
}

/// Names an incident by these, of which the first is the relay: an earlier version, which knew of none, named it without.
fn incident(parts: &[&str]) -> String {
    let parts = if parts[0].is_empty() { &parts[1..] } else { parts };
    let id = format!("crm-relay/{}", parts.join("/"));
    if id.len() <= DEDUP_KEY_MAX { id } else { format!("crm-relay/{}", hex(&sha256(id.as_bytes()))) }
}

/// With the page where somebody looks.
fn linked(mut event: Value, page: Option<String>) -> Value {
    if let Some(url) = page {
        event["links"] = json!([{ "href": url, "text": "crm-relay" }]);
    }
    event
}

fn event(key: &str, id: &str, triggers: Option<(&str, Severity)>, from: &Speaker) -> Value {
    let source = [&from.server, &from.relay].into_iter().find(|name| !name.is_empty());
    match triggers {
        Some((words, severity)) => json!({
            "routing_key": key,
            "event_action": "trigger",
            "dedup_key": id,
            "payload": {
                "summary": first(words, SUMMARY_CHARS_MAX),
                "source": source.map_or("crm-relay", String::as_str),
                "group": from.relay,
                "severity": severity.as_str(),
            },
        }),
        None => json!({ "routing_key": key, "event_action": "resolve", "dedup_key": id }),
    }
}

/// No more than so many characters.
fn first(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
