//! Which faults come when: drawn from a seed before the run begins, so that the same seed brings the same again.

use std::{collections::HashMap, fmt, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// Clients in a run.
pub(super) const CLIENTS: usize = 2;
/// Requests that a client has at a target at a time, so the leases that it holds.
const SLOTS: u64 = 8;
/// The longest that a fault stays, where the run is long enough.
const LONGEST: Duration = Duration::from_secs(15);
/// A process that is killed stays away no longer.
const AWAY_MAX: Duration = Duration::from_secs(3);
/// So many at a time.
const AT_ONCE: usize = 3;
/// What was hit is left alone for so long.
const REST: Duration = Duration::from_millis(500);
/// How far a clock is set, in seconds, either way.
const STEP_MAX: i32 = 3600;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    ServerKilled,
    ServerStopped,
    ClientKilled(usize),
    ClientStopped(usize),
    TargetDown,
    TargetHangs,
    TargetFails,
    TargetSlow,
    DiskFull,
    /// By so many seconds.
    ServerClock(i32),
    ClientClock(usize, i32),
    /// The client's end of its link to the server has gone: it is told so.
    PartedHere(usize),
    /// The server's end has: the client hears nothing.
    PartedThere(usize),
}

/// What a fault hits: no two at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Server,
    Client(usize),
    Target,
    Disk,
    ServerClock,
    ClientClock(usize),
    Link(usize),
}

/// What can be done to this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means {
    /// The disk of the server can be filled up.
    pub(super) disk: bool,
    /// Each client has a network of its own.
    pub(super) links: bool,
}

/// One fault, and from when to when, counted from the begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) fault: Fault,
    pub(super) from: Duration,
    pub(super) to: Duration,
}

impl Planned {
    pub(super) fn stays(&self) -> Duration {
        self.to.saturating_sub(self.from)
    }
}

/// All faults of a run, by when they begin.
pub(super) fn plan(seed: u64, run: Duration, means: Means) -> Vec<Planned> {
    let mut rng = StdRng::seed_from_u64(seed);
    let longest = LONGEST.min(run / 4).max(REST * 2);
    let mut planned: Vec<Planned> = Vec::new();
    let mut free: HashMap<Place, Duration> = HashMap::new();
    let mut from = REST;
    while from + REST < run {
        let fault = Fault::draw(&mut rng, means);
        let most = if fault.is_kill() { AWAY_MAX.min(longest) } else { longest };
        let least = if fault.is_kill() { Duration::ZERO } else { Duration::from_secs(1).min(longest) };
        let to = (from + between(&mut rng, least, most)).min(run);
        let under_way = planned.iter().filter(|other| other.to > from).count();
        if under_way < AT_ONCE && free.get(&fault.place()).is_none_or(|free| *free <= from) {
            free.insert(fault.place(), to + REST);
            planned.push(Planned { fault, from, to });
        }
        from += between(&mut rng, Duration::from_millis(100), Duration::from_millis(1200));
    }
    planned
}

fn between(rng: &mut StdRng, least: Duration, most: Duration) -> Duration {
    rng.random_range(least..=most)
}

impl Fault {
    fn draw(rng: &mut StdRng, means: Means) -> Self {
        let client = rng.random_range(0..CLIENTS);
        let step = rng.random_range(-STEP_MAX..=STEP_MAX);
        let kinds = [
            (true, Self::ServerKilled),
            (true, Self::ServerStopped),
            (true, Self::ClientKilled(client)),
            (true, Self::ClientStopped(client)),
            (true, Self::TargetDown),
            (true, Self::TargetHangs),
            (true, Self::TargetFails),
            (true, Self::TargetSlow),
            (means.disk, Self::DiskFull),
            (true, Self::ServerClock(step)),
            (true, Self::ClientClock(client, step)),
            (means.links, Self::PartedHere(client)),
            (means.links, Self::PartedThere(client)),
        ];
        let kinds: Vec<Self> = kinds.into_iter().filter(|(can, _)| *can).map(|(_, fault)| fault).collect();
        kinds[rng.random_range(0..kinds.len())]
    }

    fn place(self) -> Place {
        match self {
            Self::ServerKilled | Self::ServerStopped => Place::Server,
            Self::ClientKilled(which) | Self::ClientStopped(which) => Place::Client(which),
            Self::TargetDown | Self::TargetHangs | Self::TargetFails | Self::TargetSlow => Place::Target,
            Self::DiskFull => Place::Disk,
            Self::ServerClock(_) => Place::ServerClock,
            Self::ClientClock(which, _) => Place::ClientClock(which),
            Self::PartedHere(which) | Self::PartedThere(which) => Place::Link(which),
        }
    }

    fn is_kill(self) -> bool {
        matches!(self, Self::ServerKilled | Self::ClientKilled(_))
    }

    /// How many leases it may have cut off after the target had answered and before that was recorded: each is a duplicate at most.
    pub(super) fn leases_in_flight(self) -> u64 {
        match self {
            Self::ServerKilled | Self::ServerStopped | Self::TargetDown => SLOTS * CLIENTS as u64,
            Self::ClientKilled(_) | Self::ClientStopped(_) | Self::PartedHere(_) | Self::PartedThere(_) => SLOTS,
            Self::TargetHangs
            | Self::TargetFails
            | Self::TargetSlow
            | Self::DiskFull
            | Self::ServerClock(_)
            | Self::ClientClock(..) => 0,
        }
    }

    /// What it is counted as.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::ServerKilled => "server killed",
            Self::ServerStopped => "server stopped",
            Self::ClientKilled(_) => "client killed",
            Self::ClientStopped(_) => "client stopped",
            Self::TargetDown => "target down",
            Self::TargetHangs => "target hangs",
            Self::TargetFails => "target answers 500",
            Self::TargetSlow => "target slow",
            Self::DiskFull => "disk full",
            Self::ServerClock(_) => "server's clock set",
            Self::ClientClock(..) => "client's clock set",
            Self::PartedHere(_) => "parted, client's end",
            Self::PartedThere(_) => "parted, server's end",
        }
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, stays) = (self.from.as_secs_f64(), self.stays().as_secs_f64());
        write!(f, "{from:6.1} s  {} for {stays:.1} s", self.fault.kind())?;
        match self.fault {
            Fault::ServerClock(step) => write!(f, ", by {step:+} s"),
            Fault::ClientClock(which, step) => write!(f, ", by {step:+} s (client {which})"),
            Fault::ClientKilled(which)
            | Fault::ClientStopped(which)
            | Fault::PartedHere(which)
            | Fault::PartedThere(which) => write!(f, " (client {which})"),
            _ => Ok(()),
        }
    }
}

#[test]
fn a_seed_brings_the_same_faults_again_and_no_two_at_one_place() {
    let run = Duration::from_mins(10);
    let means = Means { disk: true, links: true };
    let planned = plan(7, run, means);
    assert_eq!(planned, plan(7, run, means));
    assert_ne!(planned, plan(8, run, means));
    for (number, one) in planned.iter().enumerate() {
        assert!(one.from < one.to && one.to <= run && one.stays() <= LONGEST, "{one}");
        let others = planned[..number].iter().filter(|other| other.to > one.from);
        assert!(others.clone().count() < AT_ONCE, "{one}");
        assert!(others.clone().all(|other| other.fault.place() != one.fault.place()), "{one}");
    }
    let kinds: std::collections::HashSet<_> = planned.iter().map(|one| one.fault.kind()).collect();
    assert_eq!(kinds.len(), 13, "in ten minutes each comes: {kinds:?}");
    let without = plan(7, run, Means { disk: false, links: false });
    let is_left_out = |fault| matches!(fault, Fault::DiskFull | Fault::PartedHere(_) | Fault::PartedThere(_));
    assert!(!without.iter().any(|one| is_left_out(one.fault)));
}
