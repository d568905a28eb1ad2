//! Every word that a page says. A translation is another file like this one.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand over references")]

use std::time::Duration;

use relay_core::{
    alert::Kind,
    delivery::{Reason, State},
};

use crate::{
    screen::Pace,
    show,
    since::Since,
    sums::{DeliveriesSum, EventsSum},
    viewer::{Theme, Zone},
};

/// A text that is always the same.
macro_rules! words {
    ($($name:ident = $text:literal;)*) => {
        $(pub(crate) const $name: &str = $text;)*
    };
}

// The frame.
words! {
    PRODUCT = "crm-relay";
    SKIP = "Skip to the content";
    PAGES = "Pages";
    TIMES_IN_UTC = "Times are in UTC.";
    AS_OF_LOADING = "as of loading";
    NEVER = "never";
    NAME = "Name";
    VALUE = "Value";
    TIME = "Time";
    SHOW = "Show";
    FIND = "Find";
    OLDER = "Older →";
    LOOK = "Look";
    CLOSE = "Close";
    CANCEL = "Leave it";
    DO_IT = "Do it";
    PAUSE = "Pause";
    COPY = "Copy";
    ACTIONS = "Actions";
    TO_OVERVIEW = "To the overview";
    ONE_MOMENT = "One moment";
    GO_ON = "Go on";
    CHANGES_NEED_SCRIPT = "Changes need JavaScript, or the command line: crm-relay user.";
}

// The overview.
words! {
    OVERVIEW = "Overview";
    ALL_WELL = "All is well.";
    ACCEPTED = "Accepted";
    DELIVERED = "Delivered";
    WAITING = "Waiting";
    DEAD = "Dead";
    REFUSED = "Refused";
    REFUSED_HERE = "Of this server, since it began";
    SHOW_READY = "what is ready";
    SHOW_DEAD = "what died";
    SOURCES = "Sources";
    SOURCE = "Source";
    LAST = "Last";
    NO_SOURCE = "There is no source.";
    NO_SOURCE_HOW = "A source takes webhooks of one platform. This makes one, with its route and a client's token:";
    DESTINATIONS = "Destinations";
    DESTINATION = "Destination";
    NO_DESTINATION = "There is no destination.";
    NO_DESTINATION_HOW = "A destination is made by the first route that leads there.";
    CLIENTS = "Clients";
    OLDEST = "Oldest";
    CIRCUIT = "Circuit";
    NO_CLIENT = "no client";
    CLOSED = "closed";
    OPEN = "open";
    RESUME = "Resume";
    PAUSED = "paused";
    NOTHING_LOST = "Nothing is lost";
    SUMS_DIFFER = "The sums do not hold";
}

// Events.
words! {
    EVENTS = "Events";
    EVENT = "Event";
    EVENTS_NEWEST_FIRST = "Events, the newest first";
    ANY_SOURCE = "any source";
    RECEIVED = "Received";
    FIND_EVENT = "Id, or name (* for anything)";
    FIND_EVENT_EXAMPLE = "evt_…, dlv_… or invoice.*";
    SIZE = "Size";
    NO_DELIVERY = "no delivery";
    OLDER_DELIVERIES = "Older deliveries are not shown; crm-relay delivery list --event has all.";
    NO_DELIVERY_LONG = "No route led from its source when it came.";
    NO_EVENT_YET = "No webhook has come yet.";
    NO_EVENT_YET_HOW = "The first one is here within a second of its arrival. This sends a sample:";
    NO_EVENT_MATCHES = "No event matches.";
    SHOW_ALL_EVENTS = "Show all events";
    OPEN_PAGE = "Open page";
    ALL_EVENTS = "All events";
    REQUEST = "Request";
    ID = "Id";
    TRIES = "Tries";
    REPLAY = "replay";
    REPLAY_TO = "Replay to";
    REPLAY_IT = "Replay";
    REPLAY_SURE = "Send this event again? It becomes a new delivery, which says that it is a replay.";
    EVERY_DESTINATION = "every destination";
    REDRIVE = "Redrive";
    REDRIVE_SURE = "Try this delivery again? Its tries and its time to live start anew.";
    CANCEL_IT = "Cancel";
    CANCEL_SURE = "Cancel this delivery? It is not tried any more. What is under way may still arrive.";
    NEXT_TRY = "Next try";
    EXPIRES = "Expires";
    NOT_COUNTED = "not counted";
    BODY = "Body";
    BODY_LINES = "Lines of the body";
    VIEWS = "Views of the body";
    TEXT = "Text";
    HEX = "Hex";
    DOWNLOAD = "Download";
    BODY_EMPTY = "The body is empty.";
    BODY_WITHHELD = "Your role does not see bodies.";
    HEADERS = "Headers";
    VALUES_WITHHELD = "your role does not see values";
}

// Deliveries.
words! {
    DELIVERIES = "Deliveries";
    DELIVERIES_NEWEST_FIRST = "Deliveries, the newest first";
    ANY_DESTINATION = "any destination";
    ANY_STATE = "any state";
    STATE = "State";
    MADE = "Made";
    NEXT_OR_LAST = "Next, or last";
    LAST_ANSWER = "Last answer";
    WAITS = "waits";
    UNDER_WAY = "under way";
    NO_DELIVERY_YET = "There is no delivery yet.";
    NO_DELIVERY_YET_HOW = "Each event makes one for each route of its source. This sends a sample:";
    NO_DELIVERY_MATCHES = "No delivery matches.";
    SHOW_ALL_DELIVERIES = "Show all deliveries";
}

// Dead letters.
words! {
    DEAD_LETTERS = "Dead letters";
    DEAD_IN_GROUPS = "Dead letters that failed alike";
    ANY_REASON = "any reason";
    REASON = "Reason";
    ENDED = "Ended";
    LAST_ERROR = "Last error";
    COUNT = "Count";
    FIRST_ENDED = "First";
    LAST_ENDED = "Last";
    EXAMPLE = "Example";
    EVERY_GROUP = "Every group, shown or not";
    CIRCUIT_OPEN = "circuit open";
    REDRIVE_CHOSEN = "Redrive…";
    PURGE_CHOSEN = "Purge…";
    LATER_STAY = "As of";
    LATER_STAY_HOW = "What ended later stays as it is.";
    TYPE_COUNT = "Type how many go, for good";
    TRY_ONE = "Try one first";
    NO_DEAD = "Nothing is dead.";
    NO_DEAD_HOW = "What a target refuses, or nobody fetches in time, is kept here until it is redriven or its retention is over.";
    NO_DEAD_MATCHES = "No dead letter matches.";
    NO_DEAD_SEEN = "None of those that were looked through matches.";
    NO_DEAD_SEEN_HOW = "There are more behind them: narrow them by destination, reason or time.";
    SHOW_ALL_DEAD = "Show all dead letters";
    DEAD_NEEDS_SCRIPT = "Redriving needs JavaScript, or the command line: crm-relay dead redrive.";
}

// Why nothing arrives.
words! {
    WHY = "Why";
    WHY_NOTHING = "Why does nothing arrive?";
    LOOKED_AT = "looked at";
    LOOK_AGAIN = "Look again";
    NOTHING_WRONG = "Nothing is wrong on the way, as far as can be told from here.";
    WELL = "As it should be:";
    WRONG = "Wrong:";
    UNCLEAR = "Not known:";
    MENDS = "What mends it:";
}

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

// The audit log.
words! {
    AUDIT = "Audit";
    AUDIT_NEWEST_FIRST = "The audit log, the newest first";
    WHO = "Who";
    ACTION = "Action";
    WHEN = "When";
    SUBJECT = "Subject";
    FROM = "From";
    NO_LINE_YET = "Nothing has been changed yet.";
    NO_LINE_YET_HOW = "Each change has its line here: who, what, from where.";
    NO_LINE_MATCHES = "No line matches.";
    SHOW_ALL_LINES = "Show all lines";
}

// Who may in.
words! {
    SIGN_IN = "Sign in";
    SIGN_OUT = "Sign out";
    PASSWORD = "Password";
    SIGNING_IN_BY_LINK = "Signing in by the link…";
    LOGIN_NEEDS_SCRIPT = "Signing in needs JavaScript. Pages can be read without it afterwards.";
    LOGIN_HOW = "On the server's machine, this prints a link that is good once:";
    NO_USER_YET = "There is no user with a password yet. Sign in by a link, or make one: crm-relay user create NAME --role admin";
    PLAIN = "Nobody signs in over plain HTTP.";
    PLAIN_HOW = "Whoever is on the way would read the password. Come by https, or on the server's own machine by its loopback address.";
    USERS = "Users";
    ROLE = "Role";
    SESSIONS = "Sessions";
    LAST_SIGNED_IN = "Last signed in";
    ACTIVE = "active";
    INVITED = "invited";
    DISABLED = "disabled";
    YOU = "you";
    RESET = "Reset";
    ENABLE = "Enable";
    DISABLE = "Disable";
    NO_USER = "There is no user.";
    NO_USER_HOW = "Whoever runs the machine comes in by a link of crm-relay dashboard. Others need a user.";
    NEW_USER = "New user";
    MAKE_USER = "Make user and link";
    NAME_RULE = "1 to 63 of a-z, 0-9, _ and -, the first a letter or digit";
    LINK_ONCE = "It is shown this once, and is good once. Hand it over by a way that you trust.";
    VIEWER_MAY = "sees what came and what became of it, without bodies and values of headers";
    OPERATOR_MAY = "sees payloads too, and may replay, redrive, cancel and pause";
    ADMIN_MAY = "may do everything, users among it";
    YOUR_ACCOUNT = "Your account";
    NO_PASSWORD_YET = "You have no password yet: without one you come in by a link alone.";
    OLD_PASSWORD = "Present password";
    NEW_PASSWORD = "New password";
    PASSWORD_RULE = "12 characters or more. Your other sessions end.";
    SET_PASSWORD = "Set password";
    READING = "Reading";
    THEME = "Colours";
    ZONE = "Times";
    KEYS = "Keys";
    ON = "on";
    OFF = "off";
    SAVE = "Save";
    KEY_FIND = "find";
    KEY_MOVE = "down, up";
    KEY_PAUSE = "pause";
    KEY_REPLAY = "replay";
    KEY_FOLLOW = "follow the newest";
    BROWSER = "Browser";
    LAST_USED = "Last used";
    THIS_ONE = "this one";
    END = "End";
    SESSIONS_LAST = "A session ends after 12 hours without use, and after 7 days in any case.";
}

pub(crate) fn version(version: &str) -> String {
    format!("crm-relay {version}")
}

pub(crate) fn reasons(count: usize) -> String {
    match count {
        1 => "One thing needs a look".to_owned(),
        _ => format!("{count} things need a look"),
    }
}

pub(crate) fn stored(stored: &u64) -> String {
    format!("{} kept", show::count(*stored))
}

pub(crate) fn of_created(created: &u64) -> String {
    format!("of {} made", show::count(*created))
}

pub(crate) fn events_sum(sum: &EventsSum) -> String {
    let [accepted, stored, retired] = [sum.accepted, sum.stored, sum.retired].map(show::count);
    let equals = if sum.holds() { "=" } else { "≠" };
    format!("Events: {accepted} accepted {equals} {stored} kept + {retired} retired")
}

pub(crate) fn deliveries_sum(sum: &DeliveriesSum) -> String {
    let equals = if sum.holds() { "=" } else { "≠" };
    let parts = [
        (sum.open, "waiting"),
        (sum.delivered, "delivered"),
        (sum.dead, "dead"),
        (sum.cancelled, "cancelled"),
        (sum.retired, "retired"),
        (sum.lost, "lost"),
    ];
    let parts = parts.map(|(count, word)| format!("{} {word}", show::count(count)));
    format!("Deliveries: {} made {equals} {}", show::count(sum.created), parts.join(" + "))
}

pub(crate) const fn state(state: State) -> &'static str {
    match state {
        State::Ready => "ready",
        State::Scheduled => "scheduled",
        State::Leased => "leased",
        State::Delivered => "delivered",
        State::Dead => "dead",
        State::Expired => "expired",
        State::Cancelled => "cancelled",
    }
}

pub(crate) const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Rejected => "rejected",
        Reason::Busy => "busy",
        Reason::LostLeases => "leases lost",
        Reason::Expired => "expired",
        Reason::Refused => "refused",
    }
}

pub(crate) fn tried(tries: u32, status: Option<u16>) -> String {
    let tries = self::tries(tries);
    status.map_or_else(|| tries.clone(), |status| format!("{tries}, {status}"))
}

fn tries(tries: u32) -> String {
    if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") }
}

/// Of one that ended without success: `rejected, 500`. That what is expired did expire needs no second word.
pub(crate) fn ended(end: State, why: Option<Reason>, status: Option<u16>) -> String {
    let why = why.map_or(state(end), reason);
    status.map_or_else(|| why.to_owned(), |status| format!("{why}, {status}"))
}

pub(crate) fn more(count: &usize) -> String {
    format!("+ {count}")
}

pub(crate) const fn since(since: Since) -> &'static str {
    match since {
        Since::Hour => "last hour",
        Since::Day => "last 24 hours",
        Since::Week => "last 7 days",
        Since::Ever => "any time",
    }
}

pub(crate) const fn looked_back(since: &Since) -> &'static str {
    match since {
        Since::Hour => "Looked back over the last hour.",
        Since::Day => "Looked back over the last 24 hours.",
        Since::Week => "Looked back over the last 7 days.",
        Since::Ever => "Looked back as far as events are kept.",
    }
}

pub(crate) fn shown(lines: usize) -> String {
    if lines == 1 { "1 shown".to_owned() } else { format!("{lines} shown") }
}

pub(crate) fn by_key(key: &str) -> String {
    format!("proved by key {key}")
}

pub(crate) fn to(destination: &str) -> String {
    format!("To {destination}")
}

pub(crate) fn losses(losses: &u32) -> String {
    if *losses == 1 { "1 lease lost".to_owned() } else { format!("{losses} leases lost") }
}

pub(crate) fn redrive(destination: &str) -> String {
    format!("Redrive to {destination}")
}

pub(crate) fn cancel(destination: &str) -> String {
    format!("Cancel the delivery to {destination}")
}

pub(crate) fn pause(destination: &str) -> String {
    format!("Pause {destination}")
}

pub(crate) fn resume(destination: &str) -> String {
    format!("Resume {destination}")
}

pub(crate) fn pause_sure(destination: &str) -> String {
    format!("Hand out nothing more of {destination}? What comes waits, and expires at the end of its time to live.")
}

/// How many dead letters there are, as far as was looked.
pub(crate) fn in_groups(count: u64, groups: usize, looked_at: &u64, is_all: &bool) -> String {
    let groups = if groups == 1 { "1 group".to_owned() } else { format!("{groups} groups") };
    let all = format!("{} in {groups}", show::count(count));
    if *is_all { all } else { format!("{all} (the newest {})", show::count(*looked_at)) }
}

pub(crate) fn in_no_group(count: &u64) -> String {
    format!("{} more are in groups that are not shown; narrow the list to see them.", show::count(*count))
}

pub(crate) fn example_of(destination: &str) -> String {
    format!("An example to {destination}")
}

pub(crate) fn wrong(count: usize) -> String {
    if count == 1 { "1 thing is wrong on the way.".to_owned() } else { format!("{count} things are wrong on the way.") }
}

/// A part of the way of a webhook.
pub(crate) fn hop<'a>(hop: &&'a str) -> &'a str {
    match *hop {
        "server" => "Server: takes it and keeps it",
        "source" => "Source: lets it in",
        "route" => "Routes: lead it to destinations",
        "client" => "Client: fetches it",
        "target" => "Target: takes it",
        other => other,
    }
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
        Kind::Disk => "make room where the store is, or give it more; DISK_RESERVE is what it keeps free.",
        Kind::Certificate => "renew it where it comes from, and look at why that did not happen by itself.",
        Kind::Clock => "set the clock right, then restart the server.",
        Kind::Refused => "look at which check refuses, then compare secret and URL with the platform's.",
        Kind::Source => "correct its settings: crm-relay source update.",
        Kind::Store => "look at the server's log, and at what the store is in.",
        Kind::Backup => "look at why the copy could not be taken, and take one: crm-relay store backup.",
        Kind::Configuration => {
            "give all servers on the store the same settings: crm-relay status names those that differ."
        }
        Kind::Alert => "look at its error below, then try it: crm-relay alert test.",
    }
}

pub(crate) fn number(number: &u32) -> String {
    format!("#{number}")
}

pub(crate) fn earlier_tries(count: &usize) -> String {
    if *count == 1 { "1 earlier try is not shown".to_owned() } else { format!("{count} earlier tries are not shown") }
}

pub(crate) fn left_out(count: &u64) -> String {
    format!("{} more are not shown; crm-relay source list and destination list have all.", show::count(*count))
}

pub(crate) fn body_rest(shown: &u64, of: &u64) -> String {
    if shown >= of {
        return "Long lines are cut; the download has all of it.".to_owned();
    }
    format!("The first {} of {} are shown; the download has all of it.", show::size(*shown), show::size(*of))
}

pub(crate) fn says_is(claimed: &str) -> String {
    format!("says it is {claimed}")
}

pub(crate) fn users(count: usize) -> String {
    if count == 1 { "1 user".to_owned() } else { format!("{count} users") }
}

pub(crate) fn save_role(user: &str) -> String {
    format!("Give {user} this role")
}

pub(crate) fn role_of(user: &str) -> String {
    format!("Role of {user}")
}

pub(crate) fn reset(user: &str) -> String {
    format!("Reset {user}: password and sessions end, and a link lets in anew")
}

pub(crate) fn enable(user: &str) -> String {
    format!("Enable {user}")
}

pub(crate) fn disable(user: &str) -> String {
    format!("Disable {user}")
}

pub(crate) fn sessions(count: usize) -> String {
    if count == 1 { "1 session".to_owned() } else { format!("{count} sessions") }
}

pub(crate) fn end_session(agent: &str) -> String {
    format!("End the session of {agent}")
}

pub(crate) const fn theme(theme: Theme) -> &'static str {
    match theme {
        Theme::System => "as the system has them",
        Theme::Light => "light",
        Theme::Dark => "dark",
    }
}

pub(crate) const fn zone(zone: Zone) -> &'static str {
    match zone {
        Zone::Local => "in the browser's zone",
        Zone::Utc => "in UTC",
    }
}
