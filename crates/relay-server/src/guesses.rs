//! Wrong tokens: counted, told, and slowed by the address that shows them (S23).

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_core::{
    limits,
    throttle::{Rate, Throttle},
    time::Mono,
};

use crate::{
    clock::Clock,
    ingress::Refusals,
    metrics::Metrics,
    origin::{Address, Origin},
};

/// Where a token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entrance {
    /// `GET /connect`.
    Connect,
    /// The admin API.
    Admin,
    /// `GET /health` on the public listener.
    Health,
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

/// Keeps count of who guesses.
pub(crate) struct Guesses {
    throttle: Mutex<Throttle<Network>>,
    clock: Clock,
    metrics: Arc<Metrics>,
    refusals: Arc<Refusals>,
}

/// Whom wrong tokens are charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Network {
    Local,
    V4(Ipv4Addr),
    /// The first bits of an IPv6 address, and how many.
    V6(u64, u32),
}

impl Entrance {
    /// As in metrics and the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Admin => "admin",
            Self::Health => "health",
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
        Self { throttle: Mutex::new(Throttle::new(limits::WRONG_TOKENS_KEYS_MAX)), clock, metrics, refusals }
    }

    /// Whether a token from there is looked at. This machine is never shut out: a reverse proxy on it brings everybody.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) fn may_try(&self, entrance: Entrance, origin: Origin) -> Result<(), Duration> {
        if origin.address.is_local() {
            return Ok(());
        }
        let Some(wait) = self.wait(origin.address) else { return Ok(()) };
        self.tell(entrance, Wrong::TooMany, origin);
        Err(wait)
    }

    /// Takes note of a request without a token that is known. An error wants an answer that says when to come again.
    ///
    /// # Errors
    /// How long to wait.
    pub(crate) async fn note(&self, entrance: Entrance, wrong: Wrong, origin: Origin) -> Result<(), Duration> {
        self.tell(entrance, wrong, origin);
        if wrong != Wrong::Unknown {
            return Ok(());
        }
        let Some(wait) = self.wait(origin.address) else {
            self.charge(origin.address);
            return Ok(());
        };
        tokio::time::sleep(limits::WRONG_TOKEN_PAUSE).await;
        Err(wait)
    }

    fn wait(&self, address: Address) -> Option<Duration> {
        let (throttle, now) = (self.lock(), self.now());
        networks(address).filter_map(|(network, rate)| throttle.wait(&network, rate, now)).max()
    }

    fn charge(&self, address: Address) {
        let (mut throttle, now) = (self.lock(), self.now());
        networks(address).for_each(|(network, rate)| throttle.charge(&network, rate, now));
    }

    fn tell(&self, entrance: Entrance, wrong: Wrong, origin: Origin) {
        self.metrics.token_refused(entrance, wrong);
        if let Some(left_out) = self.may_tell(entrance, wrong.as_str()) {
            let peer = origin.peer.map(|peer| peer.to_string());
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

    /// Whether a line about an entrance may be written, and how many were left out before it: one a minute of each kind.
    pub(crate) fn may_tell(&self, entrance: Entrance, kind: &'static str) -> Option<u64> {
        // No source has such a name.
        let about = match entrance {
            Entrance::Connect => "/connect",
            Entrance::Admin => "/api",
            Entrance::Health => "/health",
        };
        self.refusals.may_tell(about, kind, self.clock.wall())
    }

    fn now(&self) -> Mono {
        self.clock.now().mono
    }

    fn lock(&self) -> MutexGuard<'_, Throttle<Network>> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The networks that an address is of, each with what it may do.
fn networks(address: Address) -> impl Iterator<Item = (Network, Rate)> {
    let rate =
        |times: u32| Rate { burst: limits::WRONG_TOKENS_BURST * times, every: limits::WRONG_TOKENS_EVERY / times };
    let (own, half) = match address {
        Address::Local => (Network::Local, None),
        Address::V4(v4) => (Network::V4(v4), None),
        Address::V6(half) => (Network::V6(half, 64), Some(half)),
    };
    let wider = half.into_iter().flat_map(move |half| {
        limits::WRONG_TOKENS_WIDER.map(|(bits, times)| (Network::V6(half >> (64 - bits), bits), rate(times)))
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

    /// Guesses until an address is not listened to any more.
    async fn guess(guesses: &Guesses, origin: Origin) -> usize {
        let mut count = 0;
        while guesses.may_try(Entrance::Admin, origin).is_ok() && count < 1_000 {
            let _ = guesses.note(Entrance::Admin, Wrong::Unknown, origin).await;
            count += 1;
        }
        count
    }

    /// S23: five and then no more; other networks are not shut out by it.
    #[tokio::test]
    async fn an_address_has_few_guesses() {
        let guesses = guesses();
        assert_eq!(guess(&guesses, from("192.0.2.1")).await, 5);
        assert_eq!(guess(&guesses, from("192.0.2.2")).await, 5);
        assert!(guesses.may_try(Entrance::Connect, from("192.0.2.1")).unwrap_err() <= limits::WRONG_TOKENS_EVERY);
        assert!(guesses.note(Entrance::Admin, Wrong::Missing, from("192.0.2.3")).await.is_ok());
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

    /// S23: behind a reverse proxy on this machine everybody has its address. Nobody is shut out, and guessing is slow.
    #[tokio::test]
    async fn this_machine_is_slowed_and_not_shut_out() {
        let guesses = guesses();
        let began = tokio::time::Instant::now();
        let mut later = 0;
        for _ in 0..7 {
            assert!(guesses.may_try(Entrance::Admin, from("127.0.0.1")).is_ok());
            later += usize::from(guesses.note(Entrance::Admin, Wrong::Unknown, from("127.0.0.1")).await.is_err());
        }
        assert_eq!(later, 2);
        assert!(began.elapsed() >= 2 * limits::WRONG_TOKEN_PAUSE);
    }
}
