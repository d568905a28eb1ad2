//! Which kinds of keys a partition has, of which types, and which of them are indexes of rows.

use relay_core::name::Name;

use super::{
    client::Command,
    keys::{ASIDE, Key, Keys},
    reply::{Fault, Replies, Reply},
};

/// What an index is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Stream,
    Set,
}

/// What indexes of a name begin with, what stands behind the name, and what they are made of.
const NAMED: [(&str, &str, Made); 10] = [
    ("ready", ":0:1", Made::Stream),
    ("back", ":0", Made::Set),
    ("due", ":0", Made::Set),
    ("tries", ":0", Made::Set),
    ("exp", "", Made::Set),
    ("done", "", Made::Stream),
    ("ended", "", Made::Set),
    ("log", "", Made::Stream),
    ("made", "", Made::Set),
    ("src", "", Made::Stream),
];

/// Those of a whole partition.
const OF_ALL: [&str; 3] = ["leases", "lone", "steps"];

/// Types of all other keys: what they are called, or begin with where that ends in a colon.
const OTHERS: [(&str, &str); 10] = [
    ("d:", "string"),
    ("e:", "string"),
    ("r:", "string"),
    ("k:", "string"),
    ("step:", "string"),
    ("t:", "list"),
    ("n", "hash"),
    ("tally", "hash"),
    ("audit", "stream"),
    ("gone", "stream"),
];

/// What one key of a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The row of a delivery.
    Delivery(u128),
    /// An event.
    Event(u128),
    /// An index.
    Index(Index),
    /// Something else of ours.
    Other,
    /// Nothing of ours, or put aside.
    Strange,
}

/// One index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// Its word, as scripts have it.
    pub(super) word: &'static str,
    /// Its destination or source; empty: it is the partition's.
    pub(super) name: String,
    made: Made,
}

impl Kind {
    /// Of a key that is called so within its partition.
    pub(super) fn of(within: &[u8]) -> Self {
        let id = |kind: &str| {
            let id = within.strip_prefix(kind.as_bytes())?;
            id.try_into().ok().map(u128::from_be_bytes)
        };
        if within.starts_with(ASIDE.as_bytes()) {
            return Self::Strange;
        }
        if let Some(id) = id("d:") {
            return Self::Delivery(id);
        }
        if let Some(id) = id("e:") {
            return Self::Event(id);
        }
        if let Some(index) = Index::of(within) {
            return Self::Index(index);
        }
        let is_other = |(name, _): &(&str, &str)| {
            if name.ends_with(':') { within.starts_with(name.as_bytes()) } else { within == name.as_bytes() }
        };
        if OTHERS.iter().any(is_other) { Self::Other } else { Self::Strange }
    }

    /// What Redis says of which type such a key is.
    pub(super) fn of_type(&self, within: &[u8]) -> Option<&'static str> {
        match self {
            Self::Delivery(_) | Self::Event(_) => Some("string"),
            Self::Index(Index { made: Made::Stream, .. }) => Some("stream"),
            Self::Index(Index { made: Made::Set, .. }) => Some("zset"),
            Self::Other => {
                let of = |(name, _): &&(&str, &str)| within.starts_with(name.as_bytes());
                OTHERS.iter().find(of).map(|(_, of_type)| *of_type)
            }
            Self::Strange => None,
        }
    }
}

impl Index {
    fn of(within: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(within).ok()?;
        if let Some(word) = OF_ALL.iter().find(|word| **word == text) {
            return Some(Self { word, name: String::new(), made: Made::Set });
        }
        NAMED.iter().find_map(|(word, behind, made)| {
            let name = text.strip_prefix(word)?.strip_prefix(':')?.strip_suffix(behind)?;
            let name = name.parse::<Name>().ok()?.to_string();
            Some(Self { word, name, made: *made })
        })
    }

    /// What a recount calls the listing that it is, if it is one.
    pub(super) fn listing(&self) -> Option<String> {
        match self.word {
            "log" | "made" => Some(format!("d:{}", self.name)),
            "src" => Some(format!("s:{}", self.name)),
            _ => None,
        }
    }

    /// Whether it is of events.
    pub(super) fn is_of_events(&self) -> bool {
        matches!(self.word, "src" | "lone")
    }

    /// Its key.
    pub(super) fn key(&self, keys: &Keys) -> Key {
        match NAMED.iter().find(|(word, ..)| *word == self.word) {
            Some((word, behind, _)) => keys.inner(&format!("{word}:{}{behind}", self.name)),
            None => keys.inner(self.word),
        }
    }

    /// Asks for its last entry, if it is in order: one that grows is not walked for ever.
    pub(super) fn ask_last(&self, keys: &Keys) -> Option<Command> {
        let last = || Command::new("XREVRANGE").arg(self.key(keys)).arg("+").arg("-").arg("COUNT").number(1);
        (self.made == Made::Stream).then(last)
    }

    /// Asks for so many entries behind a place, up to the last.
    pub(super) fn ask(&self, keys: &Keys, behind: Option<&[u8]>, last: Option<&[u8]>, count: usize) -> Command {
        match self.made {
            Made::Stream => {
                let from = behind.map_or_else(|| b"-".to_vec(), |entry| [b"(", entry].concat());
                let range = Command::new("XRANGE").arg(self.key(keys)).arg(from).arg(last.unwrap_or(b"+"));
                range.arg("COUNT").number(count as i64)
            }
            // Members leave while it is walked: a scan names all that stay.
            Made::Set => {
                let scan = Command::new("ZSCAN").arg(self.key(keys)).arg(behind.unwrap_or(b"0"));
                scan.arg("COUNT").number(count as i64)
            }
        }
    }

    /// Entries with the ids in them, and behind which place there are more.
    pub(super) fn read(&self, reply: Reply) -> Result<(Vec<Entry>, Option<Vec<u8>>), Fault> {
        match self.made {
            Made::Stream => read_stream(reply),
            Made::Set => read_set(reply, if self.word == "tries" { 16 } else { 0 }),
        }
    }
}

/// An entry or a member, and the id in it.
pub(super) type Entry = (Vec<u8>, Vec<u8>);

fn read_stream(reply: Reply) -> Result<(Vec<Entry>, Option<Vec<u8>>), Fault> {
    let mut entries = Vec::new();
    for entry in reply.many()? {
        let mut parts = Replies::new(entry.many()?);
        let entry = parts.next()?.bytes()?;
        let id = parts.next()?.many()?.into_iter().nth(1).map_or(Ok(Vec::new()), Reply::bytes)?;
        entries.push((entry, id));
    }
    let last = entries.last().map(|(entry, _)| entry.clone());
    Ok((entries, last))
}

fn read_set(reply: Reply, id_at: usize) -> Result<(Vec<Entry>, Option<Vec<u8>>), Fault> {
    if reply == Reply::Nil {
        return Ok((Vec::new(), None));
    }
    let mut replies = Replies::new(reply.many()?);
    let cursor = replies.next()?.bytes()?;
    let mut entries = Vec::new();
    for member in replies.next()?.many()?.into_iter().step_by(2) {
        let member = member.bytes()?;
        let id = member.iter().skip(id_at).take(16).copied().collect();
        entries.push((member, id));
    }
    Ok((entries, Some(cursor).filter(|cursor| cursor != b"0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let id = 7_u128.to_be_bytes();
        assert_eq!(Kind::of(&[b"d:", &id[..]].concat()), Kind::Delivery(7));
        assert_eq!(Kind::of(&[b"e:", &id[..]].concat()), Kind::Event(7));
        for (within, word, name) in [("ready:crm:0:1", "ready", "crm"), ("exp:a-b", "exp", "a-b"), ("lone", "lone", "")]
        {
            let Kind::Index(index) = Kind::of(within.as_bytes()) else { panic!("{within} is an index") };
            assert_eq!((index.word, &index.name[..]), (word, name));
        }
        for (within, of_type) in [("n", "hash"), ("step:x", "string"), ("src:in", "stream"), ("due:crm:0", "zset")] {
            assert_eq!(Kind::of(within.as_bytes()).of_type(within.as_bytes()), Some(of_type), "{within}");
        }
        for strange in ["aside:n", "ready:crm", "exp:A", "note", "d:short", ""] {
            let kind = Kind::of(strange.as_bytes());
            assert!(matches!(kind, Kind::Strange) || strange == "d:short", "{strange}: {kind:?}");
        }
    }
}
