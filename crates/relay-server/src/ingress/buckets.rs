//! How often requests come to the sources that bound it: in all, and of each address.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_core::{
    limits,
    name::Name,
    throttle::{Rate, Throttle},
    time::Mono,
};
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

/// Where there is no room for one more, one in this many of the addresses is forgotten at a time.
const FORGOTTEN_SHARE: usize = 16;

/// The buckets of all sources.
#[derive(Debug)]
pub(super) struct Buckets(Mutex<Kept>);

#[derive(Debug)]
struct Kept {
    sources: Throttle<Name>,
    addresses: Addresses,
}

/// The buckets of addresses, by source. What is kept of all of them is bounded: of what is beyond, those are forgotten that have
/// asked least at the source with the most, so that whoever comes to one source from many addresses competes with himself.
#[derive(Debug)]
struct Addresses {
    tables: BTreeMap<Name, Throttle<Network>>,
    /// How many there are in all tables.
    kept: usize,
    max: usize,
}

impl Addresses {
    const fn new(max: usize) -> Self {
        Self { tables: BTreeMap::new(), kept: 0, max }
    }

    fn wait(&self, source: &Name, network: &Network, rate: Rate, now: Mono) -> Option<Duration> {
        self.tables.get(source)?.wait(network, rate, now)
    }

    fn charge(&mut self, source: &Name, network: &Network, rate: Rate, now: Mono) {
        if self.kept >= self.max {
            self.make_room(now);
        }
        if !self.tables.contains_key(source) {
            self.tables.insert(source.clone(), Throttle::new(usize::MAX));
        }
        let Some(table) = self.tables.get_mut(source) else { return };
        let before = table.len();
        table.charge(network, rate, now);
        self.kept = self.kept + table.len() - before;
    }

    /// Looks at each source once, and then not again until as many new addresses have come as it forgets.
    fn make_room(&mut self, now: Mono) {
        self.tables.values_mut().for_each(|table| table.settle(now));
        self.tables.retain(|_, table| !table.is_empty());
        let count = |tables: &BTreeMap<Name, Throttle<Network>>| tables.values().map(Throttle::len).sum::<usize>();
        // Of several with as many, each once at most: a source has more than its part as long as there is no room.
        while count(&self.tables) >= self.max
            && let Some(largest) = self.tables.values_mut().max_by_key(|table| table.len())
        {
            largest.forget(self.max.div_ceil(FORGOTTEN_SHARE).min(largest.len().div_ceil(2)));
        }
        self.kept = count(&self.tables);
    }
}

impl Buckets {
    pub(super) fn new() -> Self {
        let (sources, addresses) = (Throttle::new(usize::MAX), Addresses::new(limits::RATE_ADDRESSES_MAX));
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
        let of_address = terms.address_rate.zip(address.networks().next());
        if let Some((rate, network)) = &of_address
            && let Some(wait) = kept.addresses.wait(source, network, *rate, now)
        {
            return Err(Over::Address(wait));
        }
        if let Some(rate) = terms.rate
            && let Some(wait) = kept.sources.wait(source, rate, now)
        {
            return Err(Over::All(wait));
        }
        if let Some((rate, network)) = &of_address {
            kept.addresses.charge(source, network, *rate, now);
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

    /// S36: whoever comes to one source from addresses without number has those forgotten that come to it, and no other source's.
    #[test]
    fn a_flood_at_one_source_frees_nobody_at_another() {
        let now = Mono::default();
        let (busy, quiet): (Name, Name) = ("busy".parse().unwrap(), "quiet".parse().unwrap());
        let rate = "1/h".parse().unwrap();
        let terms = Terms { address_rate: Some(rate), ..Terms::default() };
        let mut buckets = Buckets::new();
        buckets.0.get_mut().unwrap().addresses.max = 1_000;
        let ask = |source: &Name, number: u32| {
            buckets.ask(source, &terms, Address::of(std::net::Ipv4Addr::from_bits(number).into()), || now)
        };
        for number in 0..200 {
            assert_eq!(ask(&quiet, (10 << 24) + number), Ok(()));
        }
        for number in 0..20_000 {
            assert_eq!(ask(&busy, (11 << 24) + number), Ok(()));
        }
        for number in 0..200 {
            assert!(ask(&quiet, (10 << 24) + number).is_err(), "{number}");
        }
        assert!(ask(&busy, (11 << 24) + 19_999).is_err(), "nor are all of its own forgotten");
        let kept = buckets.lock();
        let all: usize = kept.addresses.tables.values().map(Throttle::len).sum();
        assert_eq!(kept.addresses.kept, all);
        assert!((500..=1_000).contains(&all), "{all}");
        drop(kept);
        // Once all of them are full again, their tables go with the next that finds no room.
        let later = now + Duration::from_hours(2);
        buckets.lock().addresses.make_room(later);
        assert!(buckets.lock().addresses.tables.is_empty());
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
