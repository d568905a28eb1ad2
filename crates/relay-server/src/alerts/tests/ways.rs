//! Each way out, alone: its bytes, and what happens where nobody takes them.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use relay_core::{
    alert::{Item, Key, Kind, Message, News},
    time::Mono,
};
use relay_providers::{Verdict, Verifier};

use super::*;
use crate::config::{Fetching, Names, alert::Command};

fn receiver(way: Way, fetching: Fetching) -> (Arc<Receiver>, Untold) {
    let (untold, metrics) = (Untold::default(), Arc::default());
    let fetcher = Arc::new(Fetcher::new(fetching).unwrap());
    let clock = Clock::start(Wall::MIN);
    (Arc::new(Receiver::new(alert("ops", way), speaker(), fetcher, clock, metrics, untold.clone())), untold)
}

fn speaker() -> Speaker {
    Speaker { relay: "production".into(), server: "one".into(), dashboard: None }
}

fn item(kind: Kind, subject: Option<&str>, words: &str, news: News) -> Item {
    let subject = subject.map(|name| name.parse().unwrap());
    let scope = if subject.is_some() { Scope::Store } else { Scope::Server };
    let (key, severity) = (Key { kind, subject, scope }, Severity::Critical);
    let (since, relay) = (Wall::from_micros(1_700_000_000_000_000), "production".into());
    Item { key, severity, words: words.into(), since, count: 3, news, relay }
}

fn message() -> Message {
    Message {
        alert: "ops".parse().unwrap(),
        at: Wall::from_micros(1_700_000_060_000_000),
        begun: vec![item(Kind::NoClient, Some("crm"), "no <!channel> client & none\u{1b}[2J", News::Begun)],
        over: vec![item(Kind::Disk, None, "room runs out", News::Over)],
        lasting: Vec::new(),
        more: 0,
    }
}

fn notice() -> Notice {
    Notice { id: "msg_1".into(), message: message(), server: None, is_test: false }
}

/// A receiver's own library would take it: id, time and signature over the bytes that came.
#[tokio::test]
async fn a_standard_webhook_is_signed() {
    let target = Target::start().await;
    let (receiver, _) = receiver(Way::Post(post_to(&target, Format::StandardWebhooks)), Fetching::default());
    receiver.send_once(&notice()).await.unwrap();
    let got = target.until(1).await.remove(0);
    assert_eq!((got.path.as_str(), got.header("webhook-id")), ("/hooks/T0/canary", Some("msg_1")));
    assert_eq!(got.header("host"), Some(target.addr.to_string().as_str()));
    let verifier = Verifier::new("standard-webhooks", &[("secret".to_owned(), SECRET.to_owned())]).unwrap();
    let mut draft = relay_providers::Draft::post("http://h/", got.body.clone());
    let of_wire = got.headers.iter().map(|(name, value)| (Bytes::from(name.clone()), Bytes::from(value.clone())));
    draft.headers = of_wire.collect();
    let now = Clock::start(Wall::MIN).present();
    assert!(matches!(verifier.judge(&draft.request(now, &[])), Verdict::Genuine(_)));
    draft.body = "{}".into();
    assert!(matches!(verifier.judge(&draft.request(now, &[])), Verdict::Refused(_)));
    let json = got.json();
    assert_eq!((&json["type"], &json["timestamp"]), (&json!("alert.firing"), &json!("2023-11-14T22:14:20.000000Z")));
    assert_eq!((&json["data"]["server"], &json["data"]["begun"][0]["news"]), (&json!("one"), &json!("begun")));
}

/// What a target said stands in a message for a chat: it mentions nobody there and moves nothing.
#[tokio::test]
async fn chats_get_text_and_no_markup() {
    let target = Target::start().await;
    for (format, number) in [(Format::Slack, 1), (Format::Teams, 2)] {
        let (receiver, _) = receiver(Way::Post(post_to(&target, format)), Fetching::default());
        receiver.send_once(&notice()).await.unwrap();
        target.until(number).await;
    }
    let got = target.got();
    let slack = got[0].json();
    assert_eq!(
        slack["text"],
        "crm-relay production at one [critical]: 1 new, 1 over\nnew [critical]: no &lt;!channel&gt; client &amp; none[2J\nover [critical]: \
         room runs out"
    );
    let body = &got[1].json()["attachments"][0]["content"]["body"];
    assert_eq!(
        body[1]["inlines"][0],
        json!({ "type": "TextRun", "text": "new [critical]: no <!channel> client & none[2J" })
    );
}

/// Whoever is told can go to where he looks, whichever way he is told: below the path where the dashboard is.
#[test]
fn each_way_out_leads_to_the_page_of_what_is_wrong() {
    let post = |format| {
        let secret = (format == Format::StandardWebhooks).then(|| SECRET.to_owned());
        Post { url: "https://h/".parse().unwrap(), format, secret, allow_private: false }
    };
    let told = |format, from: &Speaker| {
        let requests = format::requests(&notice(), &post(format), from, Wall::MIN).unwrap();
        requests.iter().map(|one| serde_json::from_slice::<Value>(&one.body).unwrap()).collect::<Vec<_>>()
    };
    let from = Speaker { dashboard: Some("https://ops.example/relay/".into()), ..speaker() };
    let (crm, alerts) = ("https://ops.example/relay/destinations/crm", "https://ops.example/relay/alerts");
    let data = &told(Format::StandardWebhooks, &from)[0]["data"];
    assert_eq!(
        (&data["url"], &data["begun"][0]["url"], &data["over"][0]["url"]),
        (&json!(alerts), &json!(crm), &json!(alerts))
    );
    let slack = told(Format::Slack, &from)[0]["text"].as_str().unwrap().to_owned();
    let ends: Vec<&str> = slack.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(ends, [alerts, crm, alerts]);
    let teams = told(Format::Teams, &from);
    let run = &teams[0]["attachments"][0]["content"]["body"][1]["inlines"][1];
    assert_eq!(run["selectAction"], json!({ "type": "Action.OpenUrl", "url": crm }));
    let incidents = told(Format::PagerDuty, &from);
    assert_eq!(incidents[0]["links"], json!([{ "href": crm, "text": "crm-relay" }]));
    assert_eq!(incidents[1]["links"], Value::Null, "it is over");
    // Nobody said where the dashboard is.
    assert_eq!(told(Format::StandardWebhooks, &speaker())[0]["data"]["begun"][0]["url"], Value::Null);
}

/// An incident for each condition, with a key that the message which ends it has too; a try that broke off goes on where it was.
#[tokio::test]
async fn pagerduty_has_an_incident_for_each_condition() {
    let target = Target::start().await;
    target.answer(&["HTTP/1.1 202 Accepted\r\n\r\n", "HTTP/1.1 429 Slow Down\r\n\r\n"]);
    let (receiver, _) = receiver(Way::Post(post_to(&target, Format::PagerDuty)), Fetching::default());
    let running = Arc::clone(&receiver);
    let run = tokio::spawn(async move { running.run().await });
    receiver.put(Notice::of(message()));
    target.until(2).await;
    while receiver.account().error.is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    advance(limits::ALERT_RETRY_FIRST).await;
    let got: Vec<Value> = target.until(3).await.iter().map(target::Got::json).collect();
    let said = got.iter().map(|event| (event["event_action"].as_str().unwrap(), event["dedup_key"].as_str().unwrap()));
    let resolve = ("resolve", "crm-relay/production/ops/disk//one");
    assert_eq!(said.collect::<Vec<_>>(), [("trigger", "crm-relay/production/ops/no_client/crm/"), resolve, resolve]);
    assert_eq!((&got[0]["routing_key"], &got[0]["payload"]["severity"]), (&json!(SECRET), &json!("critical")));
    assert!(got[0]["payload"]["summary"].as_str().unwrap().starts_with("production: no "), "{}", got[0]);
    run.abort();
}

/// Two relays that tell one PagerDuty end their own incidents alone; what a version told that knew of no relays it would have ended by the
/// same key; and a key is never longer than is taken.
#[test]
fn incidents_of_two_relays_are_told_apart() {
    let keys = |relay: &str, server: String| {
        let post =
            Post { url: "https://h/".parse().unwrap(), format: Format::PagerDuty, secret: None, allow_private: false };
        let mut notice = notice();
        notice.message.begun.iter_mut().chain(&mut notice.message.over).for_each(|item| item.relay = relay.into());
        let requests = format::requests(&notice, &post, &Speaker { server, ..speaker() }, Wall::MIN).unwrap();
        let key =
            |request: &format::Request| serde_json::from_slice::<Value>(&request.body).unwrap()["dedup_key"].clone();
        requests.iter().map(|request| key(request).as_str().unwrap().to_owned()).collect::<BTreeSet<String>>()
    };
    let (one, other) = (keys("a", "one".into()), keys("b", "one".into()));
    assert!(one.is_disjoint(&other), "{one:?} {other:?}");
    assert_eq!(
        keys("", "one".into()),
        ["crm-relay/ops/disk//one", "crm-relay/ops/no_client/crm/"].map(String::from).into()
    );
    let long = keys("a", "s".repeat(300));
    assert!(long.iter().all(|key| key.len() <= 255) && long != keys("a", "t".repeat(300)), "{long:?}");
}

/// A target that is away is tried again until it is there; then it has the message once, with the id of the first try.
#[tokio::test]
async fn a_target_that_is_away_is_told_later() {
    let target = Target::start().await;
    target.answer(&["HTTP/1.1 503 No\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n"]);
    let (receiver, untold) = receiver(Way::Post(post_to(&target, Format::StandardWebhooks)), Fetching::default());
    let running = Arc::clone(&receiver);
    let run = tokio::spawn(async move { running.run().await });
    receiver.put(Notice::of(message()));
    for tries in 1..3_usize {
        target.until(tries).await;
        let failed = || receiver.account().error.is_some() && Arc::strong_count(&receiver) > 0;
        while !failed() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        advance(relay_core::alert::pause_after(tries as u32).unwrap()).await;
    }
    let got = target.until(3).await;
    while !receiver.is_idle() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let ids: BTreeSet<&str> = got.iter().map(|got| got.header("webhook-id").unwrap()).collect();
    assert_eq!((ids.len(), receiver.account().told, receiver.account().untold), (1, 1, 0));
    assert!(receiver.account().error.is_none() && untold.all().is_empty());
    run.abort();
}

/// Messages that nobody takes fill no memory: no more are taken, and one that is given up is counted, and goes back to who made it.
#[tokio::test]
async fn messages_that_nobody_takes_are_given_up() {
    let target = Target::start().await;
    target.answer(&["HTTP/1.1 500 Oh No\r\n\r\n"; 64]);
    let (receiver, untold) = receiver(Way::Post(post_to(&target, Format::StandardWebhooks)), Fetching::default());
    let running = Arc::clone(&receiver);
    let run = tokio::spawn(async move { running.run().await });
    receiver.put(Notice::of(message()));
    target.until(1).await;
    while receiver.has_room() {
        receiver.put(Notice::of(message()));
    }
    let account = receiver.account();
    assert_eq!((account.waiting, account.untold), (limits::ALERT_MESSAGES_MAX + 1, 0));
    // The one that is tried is given up after half a day.
    let half_a_day: Duration = (1..).map_while(relay_core::alert::pause_after).sum();
    tokio::time::pause();
    while receiver.account().untold < 1 {
        tokio::time::advance(half_a_day / 200).await;
        // Sockets do not wait for a clock.
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    assert!(untold.all()[&"ops".parse::<Name>().unwrap()].since > Mono::default());
    assert_eq!((receiver.take_given_up(), receiver.take_given_up()), (vec![message()], Vec::new()));
    run.abort();
}

/// Who refuses for good is tried thrice and not for half a day: that is a reason which others are told, and he is asked again after an hour,
/// or as soon as somebody tried it by hand and was heard. Who is busy, or fails, is tried on.
#[tokio::test]
async fn a_target_that_refuses_for_good_is_asked_thrice() {
    let target = Target::start().await;
    target.answer(&["HTTP/1.1 429 Slow Down\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n"]);
    target.answer(&["HTTP/1.1 403 No\r\n\r\n"; 6]);
    let (receiver, untold) = receiver(Way::Post(post_to(&target, Format::StandardWebhooks)), Fetching::default());
    let running = Arc::clone(&receiver);
    let run = tokio::spawn(async move { running.run().await });
    let failed = async |tries: usize| {
        target.until(tries).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        advance(limits::ALERT_RETRY_MAX).await;
    };
    receiver.put(Notice::of(message()));
    for tries in 1..5 {
        assert_eq!((receiver.account().untold, receiver.has_room()), (0, true), "{tries}");
        failed(tries).await;
    }
    let until_given_up = async |count| {
        target.until(2 + 3 * count as usize).await;
        while receiver.account().untold < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    until_given_up(1).await;
    assert_eq!((receiver.take_given_up(), receiver.has_room()), (vec![message()], false));
    let why = untold.all()[&"ops".parse::<Name>().unwrap()].why.clone();
    assert!(why.starts_with("127.0.0.1: status 403, which is for good"), "{why}");
    // What waits meanwhile is tried an hour later, and refused again.
    receiver.put(Notice::of(message()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(target.got().len(), 5);
    advance(limits::ALERT_REFUSED_PAUSE).await;
    for tries in 6..8 {
        failed(tries).await;
    }
    until_given_up(2).await;
    receiver.put(Notice::of(message()));
    receiver.send_once(&notice()).await.unwrap();
    target.until(10).await;
    assert!(receiver.has_room() && untold.all().is_empty());
    run.abort();
}

/// Once another server tells what is of the store, what waits here says nothing of it, nor what is tried again.
#[tokio::test]
async fn what_another_server_tells_is_not_told_here() {
    let target = Target::start().await;
    target.answer(&["HTTP/1.1 503 No\r\n\r\n"]);
    let (receiver, _) = receiver(Way::Post(post_to(&target, Format::StandardWebhooks)), Fetching::default());
    let running = Arc::clone(&receiver);
    let run = tokio::spawn(async move { running.run().await });
    receiver.put(Notice::of(message()));
    target.until(1).await;
    while receiver.account().error.is_none() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    receiver.put(Notice::of(Message { over: Vec::new(), ..message() }));
    receiver.put(Notice::of(message()));
    receiver.leave();
    assert_eq!(receiver.account().waiting, 2, "one of them said nothing else");
    advance(limits::ALERT_RETRY_FIRST).await;
    for got in &target.until(3).await[1..] {
        assert_eq!((of(&got.json(), "begun").len(), of(&got.json(), "over").len()), (0, 1));
    }
    run.abort();
}

/// S19: a redirect is a failure, and nobody asks where it leads.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (target, elsewhere) = (Target::start().await, Target::start().await);
    let head = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://{}/\r\n\r\n", elsewhere.addr);
    target.answer(&[Box::leak(head.into_boxed_str())]);
    let (receiver, _) = receiver(Way::Post(post_to(&target, Format::Slack)), Fetching::default());
    let why = receiver.send_once(&notice()).await.unwrap_err();
    assert_eq!(why, "127.0.0.1: status 307; redirects are not followed");
    assert_eq!((target.got().len(), elsewhere.got().len()), (1, 0));
}

/// A target that takes the message and says nothing is given up within its time.
#[tokio::test]
async fn a_target_that_says_nothing_is_given_up() {
    let target = Target::start().await;
    target.answer(&[""]);
    let (receiver, _) = receiver(Way::Post(post_to(&target, Format::Slack)), Fetching::default());
    let notice = notice();
    let (sent, ()) = tokio::join!(receiver.send_once(&notice), async {
        target.until(1).await;
        advance(limits::ALERT_TIMEOUT).await;
    });
    assert_eq!(sent.unwrap_err(), "127.0.0.1: no answer within 10 s");
}

/// Who takes a message and says so late is asked for longer each time, until he is heard, and from then on at once: he hears each message once.
#[tokio::test]
async fn a_target_that_answers_late_is_waited_for() {
    let target = Target::start().await;
    target.answer(&["", ""]);
    let (receiver, _) = receiver(Way::Post(post_to(&target, Format::Slack)), Fetching::default());
    let notice = notice();
    for (tries, within) in [(1, limits::ALERT_TIMEOUT), (2, limits::ALERT_TIMEOUT * 2)] {
        let (sent, ()) = tokio::join!(receiver.send_once(&notice), async {
            target.until(tries).await;
            advance(within).await;
        });
        assert_eq!(sent.unwrap_err(), format!("127.0.0.1: no answer within {} s", within.as_secs()));
    }
    assert_eq!(receiver.patience(), limits::ALERT_TIMEOUT * 4);
    assert_eq!(receiver.send_once(&notice).await, Ok(()));
    assert_eq!(receiver.patience(), limits::ALERT_TIMEOUT * 4, "the next message has as long");
}

/// S16: an address inside the operator's network is dialled only where the alert says so, however it is written.
#[tokio::test]
async fn private_addresses_are_refused() {
    let target = Target::start().await;
    let hosts = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0", "169.254.169.254", "10.0.0.1"];
    for host in hosts.into_iter().chain(["2130706433", "0x7f.1", "0177.0.0.1"]) {
        let url = format!("https://{host}:{}/", target.addr.port()).parse().unwrap();
        let post = Post { url, format: Format::Slack, secret: None, allow_private: false };
        let why = receiver(Way::Post(post), Fetching::default()).0.send_once(&notice()).await.unwrap_err();
        let is_refused = why.contains("not one of the public internet") || why.contains("cannot resolve the name");
        assert!(is_refused, "{host}: {why}");
    }
    let post = Post { allow_private: false, ..post_to(&target, Format::Slack) };
    let why = receiver(Way::Post(post), Fetching::default()).0.send_once(&notice()).await.unwrap_err();
    assert!(why.contains("not https"), "{why}");
    assert_eq!(target.got(), []);
}

/// S17: a name is looked up once a try, all its addresses are judged, and those are dialled: a resolver that answers otherwise the next
/// time leads nowhere.
#[tokio::test]
async fn a_name_that_changes_its_address_leads_nowhere() {
    let target = Target::start().await;
    let asked = Arc::new(Mutex::new(0));
    let answers = Arc::clone(&asked);
    let (public, private): (IpAddr, IpAddr) = ("198.51.100.1".parse().unwrap(), "127.0.0.1".parse().unwrap());
    let names = Names::new(move |host| {
        assert_eq!(host, "hooks.example.com");
        let mut asked = answers.lock().unwrap();
        *asked += 1;
        match *asked {
            1 => vec![public],
            2 => vec![public, private],
            _ => vec![private],
        }
    });
    let url = format!("https://hooks.example.com:{}/", target.addr.port()).parse().unwrap();
    let post = Post { url, format: Format::Slack, secret: None, allow_private: false };
    let (receiver, _) = receiver(Way::Post(post), Fetching { names, ..Fetching::default() });
    let notice = notice();
    // Nobody is at that address: whether it is refused or silent is the network's to say.
    let (first, ()) = tokio::join!(receiver.send_once(&notice), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        advance(limits::ALERT_TIMEOUT).await;
    });
    assert!(!first.unwrap_err().contains("public internet"), "it was dialled");
    assert_eq!(*asked.lock().unwrap(), 1);
    for lookups in 2..=3 {
        let why = receiver.send_once(&notice).await.unwrap_err();
        assert!(why.contains("not one of the public internet"), "{why}");
        assert_eq!(*asked.lock().unwrap(), lookups);
    }
    assert_eq!(target.got(), []);
}

fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("tell");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path
}

async fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let program = program.display().to_string();
    let arguments = arguments.iter().map(ToString::to_string).collect();
    let (receiver, _) = receiver(Way::Command(Command { program, arguments }), Fetching::default());
    receiver.send_once(&notice()).await
}

/// A command gets JSON and its arguments as they are, and nothing of the server's environment.
#[tokio::test]
async fn a_command_reads_json_and_no_environment() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out").display().to_string();
    let program = script(dir.path(), r#"cat > "$1"; printf '%s' "$2" > "$1.argument"; env > "$1.env""#);
    run(&program, &[&out, "$(id); `id` 'x'"]).await.unwrap();
    let got: Value = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
    assert_eq!((&got["type"], of(&got, "begun").len()), (&json!("alert.firing"), 1));
    assert_eq!(fs::read_to_string(format!("{out}.argument")).unwrap(), "$(id); `id` 'x'", "no shell");
    let environment = fs::read_to_string(format!("{out}.env")).unwrap();
    let names: BTreeSet<&str> =
        environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // What a shell sets itself.
    assert!(names.is_subset(&BTreeSet::from(["PATH", "PWD", "SHLVL", "_", "OLDPWD"])), "{names:?}");
}

#[tokio::test]
async fn a_command_that_fails_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let program = script(dir.path(), "echo 'no\u{1b}[2J modem' >&2; echo more >&2; exit 3");
    assert_eq!(run(&program, &[]).await.unwrap_err(), "exit status: 3: no[2J modem");
    let program = script(dir.path(), "yes x | head -c 10000000 >&2; yes | head -c 10000000; exit 0");
    assert_eq!(run(&program, &[]).await, Ok(()), "however much it prints");
    // A child of it that goes on holds its standard error open, and is not waited for.
    let program = script(dir.path(), "echo 'no modem' >&2; sleep 1000 & exit 3");
    assert_eq!(run(&program, &[]).await.unwrap_err(), "exit status: 3: no modem");
    let why = run(&dir.path().join("nowhere"), &[]).await.unwrap_err();
    assert!(why.starts_with("cannot start") && why.contains("No such file"), "{why}");
}

/// One that does not end is killed in its time, with whatever it has started.
#[tokio::test]
async fn a_command_that_does_not_end_is_killed_with_its_children() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    let program =
        script(dir.path(), "sleep 1000 & echo $! > \"$1.new\"; echo $$ >> \"$1.new\"; mv \"$1.new\" \"$1\"; wait");
    let argument = pids.display().to_string();
    let arguments = [argument.as_str()];
    let (ran, ()) = tokio::join!(run(&program, &arguments), async {
        while !pids.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        advance(limits::ALERT_TIMEOUT).await;
    });
    assert_eq!(ran.unwrap_err(), "it took longer than 10 s and was killed");
    let alive = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    let pids = fs::read_to_string(&pids).unwrap();
    assert_eq!(pids.lines().count(), 2);
    while pids.lines().any(alive) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// S27
#[test]
fn what_is_declared_shows_no_secret() {
    let url = "https://hooks.example.com/services/canary".parse().unwrap();
    let post = Post { url, format: Format::Slack, secret: Some("canary".into()), allow_private: false };
    let command = Command { program: "/bin/tell".into(), arguments: vec!["canary".into()] };
    let shown = format!("{:?} {:?}", alert("a", Way::Post(post)), alert("b", Way::Command(command)));
    assert!(shown.contains("hooks.example.com") && shown.contains("/bin/tell") && !shown.contains("canary"), "{shown}");
}
