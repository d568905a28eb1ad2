//! Names of events, as lists, filters and pages have them.

use std::{fs, path::Path};

use relay_core::time::Wall;
use relay_providers::{Draft, Genuine, Request, Verdict, provider, providers};

use crate::acting::{Acting, URL};

const NOW: Wall = Wall::from_micros(1_763_000_000_123_000);

/// Each provider's sample. Where there is none, nobody but whoever writes the sender knows what is in a body.
const NAMES: &[(&str, Option<&str>)] = &[
    ("adyen", Some("AUTHORISATION")),
    ("airtable", None),
    ("api-key", None),
    ("asana", Some("task.changed")),
    ("authorize_net", Some("net.authorize.payment.authcapture.created")),
    ("aws-sns", Some("Notification")),
    ("azure-event-grid", Some("Microsoft.Storage.BlobCreated")),
    ("basic", None),
    ("bearer", None),
    ("bigcommerce", Some("store/order/created")),
    ("bitbucket", Some("repo:push")),
    ("box", Some("FILE.UPLOADED")),
    ("braintree", Some("subscription_charged_successfully")),
    ("calendly", Some("invitee.created")),
    ("circleci", Some("workflow-completed")),
    ("cloudevents", Some("com.example.order.created")),
    ("contentful", Some("ContentManagement.Entry.publish")),
    ("discord", Some("APPLICATION_AUTHORIZED")),
    ("docusign", Some("envelope-completed")),
    ("dropbox", Some("list_folder")),
    ("ebay", Some("MARKETPLACE_ACCOUNT_DELETION")),
    ("freshdesk", None),
    ("front", Some("inbound_received")),
    ("github", Some("issues")),
    ("gitlab", Some("Push Hook")),
    ("gocardless", Some("payments.confirmed")),
    ("google-pubsub", Some("OBJECT_FINALIZE")),
    ("hmac", None),
    ("hubspot", Some("contact.creation")),
    ("intercom", Some("contact.user.created")),
    ("jira", Some("jira:issue_created")),
    ("klaviyo", Some("event:klaviyo.opened_email")),
    ("lemonsqueezy", Some("order_created")),
    ("line", Some("message")),
    ("linear", Some("Issue.create")),
    ("linkedin", Some("ORGANIZATION_SOCIAL_ACTION_NOTIFICATIONS")),
    ("mailgun", Some("delivered")),
    ("mandrill", Some("send")),
    ("mercadopago", Some("payment.updated")),
    ("meta", Some("messages")),
    ("microsoft-graph", Some("created")),
    ("monday", Some("create_pulse")),
    ("mux", Some("video.asset.ready")),
    ("notion", Some("page.content_updated")),
    ("okta", Some("user.lifecycle.create")),
    ("paddle", Some("transaction.completed")),
    ("pagerduty", Some("incident.triggered")),
    ("paypal", Some("PAYMENT.CAPTURE.COMPLETED")),
    ("paystack", Some("charge.success")),
    ("pipedrive", Some("create.deal")),
    ("postmark", Some("Delivery")),
    ("razorpay", Some("payment.captured")),
    ("recharge", Some("charge")),
    ("recurly", Some("account.created")),
    ("revolut", Some("TransactionStateChanged")),
    ("salesforce", Some("Contact")),
    ("sanity", Some("update")),
    ("sendgrid", Some("delivered")),
    ("shopify", Some("orders/create")),
    ("sinch", Some("message")),
    ("slack", Some("message")),
    ("square", Some("payment.created")),
    ("standard-webhooks", Some("contact.created")),
    ("stripe", Some("invoice.paid")),
    ("svix", Some("contact.created")),
    ("telegram", Some("message")),
    ("telnyx", Some("message.received")),
    ("trello", Some("updateCard")),
    ("twilio", Some("received")),
    ("twitch", Some("channel.follow")),
    ("typeform", Some("form_response")),
    ("vercel", Some("deployment.succeeded")),
    ("woocommerce", Some("order.created")),
    ("workos", Some("dsync.user.created")),
    ("x-twitter", Some("direct_message_events")),
    ("xero", Some("CONTACT.CREATE")),
    ("zendesk", Some("zen:event-type:ticket.created")),
    ("zoho-crm", Some("Leads.insert")),
    ("zoom", Some("meeting.ended")),
];

#[test]
fn the_name_of_every_sample_is_the_one_that_its_page_shows() {
    let found: Vec<_> = providers().iter().map(|entry| (entry.name, Acting::new(entry).event())).collect();
    let expected: Vec<_> = NAMES.iter().map(|(name, event)| (*name, event.map(str::to_owned))).collect();
    assert_eq!(found, expected);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/providers");
    for (name, event) in NAMES {
        let page = fs::read_to_string(folder.join(format!("{name}.md"))).expect("each provider has a page");
        let row = page.lines().find_map(|line| line.strip_prefix("| name of the event | ")).expect("it has that row");
        match event {
            Some(event) => assert!(row.ends_with(&format!("; the sample's is `{event}` |")), "{name}: {row}"),
            None => assert_eq!(row, "none |", "{name}"),
        }
    }
}

/// What is said of an unsigned request is what is stored of the signed one.
#[test]
fn a_name_is_the_same_before_and_after_signing() {
    for entry in providers() {
        let acting = Acting::new(entry);
        let draft = entry.draft(URL, "wh_1", NOW);
        assert_eq!(entry.event_in(&draft.request(NOW, &[])), acting.event(), "{}", entry.name);
    }
}

#[test]
fn other_shapes_of_a_platforms_webhooks_have_names_too() {
    const FORM: &str = "application/x-www-form-urlencoded";
    const CLOUD_EVENT: &str = "application/cloudevents+json; charset=utf-8";
    for (name, content_type, body, expected) in [
        // Event Grid with the delivery schema of CloudEvents: an object each, or a batch.
        (
            "azure-event-grid",
            CLOUD_EVENT,
            r#"{"specversion":"1.0","type":"Microsoft.Storage.BlobCreated"}"#,
            "Microsoft.Storage.BlobCreated",
        ),
        ("azure-event-grid", "application/cloudevents-batch+json", r#"[{"specversion":"1.0","type":"a.b"}]"#, "a.b"),
        (
            "cloudevents",
            CLOUD_EVENT,
            r#"{"specversion":"1.0","type":"com.example.order.created"}"#,
            "com.example.order.created",
        ),
        (
            "meta",
            "application/json",
            r#"{"object":"page","entry":[{"id":"1","messaging":[{"sender":{"id":"2"},"recipient":{"id":"3"},"timestamp":4,"postback":{"mid":"m"}}]}]}"#,
            "postback",
        ),
        ("slack", FORM, "token=t&command=%2Fweather&text=94070", "/weather"),
        ("slack", FORM, "payload=%7B%22type%22%3A%22block_actions%22%7D", "block_actions"),
        ("slack", "application/json", r#"{"type":"app_rate_limited","api_app_id":"A1"}"#, "app_rate_limited"),
        ("discord", "application/json", r#"{"type":2,"token":"t","data":{"name":"ask"}}"#, "2"),
        ("telegram", "application/json", r#"{"update_id":1,"callback_query":{"id":"2"}}"#, "callback_query"),
        ("x-twitter", "application/json", r#"{"data":{"event_type":"profile.update.bio"}}"#, "profile.update.bio"),
        (
            "pipedrive",
            "application/json",
            r#"{"v":1,"event":"updated.deal","meta":{"id":1,"action":"updated"}}"#,
            "updated.deal",
        ),
        ("twilio", FORM, "EventType=onMessageAdded&ConversationSid=CH1", "onMessageAdded"),
        (
            "adyen",
            "application/json",
            r#"{"type":"balancePlatform.transfer.created","data":{}}"#,
            "balancePlatform.transfer.created",
        ),
        (
            "microsoft-graph",
            "application/json",
            r#"{"value":[{"subscriptionId":"s","lifecycleEvent":"missed"}]}"#,
            "missed",
        ),
        ("mercadopago", "application/json", r#"{"id":1,"type":"payment","data":{"id":"2"}}"#, "payment"),
    ] {
        let acting = Acting::new(provider(name).expect("in the table"));
        let mut draft = Draft::post(URL, body.to_owned());
        draft.set_header("content-type", content_type);
        let signed = acting.signer.sign(draft, "wh_1", NOW).expect("it can be signed");
        assert_eq!(genuine(&acting, &signed).event.as_deref(), Some(expected), "{name}: {body}");
    }
}

/// What stands in a body is text of whoever may send, which lists, logs and terminals will show.
#[test]
fn a_name_that_nobody_should_see_is_none_and_its_webhook_is_taken() {
    let acting = Acting::new(provider("stripe").expect("in the table"));
    let long = "x".repeat(256);
    for (hostile, is_name) in [
        (r"\u001b[2J", false),
        (r"a\nb", false),
        (r"\u202egnp.exe", false),
        (&long, false),
        ("", false),
        (&long[1..], true),
        ("<script>alert(1)</script>", true),
    ] {
        let body = format!(r#"{{"id":"evt_1","type":"{hostile}"}}"#);
        let signed = acting.signer.sign(Draft::post(URL, body), "wh_1", NOW).expect("it can be signed");
        let event = genuine(&acting, &signed).event;
        assert_eq!(event.as_deref(), Some(hostile).filter(|_| is_name), "{hostile}");
    }
    for other in ["5", "true", "[\"a\"]", "{}", "null"] {
        let body = format!(r#"{{"id":"evt_1","type":{other}}}"#);
        let signed = acting.signer.sign(Draft::post(URL, body), "wh_1", NOW).expect("it can be signed");
        assert!(genuine(&acting, &signed).event.is_none_or(|event| event == other), "{other}");
    }
    let mut odd = Acting::new(provider("github").expect("in the table")).sample("wh_1", NOW);
    odd.set_header("x-github-event", &b"\xff\xfe"[..]);
    let github = Acting::new(provider("github").expect("in the table"));
    assert_eq!(genuine(&github, &odd).event, None);
}

/// Events of one thing are to stay in order; a batch about several is about none of them.
#[test]
fn a_batch_about_several_things_has_no_order() {
    let acting = Acting::new(provider("hubspot").expect("in the table"));
    for (body, order) in [
        (r#"[{"eventId":1,"objectId":7},{"eventId":2,"objectId":7}]"#, Some("7")),
        (r#"[{"eventId":1,"objectId":7},{"eventId":2,"objectId":8}]"#, None),
        (r#"[{"eventId":1,"objectId":7},{"eventId":2,"objectId":[]}]"#, None),
    ] {
        let signed = acting.signer.sign(Draft::post(URL, body), "wh_1", NOW).expect("it can be signed");
        assert_eq!(genuine(&acting, &signed).order.as_deref(), order, "{body}");
    }
}

impl Acting {
    fn event(&self) -> Option<String> {
        genuine(self, &self.sample("wh_1", NOW)).event
    }
}

fn genuine(acting: &Acting, draft: &Draft) -> Genuine {
    let request: Request<'_> = draft.request(NOW, &acting.fetched);
    match acting.verifier.judge(&request) {
        Verdict::Genuine(genuine) => genuine,
        other => panic!("{}: {other:?}", acting.provider.name),
    }
}
