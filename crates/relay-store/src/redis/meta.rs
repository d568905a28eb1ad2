//! What a store is: its layout, what has to be known to use it, in how many partitions, and its epoch.

use super::{
    check::{Finding, finding},
    client::Command,
    keys::Space,
    recount,
    reply::{Fault, Reply, number},
};

/// How keys and rows are laid out; a later one is not read.
pub(super) const LAYOUT: i64 = 1;
/// Bits of `needs` that this version knows: records that are sealed here. It sets none, for the documents of keys say so.
const KNOWN_NEEDS: i64 = 16;

/// What of a store is of a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Beyond {
    /// All of it.
    #[error(
        "what is stored there is of layout {0}, which a later version of crm-relay has made; this one knows {LAYOUT}"
    )]
    Layout(i64),
    /// Something that was put into it, by the bits of `needs` in its `meta`.
    #[error("what is stored there has to be known (needs {0}), and only a later version of crm-relay knows it")]
    Needs(i64),
    /// Documents of a kind that is not known here.
    #[error("there are documents of a kind there that only a later version of crm-relay knows")]
    Documents,
}

/// What stands there of all this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Laid {
    layout: Option<i64>,
    partitions: Option<i64>,
    needs: Option<i64>,
    /// Keys of documents of kinds that are not known.
    strange_documents: i64,
}

/// Asks what stands there.
pub(super) fn asks(space: &Space) -> [Command; 2] {
    let meta = Command::new("HMGET").arg(space.meta()).arg("layout").arg("partitions").arg("needs");
    [meta, Command::new("EXISTS").args(space.strange_documents())]
}

impl Laid {
    /// What the answers to [`asks`] say.
    ///
    /// # Errors
    /// One of them says nothing.
    pub(super) fn read([meta, strange]: [Reply; 2]) -> Result<Self, Fault> {
        let mut fields = meta.many()?.into_iter();
        let mut next = || match fields.next() {
            Some(Reply::Bytes(text)) => number(&text).ok(),
            _ => None,
        };
        Ok(Self { layout: next(), partitions: next(), needs: next(), strange_documents: strange.number()? })
    }

    /// What of it is of a later version, if anything is.
    pub(super) fn beyond(&self) -> Option<Beyond> {
        match (self.layout, self.needs) {
            (Some(layout), _) if layout > LAYOUT => Some(Beyond::Layout(layout)),
            (_, Some(needs)) if needs & !KNOWN_NEEDS != 0 => Some(Beyond::Needs(needs)),
            _ if self.strange_documents > 0 => Some(Beyond::Documents),
            _ => None,
        }
    }

    /// Why it is nothing that this version, or a store in so many partitions, writes into, if so; also where another node has become the
    /// primary.
    pub(super) fn not_ours(&self, partitions: usize) -> Option<Finding> {
        let beyond = self.beyond().map(|beyond| finding(beyond.to_string(), "start that version"));
        let theirs = self.partitions.filter(|theirs| *theirs != partitions as i64);
        beyond.or_else(|| {
            let theirs = theirs?;
            let what = format!("what is stored there is in {theirs} partitions and not in {partitions}");
            Some(finding(what, format!("set REDIS_PARTITIONS={theirs}")))
        })
    }
}

/// Writes down what the store is, where that does not stand there yet, and an epoch, which goes with everything else where somebody empties
/// it.
pub(super) fn layout(space: &Space) -> Result<Vec<Command>, Fault> {
    let put = |field: &str, value: String| Command::new("HSETNX").arg(space.meta()).arg(field).arg(value);
    Ok(vec![
        put("layout", LAYOUT.to_string()),
        put("partitions", space.partitions().len().to_string()),
        put("epoch", recount::fresh_run()?),
    ])
}
