//! The one module that speaks the types of the client crate.
//!
//! A connection is plain: it never connects anew, and is dropped after any error and after a reply that did not come in
//! time, so that no later answer is taken for it.

use std::{path::PathBuf, time::Duration};

use futures_util::StreamExt as _;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, Pipeline, RedisResult,
    Value,
    aio::{MultiplexedConnection, PubSubStream},
};
use tokio::time::timeout;

use super::reply::Reply;

/// Where a Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A host and a port.
    Tcp {
        /// A name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// One command.
#[derive(Clone, Debug)]
pub(super) struct Command(Cmd);

impl Command {
    /// Begins one.
    pub(super) fn new(name: &str) -> Self {
        Self(redis::cmd(name))
    }

    /// With this behind it.
    #[must_use]
    pub(super) fn arg(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.arg(bytes.as_ref());
        self
    }

    /// With this number behind it.
    #[must_use]
    pub(super) fn number(mut self, number: i64) -> Self {
        self.0.arg(number);
        self
    }

    /// With all of these behind it.
    #[must_use]
    pub(super) fn args(mut self, all: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        for bytes in all {
            self.0.arg(bytes.as_ref());
        }
        self
    }
}

/// Commands that were sent.
pub(super) struct Sent(Pipeline);

impl Sent {
    /// Those from one of them on, copied: they may hold bodies.
    pub(super) fn again(&self, from: usize, count: usize) -> Vec<Command> {
        self.0.cmd_iter().skip(from).take(count).cloned().map(Command).collect()
    }
}

/// Why a connection is of no more use. Whether what was sent is done is not known.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

/// A connection.
pub(super) struct Link {
    connection: MultiplexedConnection,
    patience: Duration,
}

impl Link {
    /// Connects; `patience` bounds that, and every answer.
    pub(super) async fn connect(address: &Address, patience: Duration) -> Result<Self, Broken> {
        let connect = async {
            let client = Client::open(info(address)?)?;
            // By itself the crate gives up after 500 ms: what is slower than that is waited for here.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            client.get_multiplexed_async_connection_with_config(&config).await
        };
        let connection = bounded(patience, connect).await?;
        Ok(Self { connection, patience })
    }

    /// Sends these at once; one reply for each, refusals among them.
    pub(super) async fn send(&mut self, commands: Vec<Command>) -> Result<Vec<Reply>, Broken> {
        Ok(self.send_kept(commands).await?.0)
    }

    /// The same; what was sent can be had again.
    pub(super) async fn send_kept(&mut self, commands: Vec<Command>) -> Result<(Vec<Reply>, Sent), Broken> {
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for command in commands {
            pipeline.add_command(command.0);
        }
        if count == 0 {
            return Ok((Vec::new(), Sent(pipeline)));
        }
        let patience = self.patience;
        let values = bounded(patience, self.connection.send_packed_commands(&pipeline, 0, count)).await?;
        if values.len() == count {
            Ok((values.into_iter().map(reply).collect(), Sent(pipeline)))
        } else {
            Err(Broken(format!("{} answers to {count} commands", values.len())))
        }
    }
}

/// A connection that only hears.
pub(super) struct Ear(PubSubStream);

impl Ear {
    /// Hears what is said in this channel; `patience` bounds how long it takes to begin.
    pub(super) async fn open(address: &Address, patience: Duration, channel: &[u8]) -> Result<Self, Broken> {
        let open = async {
            let mut heard = Client::open(info(address)?)?.get_async_pubsub().await?;
            heard.subscribe(channel).await?;
            Ok(heard.into_on_message())
        };
        bounded(patience, open).await.map(Self)
    }

    /// Completes with the next word, or `false` once there is nothing to hear any more.
    pub(super) async fn hears(&mut self) -> bool {
        self.0.next().await.is_some()
    }
}

async fn bounded<T>(patience: Duration, asked: impl Future<Output = RedisResult<T>>) -> Result<T, Broken> {
    match timeout(patience, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(Broken(error.to_string())),
        Err(_) => Err(Broken(format!("no answer within {patience:?}"))),
    }
}

fn info(address: &Address) -> RedisResult<ConnectionInfo> {
    let address = match address {
        Address::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        Address::Unix(path) => ConnectionAddr::Unix(path.clone()),
    };
    address.into_connection_info()
}

fn reply(value: Value) -> Reply {
    match value {
        Value::Nil => Reply::Nil,
        Value::Int(number) => Reply::Number(number),
        Value::BulkString(bytes) => Reply::Bytes(bytes),
        Value::SimpleString(text) => Reply::Bytes(text.into_bytes()),
        Value::Okay => Reply::Bytes(b"OK".to_vec()),
        Value::Array(values) | Value::Set(values) => Reply::Many(values.into_iter().map(reply).collect()),
        Value::ServerError(error) => Reply::Refused { word: error.code().into(), text: format!("{error}").into() },
        // Of RESP3, which is not spoken.
        other => Reply::Refused { word: "ERR".into(), text: format!("{other:.200?}").into() },
    }
}

/// The name that Redis knows a script by.
pub(super) fn script_hash(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}
