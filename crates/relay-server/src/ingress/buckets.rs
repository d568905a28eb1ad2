//! How often requests come to the sources that bound it: in all, and of each address.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_core::{limits, name::Name, throttle::Throttle, time::Mono};
use relay_net::origin::{Address, Network};

use crate::network_policy::Terms;

/// What is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// What one address may, for so long.
    Address(Duration),
    /// What all may together, for so long.
    All(Duration),
}

/// The buckets of all sources. What is kept of addresses is bounded: of those beyond, the ones are forgotten that have asked
/// least.
#[derive(Debug)]
pub(super) struct Buckets(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    sources: Throttle<Name>,
    addresses: Throttle<(Name, Network)>,
}

impl Buckets {
    pub(super) fn new() -> Self {
        let (sources, addresses) = (Throttle::new(usize::MAX), Throttle::new(limits::RATE_ADDRESSES_MAX));
        Self(Mutex::new(Kept { sources, addresses }))
    }

    /// Takes what an address needs to ask. It takes nothing of what all have together: that is for those who are genuine, and for
    /// nobody else to use up.
    ///
    /// # Errors
    /// What is over; nothing was taken.
    pub(super) fn ask(
        &self,
        source: &Name,
        terms: &Terms,
        address: Address,
        now: impl FnOnce() -> Mono,
    ) -> Result<(), Over> {
        if terms.rate.is_none() && terms.address_rate.is_none() {
            return Ok(());
        }
        let now = now();
        let mut kept = self.lock();
        // Its own network alone: how many of the wider ones are one owner's is not known.
        let of_address =
            terms.address_rate.zip(address.networks().next()).map(|(rate, network)| (rate, (source.clone(), network)));
        if let Some((rate, key)) = &of_address
            && let Some(wait) = kept.addresses.wait(key, *rate, now)
        {
            return Err(Over::Address(wait));
        }
        if let Some(rate) = terms.rate
            && let Some(wait) = kept.sources.wait(source, rate, now)
        {
            return Err(Over::All(wait));
        }
        if let Some((rate, key)) = &of_address {
            kept.addresses.charge(key, *rate, now);
        }
        Ok(())
    }

    /// Takes what a genuine request needs of what all have together.
    ///
    /// # Errors
    /// It is over; nothing was taken.
    pub(super) fn take(&self, source: &Name, terms: &Terms, now: impl FnOnce() -> Mono) -> Result<(), Over> {
        let Some(rate) = terms.rate else { return Ok(()) };
        self.lock().sources.take(source, rate, now()).map_or(Ok(()), |wait| Err(Over::All(wait)))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::of(text.parse().unwrap())
    }

    /// S36: an address has its own bucket, by /64, and what it asks beyond takes nothing from the others.
    #[test]
    fn an_address_that_asks_too_often_takes_nothing_from_others() {
        let terms = Terms {
            rate: Some("5/min".parse().unwrap()),
            address_rate: Some("2/min".parse().unwrap()),
            ..Terms::default()
        };
        let (buckets, shop, now) = (Buckets::new(), "shop".parse().unwrap(), Mono::default());
        let take = |from: &str, now| {
            buckets.ask(&shop, &terms, address(from), || now).and_then(|()| buckets.take(&shop, &terms, || now))
        };
        for _ in 0..2 {
            assert_eq!(take("2001:db8:1:2::1", now), Ok(()));
        }
        for _ in 0..100 {
            assert_eq!(take("2001:db8:1:2:ffff::9", now), Err(Over::Address(Duration::from_secs(30))));
        }
        for from in ["2001:db8:1:3::1", "192.0.2.7", "127.0.0.1"] {
            assert_eq!(take(from, now), Ok(()), "{from}");
        }
        assert_eq!(take("192.0.2.8", now), Err(Over::All(Duration::from_secs(12))));
        assert_eq!(take("192.0.2.8", now + Duration::from_secs(12)), Ok(()));
        let other = "crm".parse().unwrap();
        assert_eq!(buckets.take(&other, &terms, || now), Ok(()), "another source");
    }

    /// S36: whoever shows no proof uses up nothing of what the genuine have.
    #[test]
    fn strangers_use_up_nothing_that_all_have() {
        let terms = Terms { rate: Some("5/min".parse().unwrap()), ..Terms::default() };
        let (buckets, shop, now) = (Buckets::new(), "shop".parse().unwrap(), Mono::default());
        for _ in 0..100 {
            assert_eq!(buckets.ask(&shop, &terms, address("192.0.2.7"), || now), Ok(()));
        }
        for _ in 0..5 {
            assert_eq!(buckets.take(&shop, &terms, || now), Ok(()));
        }
        let over = Err(Over::All(Duration::from_secs(12)));
        assert_eq!(buckets.take(&shop, &terms, || now), over);
        assert_eq!(buckets.ask(&shop, &terms, address("192.0.2.8"), || now), over, "nor is a body waited for");
    }
}
