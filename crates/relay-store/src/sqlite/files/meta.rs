//! The store's own record: which epoch, which commit, and the hash that chains all commits. It is row 0 of `names`, beside
//! the counters that each commit changes too: one page for both.

use aws_lc_rs::digest::{Context, SHA256};
use relay_core::time::Wall;
use rusqlite::{Connection, OptionalExtension as _};

use crate::{
    record::{
        RecordError,
        seal::{Fields, Sealing},
    },
    sqlite::fault::Fault,
};

const VERSION: u8 = 1;
const BYTES: usize = 1 + 16 + 16 + 8 + 8 + 32 + 8 + 8 + 16 + 8 + 8 + 4;

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
    /// Something in it is sealed with a key.
    pub(crate) is_sealed: bool,
    /// Events can be found by what is in them, or could be.
    pub(crate) has_marks: bool,
}

/// What a program must know to use this store: rows of marks, which it removes with what they lead to.
const NEEDS_MARKS: u64 = 8;
/// And records that are sealed here.
const NEEDS_KEYS: u64 = 16;

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
        Self {
            epoch,
            previous: 0,
            began: 0,
            commit: 0,
            chain: [0; 32],
            id_high: 0,
            latest: Wall::MIN,
            base,
            is_sealed: false,
            has_marks: false,
        }
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
        let meta = bytes.map(|bytes| Self::decode(&bytes)).transpose();
        meta.map_err(|error| Fault::record(&"the meta row", &error))
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
        let mut bytes = Vec::with_capacity(BYTES);
        let mut record = Sealing::begin(VERSION, &mut bytes);
        record.u128(self.epoch);
        record.u128(self.previous);
        record.u64(self.began);
        record.u64(self.commit);
        record.raw(&self.chain);
        record.i64(self.id_high);
        record.i64(self.latest.as_micros());
        record.u128(self.base.epoch);
        record.u64(self.base.commit);
        record.u64(self.needs());
        record.end();
        db.prepare_cached(
            "INSERT INTO names (id, kind, name, counters) VALUES (0, 0, '', ?1)
             ON CONFLICT (id) DO UPDATE SET counters = excluded.counters",
        )?
        .execute([bytes])?;
        Ok(())
    }

    fn needs(&self) -> u64 {
        let bit = |is_used: bool, bit: u64| if is_used { bit } else { 0 };
        bit(self.has_marks, NEEDS_MARKS) | bit(self.is_sealed, NEEDS_KEYS)
    }

    fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut fields = Fields::open(VERSION, &[], bytes)?;
        let mut meta = Self {
            epoch: fields.u128()?,
            previous: fields.u128()?,
            began: fields.u64()?,
            commit: fields.u64()?,
            chain: fields.array()?,
            id_high: fields.i64()?,
            latest: Wall::from_micros(fields.i64()?),
            base: Base { epoch: fields.u128()?, commit: fields.u64()? },
            is_sealed: false,
            has_marks: false,
        };
        let needs = fields.u64()?;
        (meta.is_sealed, meta.has_marks) = (needs & NEEDS_KEYS != 0, needs & NEEDS_MARKS != 0);
        if needs != meta.needs() {
            return Err(RecordError::Later("something that is in use is"));
        }
        fields.end()?;
        Ok(meta)
    }
}
