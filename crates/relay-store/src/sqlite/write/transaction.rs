//! What an operation may do inside the writer's transaction, and what the commit has to know of it.

use relay_core::{
    delivery::{Attempt, Delivery},
    event::Event,
    storage::rows_of_body,
    time::Wall,
};
use rusqlite::{CachedStatement, Connection, params};

use crate::{
    record,
    seam::AuditEntry,
    sqlite::{
        fault::Fault,
        files::{damage::Damage, schema::code_of},
        read::{
            audit,
            book::{Book, Kind},
            line::Walk,
            named::Moves,
            of_source, rows, unrouted,
        },
    },
};

/// The writer's transaction.
pub(crate) struct Transaction<'a> {
    pub(crate) db: &'a Connection,
    pub(crate) book: &'a mut Book,
    /// What was found damaged.
    pub(crate) damage: &'a Damage,
    /// When it began.
    pub(crate) now: Wall,
    /// CRC of every record written, for the chain hash.
    pub(crate) crcs: Vec<u32>,
    /// Highest id sequence written.
    pub(crate) id_high: i64,
    /// Latest moment that the records written speak of.
    pub(crate) latest: Wall,
    /// What was written over remains in slack and log.
    pub(crate) erases: bool,
    /// What was sealed anew remains there as it was.
    pub(crate) reseals: bool,
    /// Events can be found by what is in them.
    pub(crate) marks: bool,
    /// Events stored, by source, sequence and what stands for their names, to be noted together at the end.
    new_events: Vec<(u32, i64, u8)>,
    /// How many events of each name came and went, to be written together at the end.
    named: Moves,
    scratch: Vec<u8>,
    statements: Statements<'a>,
}

/// What the commit has to know of a transaction: see its fields in [`Transaction`].
pub(crate) struct Written {
    pub(crate) crcs: Vec<u32>,
    pub(crate) id_high: i64,
    pub(crate) latest: Wall,
    pub(crate) erases: bool,
    pub(crate) reseals: bool,
    pub(crate) marks: bool,
}

/// The statements that run once per delivery, kept at hand: looking one up costs a tenth of running it.
#[derive(Default)]
struct Statements<'a> {
    insert_event: Option<CachedStatement<'a>>,
    insert_delivery: Option<CachedStatement<'a>>,
    update_delivery: Option<CachedStatement<'a>>,
    delivery: Option<CachedStatement<'a>>,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(db: &'a Connection, book: &'a mut Book, damage: &'a Damage, now: Wall) -> Self {
        Self {
            db,
            book,
            damage,
            now,
            crcs: Vec::new(),
            id_high: 0,
            latest: Wall::MIN,
            erases: false,
            reseals: false,
            marks: false,
            new_events: Vec::new(),
            named: Moves::default(),
            scratch: Vec::with_capacity(1024),
            statements: Statements::default(),
        }
    }

    /// To walk along the lines of a destination.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk { db: self.db, names: &*self.book, damage: self.damage }
    }

    /// Writes what is written once for all operations; gives what was written.
    pub(crate) fn finish(mut self) -> Result<Written, Fault> {
        of_source::add(self.db, &mut self.new_events)?;
        self.named.write(self.db)?;
        let Self { crcs, id_high, latest, erases, reseals, marks, .. } = self;
        Ok(Written { crcs, id_high, latest, erases, reseals, marks })
    }

    /// Stores an event with the list of its deliveries; `false` if it is stored already.
    pub(crate) fn insert_event(&mut self, event: &Event, deliveries: &[Delivery]) -> Result<bool, Fault> {
        let source = self.book.intern(Kind::Source, &event.source);
        let seq = event.id.sequence();
        let number = event.name.as_deref().and_then(|name| self.book.event_names.intern(source, name));
        self.scratch.clear();
        let ciphers = self.book.ciphers.clone();
        self.crcs.push(record::encode_event(event, source, number, &ciphers, &mut self.scratch));
        let code = record::name_written(event, number);
        let listed = rows::encode_sequences(seq, deliveries.iter().map(|delivery| delivery.id.sequence()));
        let sql = "INSERT INTO events (seq, source, deliveries, head, body) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING";
        let inserted = at_hand(&mut self.statements.insert_event, self.db, sql)?.execute(params![
            seq,
            source,
            listed,
            self.scratch,
            &record::encode_body(event, &ciphers)[..]
        ])?;
        if inserted == 0 {
            self.crcs.pop();
            return match rows::head_at(self.db, seq, self.book)? {
                Some((head, _)) if head.event.id == event.id => Ok(false),
                _ => Err(Fault::Broken(format!("{} has the sequence of another event", event.id))),
            };
        }
        self.book.stored(source);
        self.book.arrears.on_stored(rows_of_body(event.body.len() as u64) as usize);
        if deliveries.is_empty() {
            self.book.arrears.on_stored(1);
            unrouted::add(self.db, seq)?;
        }
        self.new_events.push((source, seq, code));
        self.named.count(source, seq, code, 1);
        self.id_high = self.id_high.max(seq);
        self.latest = self.latest.max(event.received_at);
        Ok(true)
    }

    /// Stores a new delivery.
    pub(crate) fn insert_delivery(&mut self, delivery: &Delivery) -> Result<(), Fault> {
        let destination = self.encode(delivery);
        let seq = delivery.id.sequence();
        let line = self.book.lines.join(self.db, destination, delivery)?;
        let sql = "INSERT INTO deliveries (seq, dest, state, line, tries, due, expires, changed, record)
             VALUES (?1, ?2, ?3, ?9, ?4, ?5, ?6, ?7, ?8)";
        at_hand(&mut self.statements.insert_delivery, self.db, sql)?.execute(params![
            seq,
            destination,
            code_of(delivery),
            delivery.tries,
            delivery.due_at.as_micros(),
            delivery.expires_at.as_micros(),
            delivery.changed_at.as_micros(),
            self.scratch,
            line
        ])?;
        self.book.created(destination, delivery.state);
        self.id_high = self.id_high.max(seq);
        Ok(())
    }

    /// A delivery by its sequence, as it is by now.
    pub(crate) fn delivery_at(&mut self, seq: i64) -> Result<Option<Delivery>, Fault> {
        let statement = at_hand(&mut self.statements.delivery, self.db, rows::DELIVERY)?;
        rows::delivery_by(statement, seq, &*self.book)
    }

    /// Puts `next` in the place of `before`. Whatever it is now, it is not in line any more.
    pub(crate) fn update_delivery(&mut self, before: &Delivery, next: &Delivery) -> Result<(), Fault> {
        let destination = self.encode(next);
        let sql = "UPDATE deliveries SET state = ?2, line = NULL, tries = ?3, due = ?4, expires = ?5, changed = ?6, record = ?7
             WHERE seq = ?1";
        let seq = next.id.sequence();
        let updated = at_hand(&mut self.statements.update_delivery, self.db, sql)?.execute(params![
            seq,
            code_of(next),
            next.tries,
            next.due_at.as_micros(),
            next.expires_at.as_micros(),
            next.changed_at.as_micros(),
            self.scratch
        ]);
        updated.map_err(|error| Fault::from(error).at_delivery(seq))?;
        self.book.moved(destination, before, next);
        Ok(())
    }

    /// Like [`update_delivery`](Self::update_delivery), when no column that an index needs has changed.
    pub(crate) fn update_record(&mut self, next: &Delivery) -> Result<(), Fault> {
        self.encode(next);
        self.db
            .prepare_cached("UPDATE deliveries SET record = ?2 WHERE seq = ?1")?
            .execute(params![next.id.sequence(), self.scratch])?;
        Ok(())
    }

    /// Keeps an earlier try. `version` is that of the delivery when it was replaced.
    pub(crate) fn insert_attempt(&mut self, delivery_seq: i64, version: u64, attempt: &Attempt) -> Result<(), Fault> {
        self.book.arrears.on_stored(1);
        self.scratch.clear();
        self.crcs.push(record::encode_attempt(attempt, delivery_seq, &self.book.ciphers, &mut self.scratch));
        self.db
            .prepare_cached("INSERT INTO attempts (delivery, version, record) VALUES (?1, ?2, ?3)")?
            .execute(params![delivery_seq, version as i64, self.scratch])?;
        Ok(())
    }

    /// Removes an ended delivery with its attempts, and its event with the last of them. Whether the event went.
    pub(crate) fn retire(&mut self, gone: &Delivery) -> Result<bool, Fault> {
        let seq = gone.id.sequence();
        let event_seq = gone.event.sequence();
        let listed = rows::deliveries_of(self.db, event_seq);
        self.db.prepare_cached("DELETE FROM attempts WHERE delivery = ?1")?.execute([seq])?;
        let deleted = self.db.prepare_cached("DELETE FROM deliveries WHERE seq = ?1")?.execute([seq]);
        deleted.map_err(|error| Fault::from(error).at_delivery(seq))?;
        let destination = self.book.intern(Kind::Destination, &gone.destination);
        self.book.removed(destination, gone.state);
        self.removed(seq);
        let listed = match listed {
            Ok(listed) => listed,
            Err(fault) => return self.damage.pass(fault).map(|()| false),
        };
        let mut siblings = self.db.prepare_cached("SELECT 1 FROM deliveries WHERE seq = ?1")?;
        for sibling in listed {
            if siblings.exists([sibling])? {
                return Ok(false);
            }
        }
        drop(siblings);
        let source = self.book.intern(Kind::Source, &gone.source);
        self.remove_event(source, event_seq)
    }

    /// Removes an event with the list of its replays, counts it, and takes it out of the listing of its source; whether it
    /// was there.
    pub(crate) fn remove_event(&mut self, source: u32, seq: i64) -> Result<bool, Fault> {
        self.db.prepare_cached("DELETE FROM replays WHERE event = ?1")?.execute([seq])?;
        if self.db.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([seq])? == 0 {
            return Ok(false);
        }
        self.book.retired(source);
        of_source::add(self.db, &mut std::mem::take(&mut self.new_events))?;
        if let Some(code) = of_source::remove(self.db, source, seq)? {
            self.named.count(source, seq, code, -1);
        }
        Ok(true)
    }

    /// Writes audit entries.
    pub(crate) fn audit(&mut self, entries: &[AuditEntry]) -> Result<(), Fault> {
        const INSERT: &str =
            "INSERT INTO audit (at, who, action, subject, origin, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        if entries.is_empty() {
            return Ok(());
        }
        let mut statement = self.db.prepare_cached(INSERT)?;
        for entry in entries {
            let crc = audit::crc(entry);
            self.latest = self.latest.max(entry.at);
            self.crcs.push(crc);
            let AuditEntry { at, who, action, subject, origin } = entry;
            statement.execute(params![at.as_micros(), who, action, subject, origin, crc])?;
        }
        Ok(())
    }

    /// Tells the chain hash that a row went.
    pub(crate) fn removed(&mut self, seq: i64) {
        self.crcs.push(crc32fast::hash(&seq.to_le_bytes()));
    }

    /// Encodes into the scratch buffer; gives the destination's number.
    fn encode(&mut self, delivery: &Delivery) -> u32 {
        self.latest = self.latest.max(delivery.changed_at);
        let source = self.book.intern(Kind::Source, &delivery.source);
        let destination = self.book.intern(Kind::Destination, &delivery.destination);
        self.scratch.clear();
        let crc = record::encode_delivery(delivery, source, destination, &self.book.ciphers, &mut self.scratch);
        self.crcs.push(crc);
        destination
    }
}

/// The statement in `slot`, prepared if it is not yet.
fn at_hand<'s, 'a>(
    slot: &'s mut Option<CachedStatement<'a>>,
    db: &'a Connection,
    sql: &str,
) -> rusqlite::Result<&'s mut CachedStatement<'a>> {
    if slot.is_none() {
        *slot = Some(db.prepare_cached(sql)?);
    }
    Ok(slot.as_mut().expect("it was prepared above if it was missing"))
}
