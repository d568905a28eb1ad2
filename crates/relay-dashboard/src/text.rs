//! Every word that a page says. A translation is another file like this one.

#![expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand over references")]

use std::time::Duration;

use relay_core::delivery::{Reason, State};

use crate::{
    body::{BodyLines, Preview, View},
    proof::{NoVerdict, Proof},
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

mod setup;

pub use self::setup::steps_at;
pub(crate) use self::setup::*;

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
    LAST_HOUR = "Last hour";
    HOUR_IS = "Dead and refused as this server counts them; all of it since it began, at most";
    DEAD_HERE = "Dead here";
    REFUSED_HOUR = "Refused here";
    KNOWN_SINCE = "known since this server began,";
    NOT_KNOWN = "not known";
    ACCEPTED_EVER = "Accepted in all";
    DELIVERED_KEPT = "Delivered, and kept";
    A_MINUTE = "In/min";
    A_MINUTE_IS = "Accepted in the latest whole minute";
    RECOUNT = "Recount";
    RECOUNT_IS = "Walks everything that is stored, and compares it with these numbers";
    NOT_RECOUNTED = "Not counted anew since this server began.";
    MISSED = "Came to no source";
    MISSED_HOW = "The last 50 at this server, since it began: a mistyped URL stands here, and what strangers try.";
    NO_MISSED = "Nothing came to a path that is no source's.";
    ANSWERED = "Answered";
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
    FIND_EVENT = "Id, the sender's id, or name (* for anything)";
    FIND_EVENT_EXAMPLE = "evt_…, invoice.*, or $.customer.id=17";
    SIZE = "Size";
    NO_DELIVERY = "no delivery";
    OLDER_DELIVERIES = "Older deliveries are not shown; crm-relay delivery list --event has all.";
    NO_DELIVERY_LONG = "No route led from its source when it came.";
    NO_EVENT_YET = "No webhook has come yet.";
    NO_EVENT_YET_HOW = "The first one is here within a second of its arrival. This sends a sample:";
    NO_EVENT_MATCHES = "No event matches.";
    SHOW_ALL_EVENTS = "Show all events";
    LOOK_INSIDE = "Look for it in bodies, queries and headers";
    NOT_INSIDE = "No event has it, of those that were looked at.";
    NOT_MARKED = "No event has this value, of those that were looked through for it.";
    MARKED_UP_TO = "Of events stored up to";
    MARKED_FROM = "Of events stored from";
    MARKED_TO = "to";
    MARKED_BEYOND = "Of others nobody knows yet.";
    MARKED_NOTHING = "No event is looked through for this mark yet; that begins within seconds.";
    BACK_TO = "Back to";
    GO_ON_LOOKING = "Go on looking →";
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
    COMMAND = "The command that sends it again";
    COMMAND_HOW = "For a POSIX shell; TARGET is the URL that it goes to. A signature in it holds as long as the target takes it; a secret that is masked is a variable, named as its field.";
    COPY_CURL = "Copy as curl";
    COPY_ID = "Copy the id";
    PROOF = "Proof";
    FIRST_PART = "First part";
    NEXT_PART = "Next part →";
    ALL_PARTS = "All";
    DOWNLOAD = "Download";
    BODY_EMPTY = "The body is empty.";
    BODY_ERASED = "It was erased: body, path and values of headers are gone.";
    ERASED = "erased";
    BODY_WITHHELD = "Your role does not see bodies.";
    HEADERS = "Headers";
    MASKED = "masked";
    REVEAL = "Reveal, which the audit log notes";
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

// The audit log.
words! {
    AUDIT = "Audit";
    AS_CSV = "CSV";
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
    KEY_OPEN = "open";
    KEY_CLOSE = "close";
    KEY_VIEWS = "Pretty, Raw, Hex";
    KEY_CURL = "copy as curl";
    KEY_KEYS = "these keys";
    KEY_ENTER = "Enter";
    KEY_ESC = "Esc";
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

pub(crate) fn peak(most: u64) -> String {
    format!("at most {} a minute", show::count(most))
}

/// Of what came, every ten minutes.
pub(crate) fn by_tens(tens: &[String]) -> String {
    format!("Accepted in each ten minutes, the oldest first: {}.", tens.join(", "))
}

pub(crate) const fn recounted(agrees: &bool) -> &'static str {
    if *agrees { "Counted anew, and all of it agrees," } else { "Counted anew, and it differs (crm-relay audit)," }
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

pub(crate) fn looked_at(read: &u64, of: Option<&u64>, is_all: bool) -> String {
    let read = show::count(*read);
    match (of, is_all) {
        (Some(_), true) => format!("Looked at all {read} events."),
        (None, true) => format!("Looked at {read} events, all that the choice above leaves."),
        (Some(of), false) => format!("Looked at {read} of {} events.", show::count(*of)),
        (None, false) => format!("Looked at {read} events, not yet all."),
    }
}

pub(crate) fn not_looked_into(unread: &u64) -> String {
    format!(
        "{} could not be looked into: damaged, no whole JSON, or compressed in an unknown way.",
        show::count(*unread)
    )
}

pub(crate) fn known_for(memory: &Duration, sources: &usize, of: &usize) -> String {
    let memory = show::span(*memory);
    if sources < of {
        return format!(
            "No sender calls an event so either, at the {sources} of {of} sources that were asked: choose one."
        );
    }
    format!(
        "No sender calls an event so either: that is known for {memory}, where it gives an id that it never gives twice."
    )
}

pub(crate) fn shown(lines: usize) -> String {
    if lines == 1 { "1 shown".to_owned() } else { format!("{lines} shown") }
}

pub(crate) fn by_key(key: &str) -> String {
    format!("proved by key {key}")
}

pub(crate) const fn proof(proof: &Proof) -> &'static str {
    match proof {
        Proof::Holds | Proof::HoldsUnderOld => "Genuine",
        Proof::Fails(_) => "No longer proved",
        Proof::Unknown(_) => "Not judged again",
    }
}

/// Whatever is said now, it was proved when it came: else it would not be here.
pub(crate) fn proof_said(proof: &Proof) -> String {
    let why = match proof {
        Proof::Holds => "It holds under the present secret.",
        Proof::HoldsUnderOld => "It holds under the secret that is being replaced.",
        Proof::Fails(check) => {
            return format!("It was when it came. The source's secrets or settings are others now: {check}.");
        }
        Proof::Unknown(why) => no_verdict(*why),
    };
    why.to_owned()
}

const fn no_verdict(why: NoVerdict) -> &'static str {
    match why {
        NoVerdict::Erased => "What was received is erased.",
        NoVerdict::NoSource => "Its source is deleted, and its secrets with it.",
        NoVerdict::SourceBroken => "The settings of its source do not read.",
        NoVerdict::NotKept => "What its source takes for proof, a key, a password or a token, is not kept with it.",
        NoVerdict::KeyFetched => "The platform's key is fetched when a webhook comes, and not for a look.",
        NoVerdict::Question => "Its source would take it for a question of its platform now.",
        NoVerdict::BodyUnread => {
            "Its source has bodies signed as they are decoded; this one is longer than is decoded for a look, or does not decode."
        }
        NoVerdict::Age => "The time in it is apart from that at which it came, as the clocks were then.",
    }
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

pub(crate) fn number(number: &u32) -> String {
    format!("#{number}")
}

pub(crate) fn earlier_tries(count: &usize) -> String {
    if *count == 1 { "1 earlier try is not shown".to_owned() } else { format!("{count} earlier tries are not shown") }
}

pub(crate) fn left_out(count: &u64) -> String {
    format!("{} more are not shown; crm-relay source list and destination list have all.", show::count(*count))
}

pub(crate) const fn view(view: &View) -> &'static str {
    match view {
        View::Pretty => "Pretty",
        View::Raw => "Raw",
        View::Hex => "Hex",
        View::Curl => "curl",
    }
}

/// Which part of a body is shown, and what is not as it came.
pub(crate) fn part(preview: &Preview) -> String {
    let (first, last) = (show::count(preview.first), show::count(preview.last));
    let mut said = match preview.shown {
        BodyLines::Text(_) => format!("Lines {first} to {last}."),
        BodyLines::Hex(_) => format!("Bytes {first} to {last} of {}.", show::count(preview.of)),
    };
    let more = [
        (preview.is_inflated, " Shown decompressed; Raw, Hex and the download are as it came."),
        (preview.is_beginning, " Only its first MiB is laid out."),
        (preview.is_cut, " Long lines are cut; the download has all of it."),
    ];
    more.into_iter().filter(|(holds, _)| *holds).for_each(|(_, words)| said.push_str(words));
    said
}

pub(crate) fn more_headers(count: &usize) -> String {
    format!("+ {count}, on the page of the event")
}

pub(crate) fn masked(count: usize) -> String {
    if count == 1 {
        "1 value is masked as a secret.".to_owned()
    } else {
        format!("{count} values are masked as secrets.")
    }
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
