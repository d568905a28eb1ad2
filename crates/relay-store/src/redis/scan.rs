//! Going through all keys of the store.

use std::collections::BTreeSet;

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

impl At {
    /// As [`text`](Self::text) gave it; nothing: that is no such place.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (node, cursor, version) = (parts.next()?, parts.next()?, parts.next()?);
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let at = Self { node: node.parse().ok()?, cursor: cursor.into(), version: version.parse().ok() };
        (parts.next().is_none() && is_number(cursor)).then_some(at)
    }

    /// As text, for who goes on in another call.
    pub(super) fn text(&self) -> String {
        let version = self.version.map(|version| version.to_string()).unwrap_or_default();
        format!("{}:{}:{version}", self.node, String::from_utf8_lossy(&self.cursor))
    }
}

impl Core {
    /// Some keys, about so many, and where there are more.
    ///
    /// # Errors
    /// Those of reads; and where parts have moved since it began, or keys of one are on their way then or at its end, for some may have been
    /// passed over: then it is to begin anew.
    pub(super) async fn scan_keys(&self, at: &At, count: i64) -> Result<(Option<At>, Vec<Key>), Fault> {
        let all = (0..self.space.parts()).collect();
        self.scan_keys_of(at, count, &all).await
    }

    /// The same at those nodes alone that have one of these parts.
    pub(super) async fn scan_keys_of(
        &self,
        at: &At,
        count: i64,
        places: &BTreeSet<usize>,
    ) -> Result<(Option<At>, Vec<Key>), Fault> {
        if at.version.is_none() {
            self.nodes.are_in_place(None).await?;
        }
        let (version, owners) = (self.nodes.version(), self.nodes.owners());
        let is_as_before = at.version.is_none_or(|before| before == version);
        let has_one = |(_, of_node): &(_, Vec<usize>)| of_node.iter().any(|place| places.contains(place));
        let next_of = |from: usize| (from..owners.len()).find(|at| has_one(&owners[*at]));
        if !is_as_before || at.node >= owners.len() {
            return Err(Fault::Elsewhere);
        }
        let Some(place) = next_of(at.node) else {
            self.nodes.are_in_place(Some(version)).await?;
            return Ok((None, Vec::new()));
        };
        let at = if place == at.node { at.clone() } else { At { node: place, ..At::default() } };
        let (node, _) = &owners[at.node];
        let cursor = if at.cursor.is_empty() { &b"0"[..] } else { &at.cursor };
        let scan = Command::new("SCAN").arg(cursor).arg("MATCH").arg(self.space.pattern());
        let answer = node.reads.ask(vec![scan.arg("COUNT").number(count)]).await?.pop().ok_or(Fault::Away)?;
        let mut replies = Replies::new(answer.many()?);
        let cursor = replies.next()?.bytes()?;
        let keys = replies.next()?.many()?.into_iter().map(Reply::bytes).collect::<Result<_, _>>()?;
        let next =
            if cursor == b"0" { next_of(at.node + 1).map(|node| (node, Vec::new())) } else { Some((at.node, cursor)) };
        let next = next.map(|(node, cursor)| At { node, cursor, version: Some(version) });
        if next.is_none() {
            self.nodes.are_in_place(Some(version)).await?;
        }
        Ok((next, keys))
    }
}
