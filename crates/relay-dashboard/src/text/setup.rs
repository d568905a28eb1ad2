//! The words of what is set up: sources and destinations, keys and tokens, alerts.

use std::time::Duration;

use relay_core::alert::Kind;

use crate::{pace::Pace, show};

// Sources and destinations.
words! {
    PROVIDER = "Provider";
    NOWHERE = "nowhere";
    WHY_BUTTON = "Why nothing arrives";
    AWAITS_SECRET = "The platform is to hand over its secret: whoever comes first with one is believed, for as long as this is open. It closes";
    AWAITED_SECRET = "The platform has not handed over its secret, and may not any more: crm-relay source await-secret opens that again.";
    THE_LAST = "the last";
    TAKEN_ONCE = "each taken once";
    SENT_AGAIN = "Sent again";
    HANDSHAKES = "Handshakes";
    SINCE_BEGAN = "of this server, since it began";
    SETTINGS = "Settings";
    URL = "URL";
    DECLARED = "Declared";
    HANDED_OVER = "set: the platform handed it over";
    SET = "set, and not shown";
    TODAY = "Today";
    ROUTES = "Routes";
    POLICY = "Lives, and is tried again";
    NO_ROUTE = "No route leads from here.";
    NO_ROUTE_HOW = "What comes is answered 503 and not stored; its sender has to send it again. This makes one: crm-relay route create.";
    NO_ROUTE_THERE = "No route leads there: nothing new comes.";
    API_KEYS = "API keys";
    NO_KEY = "There is no key.";
    NO_KEY_HOW = "Nobody can send until one is made: crm-relay key create.";
    NO_KEY_BUT_SETTING = "Senders show the server's API_KEY, or one that is made for them: crm-relay key create.";
    BEGINS = "Begins with";
    CREATED = "Created";
    REVOKED = "revoked";
    USED_HERE = "Of this server, since it began";
    LAST_USED_IS = "Last used: at this server, since it began. Other servers, and what was before, are not known here.";
    LAST_REFUSALS = "Refused lately";
    NO_REFUSAL = "Nothing was refused.";
    NO_REFUSAL_HOW = "What a source does not take stands here, with what was wrong: of this server, since it began.";
    CHECK = "Check";
    WHAT_WAS_WRONG = "What was wrong";
    EVENT_NAMES = "Events by name";
    KEPT = "Kept";
    ALL_OTHERS = "all others";
    FIRST_EXPIRES = "first expires";
    OPENED = "opened";
    TRIED_NEXT = "next try";
    AND_KEPT = "and kept still";
    NO_CLIENT_BUT_ELSEWHERE = "They take what comes. Ask one of those servers for its page to see them.";
    NO_CLIENT_HERE = "No client of this server serves it.";
    NO_CLIENT_HERE_HOW = "What comes waits. On the machine of the target, with a token:";
    CLIENT = "Client";
    TOKEN = "Token";
    THERE_SINCE = "There since";
    HELD = "Held";
}

// A new source.
words! {
    NEW_SOURCE = "New source";
    PLATFORMS = "Platforms whose webhooks are taken";
    PLATFORM = "Platform";
    NEEDS = "Needs";
    NEEDS_NOTHING = "nothing";
    WHO_WILL_SEND = "Who will send?";
    PLATFORM_EXAMPLE = "Stripe, GitHub, Meta, api-key …";
    NO_PLATFORM = "No platform is called so.";
    NO_PLATFORM_HOW = "Whatever can show a key is taken too: api-key, bearer, basic; what signs by HMAC: hmac.";
    ALL_PLATFORMS = "Show all platforms";
    ANOTHER_PLATFORM = "Another platform";
    WHAT_IS_NEEDED = "What is needed";
    OPTIONAL = "(may be left out)";
    MADE_UP = "left out, it is made up";
    NAME_IS_PATH = "The end of its URL: /webhook/NAME.";
    DESTINATION_IS = "What a client serves behind the firewall, by this name. A new name makes a new one.";
    ADOPTS = "The platform hands over its secret itself: the first who comes with one, as long as that is open, is believed.";
    URL_GUARDS = "Nothing that it sends is signed: the URL is all that guards the source. Keep a name that nobody guesses.";
    MORE_SETTINGS = "More settings";
    MAKE_SOURCE = "Make source and token";
    MADE_IT = "Made";
    ITS_PAGE = "Its page";
    JOIN_CLIENT = "On the machine of the target, with the token in a file token.txt:";
    NO_PUBLIC_URL = "PUBLIC_URL is not set on the server: the URL is that of this machine, which no platform reaches.";
    ITS_DOCUMENTS = "Its documents:";
    WAITING_FOR = "What comes";
    SEND_SAMPLE = "Send a sample";
    WAITS_HANDSHAKE = "Waits for the platform's question (handshake).";
    WAITS_FIRST = "Waits for the first webhook.";
    WIZARD_NEEDS_SCRIPT = "Making a source needs JavaScript, or the command line:";
}

// Keys and tokens.
words! {
    ACCESS = "Access";
    KEYS_ARE = "senders show one to a source";
    TOKENS = "Tokens";
    TOKENS_ARE = "clients come with one";
    NO_KEY_YET_HOW = "The server's API_KEY opens the source default. A sender of its own key can be shut out alone.";
    NO_TOKEN = "There is no token.";
    NO_TOKEN_HOW = "The server's RELAY_TOKEN lets every client in. One with a token of its own can be shut out alone.";
    WHO_SENDS = "Who sends";
    MAKE_KEY = "Make key";
    WHICH_CLIENT = "Which client";
    MAY_SERVE = "May serve";
    MAKE_TOKEN = "Make token";
    REVOKE = "Revoke";
    ROTATE = "Rotate…";
    FINISH = "Finish";
    ABORT = "Abort";
    PINNED = "with its certificate";
    OLD_ENDS = "The old one ends";
    CHOOSE = "choose";
    FIND_ACCESS = "Name or source";
    NO_ACCESS_MATCHES = "No key or token matches.";
    SHOWN_ONCE = "It is shown this once and is kept nowhere. Hand it over by a way that you trust.";
    KEYS_SHOWN_ONCE = "Token and key are shown this once and are kept nowhere. Hand them over by a way that you trust.";
    I_HAVE_IT = "I have it";
    BY_SETTINGS = "By settings";
    BY_SETTINGS_HOW = "changed where the server is started";
    SETTING = "Setting";
    WHAT_IT_OPENS = "What it opens";
    ACCESS_NEEDS_SCRIPT = "Changes need JavaScript, or the command line: crm-relay key, crm-relay token.";
}

// Alerts.
words! {
    ALERTS = "Alerts";
    SO_NOW = "So now";
    WAS_SO = "It was so";
    NOTHING_NOW = "Nothing is wrong.";
    NOTHING_WAS = "Nothing was wrong.";
    NOTHING_WAS_HOW = "The last 200 of what was stand here, of this server since it began.";
    SEVERITY = "Severity";
    WHAT_IS_WRONG = "What is wrong";
    SINCE = "Since";
    OVER = "Over";
    STILL = "not yet";
    TOLD_TO = "Told to";
    NOBODY = "nobody";
    FLAPPING = "comes and goes";
    WHO_IS_TOLD = "Who is told";
    NOBODY_TOLD = "Nobody is told.";
    NOBODY_TOLD_HOW = "A section [alert.NAME] of the configuration file has a URL or a command that is told.";
    HOW = "How";
    ARRIVED = "Arrived";
    GIVEN_UP = "Given up";
}

/// How long a delivery lives, and how often it is tried.
pub(crate) fn policy(ttl: Duration, retries: u32, pace: &Pace) -> String {
    let times = if retries == 1 { "1 retry".to_owned() } else { format!("{retries} retries") };
    let pace = match pace {
        _ if retries == 0 => return format!("{}, not tried again", show::span(ttl)),
        Pace::Growing { delay, factor } if (*factor - 1.0).abs() < f64::EPSILON => {
            format!("{} apart", show::span(*delay))
        }
        Pace::Growing { delay, factor } => format!("after {}, then ×{factor} each", show::span(*delay)),
        Pace::Listed(all) => {
            format!("after {}", all.iter().copied().map(show::span).collect::<Vec<_>>().join(", "))
        }
    };
    format!("{}, {times}: {pace}", show::span(ttl))
}

/// Where the configuration file has it.
pub(crate) fn declared(place: &str) -> String {
    format!("in {place}")
}

pub(crate) fn elsewhere(count: &u64) -> String {
    format!("{} at other servers", show::count(*count))
}

pub(crate) fn clients_left_out(count: &u64) -> String {
    format!("{} more are not shown; crm-relay destination show has all.", show::count(*count))
}

pub(crate) fn due_since(oldest: &Duration) -> String {
    format!("oldest {}", show::span(*oldest))
}

pub(crate) fn client_to(destination: &str) -> String {
    format!("crm-relay client --to {destination}=http://127.0.0.1:3000")
}

pub(crate) fn held(held: &u64, slots: &u64) -> String {
    format!("{} of {}", show::count(*held), show::count(*slots))
}

pub(crate) fn setting_may(name: &str) -> &'static str {
    match name {
        "API_KEY" => "the source default, for senders",
        "RELAY_TOKEN" => "every destination, for clients",
        "ADMIN_TOKEN" => "the admin API, for everything",
        _ => "",
    }
}

pub(crate) fn revoke_key(source: &str, name: &str) -> String {
    format!("Revoke the key {name} of {source}")
}

pub(crate) fn revoke_key_sure(source: &str, name: &str) -> String {
    format!("Revoke the key {name}? Whoever shows it to {source} is answered 401 from now on. It does not come back.")
}

pub(crate) fn revoke_token(name: &str) -> String {
    format!("Revoke the token {name}")
}

pub(crate) fn revoke_token_sure(name: &str) -> String {
    format!("Revoke the token {name}? Its clients are sent away, and what they serve waits. It does not come back.")
}

pub(crate) fn rotate(name: &str) -> String {
    format!("Rotate the token {name}")
}

pub(crate) fn rotate_sure(name: &str) -> String {
    format!("Make a new token for {name}? The old one lets in beside it until you finish, or revoke both.")
}

pub(crate) fn finish_rotation(name: &str) -> String {
    format!("Finish the rotation of {name}")
}

pub(crate) fn finish_sure(name: &str) -> String {
    format!(
        "End the old token of {name}? Clients that came with it are sent away, at other servers too, which are not counted here."
    )
}

pub(crate) fn abort_rotation(name: &str) -> String {
    format!("Abort the rotation of {name}")
}

pub(crate) fn abort_sure(name: &str) -> String {
    format!("Give up the new token of {name}? Clients that came with it are sent away; the old one is the one again.")
}

/// How many came by each of two.
pub(crate) fn rotates(old: &str, by_old: &u64, by_new: &u64) -> String {
    let [by_old, by_new] = [*by_old, *by_new].map(|count| match count {
        1 => "1 session".to_owned(),
        _ => format!("{} sessions", show::count(count)),
    });
    format!("Is being replaced: at this server {by_old} by the old one ({old}…), {by_new} by the new one.")
}

pub(crate) fn access_left_out(count: &u64) -> String {
    format!(
        "{} more are not shown: look for a name above; crm-relay key list and token list have all.",
        show::count(*count)
    )
}

pub(crate) fn new_source_of(title: &str) -> String {
    format!("New source: {title}")
}

pub(crate) fn at_platform(title: &str) -> String {
    format!("At {title}")
}

pub(crate) fn invite(name: &str, provider: &str) -> String {
    format!("crm-relay invite {name} --provider {provider}")
}

/// What to do at a platform that has no guide.
pub fn steps_at(title: &str, url: &str, made_up: &[&str], asks_first: bool) -> Vec<String> {
    let mut steps = vec![format!("At {title} make a webhook that goes to {url}, by POST.")];
    steps.extend(
        made_up
            .iter()
            .map(|name| format!("Enter there as its secret what is shown as {name} once the source is made.")),
    );
    if asks_first {
        steps.push("It asks a question before it sends anything: the relay answers it by itself.".to_owned());
    }
    steps.push("Have it send something, or send a sample.".to_owned());
    steps
}

/// What mends a condition.
pub(crate) const fn cure(kind: Kind) -> &'static str {
    match kind {
        Kind::DeadLetters => "look at what they failed with, mend that, then redrive them.",
        Kind::Expired => {
            "they are kept: redrive them once the target takes them; a longer ttl of the route gives more time."
        }
        Kind::DestinationDown => {
            "look at the target: its error stands at the destination. What waits goes on by itself."
        }
        Kind::NoClient => "start the client on the target's machine, or look at its log.",
        Kind::HalfTtl => "mend what holds it up, or give the route a longer ttl for what comes.",
        Kind::Stalled => "a defect: report it, with the log of the server; a restart of the client may help.",
        Kind::Paused => "resume it, once it may go on.",
        Kind::Disk => {
            "make room where the store is, or give it more (DISK_RESERVE is what it keeps free; in Redis, maxmemory): docs/operating/sizing.md."
        }
        Kind::Certificate => {
            "renew it where it comes from, and look at why that did not happen by itself: docs/operating/https.md."
        }
        Kind::Clock => "set the clock right, then restart the server: docs/operating/troubleshoot.md, clock_moved.",
        Kind::Refused => "look at which check refuses, then compare secret and URL with the platform's.",
        Kind::Source => "correct its settings: crm-relay source update.",
        Kind::Store => "look at the server's log, and at what the store is in: docs/operating/troubleshoot.md.",
        Kind::Backup => {
            "look at why the copy could not be taken, and take one: crm-relay store backup; docs/operating/backup.md."
        }
        Kind::Configuration => {
            "give all servers on the store the same settings: crm-relay status names those that differ; docs/operating/redis.md."
        }
        Kind::Alert => "look at its error below, then try it: crm-relay alert test.",
    }
}
