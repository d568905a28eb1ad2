//! Everything at once: a server and its clients under load are killed and stopped, parted from each other, their clocks set, the disk
//! filled up, and the target fails in several ways, up to three of these at a time. Nothing acknowledged is lost.
//!
//! `CHAOS_SECONDS=n` and `SEED=n` (by `make chaos SECONDS=n SEED=n`) say how long, and which faults; it is a few seconds unless told
//! otherwise.

mod apart;
mod plan;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use self::{
    apart::{Link, SmallDisk},
    plan::{CLIENTS, Fault, Means, Planned, plan},
};
use crate::{
    bound,
    clock::clock,
    process::{Process, RELAY_TOKEN, Server, wait_for},
    target::{Arrival, Reply, Target},
    torture::Load,
};

const NAME: &str = "chaos::nothing_acknowledged_is_lost_in_chaos";
/// In `make test`: few seconds, and a seed that brings a kill, a partition and a full disk in them.
const SECONDS: u64 = 4;
const SEED: u64 = 19_465;
/// Webhooks a second.
const RATE: u32 = 200;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// A target that is well answers after this.
const USUAL: Duration = Duration::from_millis(20);
/// A slow target answers after this: less than `FORWARD_TIMEOUT`.
const SLOW: Duration = Duration::from_secs(2);

/// What a fault makes them say.
const EFFECTS: &[&str] =
    &["clock_moved", "client_left", "disconnected", "destination_down", "forward_failed", "lease_lost", "store_full"];

/// I1, I2, I3, I5, I9, I10, I16, I19 under F1, F3, F4, F6 and F8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_in_chaos() {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (told, seed): (Option<u64>, u64) = (given("CHAOS_SECONDS"), given("SEED").unwrap_or(SEED));
    let seconds = told.unwrap_or(SECONDS);
    bound::within(Duration::from_secs(2 * seconds) + Duration::from_mins(5));
    if !apart::is_inside() {
        eprintln!("chaos: {seconds} s, seed {seed}");
        if let Some(ran) = apart::run_inside(NAME, told.is_some()) {
            let said = String::from_utf8_lossy(&ran.stderr);
            assert!(ran.status.success(), "the run in namespaces of its own failed: {said}");
            return;
        }
        eprintln!("chaos: left out are partitions, for want of namespaces: they take root, unshare, nsenter and ip");
    }
    let run = Duration::from_secs(seconds);
    let mut scene = Scene::set(run).await;
    let planned = plan(seed, run, scene.means());
    let since = Instant::now();
    for (at, one, begins) in edges(&planned) {
        // The pace of the faults; nothing rests on it.
        tokio::time::sleep(at.saturating_sub(since.elapsed())).await;
        if begins {
            eprintln!("chaos: {one}");
            scene.begin(one.fault).await;
        } else {
            scene.end(one.fault).await;
        }
    }
    scene.ends_well(&planned).await;
}

/// Begins and ends of faults, in their order.
fn edges(planned: &[Planned]) -> Vec<(Duration, Planned, bool)> {
    let edges = planned.iter().flat_map(|one| [(one.from, *one, true), (one.to, *one, false)]);
    let mut edges: Vec<_> = edges.collect();
    edges.sort_by_key(|(at, ..)| *at);
    edges
}

/// How the server's disk is filled up.
enum Disk {
    /// It is a small one of its own.
    Small(#[expect(dead_code, reason = "it is there as long as this is")] SmallDisk),
    /// The server is told to leave all but this much of the machine's: a file that is never written takes twice that.
    Reserved(u64),
    /// Not at all.
    Left,
}

struct Scene {
    server: Server,
    clients: Vec<Process>,
    links: Vec<Link>,
    target: Target,
    load: Load,
    disk: Disk,
    started: usize,
    /// Behind what is in it, which goes first.
    dir: TempDir,
}

impl Scene {
    async fn set(run: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        let inside = apart::is_inside();
        if inside {
            apart::addresses();
        }
        let (disk, reserve) = room(&data, inside, run);
        let target_host = if inside { apart::TARGETS.to_string() } else { "127.0.0.1".to_owned() };
        let target = Target::start_at(format!("{target_host}:0").parse().unwrap(), as_usual).await;
        let host = if inside { apart::SERVER.to_string() } else { "127.0.0.1".to_owned() };
        for who in (0..CLIENTS).map(client_name).chain(["server".to_owned()]) {
            set_clock(dir.path(), &who, 0);
        }
        let settings = [
            ("SERVER_HOST", &*host),
            ("DISK_RESERVE", &reserve),
            ("MESSAGE_TTL", "7d"),
            ("MAX_RETRIES", "100"),
            ("RETRY_DELAY", "200ms"),
            ("RETRY_MULTIPLIER", "1"),
            ("CIRCUIT_PAUSE_MAX", "1s"),
            ("LEASE", "10s"),
        ];
        let mut server = Server::start(dir.path(), &settings);
        // It has a data directory only now, and a clock that can be set from now on.
        server.process.kill();
        server.restart_under(&set_by(&clock_setting(dir.path(), "server")));
        let links = if inside { (0..CLIENTS).map(Link::lay).collect() } else { Vec::new() };
        let load = Load::at(&server.url("/webhook"), RATE);
        let mut scene = Self { dir, server, clients: Vec::new(), links, target, load, disk, started: 0 };
        for which in 0..CLIENTS {
            let client = scene.client(which);
            scene.clients.push(client);
        }
        scene
    }

    fn means(&self) -> Means {
        Means { disk: !matches!(self.disk, Disk::Left), links: !self.links.is_empty() }
    }

    fn client(&mut self, which: usize) -> Process {
        self.started += 1;
        let log = self.dir.path().join(format!("{}-{}.log", client_name(which), self.started));
        let by_file = clock_setting(self.dir.path(), &client_name(which));
        let network = self.links.get(which).map(Link::within).unwrap_or_default();
        let wrapper: Vec<&str> = network.iter().map(String::as_str).chain(set_by(&by_file)).collect();
        let (relay, to) = (format!("http://{}", self.server.public), self.target.url("/hook"));
        let env = [
            ("RELAY_URL", relay.as_str()),
            ("ALLOW_HTTP", "yes"),
            ("RELAY_TOKEN", RELAY_TOKEN),
            ("LOCAL_WEBHOOK_URL", &to),
            ("FORWARD_TIMEOUT", "5s"),
        ];
        Process::start_under(&wrapper, &log, &["client"], &env)
    }

    async fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::ServerKilled => kill(&mut self.server.process),
            Fault::ServerStopped => self.server.process.signal("STOP"),
            Fault::ClientKilled(which) => kill(&mut self.clients[which]),
            Fault::ClientStopped(which) => self.clients[which].signal("STOP"),
            Fault::TargetDown => self.target.down().await,
            Fault::TargetHangs => self.target.answer(|_| Reply::hang()),
            Fault::TargetFails => self.target.answer(|_| Reply::status(500)),
            Fault::TargetSlow => self.target.answer(|_| Reply { delay: SLOW, ..Reply::status(200) }),
            Fault::DiskFull => self.fill(),
            Fault::ServerClock(step) => set_clock(self.dir.path(), "server", step),
            Fault::ClientClock(which, step) => set_clock(self.dir.path(), &client_name(which), step),
            Fault::PartedHere(which) => self.links[which].cut_here(),
            Fault::PartedThere(which) => self.links[which].cut_there(),
        }
    }

    async fn end(&mut self, fault: Fault) {
        match fault {
            // Its disk may be full just now.
            Fault::ServerKilled => {
                let by_file = clock_setting(self.dir.path(), "server");
                self.server.restart_unannounced(&set_by(&by_file));
            }
            Fault::ServerStopped => self.server.process.signal("CONT"),
            Fault::ClientKilled(which) => self.clients[which] = self.client(which),
            Fault::ClientStopped(which) => self.clients[which].signal("CONT"),
            Fault::TargetDown => self.target.up().await,
            Fault::TargetHangs | Fault::TargetFails | Fault::TargetSlow => self.target.answer(as_usual),
            Fault::DiskFull => fs::remove_file(self.hog()).unwrap(),
            Fault::ServerClock(_) => set_clock(self.dir.path(), "server", 0),
            Fault::ClientClock(which, _) => set_clock(self.dir.path(), &client_name(which), 0),
            Fault::PartedHere(which) => self.links[which].mend_here(),
            Fault::PartedThere(which) => self.links[which].mend_there(),
        }
    }

    fn hog(&self) -> PathBuf {
        match self.disk {
            Disk::Small(_) => self.server.data_dir().join("hog"),
            Disk::Reserved(_) | Disk::Left => self.dir.path().join("hog"),
        }
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let hog = fs::File::create(self.hog()).unwrap();
        let take = |from, length| rustix::fs::fallocate(&hog, rustix::fs::FallocateFlags::empty(), from, length);
        if let Disk::Reserved(room) = self.disk {
            return take(0, 2 * room).unwrap();
        }
        let (mut taken, mut piece) = (0, 64 * MIB);
        while piece >= 4096 {
            if take(taken, piece).is_ok() {
                taken += piece;
            } else {
                piece /= 2;
            }
        }
    }

    async fn ends_well(mut self, planned: &[Planned]) {
        let healed = Instant::now();
        self.clients.iter_mut().chain([&mut self.server.process]).for_each(still_runs);
        let history = self.load.stop().await;
        let target = &self.target;
        let missing = || history.missing(&target.delivered());
        // What waits after a long run is more than arrives in the patience for one thing.
        let mut before = missing();
        while before > 0 {
            before =
                wait_for("more of what was acknowledged to arrive", || Some(missing()).filter(|now| *now < before));
        }
        wait_for("the queue to empty", || (self.server.queue_depth() == 0).then_some(()));
        let healed = healed.elapsed();
        self.server.audit();
        let dead = self.server.json(&["dead", "list"]);
        assert_eq!(dead["items"].as_array().unwrap().len(), 0, "none has died: {dead:#}");
        let findings = history.check(&self.target.arrivals());
        self.server.process.signal("TERM");
        let status = self.server.process.wait();
        assert!(status.success(), "the server ended with {status}");
        let check = self.server.cli(&["store", "check"]);
        assert!(check.status.success(), "store check: {}", String::from_utf8_lossy(&check.stderr));

        table(planned);
        effects(self.dir.path());
        let in_flight = planned.iter().map(|one| one.fault.leases_in_flight()).sum();
        eprintln!(
            "chaos: {} faults, {} acknowledged, {} refused or not answered, {} delivered, 0 lost, {} duplicates (leases in flight: {in_flight} at most)",
            planned.len(),
            findings.acknowledged,
            history.unknown,
            findings.delivered,
            findings.duplicates,
        );
        eprintln!(
            "chaos: all arrived {:.1} s behind the last fault; audit and store check are well",
            healed.as_secs_f64()
        );
        assert!(findings.duplicates <= in_flight, "I9: {} duplicates of {in_flight}", findings.duplicates);
    }
}

/// Kills a process, unless that is too late: none is to end by itself, whatever it meets.
fn kill(process: &mut Process) {
    still_runs(process);
    process.kill();
}

fn still_runs(process: &mut Process) {
    assert!(process.is_running(), "it ended by itself: {}", process.log());
}

/// A target that is well takes its time, so that leases are in flight at all times, and fails one in sixteen first tries.
fn as_usual(arrival: &Arrival) -> Reply {
    let unlucky = arrival.header("relay-attempt") == "1" && arrival.body.len().is_multiple_of(16);
    Reply { delay: USUAL, ..Reply::status(if unlucky { 500 } else { 200 }) }
}

/// Prints how often server and clients said that they met a fault: what goes by without a word was none. None of it is a panic.
fn effects(dir: &Path) {
    let logs = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let logs = logs.filter(|path| path.extension().is_some_and(|ending| ending == "log"));
    let said: String = logs.map(|log| fs::read_to_string(log).unwrap()).collect();
    assert!(!said.contains("panicked") && !said.contains("task_failed"), "a defect: {said}");
    let count = |event: &&str| format!("{event} {}", said.matches(&format!("event=\"{event}\"")).count());
    eprintln!("chaos: they said: {}", EFFECTS.iter().map(count).collect::<Vec<_>>().join(", "));
}

/// Prints how often each kind of fault was there, and for how long.
fn table(planned: &[Planned]) {
    let mut rows: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
    for one in planned {
        let row = rows.entry(one.fault.kind()).or_default();
        *row = (row.0 + 1, row.1 + one.stays());
    }
    eprintln!("\n{:<22} {:>5} {:>8}", "fault", "times", "seconds");
    for (kind, (times, stayed)) in rows {
        eprintln!("{kind:<22} {times:>5} {:>8.1}", stayed.as_secs_f64());
    }
}

/// The server's disk, and what it is to leave free there.
fn room(data: &Path, inside: bool, run: Duration) -> (Disk, String) {
    let small = inside.then(|| SmallDisk::at(data, 64 + run.as_secs())).flatten();
    if let Some(small) = small {
        return (Disk::Small(small), "1MiB".to_owned());
    }
    let stat = rustix::fs::statvfs(data).unwrap();
    let (free, room) = (stat.f_bavail * stat.f_frsize, 2 * GIB + run.as_secs() * MIB);
    if free > 4 * room {
        return (Disk::Reserved(room), (free - room).to_string());
    }
    eprintln!("chaos: left out is the full disk, for want of {} free", 4 * room);
    (Disk::Left, "1MiB".to_owned())
}

fn client_name(which: usize) -> String {
    format!("client-{which}")
}

/// What a process is started behind so that its clock goes by a file.
fn set_by(by_file: &str) -> Vec<&str> {
    clock(&[by_file, "FAKETIME_CACHE_DURATION=1", "DONT_FAKE_MONOTONIC=1"])
}

fn clock_setting(dir: &Path, who: &str) -> String {
    format!("FAKETIME_TIMESTAMP_FILE={}", dir.join(format!("{who}.clock")).display())
}

/// Sets the clock of a process so many seconds beside the right one.
fn set_clock(dir: &Path, who: &str, step: i32) {
    // In one step, as it is read meanwhile.
    let new = dir.join(format!("{who}.clock.new"));
    fs::write(&new, format!("{step:+}")).unwrap();
    fs::rename(new, dir.join(format!("{who}.clock"))).unwrap();
}
