//! The columns of a delivery beside its record: they repeat it for the indexes.

use relay_core::delivery::{Delivery, State};
use rusqlite::{Connection, params};

use crate::sqlite::{
    fault::Fault,
    files::schema::code_of,
    read::{
        book::{Book, Kind},
        line::{self, line_of},
    },
};

const WRITE: &str =
    "UPDATE deliveries SET dest = ?2, state = ?3, line = NULL, tries = ?4, due = ?5, expires = ?6, changed = ?7
    WHERE seq = ?1";

/// Whether they repeat what the record has. `destination`: its number.
pub(crate) fn repeat(db: &Connection, destination: Option<u32>, of: &Delivery) -> Result<bool, Fault> {
    const READ: &str = "SELECT dest, tries, due, expires, changed, state, line, lane FROM deliveries WHERE seq = ?1";
    let (columns, line, lane): (_, Option<i64>, Option<i64>) =
        db.prepare_cached(READ)?.query_row([of.id.sequence()], |row| {
            let columns = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
            Ok((columns, row.get(6)?, row.get(7)?))
        })?;
    if lane.is_some() {
        return Err(Fault::Later(format!("{}: it stands in a lane, which is not known here", of.id).into()));
    }
    if let Some(line) = line.filter(|line| !line::is_known(*line)) {
        return Err(Fault::Later(format!("{}: it stands in line {line}, which is not known here", of.id).into()));
    }
    let (due, expires, changed) = (of.due_at.as_micros(), of.expires_at.as_micros(), of.changed_at.as_micros());
    let stands = line.is_none() || line == line_of(of) && of.state == State::Ready;
    Ok(stands && columns == (destination.unwrap_or(0), of.tries, due, expires, changed, code_of(of)))
}

/// Writes them as the record has it. It stands in no line then: the indexes of the backlog hold anything.
pub(crate) fn write(db: &Connection, book: &Book, of: &Delivery) -> Result<(), Fault> {
    // A record that was decoded names a destination that has a number.
    let Some(destination) = book.number(Kind::Destination, &of.destination) else { return Ok(()) };
    db.prepare_cached(WRITE)?.execute(params![
        of.id.sequence(),
        destination,
        code_of(of),
        of.tries,
        of.due_at.as_micros(),
        of.expires_at.as_micros(),
        of.changed_at.as_micros()
    ])?;
    Ok(())
}
