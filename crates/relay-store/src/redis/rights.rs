//! What a user of Redis has to be allowed: each command once, in a form that changes nothing.

use super::{Options, address::Deployment, client::Command, keys::Space, reply::Reply};
use crate::seam::Durability;

/// What is asked about a key that is never there. `KEY` is that key, in the registry's slot.
const ON_A_KEY: &[&str] = &[
    "append KEY",
    "del KEY",
    "exists KEY",
    "get KEY",
    "getrange KEY 0 0",
    "hdel KEY f",
    "hexists KEY f",
    "hget KEY f",
    "hgetall KEY",
    "hincrby KEY f 0",
    "hlen KEY",
    "hmget KEY f",
    "hset KEY f 0",
    "hsetnx KEY f 0",
    "lrange KEY 0 0",
    "mset KEY v",
    "persist KEY",
    "pttl KEY",
    "rename KEY KEY",
    "rpush KEY v",
    "set KEY v",
    "setrange KEY 0 v",
    "type KEY",
    "xack KEY g 0-1",
    "xadd KEY NOMKSTREAM 0-1 f v",
    "xdel KEY 0-1",
    "xlen KEY",
    "xpending KEY g",
    "xrange KEY - + COUNT 1",
    "xreadgroup GROUP g c COUNT 1 STREAMS KEY >",
    "xrevrange KEY + - COUNT 1",
    "xtrim KEY MINID 0",
    "zadd KEY XX 0 m",
    "zcard KEY",
    "zrange KEY 0 0",
    "zrangebyscore KEY 0 0",
    "zrem KEY m",
    "zrevrangebyscore KEY 0 0",
    "zscan KEY 0",
    "zscore KEY m",
    "xgroup|setid KEY g 0",
    "xgroup|create KEY g 0",
    "xgroup|delconsumer KEY g c",
    "xinfo|stream KEY",
    "xinfo|groups KEY",
    "xinfo|consumers KEY g",
    "xadd DEAD NOMKSTREAM 0-1 f v",
    "unlink KEY",
];

/// What is asked about no key.
const OTHERS: &[&str] = &["info", "config|get appendfsync", "time", "scan 0 COUNT 1", "wait 0 1", "evalsha x 0"];

/// What is asked about the channel of hints.
const OF_HINTS: &[&str] = &["publish CHANNEL trial", "subscribe CHANNEL"];

/// What waits for the disks of replicas; an older Redis does not know it.
const OF_DISKS: &[&str] = &["waitaof 0 0 1"];

/// What nodes of a cluster are asked besides.
const OF_CLUSTER: &[&str] = &["asking", "cluster|info", "cluster|nodes", "cluster|slots"];

/// What needs no trial: connecting, or the trial itself, has shown it.
const UNTRIED: &[&str] = &["discard", "exec", "multi", "script|load", "select"];

/// What a user lacks: commands, as an ACL names them, in the order of the table.
pub(super) struct Trial {
    names: Vec<&'static str>,
}

impl Trial {
    /// Each command in a transaction that is thrown away: what a user may not is refused while it queues up.
    pub(super) fn begin(space: &Space, options: &Options) -> (Self, Vec<Command>) {
        let (key, dead, channel, mut names) = (space.trial(), space.dead_letters(), space.hints(), Vec::new());
        let mut commands = vec![Command::new("MULTI")];
        for line in tried(options) {
            let mut words = line.split(' ');
            let name = words.next().unwrap_or_default();
            let mut parts = name.split('|');
            let command = Command::new(parts.next().unwrap_or_default()).args(parts);
            let words = words.map(|word| match word {
                "KEY" => key.clone(),
                "DEAD" => dead.clone(),
                "CHANNEL" => channel.clone(),
                word => word.as_bytes().to_vec(),
            });
            commands.push(command.args(words));
            names.push(name);
        }
        commands.push(Command::new("DISCARD"));
        (Self { names }, commands)
    }

    /// Which of them were refused for want of a right.
    pub(super) fn lacks(&self, replies: &[Reply]) -> Vec<&'static str> {
        let is_refused = |reply: &Reply| matches!(reply, Reply::Refused { word, .. } if &**word == "NOPERM");
        let tried = std::iter::once(&"multi").chain(&self.names);
        let mut lacks: Vec<_> =
            replies.iter().zip(tried).filter(|(reply, _)| is_refused(reply)).map(|(_, name)| *name).collect();
        lacks.dedup();
        lacks
    }
}

/// The line that makes a user who may do what a server does, and nothing else. `PASSWORD` is for its reader to replace.
pub(super) fn acl_line(options: &Options) -> String {
    let user = options.login.user.as_deref().unwrap_or("relay");
    let (name, dead) = (&options.stream_name, &options.dead_letter_queue);
    let mut commands: Vec<&str> = tried(options).chain(UNTRIED).map(|line| first(line)).collect();
    commands.sort_unstable();
    commands.dedup();
    let commands: Vec<String> = commands.iter().map(|command| format!("+{command}")).collect();
    format!(
        "ACL SETUSER {user} on >PASSWORD resetkeys ~{name} ~{name}:* ~{dead}:* resetchannels &{name}:* -@all {}",
        commands.join(" ")
    )
}

/// Each command that is tried, with what it is tried on.
fn tried(options: &Options) -> impl Iterator<Item = &'static &'static str> {
    let of_cluster = if matches!(options.address, Deployment::Cluster(_)) { OF_CLUSTER } else { &[] };
    let of_disks = if options.durability == Some(Durability::FsyncReplicated) { OF_DISKS } else { &[] };
    ON_A_KEY.iter().chain(OTHERS).chain(OF_HINTS).chain(of_cluster).chain(of_disks)
}

fn first(line: &str) -> &str {
    line.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// Commands in a file, as scripts call them and as this room asks them.
    fn commands(text: &str) -> impl Iterator<Item = String> {
        let begins = ["redis.call('", "redis.pcall('", "of_set('", "Command::new(\""];
        let word = |rest: &str| rest.split(['\'', '"']).next().unwrap_or_default().to_lowercase();
        let of = move |begin: &'static str| text.split(begin).skip(1).map(word).collect::<Vec<_>>();
        begins.into_iter().flat_map(of).collect::<Vec<_>>().into_iter()
    }

    /// Whatever is asked of Redis is in the table, so that who lacks a right hears of it at the start.
    #[test]
    fn every_command_is_in_the_table() {
        let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/redis");
        let mut used = BTreeSet::new();
        for dir in [room.clone(), room.join("scripts")] {
            for file in fs::read_dir(dir).expect("the room is there") {
                let path = file.expect("it reads").path();
                if path.is_file() {
                    let text = fs::read_to_string(path).expect("it reads");
                    used.extend(commands(text.split("#[cfg(test)]").next().unwrap_or_default()));
                }
            }
        }
        let known: BTreeSet<String> = ON_A_KEY
            .iter()
            .chain(OTHERS)
            .chain(OF_HINTS)
            .chain(OF_DISKS)
            .chain(OF_CLUSTER)
            .chain(UNTRIED)
            .map(|line| first(line).split('|').next().unwrap_or_default().to_owned())
            .collect();
        // What connecting takes, and what is asked of sentinels, whose user is another.
        let beside = ["auth", "client", "hello", "ping", "role", "sentinel", ""];
        let missing: Vec<&String> =
            used.iter().filter(|name| !known.contains(*name) && !beside.contains(&name.as_str())).collect();
        assert!(used.len() > 30 && missing.is_empty(), "{missing:?}");
    }
}
