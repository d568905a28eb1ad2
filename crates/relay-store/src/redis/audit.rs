//! The audit log: its lines, and pages of them.

use relay_core::{
    storage::{AuditEntry, Listing, Page},
    time::Wall,
};

use super::{
    Core,
    backlog::Urgency,
    client::Command,
    keys::Key,
    place::Place,
    reply::{Fault, Reply},
    scripts::Script,
};
use crate::{
    record::{
        RecordError,
        seal::{Fields, Sealing},
    },
    seam::AuditFilter,
};

const VERSION: u8 = 1;
/// Lines looked at for one page.
const LOOK_MAX: usize = 1_000;

/// The line, sealed.
pub(super) fn write(entry: &AuditEntry) -> Vec<u8> {
    let mut out = Vec::new();
    let mut record = Sealing::begin(VERSION, &mut out);
    record.i64(entry.at.as_micros());
    for text in [&entry.who, &entry.action, &entry.subject, &entry.origin] {
        record.text(text);
    }
    record.end();
    out
}

/// Opens a line.
///
/// # Errors
/// Those of what is sealed.
pub(super) fn read(bytes: &[u8]) -> Result<AuditEntry, RecordError> {
    let mut fields = Fields::open(VERSION, &[], bytes)?;
    let at = Wall::from_micros(fields.i64()?);
    let mut text = |name| fields.text(name).map(str::to_owned);
    let (who, action, subject, origin) = (text("who")?, text("action")?, text("subject")?, text("origin")?);
    fields.end()?;
    Ok(AuditEntry { at, who, action, subject, origin })
}

/// Where a line is put.
pub(super) fn place(entry: &AuditEntry) -> String {
    format!("{}-*", entry.at.as_millis())
}

/// Where the first entry of a range is.
pub(super) fn place_of_first(reply: Reply) -> Result<Option<Place>, Fault> {
    Ok(entries(reply)?.first().map(|(place, _)| *place))
}

/// Entries of a stream: place and value.
pub(super) fn entries(reply: Reply) -> Result<Vec<(Place, Vec<u8>)>, Fault> {
    let entry = |entry: Reply| {
        let mut parts = entry.many()?.into_iter();
        let name = parts.next().ok_or(Fault::Unknown)?.bytes()?;
        let value = parts.next().ok_or(Fault::Unknown)?.many()?.into_iter().nth(1).ok_or(Fault::Unknown)?.bytes()?;
        let place = Place::read(&name).ok_or_else(|| Fault::Damaged("an entry without a place".into()))?;
        Ok((place, value))
    };
    reply.many()?.into_iter().map(entry).collect()
}

impl Core {
    /// All logs.
    pub(super) fn audit_keys(&self) -> Vec<Key> {
        let mut keys = vec![self.space.registry_audit()];
        keys.extend(self.space.partitions().iter().map(super::keys::Keys::audit));
        keys
    }

    /// Writes lines of the registry's log.
    pub(super) async fn audit(&self, lines: &[AuditEntry]) -> Result<(), Fault> {
        self.life.check()?;
        let mut arguments = vec![lines.len().to_string().into_bytes()];
        for line in lines {
            arguments.extend([write(line), place(line).into_bytes()]);
        }
        let call = Script::Audit.call(&[self.space.registry_audit()], arguments);
        self.nodes.commit(Urgency::Other, call).await.map(drop)
    }

    /// A page of the audit log, newest first.
    pub(super) async fn browse_audit(&self, filter: &AuditFilter, page: &Page) -> Result<Listing<AuditEntry>, Fault> {
        let limit = page.limit.clamp(1, 1_000) as usize;
        let mut behind = page.cursor.as_deref().and_then(cursor);
        let mut items: Vec<(AuditEntry, (Place, usize))> = Vec::new();
        let (mut looked, mut more) = (0, true);
        while more && items.len() <= limit && looked < LOOK_MAX {
            let found = self.audit_behind(behind, limit).await?;
            more = !found.is_empty();
            for (at, bytes) in found {
                looked += 1;
                behind = Some(at);
                let line = self.damage.passed(&format_args!("line {} of the audit log", at.0), read(&bytes));
                items.extend(line.filter(|line| filter.holds(line)).map(|line| (line, at)));
            }
        }
        let is_short = items.len() <= limit;
        items.truncate(limit);
        let last = if is_short { behind } else { items.last().map(|(_, at)| *at) };
        let next = last.filter(|_| more || !is_short).map(|(place, stream)| format!("{place}.{stream}"));
        Ok(Listing { items: items.into_iter().map(|(line, _)| line).collect(), next })
    }

    /// The next lines of all logs, newest first.
    async fn audit_behind(
        &self,
        behind: Option<(Place, usize)>,
        count: usize,
    ) -> Result<Vec<((Place, usize), Vec<u8>)>, Fault> {
        let keys = self.audit_keys();
        let ask = |(stream, key): (usize, &Key)| {
            // Of the same place those of earlier streams came before.
            let from = match behind {
                None => Some(Place::LAST),
                Some((place, of)) if stream > of => Some(place),
                Some((place, _)) => place.before(),
            };
            let from = from.unwrap_or(Place::FIRST).to_string();
            Command::new("XREVRANGE").arg(key).arg(from).arg("-").arg("COUNT").number(count as i64)
        };
        let replies = self.nodes.ask(keys.iter().enumerate().map(ask).collect()).await?;
        let mut found = Vec::new();
        for (stream, reply) in replies.into_iter().enumerate() {
            found.extend(entries(reply)?.into_iter().map(|(place, bytes)| ((place, stream), bytes)));
        }
        found.sort_by(|((one, first), _), ((other, second), _)| other.cmp(one).then(first.cmp(second)));
        found.truncate(count);
        Ok(found)
    }
}

fn cursor(text: &str) -> Option<(Place, usize)> {
    let (place, stream) = text.split_once('.')?;
    Some((Place::read(place.as_bytes())?, stream.parse().ok()?))
}
