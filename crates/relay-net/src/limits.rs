//! Every bound of connections, with its reason.

use std::time::Duration;

/// Connections of a public listener at once: each costs about 12 KiB while idle.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections of a private listener at once: far more than operators and scrapers need.
pub const PRIVATE_CONNECTIONS_MAX: usize = 256;
/// One address has one in this many of a listener's connections at most (security: a stranger who takes all that one
/// machine can still leaves most of them to others).
pub const CONNECTIONS_ADDRESS_SHARE: usize = 8;
/// However few connections there may be, one address may have these: a platform sends some at a time.
pub const CONNECTIONS_ADDRESS_MIN: usize = 16;
/// Bits of the IPv6 network that a customer is given who asks for many addresses: a home has a /56 within it, a company one. It
/// has shares of its own, so that nobody has 256 of them.
pub const WIDER_NETWORK_BITS: u32 = 48;
/// How many shares of an address such a network has: others may be in it as well.
pub const WIDER_NETWORK_SHARES: usize = 2;
/// One in this many of a listener's connections is kept for sessions and for this machine.
pub const CONNECTIONS_RESERVE_SHARE: usize = 16;
/// See [`CONNECTIONS_RESERVE_SHARE`]; more than these are not kept.
pub const CONNECTIONS_RESERVE_MAX: usize = 256;
/// Connections that a listener which closes takes of those that the system has for it: as many as that keeps, where nobody told it
/// otherwise.
pub const BACKLOG_MAX: usize = 4_096;
/// So long a listener that closes completes what peers have begun: a handshake is one way there and one way back.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_millis(100);
/// So long whoever connected before a listener closed may be silent: its request is on its way, and would be lost.
pub const FIRST_WORD_WITHIN: Duration = Duration::from_millis(200);
/// How long a request waits for a place where every connection is at work (I16: the answer comes within a second).
pub const PLACE_WAIT: Duration = Duration::from_millis(500);
/// As long as the reserve has room, a connection that waits for its peer keeps its place for this long: whoever has just come
/// has said nothing yet.
pub const CONNECTION_GRACE: Duration = Duration::from_millis(250);
/// Where no connection is left, one in this many ends at a time, of those that wait for their peer: few enough that hardly
/// anybody notices, enough that the next one to come finds room.
pub const CONNECTIONS_EVICTED_SHARE: usize = 64;
/// However crowded a listener is, an idle connection has its patience divided by this.
pub const IDLE_SHORTENED_MAX: u32 = 12;
/// Bytes put aside for all connections that wait for their peer: parts of request heads, and answers that are not taken.
/// A thousand of the largest heads; whole ones in one piece, as senders send them, are never put aside.
pub const WAITING_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Bytes that the buffers of all connections may hold together beyond the first piece that each has: six hundred of the largest.
/// They stay as large as a body once made them, so ten thousand idle connections would hold that much each; beyond this, bodies are
/// read in small pieces.
pub const READING_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Connections that wait at a time until there is a place for them in the share of their address, or are told that there is
/// none: what comes beyond is reset, since each takes a descriptor that no bound of connections knows of. As many at a time wait for
/// a share of whom their proxies bring; what comes beyond is refused at once.
pub const TURNED_AWAY_MAX: usize = 64;
/// How long such a connection has to hear that.
pub const TURNED_AWAY_WITHIN: Duration = Duration::from_millis(250);
/// One line in this time says that accepting fails, however often it does.
pub const ACCEPT_SAID_EVERY: Duration = Duration::from_mins(1);
/// Bytes of a header of the PROXY protocol behind its first sixteen: addresses take 216 at most, and what balancers add to them
/// (the name that was asked for, a certificate's) a few hundred.
pub const PROXY_HEADER_BYTES_MAX: usize = 4_096;
