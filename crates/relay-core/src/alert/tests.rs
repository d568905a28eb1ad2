use std::{collections::BTreeSet, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    limits,
    time::{Mono, Wall},
};

/// Between two looks, as the server takes them.
const EVERY: Duration = Duration::from_secs(5);

fn at(seconds: u64) -> Now {
    Now { wall: Wall::from_micros(1_000_000_000), mono: Mono::from_micros(1_000) } + Duration::from_secs(seconds)
}

fn key(kind: Kind, subject: &str) -> Key {
    Key { kind, subject: Some(subject.parse().unwrap()), scope: Scope::Store }
}

fn condition(kind: Kind, subject: &str, count: u64) -> Condition {
    let words = format!("{subject}: {}", kind.as_str());
    Condition { key: key(kind, subject), severity: Severity::Warning, words, count }
}

fn rule(severity: Severity, kinds: &[Kind]) -> Rule {
    Rule { kinds: kinds.iter().copied().collect(), severity }
}

fn name() -> Name {
    "ops".parse().unwrap()
}

fn machine() -> Alerts {
    of_store(BTreeMap::from([(name(), rule(Severity::Info, &[]))]))
}

/// Those that tell what is of the store.
fn of_store(rules: BTreeMap<Name, Rule>) -> Alerts {
    let mut alerts = Alerts::new(rules, "production");
    alerts.take();
    alerts
}

/// The messages of the last look, which leave at once.
fn sent(alerts: &mut Alerts) -> Vec<Message> {
    let messages: Vec<Message> = std::iter::from_fn(|| alerts.poll_output()).collect();
    for message in &messages {
        alerts.left(&message.alert);
    }
    messages
}

/// Looks from one second to another, and gives what was told, with when.
fn looks(
    alerts: &mut Alerts,
    seconds: std::ops::Range<u64>,
    mut seen: impl FnMut(u64) -> Vec<Condition>,
) -> Vec<(u64, Message)> {
    let mut told = Vec::new();
    for second in seconds.step_by(EVERY.as_secs() as usize) {
        alerts.handle_look(Look { conditions: seen(second), is_whole: true }, at(second));
        told.extend(sent(alerts).into_iter().map(|message| (second, message)));
    }
    told
}

fn words(message: &Message) -> Vec<(&'static str, String)> {
    message.items().map(|item| (item.news.as_str(), item.key.subject.as_ref().unwrap().to_string())).collect()
}

#[test]
fn what_begins_is_told_after_a_minute_and_what_is_over_too() {
    let mut alerts = machine();
    let down = |second: u64| if second < 300 { vec![condition(Kind::DestinationDown, "crm", 0)] } else { Vec::new() };
    let told = looks(&mut alerts, 0..1_000, down);
    let told: Vec<_> = told.iter().map(|(second, message)| (*second, words(message))).collect();
    assert_eq!(told, [(60, vec![("begun", "crm".into())]), (360, vec![("over", "crm".into())])]);
    assert_eq!((alerts.firing().len(), alerts.over().count()), (0, 1));
}

#[test]
fn what_lasts_less_than_a_minute_is_no_news() {
    let mut alerts = machine();
    let blip = |second: u64| if second < 55 { vec![condition(Kind::Stalled, "crm", 0)] } else { Vec::new() };
    assert!(looks(&mut alerts, 0..7_200, blip).is_empty());
    // Nor is it over, where it is away as shortly.
    let gap = |second: u64| {
        let is_away = (8_000..8_050).contains(&second);
        if is_away { Vec::new() } else { vec![condition(Kind::Stalled, "crm", 0)] }
    };
    assert_eq!(looks(&mut alerts, 7_200..9_000, gap).len(), 1, "that it began");
}

/// One message for all that begins within a hold, one for all that is over.
#[test]
fn what_begins_together_is_one_message() {
    let mut alerts = machine();
    let names = ["a", "b", "c", "d"];
    let all = |second: u64| {
        let begun = names.iter().enumerate().filter(|(number, _)| second >= *number as u64 * 15 && second < 600);
        begun.map(|(_, name)| condition(Kind::NoClient, name, 0)).collect()
    };
    let told = looks(&mut alerts, 0..1_000, all);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].0, told[0].1.begun.len()), (60, 4));
    assert_eq!((told[1].0, told[1].1.over.len()), (660, 4));
}

/// A hundred thousand dead letters within ten minutes, purged a day later.
#[test]
fn a_hundred_thousand_dead_letters_are_three_messages() {
    let mut alerts = machine();
    let dead = |second: u64| {
        let dead = (second * 200).min(100_000);
        if second < 86_400 && dead > 0 { vec![condition(Kind::DeadLetters, "crm", dead)] } else { Vec::new() }
    };
    let told = looks(&mut alerts, 0..3_600 * 2, dead);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((told[0].0, told[0].1.begun[0].count), (65, 13_000));
    assert_eq!((told[1].0, told[1].1.lasting[0].count), (65 + 3_600, 100_000));
    assert_eq!(looks(&mut alerts, 7_200..8_000, |_| Vec::new()).len(), 1);
}

/// What was told and lies around is told again when there is more of it, though seldom.
#[test]
fn more_of_the_same_is_told_once_an_hour() {
    let mut alerts = machine();
    let hour = 3_600;
    assert_eq!(looks(&mut alerts, 0..8 * hour, |_| vec![condition(Kind::DeadLetters, "crm", 3)]).len(), 4);
    let told = looks(&mut alerts, 8 * hour..9 * hour, |_| vec![condition(Kind::DeadLetters, "crm", 4)]);
    assert_eq!((told.len(), told[0].0, told[0].1.lasting[0].count), (1, 8 * hour + 60, 4));
    let told = looks(&mut alerts, 9 * hour..13 * hour, |now| vec![condition(Kind::DeadLetters, "crm", now)]);
    assert_eq!(told.len(), 4);
}

#[test]
fn reminders_come_at_a_growing_interval() {
    let mut alerts = machine();
    let told = looks(&mut alerts, 0..5 * 86_400, |_| vec![condition(Kind::Disk, "x", 0)]);
    let hours: Vec<u64> = told.iter().map(|(second, _)| (second - 60) / 3_600).collect();
    assert_eq!(hours, [0, 1, 3, 7, 15, 31, 55, 79, 103]);
    assert!(told[1..].iter().all(|(_, message)| message.begun.is_empty() && message.lasting.len() == 1));
}

/// It comes and goes every two minutes, for three hours: four messages before it is known to, then one that says so, and
/// reminders; then that it is over.
#[test]
fn what_comes_and_goes_is_told_to_do_so() {
    let mut alerts = machine();
    let flapping = |second: u64| {
        let is_up = second >= 10_800 || second % 240 >= 120;
        if is_up { Vec::new() } else { vec![condition(Kind::DestinationDown, "crm", 0)] }
    };
    let told = looks(&mut alerts, 0..20_000, flapping);
    let told: Vec<&str> = told.iter().map(|(_, message)| message.items().next().unwrap().news.as_str()).collect();
    let want = ["begun", "over", "begun", "over", "begun", "over", "flapping", "lasting", "lasting", "over"];
    assert_eq!(told, want);
    assert_eq!(alerts.over().next().map(|past| past.is_flapping), Some(false));
}

/// However fast it changes, somebody is told.
#[test]
fn what_changes_with_each_look_is_told() {
    let mut alerts = machine();
    let fast = |second: u64| if second.is_multiple_of(10) { vec![condition(Kind::Clock, "x", 0)] } else { Vec::new() };
    let told = looks(&mut alerts, 0..3_000, fast);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].1.begun[0].news, News::Flapping);
}

#[test]
fn what_becomes_worse_is_told_once() {
    let mut alerts = of_store(BTreeMap::from([
        (name(), rule(Severity::Info, &[])),
        ("night".parse().unwrap(), rule(Severity::Critical, &[])),
    ]));
    let full = |second: u64| {
        let severity = if second % 600 < 300 { Severity::Warning } else { Severity::Critical };
        vec![Condition { severity, ..condition(Kind::Disk, "x", 0) }]
    };
    let told = looks(&mut alerts, 0..540, full);
    let told: Vec<_> =
        told.iter().map(|(second, message)| (*second, message.alert.as_str(), words(message)[0].0)).collect();
    assert_eq!(told, [(60, "ops", "begun"), (360, "night", "begun"), (360, "ops", "worse")]);
}

/// What was less bad for a minute is news once it is as bad again; what went down, once it grows.
#[test]
fn what_comes_back_is_news() {
    let mut alerts = machine();
    let disk = |second: u64| {
        let is_mild = second < 300 || (600..1_200).contains(&second);
        let severity = if is_mild { Severity::Warning } else { Severity::Critical };
        vec![Condition { severity, ..condition(Kind::Disk, "x", 0) }]
    };
    let told = looks(&mut alerts, 0..1_500, disk);
    let told: Vec<_> = told.iter().map(|(second, message)| (*second, words(message)[0].0)).collect();
    assert_eq!(told, [(60, "begun"), (360, "worse"), (1_260, "worse")]);

    let mut alerts = machine();
    let dead = |second: u64| {
        let count = if second < 600 {
            100_000
        } else if second < 5_400 {
            5
        } else {
            50_005
        };
        vec![condition(Kind::DeadLetters, "crm", count)]
    };
    let told = looks(&mut alerts, 0..9_000, dead);
    let told: Vec<_> = told.iter().map(|(second, message)| (*second, words(message)[0].0)).collect();
    assert_eq!(
        told,
        [(60, "begun"), (3_660, "lasting"), (7_260, "lasting")],
        "not with the next reminder, which is hours away"
    );
}

#[test]
fn an_alert_hears_of_its_kinds_and_never_of_itself() {
    let rules = [("a", rule(Severity::Warning, &[])), ("b", rule(Severity::Info, &[Kind::Alert, Kind::NoClient]))];
    let mut alerts = of_store(rules.into_iter().map(|(name, rule)| (name.parse().unwrap(), rule)).collect());
    let seen = vec![
        condition(Kind::Alert, "a", 0),
        condition(Kind::Alert, "b", 0),
        condition(Kind::NoClient, "crm", 0),
        condition(Kind::Stalled, "crm", 0),
        Condition { severity: Severity::Info, ..condition(Kind::NoClient, "erp", 0) },
    ];
    let told = looks(&mut alerts, 0..100, |_| seen.clone());
    let told: Vec<_> = told.iter().map(|(_, message)| (message.alert.as_str(), message.begun.len())).collect();
    assert_eq!(told, [("a", 3), ("b", 3)], "b, crm, crm; a, crm, erp");
}

/// What could not be looked at is not over.
#[test]
fn a_look_that_sees_nothing_ends_nothing() {
    let mut alerts = machine();
    assert_eq!(looks(&mut alerts, 0..300, |_| vec![condition(Kind::NoClient, "crm", 0)]).len(), 1);
    for second in (300..3_000).step_by(5) {
        let store = Condition { severity: Severity::Critical, ..condition(Kind::Store, "x", 0) };
        alerts.handle_look(Look { conditions: vec![store], is_whole: false }, at(second));
        while let Some(message) = alerts.poll_output() {
            assert_eq!(words(&message), [("begun", "x".into()), ("lasting", "crm".into())]);
        }
    }
    let told = looks(&mut alerts, 3_000..3_100, |_| vec![condition(Kind::NoClient, "crm", 0)]);
    assert_eq!(words(&told[0].1), [("over", "x".into()), ("lasting", "crm".into())]);
}

/// A restart while something is so tells nothing anew; what was over meanwhile is told so, after a while.
#[test]
fn a_restart_tells_nothing_twice() {
    let mut alerts = machine();
    let both = |_| vec![condition(Kind::NoClient, "crm", 0), condition(Kind::NoClient, "erp", 0)];
    assert_eq!(looks(&mut alerts, 0..300, both).len(), 1);
    let memory = alerts.memory(&name(), Scope::Store);
    assert_eq!(memory.told.len(), 2);
    assert_eq!(alerts.memory(&name(), Scope::Server).told, []);

    let mut again = machine();
    again.recall(&name(), memory.clone(), at(400));
    // A client that is missing is seen after a minute only.
    let late = |second: u64| if second < 470 { Vec::new() } else { vec![condition(Kind::NoClient, "crm", 0)] };
    let told = looks(&mut again, 400..3_600, late);
    assert_eq!((told.len(), told[0].0), (1, 700));
    assert_eq!(words(&told[0].1), [("over", "erp".into()), ("lasting", "crm".into())]);

    // A clock that was set while nothing ran delays a reminder, or brings one early; nothing else.
    for (jump, reminded) in [(Duration::from_hours(9_000), 1), (Duration::ZERO, 0)] {
        let mut again = machine();
        let wall = if jump.is_zero() { Wall::MIN } else { at(400).wall + jump };
        again.recall(&name(), memory.clone(), Now { wall, ..at(400) });
        let told = looks(&mut again, 400..3_000, both);
        assert_eq!(told.len(), reminded, "{told:?}");
        assert!(told.iter().all(|(_, message)| message.begun.is_empty() && message.over.is_empty()));
    }
}

/// Of several servers one tells what is of the store; when another takes over, neither tells it twice.
#[test]
fn what_is_of_the_store_moves_to_another_server() {
    let own = |second: u64| Condition {
        key: Key { scope: Scope::Server, ..key(Kind::Disk, "x") },
        ..condition(Kind::Disk, "x", second)
    };
    let (mut one, mut other) =
        (machine(), Alerts::new(BTreeMap::from([(name(), rule(Severity::Info, &[]))]), "production"));
    let of_store = |_| vec![condition(Kind::NoClient, "crm", 0)];
    assert!(looks(&mut other, 0..300, of_store).is_empty(), "another server tells it");
    assert_eq!(other.firing().len(), 1, "whoever asks here sees it all the same");
    let told = looks(&mut one, 0..300, |_| vec![own(0), condition(Kind::NoClient, "crm", 0)]);
    assert_eq!((told.len(), told[0].1.begun.len()), (1, 2));
    let memory = one.memory(&name(), Scope::Store);
    one.leave();
    other.recall(&name(), memory, at(300));
    other.take();
    assert!(looks(&mut one, 300..900, |_| vec![own(0)]).is_empty());
    let told = looks(&mut other, 300..900, |second| match second {
        ..600 => vec![condition(Kind::NoClient, "crm", 0)],
        _ => Vec::new(),
    });
    assert_eq!(told.len(), 1);
    assert_eq!(words(&told[0].1), [("over", "crm".into())]);
}

/// A million conditions fill no memory, and are one message that says how many have no room in it.
#[test]
fn what_has_no_room_is_counted() {
    let mut alerts = machine();
    let many = |_| (0..10_000).map(|number| condition(Kind::NoClient, &format!("d{number}"), 0)).collect();
    let told = looks(&mut alerts, 0..120, many);
    assert_eq!(told.len(), 1);
    let message = &told[0].1;
    assert_eq!((message.begun.len(), message.more), (limits::ALERT_ITEMS_MAX, 10_000 - limits::ALERT_ITEMS_MAX as u64));
    assert_eq!(alerts.firing().len(), 2 * limits::CONDITIONS_MAX, "warnings, and none that is worse");
    // What is worse than what is there has room beside it.
    let worst = || Condition { severity: Severity::Critical, ..condition(Kind::Store, "x", 0) };
    let told = looks(&mut alerts, 120..240, |second| [many(second), vec![worst()]].concat());
    let told: Vec<_> = told.iter().map(|(_, message)| (message.begun.len(), message.severity())).collect();
    assert_eq!(told, [(1, Severity::Critical)]);
    assert_eq!(alerts.firing()[0].severity, Severity::Critical);
    // Of those that were told by their number it is not told that they are over; of those that were named it is.
    let told = looks(&mut alerts, 240..600, |_| vec![worst()]);
    assert_eq!(told.iter().map(|(_, message)| message.over.len()).sum::<usize>(), limits::ALERT_ITEMS_MAX);
}

/// However many are over at once, each that was told by name is told as over, some in each message.
#[test]
fn what_is_over_and_has_no_room_in_a_message_is_told_with_the_next() {
    let mut alerts = machine();
    let rising =
        |second: u64| (0..(second / 60 * 10).min(90)).map(|number| condition(Kind::Stalled, &format!("d{number}"), 0));
    let told = looks(&mut alerts, 0..700, |second| rising(second).collect());
    assert_eq!(told.iter().map(|(_, message)| message.begun.len()).sum::<usize>(), 90);
    let told = looks(&mut alerts, 700..1_200, |_| Vec::new());
    let over: Vec<usize> = told.iter().map(|(_, message)| message.over.len()).collect();
    assert_eq!(over, [20, 20, 20, 20, 10]);
    assert!(alerts.memory(&name(), Scope::Store).told.is_empty());
}

/// What is away for one look is not over, whatever else is told in that moment.
#[test]
fn what_is_gone_for_one_look_is_not_over() {
    let mut alerts = machine();
    let blink = |second: u64| {
        let crm = (second != 360).then(|| condition(Kind::NoClient, "crm", 0));
        crm.into_iter().chain((second >= 300).then(|| condition(Kind::Stalled, "erp", 0))).collect()
    };
    let told = looks(&mut alerts, 0..900, blink);
    let told: Vec<_> = told.iter().map(|(second, message)| (*second, words(message))).collect();
    assert_eq!(told, [(60, vec![("begun", "crm".into())]), (360, vec![("begun", "erp".into())])]);
    assert_eq!(alerts.over().count(), 0);
}

/// A message that nobody took says nothing: what it said is told again, as far as it is so.
#[test]
fn what_was_given_up_is_told_again() {
    let mut alerts = machine();
    let down = |second: u64| {
        let names =
            ["a", "b"].into_iter().filter(|name| (*name == "a" && second < 300) || (600..1_200).contains(&second));
        names.map(|name| condition(Kind::DestinationDown, name, 0)).collect::<Vec<_>>()
    };
    let told = looks(&mut alerts, 0..200, down);
    alerts.give_back(told[0].1.clone(), at(200));
    let told = looks(&mut alerts, 200..300, down);
    assert_eq!(words(&told[0].1), [("begun", "a".into())]);
    let told = looks(&mut alerts, 300..400, down);
    assert_eq!(words(&told[0].1), [("over", "a".into())]);
    alerts.give_back(told[0].1.clone(), at(400));
    assert_eq!(alerts.memory(&name(), Scope::Store).told.len(), 1, "a restart tells it, too");
    let told = looks(&mut alerts, 400..600, down);
    assert_eq!(words(&told[0].1), [("over", "a".into())]);
    // What is so again before that lasts.
    alerts.give_back(told[0].1.clone(), at(600));
    let told = looks(&mut alerts, 600..1_300, down);
    assert_eq!(words(&told[0].1), [("begun", "b".into()), ("lasting", "a".into())]);
    assert_eq!(words(&told[1].1).len(), 2);
    assert_eq!((told.len(), told[1].1.over.len()), (2, 2));
}

/// While nobody takes anything nothing is told; then what is so by then, and no word of what came and went.
#[test]
fn what_is_held_is_told_as_it_is_by_then() {
    let mut alerts = machine();
    alerts.hold(&name(), true);
    let seen = |second: u64| {
        let name = if second < 600 { "a" } else { "b" };
        vec![condition(Kind::NoClient, name, 0)]
    };
    assert!(looks(&mut alerts, 0..1_200, seen).is_empty());
    alerts.hold(&name(), false);
    let told = looks(&mut alerts, 1_200..2_000, seen);
    assert_eq!(told.iter().map(|(_, message)| words(message)).collect::<Vec<_>>(), [[("begun", "b".into())]]);
}

/// What was on its way when its server ended is told once more by whoever goes on: as begun if it is so, and else as over.
#[test]
fn what_was_on_its_way_is_told_once_more() {
    let mut alerts = machine();
    let seen = |second: u64| {
        let names = ["a", "b"].into_iter().filter(|name| *name == "a" || second < 100);
        names.map(|name| condition(Kind::Stalled, name, 0)).collect::<Vec<_>>()
    };
    for second in (0..=60).step_by(5) {
        alerts.handle_look(Look { conditions: seen(second), is_whole: true }, at(second));
    }
    assert!(alerts.poll_output().is_some(), "it is on its way");
    let memory = alerts.memory(&name(), Scope::Store);
    assert!(memory.told.iter().all(|told| !told.is_sent) && memory.told.len() == 2);
    let mut other = machine();
    other.recall(&name(), memory, at(100));
    let told = looks(&mut other, 100..1_000, seen);
    let told: Vec<_> = told.iter().map(|(_, message)| words(message)).collect();
    assert_eq!(told, [vec![("begun", "a".into())], vec![("over", "b".into()), ("lasting", "a".into())]]);
}

#[test]
fn words_are_cut_where_a_character_ends() {
    let mut alerts = machine();
    let long = Condition { words: "\u{e4}".repeat(400), ..condition(Kind::Store, "x", 0) };
    looks(&mut alerts, 0..10, |_| vec![long.clone()]);
    assert_eq!(alerts.firing()[0].words.len(), limits::WORDS_BYTES_MAX);
}

#[test]
fn tries_are_spread_over_half_a_day() {
    let pauses: Vec<Duration> = (1..).map_while(pause_after).collect();
    assert_eq!(pauses[..4], [5, 10, 20, 40].map(Duration::from_secs));
    assert!(pauses.iter().all(|pause| *pause <= limits::ALERT_RETRY_MAX));
    let all: Duration = pauses.iter().sum();
    assert!((Duration::from_hours(8)..Duration::from_hours(16)).contains(&all), "{all:?}");
    assert_eq!(pause_after(u32::MAX), None);
}

/// What is so over ninety looks: which of eight conditions, how bad, and whether all could be looked at.
fn histories() -> impl Strategy<Value = Vec<(u8, u8, bool, u16)>> {
    prop::collection::vec((any::<u8>(), 0..3_u8, prop::bool::weighted(0.9), 5..900_u16), 1..90)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever happens: no more than a message a minute, none without news or a reminder that was due, and what was told as begun
    /// is told as over exactly once or is still known as told.
    #[test]
    fn everything_told_is_over_or_lasts(history in histories()) {
        let mut alerts = machine();
        let (mut now, mut last) = (at(0), None::<Now>);
        let mut open: BTreeSet<Key> = BTreeSet::new();
        let (mut messages, start) = (0, now);
        for (which, severity, is_whole, wait) in history {
            let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let present = names.iter().enumerate().filter(|(bit, _)| which >> bit & 1 == 1);
            let severity = Severity::ALL[usize::from(severity)];
            let conditions: Vec<Condition> =
                present.map(|(_, name)| Condition { severity, ..condition(Kind::NoClient, name, 0) }).collect();
            let until = now + Duration::from_secs(u64::from(wait));
            while now.mono < until.mono {
                alerts.handle_look(Look { conditions: conditions.clone(), is_whole }, now);
                while let Some(message) = alerts.poll_output() {
                    messages += 1;
                    prop_assert!(message.items().next().is_some(), "an empty message");
                    if let Some(last) = last {
                        prop_assert!(now.mono.since(last.mono) >= limits::ALERT_HOLD, "two messages within a hold");
                    }
                    last = Some(now);
                    for item in message.over {
                        prop_assert!(open.remove(&item.key), "told as over and was not told: {:?}", item.key);
                    }
                    for item in message.begun {
                        let is_new = open.insert(item.key.clone());
                        prop_assert!(is_new || item.news != News::Begun, "told twice: {:?}", item.key);
                    }
                    for item in message.lasting {
                        prop_assert!(open.contains(&item.key), "lasts and was not told: {:?}", item.key);
                    }
                }
                alerts.left(&name());
                let told: BTreeSet<Key> =
                    alerts.memory(&name(), Scope::Store).told.into_iter().map(|told| told.key).collect();
                prop_assert_eq!(&told, &open);
                now = now + EVERY;
            }
        }
        // Each of eight is told as begun and over a few times an hour before it is known to flap, then hardly ever.
        let hours = now.mono.since(start.mono).as_secs() / 3_600 + 1;
        prop_assert!(messages <= 8 * 16 * hours, "{messages} messages in {hours} h");
        // Once nothing is so any more, everything is told as over.
        for _ in 0..600 {
            alerts.handle_look(Look { conditions: Vec::new(), is_whole: true }, now);
            for message in std::iter::from_fn(|| alerts.poll_output()) {
                open.retain(|key| !message.over.iter().any(|item| item.key == *key));
            }
            now = now + EVERY;
        }
        prop_assert!(open.is_empty(), "never told as over: {open:?}");
        prop_assert!(alerts.firing().is_empty());
    }

    /// A restart at any moment tells nothing again that was told, and forgets nothing that is to be told as over.
    #[test]
    fn a_restart_at_any_moment_keeps_what_was_told(history in histories(), cut in 0..90_usize) {
        let mut alerts = machine();
        let (mut now, mut open) = (at(0), BTreeSet::<Key>::new());
        for (step, (which, _, _, wait)) in history.into_iter().enumerate() {
            if step == cut {
                let memory = alerts.memory(&name(), Scope::Store);
                alerts = machine();
                alerts.recall(&name(), memory, now);
            }
            let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let present = names.iter().enumerate().filter(|(bit, _)| which >> bit & 1 == 1);
            let conditions: Vec<Condition> = present.map(|(_, name)| condition(Kind::Stalled, name, 0)).collect();
            for _ in 0..u64::from(wait) / 5 {
                alerts.handle_look(Look { conditions: conditions.clone(), is_whole: true }, now);
                for message in sent(&mut alerts) {
                    open.retain(|key| !message.over.iter().any(|item| item.key == *key));
                    for item in message.begun {
                        let is_new = open.insert(item.key.clone());
                        prop_assert!(is_new || item.news != News::Begun, "told twice: {:?}", item.key);
                    }
                }
                now = now + EVERY;
            }
        }
    }
}

/// Who asked for what is dead before what expired was told apart is told both, and nobody who asked for neither.
#[test]
fn dead_letters_are_with_what_expired() {
    let rule = |kind| Rule { kinds: BTreeSet::from([kind]), severity: Severity::Info };
    let is_for = |of| [Kind::DeadLetters, Kind::Expired].map(|kind| rule(of).is_for(kind, Severity::Critical));
    let all = (is_for(Kind::DeadLetters), is_for(Kind::Expired), is_for(Kind::Disk));
    assert_eq!(all, ([true, true], [false, true], [false, false]));
}
