//! The store as the conformance suite wants it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use relay_store::{
    Store,
    cipher::Ciphers,
    conformance::Backend,
    redis::{Deployment, Edge, Edges, FullProbe, Options, RedisStore},
};

use crate::{
    clustered::Clustered,
    node::{Node, Server, fresh_name},
};

/// A store on a node, with the levers of whoever owns its machine.
pub(crate) struct Opened {
    options: Options,
    store: RedisStore,
    armed: Arc<Mutex<Option<Edge>>>,
    full: Arc<AtomicBool>,
}

impl Opened {
    fn fresh(address: impl Into<Deployment>, partitions: usize) -> Self {
        let name = fresh_name();
        let dead_letter_queue = format!("{name}-dead");
        let options = Options { stream_name: name, dead_letter_queue, partitions, ..Options::new(address) };
        Self::open(options).with_levers()
    }

    /// The same, sealed.
    fn sealed(address: impl Into<Deployment>, partitions: usize) -> Self {
        let ciphers = Ciphers::read("1 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("it is one");
        let options = Self::fresh(address, partitions).options;
        Self::open(Options { ciphers, ..options }).with_levers()
    }

    fn open(options: Options) -> Self {
        Self { store: RedisStore::open(options.clone()), options, armed: Arc::default(), full: Arc::default() }
    }

    /// The same, with a memory that is full when a test says so, and edges to die at.
    fn with_levers(self) -> Self {
        let (armed, full) = (Arc::new(Mutex::new(None)), Arc::new(AtomicBool::new(false)));
        let (trigger, memory) = (Arc::clone(&armed), Arc::clone(&full));
        let edges = Edges::new(move |met| *trigger.lock().expect("no test panics while it holds this") == Some(met));
        let options =
            Options { edges, full: Some(FullProbe::new(move || memory.load(Ordering::SeqCst))), ..self.options };
        Self { store: RedisStore::open(options.clone()), options, armed, full }
    }

    fn again(self) -> Self {
        Self::open(self.options).with_levers()
    }

    fn second_owner(&self) -> Arc<dyn Store> {
        Arc::new(RedisStore::open(Options { edges: Edges::default(), ..self.options.clone() }))
    }

    fn fail_at(&self, edge: &'static str) {
        let edge = Edge::ALL.into_iter().find(|known| format!("{known:?}") == edge);
        *self.armed.lock().expect("no test panics while it holds this") = edge;
    }
}

const EDGES: &[&str] = &["BeforeSend", "AfterReplies"];

/// The levers that are the same for all of them.
macro_rules! levers {
    () => {
        const EDGES: &'static [&'static str] = EDGES;

        fn store(&self) -> Arc<dyn Store> {
            Arc::new(self.opened().store.clone())
        }

        async fn second_writer(&self) -> Option<bool> {
            None
        }

        fn second_owner(&self) -> Option<Arc<dyn Store>> {
            Some(self.opened().second_owner())
        }

        fn fail_at(&self, edge: &'static str) {
            self.opened().fail_at(edge);
        }

        async fn set_full(&self, full: bool) {
            self.opened().full.store(full, Ordering::SeqCst);
        }
    };
}

/// On what all tests have in common, in so many partitions.
macro_rules! on_shared_node {
    ($(#[$about:meta])* $name:ident, $opened:ident, $address:expr, $partitions:literal) => {
        $(#[$about])*
        pub(crate) struct $name(Opened);

        impl $name {
            fn opened(&self) -> &Opened {
                &self.0
            }
        }

        impl Backend for $name {
            const STRICT_ORDER: bool = $partitions == 1;

            async fn fresh() -> Self {
                Self(Opened::$opened($address, $partitions))
            }

            async fn reopen(self) -> Self {
                Self(self.0.again())
            }

            levers!();
        }
    };
}

on_shared_node!(
    /// In one partition.
    Shared, fresh, Node::shared(Server::Installed).address(), 1
);
on_shared_node!(
    /// In sixteen.
    Spread, fresh, Node::shared(Server::Installed).address(), 16
);
on_shared_node!(
    /// In one partition, sealed.
    Sealed, sealed, Node::shared(Server::Installed).address(), 1
);
on_shared_node!(
    /// On Redis 8.
    OnRedis8, fresh, Node::shared(Server::Redis8).address(), 1
);
on_shared_node!(
    /// On Valkey 9.
    OnValkey9, fresh, Node::shared(Server::Valkey9).address(), 1
);
on_shared_node!(
    /// On Redis 8, in sixteen.
    OnRedis8Spread, fresh, Node::shared(Server::Redis8).address(), 16
);
on_shared_node!(
    /// On Valkey 9, in sixteen.
    OnValkey9Spread, fresh, Node::shared(Server::Valkey9).address(), 16
);
on_shared_node!(
    /// In sixteen, on a cluster of three.
    OnCluster, fresh, Clustered::shared().plain(), 16
);

impl Shared {
    /// With these options and no levers.
    pub(crate) fn on(options: Options) -> Self {
        Self(Opened::open(options))
    }

    /// With these options and all levers: nothing is asked of Redis but what a test asks.
    pub(crate) fn at_hand(options: Options) -> Self {
        Self(Opened::open(options).with_levers())
    }
}

/// On a node of its own, which is killed and started again with every reopening.
macro_rules! on_node_of_its_own {
    ($(#[$about:meta])* $name:ident, $partitions:literal) => {
        $(#[$about])*
        pub(crate) struct $name {
            opened: Opened,
            node: Node,
        }

        impl $name {
            fn opened(&self) -> &Opened {
                &self.opened
            }
        }

        impl Backend for $name {
            const STRICT_ORDER: bool = $partitions == 1;

            async fn fresh() -> Self {
                let node = Node::start();
                Self { opened: Opened::fresh(node.address(), $partitions), node }
            }

            async fn reopen(mut self) -> Self {
                self.node.restart();
                Self { opened: self.opened.again(), ..self }
            }

            levers!();
        }
    };
}

on_node_of_its_own!(
    /// In one partition.
    Restarted, 1
);
on_node_of_its_own!(
    /// In sixteen.
    RestartedSpread, 16
);
