//! Going through all keys of the store.

use super::{
    Core,
    client::Command,
    keys::Key,
    reply::{Fault, Replies, Reply},
};

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct At {
    /// Of the nodes that have a part, the first has 0.
    node: usize,
    /// Where it is there; nothing: at the beginning.
    cursor: Vec<u8>,
    /// Who had what when it began.
    version: Option<u64>,
}

impl Core {
    /// Some keys, about so many, and where there are more.
    ///
    /// # Errors
    /// Those of reads; and where parts have moved since it began, or keys of one are on their way then or at its end, for some may have been
    /// passed over: then it is to begin anew.
    pub(super) async fn scan_keys(&self, at: &At, count: i64) -> Result<(Option<At>, Vec<Key>), Fault> {
        if at.version.is_none() {
            self.nodes.are_in_place(None).await?;
        }
        let (version, owners) = (self.nodes.version(), self.nodes.owners());
        let is_as_before = at.version.is_none_or(|before| before == version);
        let (node, _) = owners.get(at.node).filter(|_| is_as_before).ok_or(Fault::Elsewhere)?;
        let cursor = if at.cursor.is_empty() { &b"0"[..] } else { &at.cursor };
        let scan = Command::new("SCAN").arg(cursor).arg("MATCH").arg(self.space.pattern());
        let answer = node.reads.ask(vec![scan.arg("COUNT").number(count)]).await?.pop().ok_or(Fault::Away)?;
        let mut replies = Replies::new(answer.many()?);
        let cursor = replies.next()?.bytes()?;
        let keys = replies.next()?.many()?.into_iter().map(Reply::bytes).collect::<Result<_, _>>()?;
        let (node, cursor) = if cursor == b"0" { (at.node + 1, Vec::new()) } else { (at.node, cursor) };
        let next = Some(At { node, cursor, version: Some(version) }).filter(|next| next.node < owners.len());
        if next.is_none() {
            self.nodes.are_in_place(Some(version)).await?;
        }
        Ok((next, keys))
    }
}
