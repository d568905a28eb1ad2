//! The bounds, each with its unit and why it has this value: those that more than one room knows, and those that one file of the core does.
//! Bounds that an operator may set have their default here.

use std::time::Duration;

use crate::lines::Share;

/// Bytes of a name. A DNS label, so that a name can become one.
pub const NAME_BYTES_MAX: usize = 63;
/// Bytes of a chunk of body on the session: small enough that control messages never wait long behind one.
pub const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of a WebSocket message (security: a peer cannot make us buffer more). The largest there are, a Hello or a Welcome
/// that names [`HELD_MAX`] leases, come to three quarters of it.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of words for people, each: an error, a label, a reason, a version. A sentence or two.
pub const WORDS_BYTES_MAX: usize = 500;
/// Bytes of a refusal's body that a client reports and a server keeps with the attempt: a sentence that says why, or the head
/// of a page that does.
pub const ANSWER_WORDS_BYTES_MAX: usize = 2 * 1024;
/// Tries of a delivery, redrives included, whose answers are kept beside that of the latest: a target that says no for days
/// must not fill the store with what it says.
pub const ANSWERS_ARCHIVED_MAX: u32 = 16;
/// Outcomes that wait for somebody else and may carry what a target said: in a client for their confirmation, before its
/// socket, in a server for their commit. Where more wait, the rest goes without (security: the memory of each is 6 MiB).
pub const ANSWERS_WAITING_MAX: usize = 2 * 1024;
/// Bytes of a target's answer head. More is a malformed answer: outcome *rejected*.
pub const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;
/// Interim answers (1xx) of a target before its answer; real ones send one or two. More never come to an answer: outcome
/// *rejected*.
pub const ANSWER_INTERIM_MAX: usize = 100;
/// How long more of an answer's body is waited for that only the end of its connection ends, where its head does not say that
/// the connection ends: who writes such heads often lets it stand. The status has decided by then.
pub const ANSWER_SILENCE_MAX: Duration = Duration::from_secs(2);
/// Bytes that a connection to a target reads before others have their turn, so that none of them, however small the pieces
/// in which it answers, holds up the session or other targets.
pub const TARGET_TURN_BYTES: usize = 16 * 1024;
/// Request header fields, and bytes of the whole request head (431 above).
pub const HEADERS_MAX: usize = 100;
/// See [`HEADERS_MAX`].
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of path and query (414 above).
pub const URI_BYTES_MAX: usize = 8 * 1024;
/// How often a path is decoded before it is taken to be one that never ends (security: strangers choose it, and each decoding
/// reads it whole).
pub const PATH_DECODINGS_MAX: usize = 8;
/// Bytes of an `Idempotency-Key`.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Marks of a source: each is a row for each event, and a second one to remove it by.
pub const MARKS_MAX: usize = 8;
/// Values that an event has at a mark: those of a list's items. Of more, the first ones.
pub const MARK_VALUES_MAX: usize = 16;
/// Bytes of a value; what is longer is no id, and is not marked.
pub const MARK_VALUE_BYTES_MAX: usize = 255;
/// Bytes of a body in which values are looked for, once it is decoded.
pub const MARK_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Values that one commit marks, and rows that one removes: a short commit, as all bulk work has.
pub const MARKS_A_COMMIT: usize = 500;

/// Losses from which on a delivery is leased alone: two lost leases may be bad luck, the third makes it a suspect.
pub const LOSSES_SUSPECT: u32 = 3;
/// Losses that end a delivery as dead: whatever it is, it takes its client down every time.
pub const LOSSES_MAX: u32 = 12;
/// So long behind its end a lease lapses that whoever keeps it says nothing of: longer than the clocks of servers that share a
/// store are apart, and than an extension on its way.
pub const LAPSE_AFTER: Duration = Duration::from_secs(2);
/// So much later it is handed back by any other server, if the one that looks after its partition has not: that one may have died, and
/// is still heard of for [`PRESENCE_GONE`].
pub const LAPSE_SEEN_BY_OTHERS: Duration = Duration::from_secs(1);
/// How long a client waits at most until a server has read in the store what others keep for it: no longer than it does, for then
/// it may be at another.
pub const CLAIM_WITHIN: Duration = WELCOME_WAIT;
/// How often each of several servers says which clients it has, and hears of those of the others.
pub const PRESENCE_EVERY: Duration = Duration::from_secs(3);
/// Of whom nothing was heard for so long is gone.
pub const PRESENCE_GONE: Duration = Duration::from_secs(15);
/// Most partitions of a store.
pub const PARTITIONS_MAX: u16 = 128;
/// How far the clock of a server may be from that of the others on its store, beside what the way to the store hides: below
/// [`LAPSE_AFTER`], by which leases are judged.
pub const CLOCKS_APART: Duration = Duration::from_secs(1);
/// Characters of each of the words that a server says of itself, and of an open circuit, to the others.
pub const PRESENCE_WORDS_MAX: usize = 256;
/// Open circuits that a server tells the others of: beyond that, what is down is learnt anew where its clients go.
pub const PRESENCE_CIRCUITS_MAX: usize = 1_024;
/// So long behind the end of a lease another server has said that it has the client, if it has it.
pub const PRESENCE_KNOWN: Duration = Duration::from_secs(7);
/// How long a client instance whose socket was lost may come back to its leases.
pub const RESUME_GRACE: Duration = Duration::from_secs(5);
/// And no longer than this where its Hello, or another under its token, goes on arriving meanwhile: the largest there is comes
/// over 8 KiB a second in this time.
pub const RESUME_MAX: Duration = Duration::from_mins(2);
/// How often each side of a session tells the other which deliveries it holds.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Heartbeats that may be missed before the peer counts as gone.
pub const HEARTBEATS_MISSED_MAX: u32 = 3;
/// How often a client takes note that a message which is not whole yet goes on: often enough beside a heartbeat, seldom enough
/// to cost nothing.
pub const HEARD_EVERY: Duration = Duration::from_secs(1);
/// How long a client waits for the answer to its Hello, or for more of it, before it dials again: as long as a server may look in a
/// slow store for what others keep for it, since whoever comes again too soon makes it look once more.
pub const WELCOME_WAIT: Duration = Duration::from_secs(20);
/// Bytes a second of the slowest link on which a session lives.
pub const LINK_BYTES_PER_SECOND_MIN: u32 = 1024;
/// Bytes of a Hello that a client's system and what is in between may have taken without sending them on: what a socket
/// takes at once when it is new. A client waits for the answer as long as the slowest link takes for these.
pub const HELLO_UNSEEN_BYTES: usize = 128 * 1024;
/// Leases that a client holds at most, outcomes that wait for their confirmation included: a server that never confirms
/// must not fill its memory, and a Hello that names them all stays well below the largest message.
pub const HELD_MAX: usize = 16_384;
/// Bytes of the largest body that a client takes, however large its buffer (security: a body larger than the buffer goes
/// alone, and a server must not choose how large). No server takes in a larger one either.
pub const GRANT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Memory that a client reserves at once for a body that arrives in chunks; more as it arrives, not as it is announced
/// (security: a server may announce what it never sends).
pub const ASSEMBLY_BYTES_FIRST: u64 = 1024 * 1024;
/// Bytes of the message that a grant is: all of a request's head, the first piece of its body, and what later versions may
/// add. A client keeps the message while the webhook is at its target.
pub const GRANT_MESSAGE_BYTES_MAX: usize = 256 * 1024;
/// Messages that may wait in a client for its socket: a report of everything it can hold, and as many others. A server
/// that lets more pile up does not read.
pub const CLIENT_OUTBOX_MAX: usize = 2 * HELD_MAX;
/// Bytes that may wait below those messages, in the WebSocket itself: answers to pings pile up there when a peer does not
/// read.
pub const SOCKET_WRITE_BUFFER_MAX: usize = 8 * 1024 * 1024;
/// Shortest interval of heartbeats that a client lets a server set: each names all it holds.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(100);
/// How long a client goes on dialling with a token that let it in before and is refused now: whoever took it back by
/// mistake has that long.
pub const TOKEN_REFUSED_MAX: Duration = Duration::from_hours(1);
/// First upper bound of a client's pause before it dials again; doubles with each failure.
pub const RECONNECT_PAUSE_FIRST: Duration = Duration::from_millis(500);
/// Longest pause of a client before it dials again by itself.
pub const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(30);
/// Longest pause that a server may ask a client for, so that a wrong answer does not silence it for days.
pub const RECONNECT_LATER_MAX: Duration = Duration::from_mins(5);
/// A session that lived this long was a good one: the next pause is short again.
pub const SESSION_GOOD_AFTER: Duration = Duration::from_secs(10);
/// A lease lives no longer than its transfer + `FORWARD_TIMEOUT` + this, however often it is extended.
pub const LEASE_OVERTIME: Duration = Duration::from_mins(1);
/// How long the last pieces of a body may take to a client that reads them steadily, but slowly, before it must have named
/// the lease: what waits in front of the wire (see `SESSION_QUEUE_BYTES`), at the slowest pace at which a session lives.
pub const TRANSFER_TAIL: Duration = Duration::from_mins(10);
/// Body bytes and the like that wait for one socket in front of its wire, however fast that is. Little, so that heartbeats and
/// confirmations do not wait long behind bodies, and so that what left the machine is soon at its client.
pub const SESSION_QUEUE_BYTES: usize = 4 * CHUNK_BYTES;
/// And no more of them than leave in this time at the pace of the link: a webhook that comes goes before the rest of a large
/// one, and on a slow link what went before is all that it waits for.
pub const SESSION_QUEUE_TIME: Duration = Duration::from_millis(250);
/// Fewest bytes of a body that a message carries because its link is slow: what is around them stays a hundredth.
pub const PIECE_BYTES_MIN: usize = 4 * 1024;
/// Bytes that the system takes from the writer of a session's socket before they can be sent: it would take megabytes, and on a
/// slow link need minutes for them. What is on the wire and not acknowledged does not count, so this slows no link: at
/// 1 Gbit/s these last longer than a writer takes to bring more.
pub const SESSION_UNSENT_BYTES: u32 = 16 * 1024;
/// Largest part of a delay that chance adds or takes away, so that what failed together does not come back together.
pub const RETRY_JITTER: f64 = 0.1;
/// Longest delay after a failed try that did not count; shorter where `CIRCUIT_PAUSE_MAX` is, so that what waits is due
/// when the destination is found well again.
pub const UNCOUNTED_DELAY_MAX: Duration = Duration::from_mins(1);
/// Failed tries in a row from which on a destination that says "not now" (408, 425, 502 to 504) and serves others meanwhile
/// is believed to mean this event: before, it is more often a deployment or a proxy's bad moment.
pub const SPOKEN_BUSY_TRIES: u32 = 8;
/// Unreachable tries in a row that open a circuit.
pub const CIRCUIT_UNREACHABLE: u32 = 3;
/// Different events without a counted try that have failed since the last 2xx: so many mean that the destination fails, not
/// they. They open a circuit, and from the last of them on nothing counts.
pub const CIRCUIT_EVENTS: usize = 5;
/// How long nothing must have been delivered before failures open a circuit: one that delivers serves, however often it fails.
pub const CIRCUIT_QUIET: Duration = Duration::from_secs(1);
/// A circuit that a delivery closed, and that opens again within this, stands before a destination that takes some: it waits
/// longer before it opens, so that what is taken rarely is found among what is not.
pub const CIRCUIT_FLAP: Duration = Duration::from_mins(1);
/// By so much each time in a row.
pub const CIRCUIT_FLAP_QUIET: Duration = Duration::from_secs(4);
/// So often in a row at most.
pub const CIRCUIT_FLAPS_MAX: u32 = 2;
/// 429s beyond four to each delivery that halve the slots: so many more mean a limit on the rate and not on some events.
pub const LIMITED_EXCESS: u32 = 16;
/// How long slots that were halved so are not added to.
pub const LIMITED_HELD: Duration = Duration::from_secs(1);
/// Pause behind a 429 where nothing was delivered for as long; doubles with each that follows.
pub const LIMITED_PAUSE_FIRST: Duration = Duration::from_millis(100);
/// Longest of these pauses. `Retry-After` does not make it longer: it speaks of one delivery, and others may be taken.
pub const LIMITED_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Newest deliveries that an open circuit lets out in a row because something arrives all the time; then an older one has
/// its turn.
pub const CIRCUIT_NEWEST_MAX: u8 = 3;
/// First pause of an open circuit; doubles up to `CIRCUIT_PAUSE_MAX`.
pub const CIRCUIT_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Deliveries that one `lease` asks for at most, so that a batch stays one short commit.
pub const LEASE_BATCH_MAX: usize = 256;
/// Bodies that one operation of the store reads at most, and how many bytes of them where there are several: a part of what a
/// reader may take, so that pages and look-ups come between.
pub const BODIES_READ_MAX: usize = 64;
/// See [`BODIES_READ_MAX`].
pub const BODIES_READ_BYTES: u64 = 8 * 1024 * 1024;
/// A destination that waits for a client is announced (WARN) after this long.
pub const NO_CLIENT_WARN_AFTER: Duration = Duration::from_mins(1);

/// How far the system's clock and the time of this process may be apart before it is said: signed timestamps may be off by
/// five minutes, and clocks that are disciplined differ by milliseconds.
pub const CLOCK_DRIFT_MAX: Duration = Duration::from_mins(1);

/// How long a socket may stay without its Hello.
pub const HELLO_WITHIN: Duration = Duration::from_secs(10);
/// Leases that one Extend, Settled or Release names, of either side; whoever has more to name says it in several. Small
/// enough that the hub is done with one within a millisecond (security: a session chooses what it names, and others wait
/// meanwhile).
pub const LEASES_PER_MESSAGE: usize = 1_024;
/// What of one session may wait for the hub, as `Message::weight` counts it; a message that weighs more goes alone. Half of
/// what fits into the hub's queue, so that no session fills it, and two full turns, so that a busy client never waits for
/// the next one.
pub const SESSION_WAITING_WEIGHT: u32 = 512;
/// What the hub handles in one turn, as `Message::weight` counts it, before webhooks and the store have theirs: about a
/// millisecond.
pub const TURN_WEIGHT: u32 = 2_048;
/// Sessions that one token has open at a time: dozens of clients that share it, each with a few sockets that are not known to
/// be dead yet, as after a network that broke several times within [`HEARTBEAT`] times [`HEARTBEATS_MISSED_MAX`] (security: a
/// token that leaked, or a client that leaks sockets, must not hold all connections).
pub const SESSIONS_PER_TOKEN_MAX: usize = 256;
/// How long a request of a session that is polled waits for something to be said: below the 30 s after which the most impatient
/// proxies cut what is idle.
pub const POLL_WAIT: Duration = Duration::from_secs(20);
/// Bytes of a session that one request or answer of it carries while it is polled, and that wait between the two at most: such
/// a piece of a body with its head, and little enough that proxies which buffer bodies keep it in memory.
pub const POLL_BYTES_MAX: usize = 64 * 1024;
/// How long a session that is polled lives without a request of its client: what ends a silent WebSocket.
pub const POLL_IDLE: Duration = Duration::from_secs(45);
/// How long it lives so once its server stops: nobody finds the way back to that.
pub const POLL_IDLE_AT_STOP: Duration = Duration::from_secs(2);
/// Sessions that are polled at a time: with two pieces each, a tenth of a GiB at most.
pub const POLL_SESSIONS_MAX: usize = 512;
/// How many `WebSockets` in a row may fall silent right behind their upgrade before a client tries to poll.
pub const WEBSOCKETS_CUT: u32 = 3;
/// How long a client polls before it looks whether `WebSockets` come through; twice as long each time that they do not.
pub const WEBSOCKET_AGAIN: Duration = Duration::from_hours(1);
/// The longest such pause.
pub const WEBSOCKET_AGAIN_MAX: Duration = Duration::from_hours(12);
/// Bytes of a session's buffers that are its own: what it reads at once, what it gathers for its socket with a chunk of a body
/// behind it, and as much again as a quarter of that.
pub const SESSION_OWN_BYTES: u64 = 192 * 1024;
/// What the buffers of all sessions keep together beyond that: dozens of the largest messages (security: a client decides how
/// much of a message it sends, and what it takes).
pub const SESSIONS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Answers to pings that are not taken by their peer: hours of them, at the pace of whoever pings to keep a connection.
pub const SESSION_PONGS_BYTES_MAX: u64 = 32 * 1024;
/// Control messages that may wait for one socket. A peer that lets more pile up does not read.
pub const SESSION_CONTROL_MAX: usize = 1_024;
/// Leases that confirmations or releases waiting for one socket may name, and reports of one socket that may wait for
/// their decision: more than a client can hold. A peer that lets more pile up does not read, or makes them up.
pub const SESSION_LEASES_MAX: usize = 4 * HELD_MAX;
/// Leases that one client is granted at a time, over all its destinations: half of what it holds at most, the other half
/// is for outcomes that wait for their confirmation.
pub const GRANTED_MAX: usize = HELD_MAX / 2;
/// How long a commit may take before its sender is told 503, and the server counts as not ready: platforms give up after
/// three seconds and more.
pub const COMMIT_WITHIN: Duration = Duration::from_millis(2_500);
/// Requests that may wait for their commit. More are refused: 503.
pub const APPENDS_MAX: usize = 65_536;
/// One destination has one in this many bytes of the room for what goes out, at most: half, so that one whose clients read slowly
/// does not stop the others.
pub const ROOM_DESTINATION_PART: u64 = 2;
/// And one client, of bytes that wait to be sent to it: however many destinations are its own.
pub const ROOM_CLIENT_PART: u64 = 4;
/// One in this many is for destinations that have nothing out, so that none of them waits for those that have much.
pub const ROOM_KEPT_PART: u64 = 4;
/// One in this many is for what is out beyond the reach of its client: half, so that two of the largest bodies are on slow links
/// at a time, and whoever takes what he gets has as much.
pub const ROOM_REACH_PART: u64 = 2;
/// A client's reach is what its link takes in this time: so long at most, somebody who waits for room waits for what is on its way
/// to others.
pub const REACH_SPAN: Duration = Duration::from_secs(10);
/// How often clients are looked at while somebody waits: long enough that a link that does a little shows it.
pub const REACH_LOOK: Duration = Duration::from_secs(2);
/// How long a body beyond its client's reach has its room while others wait for that: so that most of the time something goes
/// over each link, and a body is read again seldom beside how long it takes.
pub const REACH_TURN: Duration = Duration::from_secs(10);
/// The same where nothing of it is taken.
pub const REACH_TURN_STUCK: Duration = Duration::from_secs(4);
/// A body that was at its target for longer than this lets others go before the next of its destination at that client: longer
/// than what answers at all takes, and a third of the default `FORWARD_TIMEOUT`.
pub const ROOM_TURN: Duration = Duration::from_secs(10);
/// One in this many of each of these, and of a client's buffer, is for small bodies alone: enough for dozens of them at the
/// defaults, and little that large ones miss.
pub const ROOM_SMALL_PART: u64 = 8;
/// One in this many bytes of the memory for what comes in is lent to what goes out without having been stored first, at most. Half
/// of `MAX_INFLIGHT_BYTES` is for what comes in, and so much more than half of that stays for it.
pub const ROOM_BORROWED_PART: u64 = 4;
/// Of a client's slots at a destination one in this many, and one of two, is for small bodies while large ones are on their way:
/// these take minutes on a slow link.
pub const SMALL_SLOTS_PART: u32 = 4;
/// Leases of large bodies beyond its slots that a client holds at a destination at most, so that what is small behind them in
/// the store is leased. With more, others would be kept from them for nothing.
pub const PARKED_MAX: usize = 64;
/// Retries that take longer than this in the mean are slow, unless what is delivered takes half as long: of eight slots that
/// they hold one is free every sixteenth of a second, so quicker ones hold up nobody.
pub const SLOW_RETRY: Duration = Duration::from_millis(500);
/// Of a client's slots at a destination slow retries hold one in this many, but one at least: what arrives meanwhile finds the
/// others, as far as first tries leave them.
pub const SLOW_RETRY_SLOTS_PART: u32 = 4;
/// Each try counts for one in this many of the average duration: one that hung for 25 s is forgotten after some fourteen that
/// took no time.
pub const DURATION_WEIGHT: u32 = 4;
/// Lease operations under way for one destination at a time: enough to keep several clients busy, few enough that one new
/// delivery does not make hundreds of clients ask for it.
pub const LEASE_ASKS_MAX: usize = 4;
/// How often an event may be sent again to a destination that has it, within [`RESEND_WINDOW`]: whoever presses Resend
/// wants it once or twice; a sender that does it by itself must not fill the store.
pub const RESENDS_MAX: usize = 5;
/// See [`RESENDS_MAX`].
pub const RESEND_WINDOW: Duration = Duration::from_hours(1);
/// How often what has expired, and what has become due unseen, is looked for.
pub const DUE_EVERY: Duration = Duration::from_secs(1);
/// Longest name of an event: what a platform calls what happened is a few words; its length is one byte where it is stored.
pub const EVENT_NAME_BYTES_MAX: usize = 255;
/// Names of events that a source numbers, those that came first: what a platform sends has a few dozen. Others are stored as
/// texts, found by reading the events.
pub const EVENT_NAMES_NUMBERED: usize = 250;
/// Expired deliveries and held leases that are read at a time.
pub const PAGE_MAX: u32 = 256;
/// Changes of one settlement, so that a batch stays one short commit, and one that fails takes few along.
pub const DECISIONS_MAX: usize = 1_024;
/// Decisions that wait for a store that could not take them. With more nothing is leased: its outcome would only wait with
/// them, and be forwarded twice if the process ended before there is room.
pub const UNDECIDED_MAX: usize = 512;
/// Pause before the next page of expired deliveries, once the last page's ends are stored: others have their turn.
pub const EXPIRE_PAUSE: Duration = Duration::from_millis(10);
/// How often a decision is taken again because the record changed meanwhile. Each time somebody else has made progress.
pub const DECIDE_AGAIN_MAX: u8 = 16;
/// Pause before an append that may not be stored is asked for again, until its deadline: some ten times within
/// [`COMMIT_WITHIN`].
pub const APPEND_AGAIN: Duration = Duration::from_millis(200);
/// Pause before a store operation that failed for now is asked for again.
pub const STORE_RETRY: Duration = Duration::from_secs(1);
/// When a store that is full may have room again: not while somebody waits for an answer, since only retention makes it, or an operator.
/// Zendesk sends again only where it is told less than a minute.
pub const STORE_FULL_RETRY: Duration = Duration::from_secs(30);
/// Between two looks at the version of a registry that several servers share: what another changed holds within two seconds, also
/// where no hint of it came (I21).
pub const REGISTRY_LOOK: Duration = Duration::from_secs(1);
/// How long what was said last may take to be taken, once a server or a client that stops has nothing else to wait for: a
/// session that lives takes it in less, and one that is stuck must not hold up the stop.
pub const LAST_WORDS_WITHIN: Duration = Duration::from_secs(2);
/// One in this many parts of a client's `SHUTDOWN_GRACE` is for that, where its grace ends with requests under way.
pub const LAST_WORDS_SHARE: u32 = 20;
/// How long clients of a stopping server stay away, unless another one takes its place sooner.
pub const GOAWAY_RETRY_AFTER: Duration = Duration::from_secs(1);
/// How long an instance without a socket is remembered: its circuits outlive a broken connection.
pub const INSTANCE_KEPT: Duration = Duration::from_mins(1);

/// How long a source waits for the secret that its platform hands over, once an operator said that it is about to come
/// (security: whoever comes first is believed).
pub const ADOPTION_WINDOW: Duration = Duration::from_mins(15);

/// Deliveries that one step of a job decides about, so that it stays one short commit. One that removes stays below it in rows:
/// see [`rows_removed`](crate::storage::rows_removed).
pub const JOB_STEP_MAX: u32 = 500;
/// Bytes of a body that take about as long to remove as a row: the pages that they lie in are read one by one.
pub const BODY_BYTES_A_ROW: u64 = 64 * 1024;
/// Bytes of bodies that one step of a job writes over, unless one alone has more.
pub const ERASED_BYTES: u64 = 8 * 1024 * 1024;
/// Times that a job asks a store again that cannot for now, a [`STORE_RETRY`] apart: whoever waits for it hears of a store
/// that is away within seconds, and a moment's trouble is over by then.
pub const JOB_TRIES_MAX: u8 = 5;
/// How long a job is recognised that is asked for again: nobody waits longer for a command's answer to go on with it.
pub const JOBS_KEPT: Duration = Duration::from_hours(7 * 24);
/// Ended deliveries that are read at a time for retention. A store takes as many of them at a time as it can.
pub const RETIRE_PAGE_MAX: u32 = 4_096;
/// How long a line of the audit log is kept, at least: longer than most dead letters that it may speak of, and never
/// shorter than any.
pub const AUDIT_KEPT: Duration = Duration::from_hours(365 * 24);

/// Fewest deliveries a second that an operator's command makes due: one in a hundred seconds.
pub const RATE_MIN: f64 = 0.01;
/// Most: more than any target takes, so that it is no rate.
pub const RATE_MAX: f64 = 10_000.0;
/// How far ahead the first of them may be due.
pub const START_AHEAD_MAX: Duration = Duration::from_hours(366 * 24);

/// How long an old secret stays valid beside the one that replaces it, where a time is given: shorter is no rotation, and
/// longer is forgotten.
pub const ROTATION_KEPT_MIN: Duration = Duration::from_secs(1);
/// See [`ROTATION_KEPT_MIN`].
pub const ROTATION_KEPT_MAX: Duration = Duration::from_hours(366 * 24);
/// How soon an old secret that is over is looked for again: its time may end while another's is being taken out, and a store may
/// be away.
pub const ROTATION_LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a client that lacks a descriptor, a port or memory for a target waits before it tries again: others at their targets
/// give theirs back.
pub const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);
/// For how long its health shows that something was lacking.
pub const SHORTAGE_SHOWN: Duration = Duration::from_mins(1);

/// Bytes of a key, a certificate or another small document that a provider keeps at a URL.
pub const FETCHED_BYTES_MAX: usize = 64 * 1024;
/// From the first packet to the whole document: whoever sent the webhook waits that long.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a key that was fetched is believed.
pub const KEY_KEPT: Duration = Duration::from_hours(24);
/// How often a set of keys that is kept is fetched anew, because a request names a key that is not in it (security: strangers
/// may name any).
pub const KEY_RENEWED_AFTER: Duration = Duration::from_mins(1);
/// How long a key that could not be fetched is not asked for again.
pub const KEY_FAILURE_KEPT: Duration = Duration::from_secs(10);
/// Keys that are kept: more than all providers have at a time.
pub const KEYS_MAX: usize = 64;
/// Keys that one request may need: a certificate and what it was signed with.
pub const KEYS_PER_REQUEST: usize = 3;
/// Keys that are not there that one source may have asked for within a minute (security: strangers choose them).
pub const FETCHES_PER_MINUTE: u32 = 30;
/// How many of these one address may cause: the platform's own addresses are others than a stranger's.
pub const FETCHES_PER_ADDRESS: u32 = 6;
/// How many more a source may ask for beside a key that was good: platforms keep their next key in the same place.
pub const FETCHES_RESERVE: u32 = 6;
/// Of these more, how many one address or wider network may cause: what was good names the folder that a stranger needs.
pub const FETCHES_RESERVE_PER_NETWORK: u32 = 2;
/// How long after the last of them a kind of refusals is shown where operators look first.
pub const REFUSALS_SHOWN: Duration = Duration::from_hours(1);
/// Hints of one kind that an operator is shown: the first tell what to do, and clients choose how many there would be.
pub const HINTS_SHOWN: usize = 10;
/// Requests that a source refused lately and that an operator is shown.
pub const REFUSALS_KEPT: usize = 20;

/// One in this many bytes of the memory for bodies is kept for small ones, and for those whose head has proven them.
pub const BUDGET_KEPT_SHARE: u64 = 16;
/// Levels of a body that are still indented where people read it; deeper ones stay on their line.
pub const LAID_DEPTH_MAX: usize = 64;
/// Parts on one such line; what is behind them begins another one, so that no depth makes a line without end.
pub const LAID_PIECES_MAX: usize = 4_096;
/// An element of XML that is no longer than this stays on one line there.
pub const LAID_TOGETHER_BYTES_MAX: usize = 120;
/// A body that is decoded to check its signature may become so many times as large as it was sent. Text that people and
/// programs write becomes ten to thirty times as large, a bomb a thousand times.
pub const DECODED_RATIO_MAX: u64 = 100;
/// To this size it may in any case: small repetitive bodies compress further than that.
pub const DECODED_FREE_BYTES: u64 = 1024 * 1024;
/// A body of this size is small.
pub const SMALL_BODY_BYTES: u64 = 64 * 1024;
/// How long a body may wait for memory that others are to give back (I16: the answer comes within a second).
pub const MEMORY_WAIT: Duration = Duration::from_millis(500);
/// A body as large as it may become must come at least this fast, in bytes a second, while bodies take more than half of the
/// memory that there is for them: one that is slower holds it from others for longer than these wait.
pub const CROWDED_BYTES_PER_SECOND_MIN: u64 = 1024 * 1024;
/// Bodies that are given up at a time where all connections are at work.
pub const UPLOADS_GIVEN_UP_MAX: usize = 16;
/// Where all connections are at work, a body that nobody has proven keeps its place for this long, whatever its pace: small
/// ones are whole by then. Half of what a request waits for a place, so that whoever waits for a place sees those go that were there before him
/// (security: to hold every place, strangers must begin as many bodies as there are places within this time, again and again;
/// that is 40,000 a second).
pub const UPLOAD_GRACE: Duration = Duration::from_millis(250);
/// Requests of one connection that are let through at a time. More that came with them wait until their answers are taken:
/// a peer that asks a thousand times and reads nothing must not make us hold a thousand answers.
pub const PIPELINED_MAX: usize = 16;
/// An answer must be taken at least this fast, in bytes a second, beyond the time that any may take.
pub const ANSWER_BYTES_PER_SECOND_MIN: u64 = 1024;
/// Wrong tokens that one address may show at once (security: an operator may have chosen a token that can be guessed).
pub const WRONG_TOKENS_BURST: u32 = 5;
/// After these, one more each time this long has passed: five a minute.
pub const WRONG_TOKENS_EVERY: Duration = Duration::from_secs(12);
/// The same for the networks that hold many addresses of IPv6, a /56 and a /48: so many times as often.
pub const WRONG_TOKENS_WIDER: [(u32, u32); 2] = [(56, 4), (48, 16)];
/// Networks of which it is known that they showed wrong tokens.
pub const WRONG_TOKENS_KEYS_MAX: usize = 16_384;
/// How long an address from which a right token came is not shut out for wrong ones: long enough for a client that was away,
/// or an operator on leave.
pub const TOKEN_SHOWN_KEPT: Duration = Duration::from_hours(30 * 24);
/// How long the answer to a wrong token is held back where many came, and nobody is shut out for them: a right token must pass
/// there at once.
pub const WRONG_TOKEN_PAUSE: Duration = Duration::from_secs(1);
/// Answers that are held back at a time; more go out at once (security: whoever guesses must not hold all connections of his
/// address, which others may share, however few these are: half of what one address has at least).
pub const WRONG_TOKENS_HELD_MAX: usize = 8;

/// Log lines of one kind that deliveries, however many, can cause: enough to see what it is about, and no log is filled.
pub const LINES: Share = Share { most: 20, span: Duration::from_secs(1) };
/// Those that one client with a token can cause as it likes.
pub const LINES_OF_CLIENTS: Share = Share { most: 4, span: Duration::from_secs(1) };
/// Those about clients that come and go: a server that starts meets all of its clients at once.
pub const LINES_OF_JOINS: Share = Share { most: 100, span: Duration::from_secs(1) };
/// Those about failed tries of one class at one destination, in a client: the first ones tell what it is about, the summary
/// tells how many there are.
pub const LINES_OF_TRIES: Share = Share { most: 10, span: Duration::from_mins(1) };
/// Those that strangers can cause, of one kind and about one source or entrance; and those about what fails again and again.
pub const LINES_OF_STRANGERS: Share = Share { most: 1, span: Duration::from_mins(1) };

/// Requests to a path or source that there is none of, the latest of which an operator is shown.
pub const MISSES_KEPT: usize = 50;
/// Bytes of the path of such a request: enough to recognise it, and strangers choose it.
pub const MISS_PATH_BYTES: usize = 64;
/// Bytes of the name under which somebody asks the admin API: enough for a user's, and anybody may write anything there.
pub const CLAIMED_USER_BYTES_MAX: usize = 64;

/// Bytes of a file, or of standard input, that holds one value: a secret, or a key in PEM. More is another file than was
/// meant, or one without an end.
pub const VALUE_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a configuration file, of one with certificates, and of one with credentials, for the same reason: all
/// authorities of a system are half a megabyte.
pub const CONFIGURATION_FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How long a pipe is waited for that somebody named as a file and nobody has open to write.
pub const PIPE_WRITER_WITHIN: Duration = Duration::from_secs(3);
/// How long a reload waits for its files: they may be on a file system that is away. The present configuration stays.
pub const RELOAD_READ_WITHIN: Duration = Duration::from_secs(30);
/// Reloads whose files are still being read, each a thread: with more under way a further SIGHUP is refused.
pub const RELOADS_READING_MAX: usize = 4;

/// Default of `MESSAGE_TTL`.
pub const MESSAGE_TTL: Duration = Duration::from_hours(24);
/// Default of `LEASE`.
pub const LEASE: Duration = Duration::from_mins(1);
/// Default of `FORWARD_TIMEOUT`.
pub const FORWARD_TIMEOUT: Duration = Duration::from_secs(25);
/// Longest `FORWARD_TIMEOUT`, as a setting and as a client says it: a lease that its client only names lasts as long.
pub const FORWARD_TIMEOUT_MAX: Duration = Duration::from_hours(1);
/// Default of `CONCURRENCY`: slots per destination and client.
pub const CONCURRENCY: u32 = 8;
/// Most slots that a client may ask for.
pub const CONCURRENCY_MAX: u32 = 4096;
/// Destinations that one session may serve (security: a Hello stays small once decoded).
pub const SESSION_DESTINATIONS_MAX: usize = 1024;
/// Default of `CLIENT_BUFFER`: body bytes in flight per session.
pub const CLIENT_BUFFER: u64 = 64 * 1024 * 1024;
/// Default of `MAX_INFLIGHT_BYTES`.
pub const MAX_INFLIGHT_BYTES: u64 = 256 * 1024 * 1024;
/// Default of `MAX_BODY_BYTES`.
pub const MAX_BODY_BYTES: u64 = 25 * 1024 * 1024;
/// Default of `RETRY_AFTER_MAX`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);
/// Default of `CIRCUIT_PAUSE_MAX`.
pub const CIRCUIT_PAUSE_MAX: Duration = Duration::from_mins(1);
/// The same of `dev`: whoever starts a target again on a laptop does not wait a minute for the first webhook.
pub const DEV_CIRCUIT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Default of `MAX_RETRIES`.
pub const MAX_RETRIES: u32 = 3;
/// Default of `RETRY_DELAY`.
pub const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Default of `RETRY_MULTIPLIER`.
pub const RETRY_MULTIPLIER: f64 = 2.0;
/// Longest TTL of a delivery: ten years, so that no sum of times overflows.
pub const MESSAGE_TTL_MAX: Duration = Duration::from_hours(10 * 365 * 24);
/// Most retries of a delivery, and most delays of a schedule.
pub const MAX_RETRIES_MAX: u32 = 1_000;
/// Longest delay before a retry that a setting names, and each of a schedule.
pub const RETRY_DELAY_MAX: Duration = Duration::from_hours(24);
/// Largest factor from one delay to the next.
pub const RETRY_MULTIPLIER_MAX: f64 = 100.0;
/// Default of `DEDUPE_WINDOW`.
pub const DEDUPE_WINDOW: Duration = Duration::from_hours(72);
/// Bytes of lines that wait to be printed, of the log and beside it: some twenty thousand, more than any burst that a reader
/// catches up with. What finds no room is dropped and counted, since nothing else may wait for who reads a log.
pub const LOG_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a process that ends waits for its last lines to be taken: a reader that is there takes them at once.
pub const LAST_WORDS_WAIT: Duration = Duration::from_millis(500);
/// Requests in a unit of time that a rate of a source may be: above that its steps are finer than the clock's.
pub const REQUEST_RATE_MAX: u32 = 100_000;
/// Addresses at all sources of which it is known how often they asked lately, where that is bounded; of more, the ones are forgotten
/// that have asked least at the source with the most (security: strangers choose their addresses of IPv6).
pub const RATE_ADDRESSES_MAX: usize = 65_536;
/// Networks in a list of those that may come to a source, or may not: each request is compared with all of them.
pub const POLICY_NETWORKS_MAX: usize = 1_000;
/// A certificate that ends sooner should have been renewed: who renews them does so a month before, or when a third of their time is
/// left.
pub const CERTIFICATE_ENDS_WARN: Duration = Duration::from_hours(20 * 24);

/// So long what is not as it should be is held before somebody is told, and so long what is over: what lasts less is no news, and
/// what begins within it is one message.
pub const ALERT_HOLD: Duration = Duration::from_mins(1);
/// So long what an earlier run told is held before it is told as over: clients come back, and minutes pass, until it is seen again.
pub const ALERT_RECALLED_HOLD: Duration = Duration::from_mins(5);
/// After this long what lasts is told once more, and what grows is; then after twice as long, and so on.
pub const ALERT_REMIND_FIRST: Duration = Duration::from_hours(1);
/// Between two reminders at most: once a day.
pub const ALERT_REMIND_MAX: Duration = Duration::from_hours(24);
/// What begins so often within [`ALERT_FLAPPING_WITHIN`] comes and goes.
pub const ALERT_FLAPS: usize = 4;
/// See [`ALERT_FLAPS`]; so long it is remembered that something was.
pub const ALERT_FLAPPING_WITHIN: Duration = Duration::from_hours(1);
/// What came and went is steady once it has not for so long.
pub const ALERT_STEADY: Duration = Duration::from_mins(30);
/// Conditions that are known at a time where none is bad; as many more of each that is worse (security: senders and clients cause them,
/// memory must not follow, and what is mild must not hide what is not).
pub const CONDITIONS_MAX: usize = 256;
/// Conditions of which it is known that they were so, after they are over.
pub const CONDITIONS_PAST_MAX: usize = 200;
/// What began, what is over and what lasts, of each in a message: more than that nobody reads.
pub const ALERT_ITEMS_MAX: usize = 20;
/// Alerts that a file declares.
pub const ALERTS_MAX: usize = 32;
/// Messages that wait for somebody who does not answer; of more, the oldest are given up.
pub const ALERT_MESSAGES_MAX: usize = 16;
/// Tries to send a message: with their pauses, about half a day.
pub const ALERT_TRIES_MAX: u32 = 50;
/// Between the first try and the second; then twice as long each time.
pub const ALERT_RETRY_FIRST: Duration = Duration::from_secs(5);
/// Between two tries at most.
pub const ALERT_RETRY_MAX: Duration = Duration::from_mins(15);
/// Tries in a row that somebody refuses for good, as who does not know the sender: no more are made of that message.
pub const ALERT_REFUSALS_MAX: u32 = 3;
/// So long nobody is told after that who refuses for good, unless he is tried by hand.
pub const ALERT_REFUSED_PAUSE: Duration = Duration::from_hours(1);
/// One try, from the name's lookup to the head of the answer, and a command from its start to its end. Each that nobody answered in its time
/// gives the next twice as long: who takes a message and says so late would be sent it again and again.
pub const ALERT_TIMEOUT: Duration = Duration::from_secs(10);
/// One try at most.
pub const ALERT_TIMEOUT_MAX: Duration = Duration::from_mins(3);
/// So long everybody may take together who is told that the process ends since its store failed: it ends all the same.
pub const OUTCRY_WITHIN: Duration = Duration::from_secs(10);
/// A process that ran for less may be one of many that are started one after the other.
pub const OUTCRY_RAN: Duration = Duration::from_mins(10);
/// A store that takes longer to open is told.
pub const OPENING_TOLD_AFTER: Duration = Duration::from_mins(1);
/// Bytes of what a command of an alert prints that are looked at.
pub const ALERT_OUTPUT_BYTES_MAX: usize = 4 * 1024;
/// A source's requests are looked at over so long.
pub const REFUSED_WITHIN: Duration = Duration::from_mins(5);
/// So many of them at least are refused before that is told: a stranger's try is none of it.
pub const REFUSED_LEAST: u64 = 10;
/// Samples of a source within [`REFUSED_WITHIN`]: what came longer ago is forgotten in tenths of it.
pub const REFUSED_SAMPLES: u32 = 10;

/// Bytes of an error's text that are looked at for what tells it from others; those of a try have fewer ([`WORDS_BYTES_MAX`]), what a target
/// says may have more.
pub const GIST_LOOKED_AT_BYTES_MAX: usize = 2_000;
/// Characters that tell one error from others: its first sentence. Rows of a table are told apart by it.
pub const GIST_CHARS_MAX: usize = 120;
/// Places that a table of deliveries keeps, however few are left: as many as a quiet relay holds, so that it does not grow and shrink all the
/// time.
pub const TABLE_PLACES_KEPT: usize = 1024;
/// So long whoever finds the rest of a day's quota set aside is asked to wait: by then most of it is stored, or is not.
pub const QUOTA_HELD: Duration = Duration::from_secs(3);
