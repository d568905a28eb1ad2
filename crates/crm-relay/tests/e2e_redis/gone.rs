//! A Redis that is gone, full, or of no more use for a while, under load: senders are told to come again, nothing that was answered
//! 2xx is lost, and all of it goes on by itself.

use std::{
    fs,
    io::Write as _,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use http::Method;

use crate::{
    bound,
    process::{Process, Server, client, wait_for},
    sender::Sender,
    store::Redis,
    target::{Reply, Target},
    torture::Load,
};

/// Whoever cannot be told 2xx is told 503 within this: the deadline of a commit, and a moment.
const REFUSED_WITHIN: Duration = Duration::from_millis(2_750);
/// Once Redis is back, this long until the first 2xx, and until what is due moves.
const GOES_ON_WITHIN: Duration = Duration::from_secs(2);

/// A server with a Redis of its own, a client, a target, and a load.
struct Scene {
    redis: Redis,
    server: Server,
    target: Target,
    client: Process,
    load: Load,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn set() -> Self {
        Self::on(Redis::start(&[]), 400).await
    }

    /// On this Redis, with so many webhooks a second.
    async fn on(redis: Redis, rate: u32) -> Self {
        Self::with(redis, rate, &[]).await
    }

    /// The same, with these settings beside the usual ones.
    async fn with(redis: Redis, rate: u32, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::start(|_| Reply::status(200)).await;
        let server = Server::start(dir.path(), &[&[("REDIS_URL", redis.url().as_str())][..], settings].concat());
        let client = client(dir.path(), "client", server.public, &[("default", target.url("/"))], &[]);
        let load = Load::at(&server.url("/webhook"), rate);
        let scene = Self { redis, server, target, client, load, dir };
        scene.flows();
        scene
    }

    /// The load flows, to the target.
    fn flows(&self) {
        let enough = self.target.count() + 20;
        wait_for("the load to flow", || (self.target.count() >= enough).then_some(()));
    }

    /// Until a webhook is answered with this status; gives its code.
    async fn answered(&self, status: u16) -> String {
        let (sender, url) = (Sender::new(), self.server.url("/webhook"));
        let since = Instant::now();
        loop {
            if let Some(told) = sender.post(&url, "{}").await
                && told.status == status
            {
                assert!(status != 503 || told.headers.contains_key("retry-after"), "{told:?}");
                return told.code();
            }
            assert!(since.elapsed() < Duration::from_secs(60), "never answered with {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn ready(&self, status: u16) {
        let (sender, url) = (Sender::new(), self.server.url("/readyz"));
        while sender.send(Method::GET, &url, &[], "").await.unwrap().status != status {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// All that was acknowledged arrives; the server never ended.
    async fn ends_well(mut self) {
        let history = self.load.stop().await;
        assert!(history.acknowledged.len() > 20);
        wait_for("every acknowledged event to arrive", || {
            (history.missing(&self.target.delivered()) == 0).then_some(())
        });
        wait_for("the queue to empty", || (self.server.queue_depth() == 0).then_some(()));
        self.server.audit();
        assert!(self.server.process.is_running() && self.client.is_running(), "{}", self.server.process.log());
        drop(self.dir);
    }
}

/// I1, I2, I16, I24: Redis is killed, and comes back. `GONE` says after how many seconds, `RATE` how many webhooks come in one
/// (`make torture-redis` takes 60 and 200).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_gone_for_a_while_loses_nothing() {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let (gone, rate) = (u64::from(given("GONE").unwrap_or(6)), given("RATE").unwrap_or(400));
    // To the letter where that is what is asked for; else on a machine that does other things beside.
    let margin = if given("GONE").is_some() { 1 } else { 5 };
    bound::within(Duration::from_secs(10 * gone));
    let mut scene = Scene::on(Redis::start(&[]), rate).await;
    // Something waits when it is back.
    scene.target.answer(|_| Reply::status(503));
    wait_for("something to wait", || (scene.server.queue_depth() > 20).then_some(()));
    let lines = scene.server.process.log().lines().count();
    let acknowledged = scene.load.so_far().0;
    scene.redis.node.stop();
    assert_eq!(scene.answered(503).await, "store_unavailable");
    scene.ready(503).await;
    let health: serde_json::Value =
        serde_json::from_slice(&scene.server.cli(&["health", "--json"]).stdout).unwrap_or_default();
    // A store that is away tells no counters; who asks hears that.
    assert_ne!(health["status"], "ok");
    let since = Instant::now();
    let mut longest = Duration::ZERO;
    while since.elapsed() < Duration::from_secs(gone) {
        let asked = Instant::now();
        assert_eq!(scene.answered(503).await, "store_unavailable");
        longest = longest.max(asked.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    scene.target.answer(|_| Reply::status(200));
    let (delivered, told) = (scene.target.delivered().len(), scene.load.so_far().0);
    scene.redis.node.restart();
    let since = Instant::now();
    scene.answered(202).await;
    let taken = since.elapsed();
    wait_for("what waited to move", || (scene.target.delivered().len() > delivered).then_some(()));
    let moved = since.elapsed();
    scene.ready(200).await;
    scene.flows();
    let log = scene.server.process.log();
    let of_redis = ["redis", "store", "commit", "health"];
    let said = log.lines().skip(lines).filter(|line| !line.contains("summary"));
    let said: Vec<&str> = said.filter(|line| of_redis.iter().any(|word| line.contains(word))).collect();
    println!(
        "gone for {gone} s at {rate} webhooks a second, behind {acknowledged}: 503 within {longest:?}, first 2xx after {taken:?}, due work moved after \
         {moved:?}, {} lines, {} more acknowledged meanwhile",
        said.len(),
        told - acknowledged
    );
    assert!(longest <= REFUSED_WITHIN * margin, "a 503 came after {longest:?}");
    assert!(taken <= GOES_ON_WITHIN * margin, "the first 2xx came after {taken:?}");
    assert!(moved <= GOES_ON_WITHIN * margin, "what was due moved after {moved:?}");
    // Three a minute, and one that it is there again.
    assert!(said.len() as u64 <= 3 * gone.div_ceil(60) + 1, "{} lines in {gone} seconds: {said:#?}", said.len());
    scene.ends_well().await;
}

/// A directory on a disk of its own that is small, until it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn of(megabytes: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output().unwrap();
        let why = String::from_utf8_lossy(&mount.stderr).into_owned();
        assert!(
            mount.status.success(),
            "a small disk is needed, and mounting a tmpfs takes root or CAP_SYS_ADMIN: {why}"
        );
        Self(dir)
    }

    /// Takes all room there is left.
    fn fill(&self) {
        let mut file = fs::File::create(self.filler()).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever still is in it: it goes with its last user.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// I1, I2, I16: the disk of Redis is full: one that syncs before it answers ends, one that syncs within a second refuses what writes. Both
/// are 503, nothing that was answered 2xx is lost, and all goes on once there is room.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_whose_disk_is_full_loses_nothing() {
    for (fsync, durability) in [("always", "fsync"), ("everysec", "everysec")] {
        let disk = SmallDisk::of(32);
        let on_disk = disk.0.path().join("aof");
        fs::create_dir(&on_disk).unwrap();
        // It is named behind the usual ones, and the last counts.
        let redis = Redis::start(&[("dir", on_disk.to_str().unwrap()), ("appendfsync", fsync)]);
        let mut scene = Scene::with(redis, 400, &[("REDIS_DURABILITY", durability)]).await;
        disk.fill();
        assert_eq!(scene.answered(503).await, "store_unavailable", "{fsync}");
        scene.ready(503).await;
        disk.make_room();
        if fsync == "always" {
            scene.redis.node.restart();
        }
        scene.answered(202).await;
        scene.ready(200).await;
        scene.flows();
        scene.ends_well().await;
    }
}

/// I1, I5, I21: a Redis that somebody empties under load: what was acknowledged and is gone is named and counted, sources and routes are
/// written back before any sender hears that there is none, and all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_emptied_under_load_names_what_is_gone() {
    let scene = Scene::set().await;
    scene.target.answer(|_| Reply::status(503));
    wait_for("something to wait", || (scene.server.queue_depth() > 20).then_some(()));
    scene.redis.node.ask(&[b"FLUSHALL"]);
    let log = || scene.server.process.log();
    wait_for("what is gone to be named", || log().contains("event=\"acknowledged_lost\"").then_some(()));
    wait_for("documents to be written back", || log().contains("event=\"registry_written_back\"").then_some(()));
    scene.target.answer(|_| Reply::status(200));
    scene.answered(202).await;
    scene.flows();
    let Scene { load, server, target, dir, .. } = scene;
    // Any answer but 202 and 503 has ended a sender by now.
    let history = load.stop().await;
    let log = server.process.log();
    let named = |id: &String| log.contains(id.as_str());
    let lost = || {
        let audit = server.json(&["audit"]);
        audit["deliveries"].as_array().into_iter().flatten().filter_map(|of| of["lost"].as_u64()).sum::<u64>()
    };
    assert!(lost() > 20, "{}", lost());
    wait_for("the queue to empty", || (server.queue_depth() == 0).then_some(()));
    server.audit();
    let missing = history.missing(&target.delivered());
    println!("{} acknowledged, {missing} of them gone, {} counted as lost", history.acknowledged.len(), lost());
    assert!(
        missing as u64 <= lost(),
        "{missing} are missing: {}",
        history.acknowledged.keys().filter(|id| named(id)).count()
    );
    drop(dir);
}

/// I2: scripts that are forgotten, again and again, are loaded anew, and nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_are_forgotten_under_load_cost_nothing() {
    let scene = Scene::set().await;
    for _ in 0..5 {
        scene.redis.node.ask(&[b"SCRIPT", b"FLUSH"]);
        scene.flows();
    }
    let log = scene.server.process.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    scene.ends_well().await;
}

/// I16: at the end of its memory webhooks are refused and deliveries go on; with more memory all goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_without_memory_takes_no_more_and_delivers() {
    let scene = Scene::set().await;
    scene.target.answer(|_| Reply::status(503));
    wait_for("something to wait", || (scene.server.queue_depth() > 20).then_some(()));
    let memory = scene.redis.node.ask(&[b"INFO", b"memory"]);
    let used = memory.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().to_owned();
    scene.redis.node.ask(&[b"CONFIG", b"SET", b"maxmemory", used.as_bytes()]);
    assert_eq!(scene.answered(503).await, "store_full");
    scene.ready(200).await;
    scene.target.answer(|_| Reply::status(200));
    wait_for("what waits to be delivered", || (scene.server.queue_depth() == 0).then_some(()));
    scene.redis.node.ask(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
    scene.answered(202).await;
    scene.flows();
    scene.ends_well().await;
}

/// I1, I24: a Redis that somebody sets to lose what it is given gets nothing, with the line that mends it; which does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_set_to_lose_something_gets_nothing() {
    let scene = Scene::set().await;
    scene.redis.node.ask(&[b"CONFIG", b"SET", b"appendonly", b"no"]);
    assert_eq!(scene.answered(503).await, "store_unavailable");
    scene.ready(503).await;
    let health: serde_json::Value = serde_json::from_slice(&scene.server.cli(&["health", "--json"]).stdout).unwrap();
    let reasons = health["reasons"].to_string();
    assert!(health["store"]["commits"] == false && reasons.contains("CONFIG SET appendonly yes"), "{health:#}");
    assert!(scene.server.process.log().contains("event=\"redis_not_durable\" mend=\"CONFIG SET appendonly yes\""));
    scene.redis.node.ask(&[b"CONFIG", b"SET", b"appendonly", b"yes"]);
    scene.answered(202).await;
    scene.ready(200).await;
    scene.ends_well().await;
}
