//! The keys that a store is sealed with, as it opens: whether those that were given fit, and the newest one put down before
//! anything is sealed with it.

use relay_core::time::Wall;
use rusqlite::Connection;

use crate::{
    cipher::{self, Ciphers, Unfit},
    seam::{Document, DocumentKey, DocumentKind},
    sqlite::{
        fault::Fault,
        files::{
            damage::Damage,
            meta::Meta,
            open::{OpenError, StoreDir},
        },
        read::{book::Book, documents},
        write::{put, transaction::Transaction},
    },
};

/// Refuses a store that is sealed with other keys than these.
pub(crate) fn fit(place: &StoreDir, db: &Connection, ciphers: &Ciphers) -> Result<(), OpenError> {
    judge(place, db, ciphers).map(drop)
}

/// Puts the newest key down, if it is not; gives the store's own record as it is then.
pub(crate) fn register(place: &StoreDir, db: &Connection, book: &mut Book, meta: Meta) -> Result<Meta, OpenError> {
    let Some((key, body)) = judge(place, db, &book.ciphers.clone())? else { return Ok(meta) };
    let meta = write(db, book, meta, &key, &body).map_err(|error| place.damaged(error))?;
    tracing::info!(event = "store_key", number = key.name, "what is written from now on is sealed with it");
    Ok(meta)
}

/// The numbers of the keys that a store is sealed with.
pub(crate) fn numbers(db: &Connection) -> Result<Vec<u32>, Fault> {
    let mut numbers: Vec<u32> = registered(db)?.iter().filter_map(|one| one.key.name.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn judge(place: &StoreDir, db: &Connection, ciphers: &Ciphers) -> Result<Option<(DocumentKey, String)>, OpenError> {
    let refused = |why| OpenError::Sealed { dir: place.dir.clone(), why };
    // A store of which that much does not read is refused, or mended, by who asks it for more.
    let (Ok(registered), Ok(Some(meta))) = (registered(db), Meta::load(db)) else { return Ok(None) };
    if meta.is_sealed && registered.is_empty() {
        return Err(refused(Unfit::Unreadable));
    }
    cipher::judge(ciphers, &registered).map_err(refused)
}

fn registered(db: &Connection) -> Result<Vec<Document>, Fault> {
    let of_keys = documents::keys(db)?.into_iter().filter(|key| key.kind == DocumentKind::Cipher);
    of_keys.filter_map(|key| documents::stored(db, &key).transpose()).collect()
}

fn write(db: &Connection, book: &mut Book, mut meta: Meta, key: &DocumentKey, body: &str) -> Result<Meta, Fault> {
    db.execute_batch("BEGIN IMMEDIATE")?;
    let damage = Damage::default();
    let mut tx = Transaction::new(db, book, &damage, Wall::MIN);
    put::document(&mut tx, key, 0, Some(body), &[])?;
    let written = tx.finish()?;
    meta.is_sealed = true;
    meta.advance(&written.crcs, meta.id_high, written.latest);
    meta.write(db)?;
    db.execute_batch("COMMIT")?;
    Ok(meta)
}
