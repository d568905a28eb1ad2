//! The names of events by number: a source numbers the names that came first, so that a listing by name reads one byte an event.
//!
//! Numbers are 1 to [`EVENT_NAMES_NUMBERED`], given once and never to another name. A
//! name that came later stands in its event's head: [`NAME_AS_TEXT`] in the place of its number.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU8,
    sync::Arc,
};

use relay_core::{event::event_name, limits::EVENT_NAMES_NUMBERED};
use rusqlite::{Connection, params};

use crate::{
    record::{NAME_AS_TEXT, seal::of_columns},
    sqlite::fault::Fault,
};

/// The names of all sources, by the source's number; each in the order of their numbers.
pub(crate) type BySource = BTreeMap<u32, Vec<Arc<str>>>;

/// The writer's names. After a rollback they are [read](Self::load) anew.
#[derive(Debug, Default)]
pub(crate) struct EventNames {
    by_source: BySource,
    numbers: HashMap<u32, HashMap<Arc<str>, NonZeroU8>>,
    /// Given since the last commit.
    new: Vec<(u32, NonZeroU8)>,
}

impl EventNames {
    /// Reads them from the database.
    pub(crate) fn load(db: &Connection) -> Result<Self, Fault> {
        let mut names = Self::default();
        let mut statement =
            db.prepare_cached("SELECT source, number, name, crc FROM event_names ORDER BY source, number")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (source, number, text): (u32, u8, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let damaged =
                |what: &str| Fault::Damaged(format!("name {number} of events of source {source}: {what}").into());
            if checksum(source, number, &text) != row.get::<_, u32>(3)? {
                return Err(damaged("the checksum does not match"));
            }
            let given = names.give(source, &text).map(NonZeroU8::get);
            if given != Some(number) {
                return Err(damaged("one before it is missing, or it stands there twice"));
            }
        }
        names.new.clear();
        Ok(names)
    }

    /// Reads what there is of them, for a check: what does not read is named, and another name stands in its place.
    pub(crate) fn load_leniently(db: &Connection) -> Result<(Self, Vec<Fault>), Fault> {
        let (mut names, mut faults) = (Self::default(), Vec::new());
        let mut statement = db.prepare("SELECT source, number, name, crc FROM event_names ORDER BY source, number")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (source, number): (u32, i64) = (row.get(0)?, row.get(1)?);
            let text = row.get_ref(2)?.as_str().unwrap_or_default();
            let crc = row.get(3).unwrap_or(u32::MAX);
            // By its number, or by the next one, where the number is what has flipped.
            let next = names.given(source) + 1;
            let sealed = [u8::try_from(number).ok(), u8::try_from(next).ok()].into_iter().flatten();
            let holds = sealed.into_iter().find(|number| checksum(source, *number, text) == crc);
            if holds.map(i64::from) != Some(number) || number != next as i64 {
                faults.push(lost(source, number));
            }
            match holds.map(usize::from) {
                Some(number) if number >= next => {
                    names.fill(source, number - 1);
                    names.give(source, text);
                }
                Some(_) => {}
                None => names.fill(source, next),
            }
        }
        // Those that events have, and whose rows are gone.
        let mut statement = db.prepare("SELECT source, max(name) FROM named WHERE name <= ?1 GROUP BY source")?;
        let mut rows = statement.query([EVENT_NAMES_NUMBERED as i64])?;
        while let Some(row) = rows.next()? {
            let (source, highest): (u32, i64) = (row.get(0)?, row.get(1)?);
            let highest = usize::try_from(highest).unwrap_or_default();
            if highest > names.given(source) {
                faults.push(lost(source, highest as i64));
                names.fill(source, highest);
            }
        }
        names.new.clear();
        Ok((names, faults))
    }

    fn given(&self, source: u32) -> usize {
        self.by_source.get(&source).map_or(0, Vec::len)
    }

    /// Gives something in the place of names up to that number.
    fn fill(&mut self, source: u32, number: usize) {
        for missing in self.given(source) + 1..=number {
            self.give(source, &format!("damaged-{missing}"));
        }
    }

    /// Those of these that have a row, whatever is in it.
    pub(crate) fn committed(db: &Connection, shown: &BySource) -> Result<Self, Fault> {
        let mut names = Self::default();
        for (source, all) in shown {
            let mut count = db.prepare_cached("SELECT count(*) FROM event_names WHERE source = ?1")?;
            let count: i64 = count.query_row([source], |row| row.get(0))?;
            for name in all.iter().take(count as usize) {
                names.give(*source, name);
            }
        }
        names.new.clear();
        Ok(names)
    }

    /// Writes all of them anew, whatever is there now.
    pub(crate) fn write_anew(&self, db: &Connection) -> Result<(), Fault> {
        db.execute("DELETE FROM event_names", [])?;
        for (source, names) in &self.by_source {
            for (index, name) in names.iter().enumerate() {
                insert(db, *source, index as u8 + 1, name)?;
            }
        }
        Ok(())
    }

    /// The number of a name, given now if it has none; `None`: it has none and gets none.
    pub(crate) fn intern(&mut self, source: u32, name: &str) -> Option<NonZeroU8> {
        let known = self.numbers.get(&source).and_then(|numbers| numbers.get(name)).copied();
        known.or_else(|| event_name(name).and_then(|name| self.give(source, name)))
    }

    fn give(&mut self, source: u32, name: &str) -> Option<NonZeroU8> {
        let names = self.by_source.entry(source).or_default();
        let number = NonZeroU8::new(u8::try_from(names.len() + 1).ok()?)?;
        if names.len() >= EVENT_NAMES_NUMBERED {
            return None;
        }
        let name: Arc<str> = name.into();
        if self.numbers.entry(source).or_default().insert(Arc::clone(&name), number).is_some() {
            return None;
        }
        names.push(name);
        self.new.push((source, number));
        Some(number)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &BySource {
        &self.by_source
    }

    /// Writes those that are new, inside the transaction; whether there were any.
    pub(crate) fn write(&mut self, db: &Connection) -> Result<bool, Fault> {
        let new = std::mem::take(&mut self.new);
        for (source, number) in &new {
            let Some(name) = name(&self.by_source, *source, *number) else { continue };
            insert(db, *source, number.get(), &name)?;
        }
        Ok(!new.is_empty())
    }
}

fn lost(source: u32, number: i64) -> Fault {
    Fault::Damaged(
        format!("name {number} of events of source {source}: it does not hold, or its row is missing").into(),
    )
}

fn insert(db: &Connection, source: u32, number: u8, name: &str) -> Result<(), Fault> {
    let crc = checksum(source, number, name);
    db.prepare_cached("INSERT INTO event_names (source, number, name, crc) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![source, number, name, crc])?;
    Ok(())
}

/// The name behind a number.
pub(crate) fn name(names: &BySource, source: u32, number: NonZeroU8) -> Option<Arc<str>> {
    names.get(&source)?.get(usize::from(number.get()) - 1).cloned()
}

/// What stands for this name of an event beside its id: its number, [`NAME_AS_TEXT`], or 0 for none.
pub(crate) fn code(names: &BySource, source: u32, name: Option<&str>) -> u8 {
    let Some(name) = name else { return 0 };
    let known = names.get(&source).and_then(|names| names.iter().position(|known| **known == *name));
    known.map_or(NAME_AS_TEXT, |index| index as u8 + 1)
}

fn checksum(source: u32, number: u8, name: &str) -> u32 {
    of_columns(&[&source.to_le_bytes(), &[number], name.as_bytes()])
}
