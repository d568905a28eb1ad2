//! Each store and the store in memory, given the same random operations, crashes among them. `DIFFERENTIAL_SEEDS` sets how many
//! histories are played.

mod history;
#[path = "../redis/node.rs"]
#[expect(dead_code, reason = "a node that is left alone")]
mod node;

use std::{marker::PhantomData, sync::Arc};

use relay_store::{
    Store,
    redis::{self, RedisStore},
    sqlite::{self, SqliteStore},
};
use tempfile::TempDir;

use self::{
    history::{START, Tested, play},
    node::{Node, Server, fresh_name},
};

/// I5, I7, I12, I13, I20: whatever is asked of them, in whatever order.
#[test]
fn the_embedded_store_answers_as_the_one_in_memory_and_the_sums_hold() {
    play::<Sqlite>();
}

/// I5, I7, I12, I13, I20
#[test]
fn redis_answers_as_the_store_in_memory_and_the_sums_hold() {
    play::<Redis<Installed>>();
}

/// I5, I7, I12, I13, I20
#[test]
fn redis_8_answers_as_the_store_in_memory_and_the_sums_hold() {
    play::<Redis<Redis8>>();
}

/// I5, I7, I12, I13, I20
#[test]
fn valkey_9_answers_as_the_store_in_memory_and_the_sums_hold() {
    play::<Redis<Valkey9>>();
}

/// I5, I7, I12, I13, I20: with keys, rows and jobs all over sixteen partitions.
#[test]
fn redis_in_sixteen_partitions_answers_as_the_store_in_memory_and_the_sums_hold() {
    play::<Redis<Installed, 16>>();
}

struct Sqlite {
    store: SqliteStore,
    dir: TempDir,
}

impl Sqlite {
    fn open(dir: TempDir) -> Self {
        let options =
            sqlite::Options { disk_reserve: 0, clock: Arc::new(|| START), ..sqlite::Options::new(dir.path()) };
        Self { store: SqliteStore::open(options).expect("a healthy store opens"), dir }
    }
}

impl Tested for Sqlite {
    async fn fresh() -> Self {
        Self::open(tempfile::tempdir().expect("a directory"))
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn crash(self) -> Self {
        self.store.crash().await;
        Self::open(self.dir)
    }
}

/// Which server it is.
trait On {
    const SERVER: Server;
}

struct Installed;
struct Redis8;
struct Valkey9;

impl On for Installed {
    const SERVER: Server = Server::Installed;
}

impl On for Redis8 {
    const SERVER: Server = Server::Redis8;
}

impl On for Valkey9 {
    const SERVER: Server = Server::Valkey9;
}

struct Redis<S, const PARTITIONS: usize = 1> {
    store: RedisStore,
    options: redis::Options,
    on: PhantomData<S>,
}

impl<S: On, const PARTITIONS: usize> Redis<S, PARTITIONS> {
    fn open(options: redis::Options) -> Self {
        Self { store: RedisStore::open(options.clone()), options, on: PhantomData }
    }
}

impl<S: On, const PARTITIONS: usize> Tested for Redis<S, PARTITIONS> {
    const STRICT_ORDER: bool = PARTITIONS == 1;
    // Each takes twice as long where all partitions are asked.
    const HISTORIES: u64 = if PARTITIONS == 1 { 12 } else { 4 };

    async fn fresh() -> Self {
        let name = fresh_name();
        let dead_letter_queue = format!("{name}-dead");
        let address = Node::shared(S::SERVER).address();
        let partitions = PARTITIONS;
        Self::open(redis::Options { stream_name: name, dead_letter_queue, partitions, ..redis::Options::new(address) })
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    /// What the process knew is gone; Redis has the rest.
    async fn crash(self) -> Self {
        Self::open(self.options)
    }
}
