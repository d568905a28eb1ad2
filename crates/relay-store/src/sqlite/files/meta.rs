//! The store's own record: which epoch, which commit, and the hash that chains all commits. It is row 0 of `names`, beside
//! the counters that each commit changes too: one page for both.

use aws_lc_rs::digest::{Context, SHA256};
use relay_core::time::Wall;
use rusqlite::{Connection, OptionalExtension as _};

use crate::sqlite::fault::Fault;

const VERSION: u8 = 4;
const CONTENT_BYTES: usize = 1 + 16 + 16 + 8 + 8 + 32 + 8 + 8 + 16 + 8;

/// The `meta` row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Random; a new one begins when history was cut: restore, or an accepted loss.
    pub(crate) epoch: u128,
    /// The epoch before it; 0 in the first one.
    pub(crate) previous: u128,
    /// Number of the commit that began the epoch.
    pub(crate) began: u64,
    /// Number of the last commit.
    pub(crate) commit: u64,
    /// SHA-256 over the previous chain hash, the commit's number and the CRC of every record it wrote.
    pub(crate) chain: [u8; 32],
    /// Highest id sequence ever stored.
    pub(crate) id_high: i64,
    /// Latest moment that any commit spoke of.
    pub(crate) latest: Wall,
    /// What the database held without its write-ahead log when this was written, at least: the log goes on from there.
    pub(crate) base: Base,
}

/// A commit of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) epoch: u128,
    pub(crate) commit: u64,
}

impl Meta {
    /// That of an empty store.
    pub(crate) const fn new(epoch: u128) -> Self {
        let base = Base { epoch, commit: 0 };
        Self { epoch, previous: 0, began: 0, commit: 0, chain: [0; 32], id_high: 0, latest: Wall::MIN, base }
    }

    /// All that was committed is in the database itself.
    pub(crate) const fn is_all_in_database(&mut self) {
        self.base = Base { epoch: self.epoch, commit: self.commit };
    }

    /// Whether the log whose last commit wrote this goes on from a database that says `alone` of itself.
    pub(crate) fn goes_on_from(&self, alone: Option<&Self>) -> bool {
        // A database that was just made is empty without its log.
        let Some(alone) = alone else { return self.base.commit == 0 };
        let of_history = alone.epoch == self.epoch
            || alone.epoch == self.base.epoch
            || (alone.epoch == self.previous && alone.commit < self.began);
        let is_same = alone.commit != self.commit || alone.chain == self.chain;
        of_history && is_same && (self.base.commit..=self.commit).contains(&alone.commit)
    }

    /// Reads the row; `None` if it was never written.
    pub(crate) fn load(db: &Connection) -> Result<Option<Self>, Fault> {
        let bytes: Option<Vec<u8>> =
            db.query_row("SELECT counters FROM names WHERE id = 0", [], |row| row.get(0)).optional()?;
        bytes.map(|bytes| Self::decode(&bytes)).transpose()
    }

    /// The next commit, which wrote records with these CRCs.
    pub(crate) fn advance(&mut self, crcs: &[u32], id_high: i64, latest: Wall) {
        self.commit += 1;
        self.id_high = self.id_high.max(id_high);
        self.latest = self.latest.max(latest);
        let mut chain = Context::new(&SHA256);
        chain.update(&self.chain);
        chain.update(&self.commit.to_le_bytes());
        for crc in crcs {
            chain.update(&crc.to_le_bytes());
        }
        self.chain.copy_from_slice(chain.finish().as_ref());
    }

    /// Writes the row, inside a transaction.
    pub(crate) fn write(&self, db: &Connection) -> Result<(), Fault> {
        let mut bytes = Vec::with_capacity(CONTENT_BYTES + 4);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.extend_from_slice(&self.began.to_le_bytes());
        bytes.extend_from_slice(&self.commit.to_le_bytes());
        bytes.extend_from_slice(&self.chain);
        bytes.extend_from_slice(&self.id_high.to_le_bytes());
        bytes.extend_from_slice(&self.latest.as_micros().to_le_bytes());
        bytes.extend_from_slice(&self.base.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.base.commit.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        db.prepare_cached(
            "INSERT INTO names (id, kind, name, counters) VALUES (0, 0, '', ?1)
             ON CONFLICT (id) DO UPDATE SET counters = excluded.counters",
        )?
        .execute([bytes])?;
        Ok(())
    }

    fn decode(bytes: &[u8]) -> Result<Self, Fault> {
        let damaged = || Fault::Damaged("the meta row: the checksum does not match".into());
        let (content, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        let (version, rest) = content.split_first_chunk::<1>().ok_or_else(damaged)?;
        let is_whole = *version == [VERSION] && content.len() == CONTENT_BYTES;
        if crc32fast::hash(content) != u32::from_le_bytes(*crc) || !is_whole {
            return Err(damaged());
        }
        let (epoch, rest) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
        let (previous, rest) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
        let (began, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (commit, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (chain, rest) = rest.split_first_chunk::<32>().ok_or_else(damaged)?;
        let (id_high, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (latest, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (base_epoch, rest) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
        let (base_commit, _) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        Ok(Self {
            epoch: u128::from_le_bytes(*epoch),
            previous: u128::from_le_bytes(*previous),
            began: u64::from_le_bytes(*began),
            commit: u64::from_le_bytes(*commit),
            chain: *chain,
            id_high: i64::from_le_bytes(*id_high),
            latest: Wall::from_micros(i64::from_le_bytes(*latest)),
            base: Base { epoch: u128::from_le_bytes(*base_epoch), commit: u64::from_le_bytes(*base_commit) },
        })
    }
}
