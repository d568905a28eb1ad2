//! A store in Redis: one server or several share it.
//!
//! Keys, rows and scripts are described in `docs/internals/redis.md`; why it is so in `docs/adr/0015-truth-in-rows-on-redis.md`.
//! Imports point down: an operation a file (`append`, `lease`, `settle`, `due`, `browse`, ...) over `scripts` and `keys`, all over `nodes`, which
//! know who has which part of the store, and `client`, which alone speaks the types of the client crate.
//!
//! **Invariant:** no failure of Redis ends a store. It is away, full, or its answer is unknown; then the same is asked again.

mod accept;
mod acknowledged;
mod address;
mod append;
mod aside;
mod audit;
mod awake;
mod backlog;
mod begin;
mod beside;
mod browse;
mod check;
mod claims;
mod client;
mod clock;
mod cluster;
mod commit;
mod consumers;
mod counters;
mod damage;
mod dedupe;
mod due;
mod erase;
mod event;
mod events;
mod examine;
mod following;
mod glance;
mod hints;
mod index;
mod inspect;
mod keys;
mod lease;
mod life;
mod listing;
mod loops;
mod lost;
mod mark;
mod mend;
mod meta;
mod newest;
mod node;
mod nodes;
mod notebook;
mod over;
mod pace;
mod place;
mod presence;
mod primary;
mod reads;
mod recount;
mod registry;
mod rekey;
mod replay;
mod replays;
mod reply;
mod restore;
mod retire;
mod rights;
mod room;
mod routed;
mod row;
mod rows;
mod scan;
mod scribe;
mod scripts;
mod scrub;
mod sentinel;
mod settle;
mod shared;
mod standing;
mod stats;
mod step;
mod tags;
mod text;
mod transfer;

use std::{
    path::PathBuf,
    sync::{Arc, Weak, atomic::AtomicUsize},
    time::Duration,
};

use relay_core::{
    delivery::{Attempt, Change, Delivery},
    event::Event,
    id::{DeliveryId, EventId},
    limits,
    name::Name,
    storage::{
        Append, AppendError, Appended, BodyOf, Changed, Dedupe, Due, DueAsk, Extend, Extended, HeldAsk, LeaseAsk,
        Leased, OverAsk, Presence, Replay, Replayed, Retire, Retired, Step, Stepped, StoreError,
    },
    time::Wall,
};
use tokio::{sync::Mutex, time};

use self::{
    acknowledged::Acknowledged,
    awake::Awake,
    clock::Clock,
    counters::Counters,
    damage::Damage,
    hints::Hints,
    keys::Space,
    life::Life,
    loops::{Loop, Loops},
    nodes::Nodes,
    pace::Pace,
    scrub::Scrubs,
    shared::Shared,
};
pub use self::{
    address::{Address, Cluster, Deployment, Login, Sentinels},
    begin::BeginError,
    check::Finding,
    examine::{Examined, ExaminedNode, Replica, StorePart, StoredThere},
    inspect::Inspected,
    life::{Edge, Edges},
    mend::Mended,
    meta::Beyond,
    room::FullProbe,
    scrub::Scrubbed,
};
use crate::{
    Later,
    cipher::{Ciphers, Sealed as _},
    copy::{BackupError, Copying},
    seam::{
        Archive, AuditEntry, AuditFilter, Condition, DeliveryFilter, Document, DocumentKey, DocumentKind, Durability,
        EventFilter, EventRow, HaveRoom, Indexed, Listing, MarkedAsk, MarkedPage, Marking, NameCounts, Page, Promises,
        Queue, Recount, Registry, Rekeyed, Stats, Transfer, Upkeep, WholePage,
    },
    watch::Watch,
};

/// How often Redis is asked how it is: its memory, its replicas, and whether it keeps what it is given.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a store is, and how it is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the Redis, or of who knows it.
    pub address: Deployment,
    /// As whom it is used.
    pub login: Login,
    /// What all its keys begin with.
    pub stream_name: String,
    /// The stream of dead letters, for people's tools.
    pub dead_letter_queue: String,
    /// What the consumers of this server are called; behind it stands the run.
    pub consumer: String,
    /// In so many parts, 1 to 16; the same for all that use it.
    pub partitions: usize,
    /// When a commit is answered; `None`: once replicas have it, where there are some at the beginning, else once the disk has.
    pub durability: Option<Durability>,
    /// Fewer replicas than this, at least one, are too few, where they are waited for.
    pub replicas_min: u32,
    /// They have so long, and their disks as long again.
    pub replicas_within: Duration,
    /// Its operator answers for what it does not let be looked at.
    pub assume_durable: bool,
    /// A connection, and an answer, have so long.
    pub patience: Duration,
    /// Connections that read.
    pub readers: usize,
    /// Others tell of changes of the registry; else only looking does.
    pub hears: bool,
    /// So often who waits for such a change looks whether there is one.
    pub look_every: Duration,
    /// So often it is looked at whether indexes hold what they should.
    pub glance_every: Duration,
    /// What was acknowledged last is written down in this file, too, so that a restart of server and Redis together still names what
    /// was lost.
    pub remembers_in: Option<PathBuf>,
    /// The consumer of a run that is gone goes once it was idle for so long.
    pub consumers_idle: Duration,
    /// The keys that it is sealed with; none: what is written is clear.
    pub ciphers: Ciphers,
    /// Where a test lets the process die.
    pub edges: Edges,
    /// For tests: what says that it is full, in the place of Redis.
    pub full: Option<FullProbe>,
}

impl Options {
    /// Of the Redis there, with what is usual.
    pub fn new(address: impl Into<Deployment>) -> Self {
        Self {
            address: address.into(),
            login: Login::default(),
            stream_name: "crm-relay".to_owned(),
            dead_letter_queue: "crm-relay-dead".to_owned(),
            consumer: "relay".to_owned(),
            partitions: 1,
            ciphers: Ciphers::default(),
            durability: Some(Durability::Fsync),
            replicas_min: 1,
            assume_durable: false,
            replicas_within: Duration::from_secs(1),
            patience: Duration::from_secs(2),
            readers: 2,
            hears: true,
            look_every: Duration::from_millis(500),
            glance_every: Duration::from_secs(5),
            remembers_in: None,
            // One that was used since may be that of a run which has not said anything yet.
            consumers_idle: 4 * limits::PRESENCE_GONE,
            edges: Edges::default(),
            full: None,
        }
    }
}

/// The store. All its methods work through `&self`.
#[derive(Clone)]
pub struct RedisStore {
    core: Arc<Core>,
}

/// What all operations share.
struct Core {
    options: Options,
    space: Arc<Space>,
    nodes: Arc<Nodes>,
    clock: Clock,
    life: Arc<Life>,
    damage: Damage,
    scrubs: Scrubs,
    loops: Loops,
    pace: Pace,
    acknowledged: Acknowledged,
    /// Whoever counts: of two at a time one is given up.
    counting: Mutex<()>,
    hints: Hints,
    /// Which partition leases begin with.
    turn: AtomicUsize,
    /// Counters of each partition, as they were last read.
    last_read: std::sync::Mutex<Vec<Counters>>,
}

impl Core {
    /// The keys, by their numbers.
    fn ciphers(&self) -> &Ciphers {
        &self.options.ciphers
    }
}

impl RedisStore {
    /// A store that connects when it is first asked for something; until then it is not known to be there.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(options: Options) -> Self {
        let space = Space::new(&options.stream_name, &options.dead_letter_queue, options.partitions);
        let (space, life) = (Arc::new(space), Arc::new(Life::begin()));
        let (clock, awake) = (Clock::default(), Arc::<Awake>::default());
        let nodes = Nodes::of(Shared {
            options: options.clone(),
            space: Arc::clone(&space),
            life: Arc::clone(&life),
            clock: clock.clone(),
            awake: Arc::clone(&awake),
            of_store: Arc::default(),
        });
        sentinel::begin(&nodes);
        cluster::begin(&nodes);
        let (damage, scrubs, hints, turn) = (Damage::default(), Scrubs::of(&awake), Hints::new(), AtomicUsize::new(0));
        let (counting, acknowledged) = (Mutex::default(), Acknowledged::default());
        let last_read = std::sync::Mutex::default();
        let core = Arc::new(Core {
            options,
            space,
            nodes,
            clock,
            life,
            damage,
            scrubs,
            loops: Loops::of(&awake),
            pace: Pace::default(),
            acknowledged,
            counting,
            hints,
            turn,
            last_read,
        });
        if core.options.full.is_none() {
            tokio::spawn(look(Arc::downgrade(&core)));
            tokio::spawn(scrub::scrub(Arc::downgrade(&core)));
            tokio::spawn(acknowledged::watch(Arc::downgrade(&core)));
        }
        if core.options.hears {
            tokio::spawn(hints::listen(Arc::downgrade(&core)));
            tokio::spawn(hints::tell(Arc::downgrade(&core)));
        }
        Self { core }
    }

    /// Whether what is stored there is sealed with keys that were given. For who only reads: [`begin`](Self::begin) looks itself.
    ///
    /// # Errors
    /// It is not, or is away.
    pub fn fit(&self) -> Later<Result<(), BeginError>> {
        let core = Arc::clone(&self.core);
        Box::pin(async move { core.fit().await.map(drop) })
    }

    /// Connects, looks whether this Redis keeps what it is given, and whether what stands there is such a store; makes one where
    /// nothing stands. To be asked first of all, and again where it is away.
    ///
    /// # Errors
    /// See [`BeginError`]; nothing that was there is changed.
    pub fn begin(&self) -> Later<Result<(), BeginError>> {
        let core = Arc::clone(&self.core);
        begun(async move { core.begin().await })
    }

    /// Compares all rows with the indexes that they should stand in, and puts them there where they are missing.
    ///
    /// # Errors
    /// Those of a write; what was mended until then is.
    pub fn mend(&self) -> Later<Result<Mended, StoreError>> {
        self.perform(|core| async move { core.mend().await })
    }

    /// Reads everything, and compares it with what is counted and with how much stands in each index. Nothing is mended.
    ///
    /// # Errors
    /// Those of a read and of a recount.
    pub fn inspect(&self, watch: Arc<Watch>) -> Later<Result<Inspected, StoreError>> {
        self.perform(|core| async move { core.inspect(&watch).await })
    }

    /// Takes out what [`inspect`](Self::inspect) found not to read, and what belongs to that alone: it is counted as lost, and stands in the
    /// audit log. Gives all of it in words. What a later version wrote stays.
    ///
    /// # Errors
    /// Those of a write; what was taken out until then is, and the same again does the rest.
    pub fn accept_loss(&self) -> Later<Result<Vec<String>, StoreError>> {
        self.perform(|core| async move { core.accept_loss().await })
    }

    /// Looks at the Redis and at what is stored there, for whoever operates them. A store is not made.
    ///
    /// # Errors
    /// See [`BeginError`]; what keeps it from being used is among what is seen.
    pub fn examine(&self) -> Later<Result<Examined, BeginError>> {
        let core = Arc::clone(&self.core);
        begun(async move { core.examine().await })
    }

    /// When the store last looked after its indexes by itself, and what came of it.
    pub fn scrubbed(&self) -> Scrubbed {
        self.core.scrubs.scrubbed()
    }

    /// Begins one operation, which goes on whether anybody waits for it or not.
    fn perform<T, E, F>(&self, operation: impl FnOnce(Arc<Core>) -> F) -> Later<Result<T, StoreError>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<StoreError>,
        T: Send + 'static,
    {
        let performed = operation(Arc::clone(&self.core));
        begun(async move { performed.await.map_err(Into::into) })
    }
}

/// Looks how Redis is, as long as there is a store, whatever becomes of one look.
async fn look(core: Weak<Core>) {
    while let Some(core) = core.upgrade() {
        core.look().await;
        // Whatever it found: what is wrong with a Redis is said by that itself.
        core.loops.ran(Loop::Look, &Ok(()));
        drop(core);
        time::sleep(LOOK_EVERY).await;
    }
}

fn begun<T: Send + 'static>(operation: impl Future<Output = T> + Send + 'static) -> Later<T> {
    let task = tokio::spawn(operation);
    Box::pin(async move {
        match task.await {
            Ok(answer) => answer,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The runtime ends, and whoever waits with it.
            Err(_) => std::future::pending().await,
        }
    })
}

impl Queue for RedisStore {
    fn append(&self, batch: Vec<Append>) -> Later<Vec<Result<Appended, AppendError>>> {
        let core = Arc::clone(&self.core);
        begun(async move { core.append(batch).await })
    }

    fn lease(&self, ask: LeaseAsk) -> Later<Result<Leased, StoreError>> {
        self.perform(|core| async move { core.lease(&ask).await })
    }

    fn bodies(&self, of: Vec<BodyOf>) -> Later<Result<Vec<Option<Arc<Event>>>, StoreError>> {
        self.perform(|core| async move { core.bodies(&of).await })
    }

    fn extend(&self, batch: Vec<Extend>) -> Later<Result<Vec<Extended>, StoreError>> {
        self.perform(|core| async move { core.extend(&batch).await })
    }

    fn settle(&self, batch: Vec<Change>) -> Later<Result<Vec<Changed>, StoreError>> {
        self.perform(|core| async move { core.settle(batch).await })
    }

    fn replay(&self, replay: Replay, audit: Vec<AuditEntry>) -> Later<Result<Replayed, StoreError>> {
        self.perform(|core| async move { core.replay(replay, &audit).await })
    }

    fn find(&self, ids: Vec<DeliveryId>) -> Later<Result<Vec<Option<Delivery>>, StoreError>> {
        self.perform(|core| async move {
            core.confirm(ids.iter().map(|id| id.partition())).await?;
            core.find(&ids).await
        })
    }

    fn due(&self, ask: DueAsk) -> Later<Result<Due, StoreError>> {
        self.perform(|core| async move {
            let due = core.due(ask).await;
            core.loops.ran(Loop::Due, &due);
            due
        })
    }

    fn held(&self, ask: HeldAsk) -> Later<Result<Vec<Delivery>, StoreError>> {
        self.perform(|core| async move { core.held(ask).await })
    }

    fn presence(&self, mine: Presence) -> Later<Result<Vec<Presence>, StoreError>> {
        self.perform(|core| async move {
            let others = core.presence(&mine).await;
            core.loops.ran(Loop::Presence, &others);
            others
        })
    }

    fn clock(&self) -> Later<Result<Option<Wall>, StoreError>> {
        self.perform(|core| async move { core.clock().await.map(Some) })
    }

    fn arrivals(&self) -> Later<Vec<Name>> {
        Box::pin(self.core.arrivals())
    }

    fn keep_time(&self, clock: Arc<dyn Fn() -> Wall + Send + Sync>) {
        self.core.clock.keep(clock);
    }
}

impl Archive for RedisStore {
    fn event(&self, id: EventId) -> Later<Result<Option<Arc<Event>>, StoreError>> {
        self.perform(|core| async move { core.event(id).await })
    }

    fn delivery(&self, id: DeliveryId) -> Later<Result<Option<Delivery>, StoreError>> {
        self.perform(|core| async move { core.find(&[id]).await.map(|mut found| found.pop().flatten()) })
    }

    fn attempts(&self, id: DeliveryId) -> Later<Result<Vec<Attempt>, StoreError>> {
        self.perform(|core| async move { core.attempts(id).await })
    }

    fn browse_events(&self, filter: EventFilter, page: Page) -> Later<Result<Listing<EventRow>, StoreError>> {
        self.perform(|core| async move { core.browse_events(&filter, &page).await })
    }

    fn browse_whole(&self, filter: EventFilter, page: Page, bytes_max: u64) -> Later<Result<WholePage, StoreError>> {
        self.perform(|core| async move { core.browse_whole(&filter, &page, bytes_max).await })
    }

    fn by_key(&self, source: Name, keys: Vec<[u8; 32]>) -> Later<Result<Vec<EventRow>, StoreError>> {
        self.perform(|core| async move { core.by_key(&source, &keys).await })
    }

    /// It keeps no marks yet.
    fn marked(&self, _ask: MarkedAsk) -> Later<Result<MarkedPage, StoreError>> {
        Box::pin(async { Ok(MarkedPage::default()) })
    }

    /// It keeps no marks yet.
    fn indexed(&self) -> Later<Result<Vec<Indexed>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn event_names(&self, source: Name) -> Later<Result<NameCounts, StoreError>> {
        self.perform(|core| async move { core.event_names(&source).await })
    }

    fn browse_deliveries(&self, filter: DeliveryFilter, page: Page) -> Later<Result<Listing<Delivery>, StoreError>> {
        self.perform(|core| async move { core.browse_deliveries(&filter, &page).await })
    }

    fn browse_audit(&self, filter: AuditFilter, page: Page) -> Later<Result<Listing<AuditEntry>, StoreError>> {
        self.perform(|core| async move { core.browse_audit(&filter, &page).await })
    }
}

impl Registry for RedisStore {
    fn document(&self, key: DocumentKey) -> Later<Result<Option<Document>, StoreError>> {
        self.perform(|core| async move { core.document(key).await?.map(|stored| core.open(stored)).transpose() })
    }

    fn documents(&self, kind: DocumentKind) -> Later<Result<Vec<Document>, StoreError>> {
        self.perform(|core| async move {
            let stored = core.documents(kind).await?;
            stored.into_iter().map(|stored| core.open_or_none(stored)).collect()
        })
    }

    fn put_document(
        &self,
        key: DocumentKey,
        expect: u64,
        body: Option<String>,
        audit: Vec<AuditEntry>,
    ) -> Later<Result<Option<u64>, StoreError>> {
        let body = body.map(|body| self.core.ciphers().seal_document(&key, expect + 1, body));
        self.perform(|core| async move { core.put_document(key, expect, body, audit).await })
    }

    fn audit(&self, entries: Vec<AuditEntry>) -> Later<Result<(), StoreError>> {
        self.perform(|core| async move { core.audit(&entries).await })
    }

    fn version(&self) -> Later<Result<Option<u64>, StoreError>> {
        self.perform(|core| async move { core.version().await })
    }

    fn changes(&self) -> Later<()> {
        Box::pin(self.core.changes())
    }
}

impl Upkeep for RedisStore {
    fn step(&self, step: Step) -> Later<Result<Stepped, StoreError>> {
        self.perform(|core| async move { core.step(step).await })
    }

    fn over(&self, ask: OverAsk) -> Later<Result<Vec<Delivery>, StoreError>> {
        self.perform(|core| async move { core.over(ask).await })
    }

    fn retire(&self, retire: Retire) -> Later<Result<Retired, StoreError>> {
        self.perform(|core| async move { core.retire(&retire).await })
    }

    /// It keeps no marks yet: nothing is written.
    fn mark(&self, _marking: Marking) -> Later<Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }

    /// It keeps no marks yet.
    fn unmark(&self, _source: Name, _slot: u8) -> Later<Result<bool, StoreError>> {
        Box::pin(async { Ok(false) })
    }

    fn rekey(&self, from: Option<String>) -> Later<Result<Rekeyed, StoreError>> {
        if self.core.ciphers().newest_number() == 0 {
            return Box::pin(async { Ok(Rekeyed::default()) });
        }
        self.perform(|core| async move { core.rekey(from.as_deref()).await })
    }

    fn stats(&self) -> Later<Result<Stats, StoreError>> {
        self.perform(|core| async move { core.stats().await })
    }

    fn recount(&self) -> Later<Result<Recount, StoreError>> {
        self.perform(|core| async move { core.recount().await })
    }

    /// A copy of a Redis is its own affair: always [`BackupError::NotHere`].
    fn backup(&self) -> Later<Result<Copying, BackupError>> {
        Box::pin(async { Err(BackupError::NotHere) })
    }

    fn promises(&self) -> Promises {
        let durability = self.core.nodes.durability();
        let partitions = self.core.space.partitions().len() as u16;
        Promises {
            backend: "redis",
            marks: false,
            sealed_with: self.core.ciphers().newest_number_given(),
            durability: match durability {
                Durability::None | Durability::Everysec => "fsync within a second of the answer",
                Durability::Fsync => "fsync before the answer",
                Durability::Replicated => "fsync, and replicas have it, before the answer",
                Durability::FsyncReplicated => "fsync, also of replicas, before the answer",
            },
            survives_kill: true,
            survives_power_loss: durability >= Durability::Fsync,
            several_owners: true,
            partitions,
            parts: if self.core.nodes.is_cluster() { partitions } else { 1 },
        }
    }

    fn condition(&self) -> Condition {
        let nodes = &self.core.nodes;
        let (commits, reasons) = nodes.reasons();
        let mut condition = self.core.life.condition(nodes.durability(), commits, reasons);
        condition.reasons.extend(self.core.scrubs.late());
        condition.reasons.extend(self.core.loops.late(self.core.options.patience, commits));
        condition
    }

    fn failed(&self) -> Later<String> {
        Box::pin(self.core.life.failed())
    }

    fn close(&self) -> Later<()> {
        let core = Arc::clone(&self.core);
        Box::pin(async move { core.nodes.close().await })
    }
}

impl Transfer for RedisStore {
    fn keys(&self, of: Vec<EventId>) -> Later<Result<Vec<Option<Dedupe>>, StoreError>> {
        self.perform(|core| async move { core.keys_of(&of).await })
    }

    /// All bits of an id tell it from others here.
    fn have_room(&self, events: Vec<EventId>, deliveries: Vec<DeliveryId>) -> Later<Result<HaveRoom, StoreError>> {
        Box::pin(async move { Ok(HaveRoom::all(events.len(), deliveries.len())) })
    }

    fn put_attempts(&self, of: Vec<(DeliveryId, Vec<Attempt>)>) -> Later<Result<(), StoreError>> {
        self.perform(|core| async move { core.put_attempts(&of).await })
    }

    fn put_totals(&self, totals: Stats) -> Later<Result<(), StoreError>> {
        self.perform(|core| async move { core.put_totals(&totals).await })
    }
}
