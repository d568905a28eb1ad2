//! Runs the conformance suite over every backend.

use std::{
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use relay_core::storage::Replay;
use relay_store::{
    Store,
    cipher::Ciphers,
    conformance::Backend,
    conformance_suite,
    memory::{Edge, MemoryStore},
    seam::{Queue as _, Upkeep as _},
    sqlite::{self, EdgeAction, Edges, SqliteStore},
};
use tempfile::TempDir;

struct Memory(Arc<MemoryStore>);

impl Backend for Memory {
    const EDGES: &'static [&'static str] = &["before the commit", "after the commit"];

    async fn fresh() -> Self {
        Self(Arc::new(MemoryStore::with_partitions(16)))
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as Arc<dyn Store>
    }

    async fn reopen(self) -> Self {
        Self(Arc::new(self.0.reopen()))
    }

    async fn second_writer(&self) -> Option<bool> {
        None
    }

    fn second_owner(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.0.second_owner()))
    }

    fn fail_at(&self, edge: &'static str) {
        let edge = if edge == Self::EDGES[0] { Edge::BeforeCommit } else { Edge::AfterCommit };
        self.0.fail_at(edge);
    }

    async fn set_full(&self, full: bool) {
        self.0.set_full(full);
    }
}

mod memory {
    use super::Memory;

    super::conformance_suite!(Memory);
}

const KEY: &str = "1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// The embedded store in a directory of its own, sealed or not, with a clock that stands still where the cases begin.
struct Sqlite<const SEALED: bool> {
    store: Arc<SqliteStore>,
    armed: Arc<Mutex<Option<sqlite::Edge>>>,
    full: Arc<AtomicBool>,
    dir: TempDir,
}

impl<const SEALED: bool> Sqlite<SEALED> {
    fn open(dir: TempDir) -> Self {
        let armed = Arc::new(Mutex::new(None));
        let trigger = Arc::clone(&armed);
        let edges = Edges::new(move |met| {
            let armed = *trigger.lock().expect("no test panics while it holds this");
            if armed == Some(met) { EdgeAction::Crash } else { EdgeAction::Continue }
        });
        let full = Arc::new(AtomicBool::new(false));
        let disk = Arc::clone(&full);
        let disk_free: sqlite::DiskFree = Arc::new(move || Ok(if disk.load(Ordering::SeqCst) { 0 } else { 1 << 40 }));
        let options = sqlite::Options {
            disk_reserve: 16 << 20,
            disk_free: Some(disk_free),
            ballast: false,
            ..Self::options(&dir, edges)
        };
        let store = Arc::new(SqliteStore::open(options).expect("a healthy store opens"));
        Self { store, armed, full, dir }
    }

    fn options(dir: &TempDir, edges: Edges) -> sqlite::Options {
        let clock = Arc::new(|| relay_store::conformance::at(0));
        let ciphers = if SEALED { Ciphers::read(KEY).expect("it is one") } else { Ciphers::default() };
        sqlite::Options { disk_reserve: 0, edges, clock, ciphers, ..sqlite::Options::new(dir.path()) }
    }
}

impl<const SEALED: bool> Backend for Sqlite<SEALED> {
    const EDGES: &'static [&'static str] =
        &["BeforeBegin", "BeforeCommit", "AfterCommit", "AfterLedger", "AfterAnswers"];

    async fn fresh() -> Self {
        Self::open(tempfile::tempdir().expect("a directory can be made"))
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store) as Arc<dyn Store>
    }

    async fn reopen(self) -> Self {
        self.store.crash().await;
        Self::open(self.dir)
    }

    async fn second_writer(&self) -> Option<bool> {
        Some(SqliteStore::open(Self::options(&self.dir, Edges::default())).is_err())
    }

    fn second_owner(&self) -> Option<Arc<dyn Store>> {
        None
    }

    fn fail_at(&self, edge: &'static str) {
        let edge = sqlite::Edge::ALL.into_iter().find(|known| format!("{known:?}") == edge);
        *self.armed.lock().expect("no test panics while it holds this") = edge;
    }

    /// The writer asks the disk before it adds to what is stored, if it did not just before.
    async fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
        while self.store.stats().await.expect("stats work").full != full {
            // Adds nothing, so whatever becomes of it is the same.
            drop(self.store.replay(Replay::anyway(Vec::new()), Vec::new()).await);
        }
    }
}

mod sqlite_store {
    type Sqlite = super::Sqlite<false>;

    super::conformance_suite!(Sqlite);
}

mod sqlite_store_sealed {
    type Sqlite = super::Sqlite<true>;

    super::conformance_suite!(Sqlite);
}

/// A backend that does not run the suite, or a case that no backend runs, would be a promise nobody checks.
#[test]
fn every_backend_runs_every_case() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = sources(&crate_dir.join("src"));
    let stores: Vec<&str> =
        code.iter().filter_map(|text| text.split_once("impl Queue for ")?.1.split(' ').next()).collect();
    assert_eq!(stores.len(), 3, "{stores:?}");
    let tests = sources(&crate_dir.join("tests"));
    for store in stores {
        let makes_one = |text: &&String| text.contains("impl Backend for ") && text.contains(store);
        assert!(tests.iter().any(|text| makes_one(&text)), "{store} does not run the suite");
    }

    let suite = sources(&crate_dir.join("src/conformance"));
    let list = suite.iter().find(|text| text.contains("macro_rules! conformance_suite")).expect("the list is there");
    for text in &suite {
        for line in text.lines().filter_map(|line| line.strip_prefix("pub async fn ")) {
            let case = line.split('<').next().expect("split gives at least one part");
            assert!(list.contains(&format!("            {case},\n")), "no backend runs the case {case}");
        }
    }
}

fn sources(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).expect("the sources are there") {
        let path = entry.expect("the sources are readable").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else {
            found.push(fs::read_to_string(&path).expect("the sources are text"));
        }
    }
    found
}
