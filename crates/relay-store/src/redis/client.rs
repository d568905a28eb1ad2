//! The one module that speaks the types of the client crate.
//!
//! A connection is plain: it never connects anew, and is dropped after any error and after a reply that did not come in
//! time, so that no later answer is taken for it.

use std::{error::Error as _, fmt, time::Duration};

use futures_util::StreamExt as _;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo as _, Pipeline,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, Value,
    aio::{MultiplexedConnection, PubSubStream},
};
use tokio::time::timeout;

use super::{
    address::{Address, Login},
    reply::Reply,
};

/// Behind the name of a script and the number of its keys.
const SCRIPT_KEYS: usize = 3;

/// One command.
#[derive(Clone, Debug)]
pub(super) struct Command(Cmd);

impl Command {
    /// Begins one.
    pub(super) fn new(name: &str) -> Self {
        Self(redis::cmd(name))
    }

    /// Whether it runs a script.
    pub(super) fn is_script(&self) -> bool {
        self.name() == b"EVALSHA"
    }

    /// What it is called.
    pub(super) fn name(&self) -> &[u8] {
        self.argument(0).unwrap_or_default()
    }

    /// The key that says where it belongs: the first of a script, or what stands behind the name. What is no key there is none of ours.
    pub(super) fn key(&self) -> Option<&[u8]> {
        self.argument(if self.is_script() { SCRIPT_KEYS } else { 1 })
    }

    fn argument(&self, at: usize) -> Option<&[u8]> {
        match self.0.args_iter().nth(at)? {
            redis::Arg::Simple(bytes) => Some(bytes),
            _ => None,
        }
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Nobody is there, or it went away, or is silent.
    Away(String),
    /// There is a Redis, which refuses this user, password or database.
    Refused(String),
    /// What is there does not show the certificate that is wanted, or speaks no TLS.
    Unproven(String),
    /// Most sentinels know no primary of that name.
    Unnamed(String),
    /// A sentinel refuses to tell.
    Turned(String),
    /// It is no node of a cluster.
    NoCluster,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) | Self::Refused(why) | Self::Unproven(why) | Self::Unnamed(why) | Self::Turned(why) => {
                f.write_str(why)
            }
            Self::NoCluster => f.write_str("it is no node of a cluster"),
        }
    }
}

/// A connection.
pub(super) struct Link {
    connection: MultiplexedConnection,
    patience: Duration,
}

impl Link {
    /// Connects; `patience` bounds that, and every answer.
    pub(super) async fn connect(address: &Address, login: &Login, patience: Duration) -> Result<Self, Broken> {
        let connect = async {
            let client = client(address, login)?;
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
            Err(Broken::Away(format!("{} answers to {count} commands", values.len())))
        }
    }
}

/// A connection that only hears.
pub(super) struct Ear(PubSubStream);

impl Ear {
    /// Hears what is said in this channel; `patience` bounds how long it takes to begin.
    pub(super) async fn open(
        address: &Address,
        login: &Login,
        patience: Duration,
        channel: &[u8],
    ) -> Result<Self, Broken> {
        let open = async {
            let mut heard = client(address, login)?.get_async_pubsub().await?;
            heard.subscribe(channel).await?;
            Ok(heard.into_on_message())
        };
        bounded(patience, open).await.map(Self)
    }

    /// Completes with the next word, or with none once there is nothing to hear any more. What is no text says nothing.
    pub(super) async fn hears(&mut self) -> Option<String> {
        self.0.next().await.map(|word| word.get_payload().unwrap_or_default())
    }
}

async fn bounded<T>(patience: Duration, asked: impl Future<Output = RedisResult<T>>) -> Result<T, Broken> {
    match timeout(patience, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(broken(&error)),
        Err(_) => Err(Broken::Away(format!("no answer within {patience:?}"))),
    }
}

fn client(address: &Address, login: &Login) -> RedisResult<Client> {
    let (tls, to) = match address {
        Address::Tcp { host, port } => (None, ConnectionAddr::Tcp(host.clone(), *port)),
        Address::Tls { host, port, authorities } => {
            let to = ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure: false, tls_params: None };
            (Some(TlsCertificates { client_tls: None, root_cert: authorities.clone() }), to)
        }
        Address::Unix(path) => (None, ConnectionAddr::Unix(path.clone())),
    };
    let info: ConnectionInfo = to.into_connection_info()?;
    let mut entering = RedisConnectionInfo::default().set_db(login.database.into());
    if let Some(user) = &login.user {
        entering = entering.set_username(user);
    }
    if let Some(password) = &login.password {
        entering = entering.set_password(password);
    }
    let info = info.set_redis_settings(entering);
    match tls {
        Some(certificates) => Client::build_with_tls(info, certificates),
        None => Client::open(info),
    }
}

/// What an error of the client crate comes to.
fn broken(error: &RedisError) -> Broken {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let text = causes.last().cloned().unwrap_or_else(|| error.to_string());
    if is_unproven(&text) {
        return Broken::Unproven(text);
    }
    match error.kind() {
        ErrorKind::AuthenticationFailed => Broken::Refused("it refuses the user or the password".to_owned()),
        ErrorKind::Server(_) | ErrorKind::Extension => {
            Broken::Refused(error.detail().map_or_else(|| text.clone(), str::to_owned))
        }
        _ => Broken::Away(text),
    }
}

/// Whether an error is one of TLS. Its text is rustls's, whose types the client crate does not hand on.
fn is_unproven(text: &str) -> bool {
    ["invalid peer certificate", "received corrupt message", "received fatal alert", "peer is incompatible"]
        .iter()
        .any(|begin| text.contains(begin))
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

/// The name that Redis knows a script by: its digest.
pub(super) fn script_hash(text: &str) -> String {
    digest(text)
}

/// The digest of a text, in hex.
pub(super) fn digest(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}
