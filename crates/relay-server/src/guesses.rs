//! Wrong tokens and keys: counted, told, and slowed by the address that shows them (S23).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, header};
use relay_core::{
    limits,
    name::Name,
    throttle::{Rate, Throttle},
    time::Mono,
};
use relay_net::origin::{Address, Network, Origin};
use tokio::sync::Semaphore;

use crate::{clock::Clock, metrics::Metrics, refusals::Refusals, secret};

/// What a right token is counted under that came without its key.
const OTHER_KEY: &str = "other_key";
/// The kind under which it is counted at [`Entrance::Connect`] that a token has all the sessions that one may have.
pub(crate) const SESSIONS_FULL: &str = "sessions_full";

/// Where a secret is asked for: what was shown at one says nothing of the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Door {
    /// A token.
    Entrance(Entrance),
    /// A source's key or password.
    Source(Name),
    /// The password of somebody of that name, whether there is one or not.
    Account(Box<str>),
}

/// Where a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entrance {
    /// `GET /connect`.
    Connect,
    /// The admin API.
    Admin,
    /// `GET /health` on the public listener.
    Health,
    /// The dashboard: a name and a password, or a link.
    SignIn,
}

/// What was wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wrong {
    /// There was none.
    Missing,
    /// It is none of those that are known.
    Unknown,
    /// It was not looked at: its address has shown too many wrong ones.
    TooMany,
}

/// Keeps count of who guesses: tokens at the entrances, keys and passwords at sources.
///
/// One that could be one of our own, 256 random bits, is always looked at: nobody guesses one at any rate, and who has the
/// right one must not be shut out for what others at his address do. One that an operator made up may be guessed; it is looked
/// at few times a minute, unless somebody at that address has shown the right one.
pub(crate) struct Guesses {
    throttle: Mutex<Throttle<Key>>,
    known: Mutex<BTreeMap<(Door, Address), Mono>>,
    /// Answers that may be held back at a time.
    held: Semaphore,
    clock: Clock,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
}

/// What wrong ones are charged to: where, whether they could be our own, and from which network. A client with an old
/// token does not use up the guesses of others.
type Key = (Door, bool, Charged);

/// Whom wrong tokens are charged to: this machine, or one of the networks that an address is of.
type Charged = Option<Network>;

/// The one token that a request shows. Of two, a proxy may have added one, and nobody can tell which.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

impl Entrance {
    /// As in metrics and the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Admin => "admin",
            Self::Health => "health",
            Self::SignIn => "sign_in",
        }
    }
}

impl Entrance {
    /// All there are.
    pub(crate) const ALL: [Self; 4] = [Self::Connect, Self::Admin, Self::Health, Self::SignIn];

    /// What refusals there are kept under: no source has such a name.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Connect => "/connect",
            Self::Admin => "/api",
            Self::Health => "/health",
            Self::SignIn => "/login",
        }
    }
}

impl Wrong {
    /// As in metrics and the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "wrong",
            Self::TooMany => "too_many",
        }
    }
}

impl Guesses {
    pub(crate) fn new(clock: Clock, metrics: Arc<Metrics>, refusals: Arc<Refusals>) -> Self {
        Self {
            throttle: Mutex::new(Throttle::new(limits::WRONG_TOKENS_KEYS_MAX)),
            known: Mutex::default(),
            held: Semaphore::new(limits::WRONG_TOKENS_HELD_MAX),
            clock,
            metrics,
            refusals,
        }
    }

    /// Whether a token from there is looked at.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn may_try(&self, entrance: Entrance, origin: Origin, token: Option<&[u8]>) -> Result<(), Duration> {
        if is_ours(token) {
            return Ok(());
        }
        let looked_at = self.may_guess(&Door::Entrance(entrance), origin.address);
        looked_at.inspect_err(|_| self.tell(entrance, Wrong::TooMany, origin))
    }

    /// Whether a request to a source is looked at, by the secrets that it shows. Whoever asks takes note of one that is not.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn may_show(&self, source: &Name, origin: Origin, shown: &[&[u8]]) -> Result<(), Duration> {
        if made_up(shown).next().is_none() {
            return Ok(());
        }
        self.may_guess(&Door::Source(source.clone()), origin.address)
    }

    /// Whether a password of that name is looked at, from there. Each look is charged before it is made, to the name and to the network, so
    /// that neither a crowd nor many names slip in while passwords are hashed. A network from which that name has signed in a while ago
    /// is not held to what other names were tried with there: whoever shares an address with one who guesses is not shut out by him.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn may_sign_in(&self, account: &str, origin: Origin) -> Result<(), Duration> {
        let doors = self.doors_of_sign_in(account, origin.address);
        let charges = || doors.iter().flat_map(|door| charges(door, false, origin.address));
        let wait = {
            let (mut throttle, now) = (self.lock(), self.now());
            let wait = charges().filter_map(|(key, rate)| throttle.wait(&key, rate, now)).max();
            if wait.is_none() {
                charges().for_each(|(key, rate)| throttle.charge(&key, rate, now));
            }
            wait
        };
        wait.map_or(Ok(()), |wait| {
            self.tell(Entrance::SignIn, Wrong::TooMany, origin);
            Err(wait)
        })
    }

    /// The password that was looked at was right: it was no guess, and its network gets that back.
    pub(crate) fn right_password(&self, account: &str, origin: Origin) {
        let doors = self.doors_of_sign_in(account, origin.address);
        {
            let (mut throttle, now) = (self.lock(), self.now());
            let of_network = doors.iter().filter(|door| matches!(door, Door::Entrance(_)));
            let charged = of_network.flat_map(|door| charges(door, false, origin.address));
            charged.for_each(|(key, rate)| throttle.give_back(&key, rate, now));
        }
        self.know(Door::Account(account.into()), origin.address);
    }

    /// The password that was looked at was wrong.
    pub(crate) fn wrong_password(&self, origin: Origin) {
        self.tell(Entrance::SignIn, Wrong::Unknown, origin);
    }

    /// What a look at a password is charged at: the name, and for all names its network.
    fn doors_of_sign_in(&self, account: &str, address: Address) -> Vec<Door> {
        let of_name = Door::Account(account.into());
        // Of the machine itself, and of a proxy that brings everybody, it is not known who that is.
        let has_network = !address.is_local() && !self.knows(&of_name, address);
        has_network.then_some(Door::Entrance(Entrance::SignIn)).into_iter().chain([of_name]).collect()
    }

    /// A link was none of those that are good: nobody guesses one.
    pub(crate) fn wrong_link(&self, origin: Origin) {
        self.tell(Entrance::SignIn, Wrong::Unknown, origin);
    }

    fn may_guess(&self, door: &Door, address: Address) -> Result<(), Duration> {
        if address.is_local() || self.knows(door, address) {
            return Ok(());
        }
        self.wait(door, false, address).map_or(Ok(()), Err)
    }

    /// A right token came from there.
    pub(crate) fn right(&self, entrance: Entrance, origin: Origin, token: &[u8]) {
        if !is_ours(Some(token)) {
            self.know(Door::Entrance(entrance), origin.address);
        }
    }

    /// A right secret came from there to a source.
    pub(crate) fn shown_right(&self, source: &Name, origin: Origin, shown: &[&[u8]]) {
        if made_up(shown).next().is_some() {
            self.know(Door::Source(source.clone()), origin.address);
        }
    }

    fn know(&self, door: Door, address: Address) {
        if address.is_local() {
            return;
        }
        let (mut known, now) = (self.known.lock().unwrap_or_else(PoisonError::into_inner), self.now());
        let key = (door, address);
        if known.len() >= limits::WRONG_TOKENS_KEYS_MAX && !known.contains_key(&key) {
            let oldest = known.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
            oldest.map(|key| known.remove(&key));
        }
        known.insert(key, now);
    }

    /// Takes note of a request with a token that is not known, and holds the answer back where there were many.
    pub(crate) async fn wrong(&self, entrance: Entrance, origin: Origin, token: Option<&[u8]>) {
        self.tell(entrance, Wrong::Unknown, origin);
        self.guessed(&Door::Entrance(entrance), [is_ours(token)], origin.address).await;
    }

    /// None of the secrets that a request to a source shows is right: each of them was a guess.
    pub(crate) async fn shown_wrong(&self, source: &Name, origin: Origin, shown: &[&[u8]]) {
        let ours = shown.iter().map(|secret| is_ours(Some(secret)));
        self.guessed(&Door::Source(source.clone()), ours, origin.address).await;
    }

    /// Charges guesses, and holds the answer back where there were too many.
    async fn guessed(&self, door: &Door, ours: impl IntoIterator<Item = bool>, address: Address) {
        let mut too_many = false;
        for ours in ours {
            if self.wait(door, ours, address).is_none() {
                self.charge(door, ours, address);
            } else {
                too_many = true;
            }
        }
        if too_many && let Ok(_held) = self.held.try_acquire() {
            tokio::time::sleep(limits::WRONG_TOKEN_PAUSE).await;
        }
    }

    /// Takes note of a request without a token.
    pub(crate) fn missing(&self, entrance: Entrance, origin: Origin) {
        self.tell(entrance, Wrong::Missing, origin);
    }

    fn knows(&self, door: &Door, address: Address) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(door.clone(), address)).is_some_and(|at| self.now().since(*at) < limits::TOKEN_SHOWN_KEPT)
    }

    fn wait(&self, door: &Door, ours: bool, address: Address) -> Option<Duration> {
        let (throttle, now) = (self.lock(), self.now());
        charges(door, ours, address).filter_map(|(key, rate)| throttle.wait(&key, rate, now)).max()
    }

    fn charge(&self, door: &Door, ours: bool, address: Address) {
        let (mut throttle, now) = (self.lock(), self.now());
        charges(door, ours, address).for_each(|(key, rate)| throttle.charge(&key, rate, now));
    }

    fn tell(&self, entrance: Entrance, wrong: Wrong, origin: Origin) {
        self.metrics.token_refused(entrance.as_str(), wrong.as_str());
        self.refusals.count(entrance.about(), wrong.as_str(), self.clock.wall(), origin);
        if let Some(left_out) = self.may_tell(entrance, wrong.as_str()) {
            let peer = origin.shown();
            tracing::warn!(
                event = "token_rejected",
                entrance = entrance.as_str(),
                token = wrong.as_str(),
                peer,
                left_out,
                "not let in"
            );
        }
    }

    /// Takes note of a right token that came without the key that it is for.
    pub(crate) fn other_key(&self, entrance: Entrance, origin: Origin, token: &Name) {
        self.metrics.token_refused(entrance.as_str(), OTHER_KEY);
        self.refusals.count(entrance.about(), OTHER_KEY, self.clock.wall(), origin);
        if let Some(left_out) = self.may_tell(entrance, OTHER_KEY) {
            let peer = origin.shown();
            tracing::warn!(event = "token_without_key", %token, peer, left_out, "the token came without the key that it is for");
        }
    }

    /// Takes note of a client whose token has too many sessions; whether a line about it may be written, see [`Self::may_tell`].
    pub(crate) fn no_place(&self, origin: Origin) -> Option<u64> {
        self.refusals.count(Entrance::Connect.about(), SESSIONS_FULL, self.clock.wall(), origin);
        self.may_tell(Entrance::Connect, SESSIONS_FULL)
    }

    /// Whether a line about an entrance may be written, and how many were left out before it: one a minute of each kind.
    pub(crate) fn may_tell(&self, entrance: Entrance, kind: &'static str) -> Option<u64> {
        self.refusals.may_tell(entrance.about(), kind, self.now())
    }

    fn now(&self) -> Mono {
        self.clock.now().mono
    }

    fn lock(&self) -> MutexGuard<'_, Throttle<Key>> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a token has the form of those that are generated here.
fn is_ours(token: Option<&[u8]>) -> bool {
    token.is_some_and(secret::is_generated)
}

/// Those that somebody made up, who may have made up little.
fn made_up<'a>(shown: &'a [&[u8]]) -> impl Iterator<Item = &'a [u8]> {
    shown.iter().copied().filter(|secret| !is_ours(Some(secret)))
}

/// What a guess at a door is charged to, each with what it may do.
fn charges(door: &Door, ours: bool, address: Address) -> impl Iterator<Item = (Key, Rate)> {
    networks(address).map(move |(network, rate)| ((door.clone(), ours, network), rate))
}

/// Whom an address's wrong tokens are charged to, each with what it may do.
fn networks(address: Address) -> impl Iterator<Item = (Charged, Rate)> {
    let rate =
        |times: u32| Rate { burst: limits::WRONG_TOKENS_BURST * times, every: limits::WRONG_TOKENS_EVERY / times };
    let (own, half) = match address {
        Address::Local | Address::Proxy => (None, None),
        Address::V4(v4) => (Some(Network::V4(v4)), None),
        Address::V6(half) => (Some(Network::V6(half, 64)), Some(half)),
    };
    let wider = half.into_iter().flat_map(move |half| {
        limits::WRONG_TOKENS_WIDER.map(|(bits, times)| (Some(Network::V6(half >> (64 - bits), bits)), rate(times)))
    });
    std::iter::once((own, rate(1))).chain(wider)
}

#[cfg(test)]
mod tests {
    use relay_core::time::Wall;

    use super::*;

    fn guesses() -> Guesses {
        Guesses::new(Clock::start(Wall::MIN), Arc::default(), Arc::default())
    }

    fn from(ip: &str) -> Origin {
        Origin::of((ip.parse::<std::net::IpAddr>().unwrap(), 1).into())
    }

    const MADE_UP: Option<&[u8]> = Some(b"made-up-by-an-operator");

    /// Guesses until an address is not listened to any more.
    async fn guess(guesses: &Guesses, origin: Origin) -> usize {
        let mut count = 0;
        while guesses.may_try(Entrance::Admin, origin, MADE_UP).is_ok() && count < 1_000 {
            guesses.wrong(Entrance::Admin, origin, MADE_UP).await;
            count += 1;
        }
        count
    }

    /// S23: five and then no more; other networks and other entrances are not shut out by it.
    #[tokio::test]
    async fn an_address_has_few_guesses() {
        let guesses = guesses();
        assert_eq!(guess(&guesses, from("192.0.2.1")).await, 5);
        assert_eq!(guess(&guesses, from("192.0.2.2")).await, 5);
        let wait = guesses.may_try(Entrance::Admin, from("192.0.2.1"), MADE_UP).unwrap_err();
        assert!(wait <= limits::WRONG_TOKENS_EVERY);
        assert!(guesses.may_try(Entrance::Connect, from("192.0.2.1"), MADE_UP).is_ok());
        assert!(guesses.may_try(Entrance::Admin, from("192.0.2.1"), None).is_err(), "what is no token is a guess");
    }

    /// S23: whoever has a whole /48 has not a /48 of guesses.
    #[tokio::test]
    async fn a_network_of_many_addresses_has_few_guesses_too() {
        let guesses = guesses();
        let mut count = 0;
        for number in 0..1_000 {
            count += guess(&guesses, from(&format!("2001:db8:0:{number:x}::1"))).await;
        }
        assert!(count <= 80, "{count} from one /48");
        assert_eq!(guess(&guesses, from("2001:db8:1::1")).await, 5, "another /48");
    }

    /// S23: behind a front everybody has its address: what one shows there shuts out nobody else.
    #[tokio::test(start_paused = true)]
    async fn a_right_token_is_looked_at_whatever_others_show() {
        let (guesses, front) = (guesses(), from("192.0.2.1"));
        let generated = secret::generate(secret::TOKEN_PREFIX).unwrap();
        let generated = Some(generated.as_bytes());
        for _ in 0..100 {
            assert!(guesses.may_try(Entrance::Connect, front, generated).is_ok());
            guesses.wrong(Entrance::Connect, front, generated).await;
        }
        assert_eq!(guess(&guesses, front).await, 5, "an old token of somebody else is none of their guesses");
        assert!(guesses.may_try(Entrance::Admin, front, generated).is_ok());
        guesses.right(Entrance::Admin, front, MADE_UP.unwrap());
        assert!(guesses.may_try(Entrance::Admin, front, MADE_UP).is_ok(), "the right one has come from there");
        assert!(guesses.may_try(Entrance::Admin, from("192.0.2.2"), MADE_UP).is_ok());
    }

    /// S23: a source's keys and passwords are guessed as little as tokens, however many a request shows; those of another source
    /// are another matter, and a generated key is looked at whatever others show.
    #[tokio::test(start_paused = true)]
    async fn a_sources_keys_are_not_guessed_either() {
        let (guesses, from) = (guesses(), from("192.0.2.1"));
        let (shop, crm) = ("shop".parse().unwrap(), "crm".parse().unwrap());
        let (made_up, key) = (&b"made-up"[..], secret::generate(secret::KEY_PREFIX).unwrap());
        let key = key.as_bytes();
        for _ in 0..2 {
            assert!(guesses.may_show(&shop, from, &[made_up; 3]).is_ok());
            guesses.shown_wrong(&shop, from, &[made_up; 3]).await;
        }
        assert!(guesses.may_show(&shop, from, &[made_up]).is_err(), "each was a guess");
        assert!(guesses.may_show(&shop, from, &[key, made_up]).is_err(), "nor hides one behind another");
        assert!(guesses.may_show(&shop, from, &[key]).is_ok() && guesses.may_show(&shop, from, &[]).is_ok());
        assert!(
            guesses.may_show(&crm, from, &[made_up]).is_ok() && guesses.may_try(Entrance::Admin, from, MADE_UP).is_ok()
        );
        guesses.shown_right(&crm, from, &[made_up]);
        assert!(guesses.may_show(&shop, from, &[made_up]).is_err(), "it was another source's");
        guesses.shown_right(&shop, from, &[made_up]);
        assert!(guesses.may_show(&shop, from, &[made_up]).is_ok(), "the right one has come from there");
    }

    /// S23: five looks a minute at a name's password from one network; another network is not shut out by them.
    #[tokio::test(start_paused = true)]
    async fn a_password_is_looked_at_a_few_times() {
        let guesses = guesses();
        let looks =
            |account: &str, origin| (0..50).take_while(|_| guesses.may_sign_in(account, origin).is_ok()).count();
        assert_eq!(looks("alice", from("192.0.2.1")), 5, "right or wrong");
        assert_eq!(looks("alice", from("192.0.2.2")), 5);
        assert_eq!(
            (looks("alice", from("127.0.0.1")), looks("alice", from("127.0.0.1"))),
            (5, 0),
            "behind a proxy too"
        );
        let of_one: usize = (0..10_000).map(|host| looks("dave", from(&format!("2001:db8:0:{host:x}::1")))).sum();
        assert!(of_one <= 80, "{of_one} from one /48");
        assert!(guesses.may_sign_in("dave", from("2001:db8:1::1")).is_ok());
    }

    /// S23: many names are no way round it, however many are tried before the first is known to be wrong; and no way to shut somebody out.
    #[tokio::test(start_paused = true)]
    async fn many_names_have_no_more_looks_than_one() {
        let guesses = guesses();
        let looks = |origin: &dyn Fn(u32) -> Origin| {
            (0..1_000).filter(|number| guesses.may_sign_in(&format!("name{number}"), origin(*number)).is_ok()).count()
        };
        assert_eq!(looks(&|_| from("192.0.2.1")), 5);
        assert_eq!(looks(&|host| from(&format!("2001:db8::{host:x}"))), 5, "of one /64");
        assert!(guesses.may_sign_in("alice", from("192.0.2.1")).is_err());
        assert!(guesses.may_sign_in("alice", from("192.0.2.2")).is_ok());
        // Who has signed in there is not shut out by others behind the same address, for as long as they go on.
        let shared = from("192.0.2.3");
        for _ in 0..4 {
            assert!(guesses.may_sign_in("alice", shared).is_ok());
            guesses.right_password("alice", shared);
        }
        assert_eq!(looks(&|_| shared), 5, "what was right was no guess");
        assert!(guesses.may_sign_in("alice", shared).is_ok() && guesses.may_sign_in("bob", shared).is_err());
    }

    /// S23: guessing is slow where nobody is shut out, and holds few connections.
    #[tokio::test(start_paused = true)]
    async fn answers_to_many_wrong_tokens_are_held_back() {
        let guesses = guesses();
        let began = tokio::time::Instant::now();
        for _ in 0..7 {
            assert!(guesses.may_try(Entrance::Admin, from("127.0.0.1"), MADE_UP).is_ok());
            guesses.wrong(Entrance::Admin, from("127.0.0.1"), MADE_UP).await;
        }
        assert_eq!(began.elapsed(), 2 * limits::WRONG_TOKEN_PAUSE);
        let many = (0..1_000).map(|_| guesses.wrong(Entrance::Admin, from("127.0.0.1"), MADE_UP));
        let mut many: Vec<_> = many.map(Box::pin).collect();
        let at_once = many.iter_mut().filter_map(|wrong| futures_util::FutureExt::now_or_never(wrong.as_mut())).count();
        assert_eq!(at_once, 1_000 - limits::WRONG_TOKENS_HELD_MAX);
    }
}
