//! Slack: bytes of the database that belong to nothing. Free pages, what is between the cells of a page, and the rest of the last page of a long
//! value keep what stood there: SQLite leaves a copy of what it moves from page to page. A sweep fills all of it with zeros.
//!
//! **Invariant:** nothing that SQLite reads is written: of a page that is not quite what it should be nothing is touched.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::schema::PAGE_BYTES;

const PAGE: usize = PAGE_BYTES as usize;
/// Pages that a step looks at, or some more where a value is long; of the list of free pages as many as one page of it names, or twice.
const PAGES_A_STEP: u32 = 1_024;
/// What is in use while a sweep goes on may take over slack from a page that it has yet to come to: so it goes round until there was nothing to
/// do. Where others write all the while there always is.
const ROUNDS: u8 = 4;
/// From so many pages on (128 GiB) a page of a long value may look like one of a tree.
pub(crate) const PAGES_MAX: u32 = 2 << 24;
/// So many pages that do not read are passed over.
const UNREAD_MAX: usize = 64;
/// The page that SQLite never uses, since other systems lock bytes of it.
const LOCKED_AT: u32 = (0x4000_0000 / PAGE_BYTES) as u32 + 1;
/// Where the first page says how much of each is kept free.
const RESERVED_AT: usize = 20;
/// What begins a page of a tree.
const INDEX: u8 = 2;
const TABLE: u8 = 5;
const INDEX_LEAF: u8 = 10;
const TABLE_LEAF: u8 = 13;

/// How far a sweep is. While it goes on what is freed has to be overwritten (`secure_delete`), so that the free pages are swept but once.
#[derive(Clone, Debug)]
pub(crate) struct Sweep {
    part: SweepPart,
    round: u8,
    /// There was something to sweep in this round.
    has_changed: bool,
    /// Pages of the list of free ones that were met.
    trunks: u32,
    /// What did not read, and is left as it is.
    unread: BTreeSet<u32>,
    /// The page that is being read.
    reading: Option<u32>,
}

#[derive(Clone, Debug)]
enum SweepPart {
    /// Free pages, behind these pages of their list.
    Free(Option<Trunk>),
    /// Pages of trees, of which this one is the next. No free page looks like one by then.
    Trees(u32),
}

/// A page of the list of free pages, as it read. SQLite takes the list from its head and writes anew whatever it takes: as long as this
/// one reads the same it is in the list, with all behind it.
#[derive(Clone, Debug)]
struct Trunk {
    page: u32,
    bytes: Vec<u8>,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swept {
    Further,
    Through,
    /// It cannot be done, and why.
    Not(&'static str),
}

impl Sweep {
    /// One that has not begun. The first page has the schema alone.
    pub(crate) const BEGIN: Self = Self {
        part: SweepPart::Free(None),
        round: 1,
        has_changed: false,
        trunks: 0,
        unread: BTreeSet::new(),
        reading: None,
    };

    /// More was erased meanwhile: there is at least one more round. What it freed was overwritten.
    pub(crate) const fn goes_round_again(&mut self) {
        (self.round, self.has_changed) = (1, true);
    }

    /// What a step that failed was reading is passed over from now on; `false`: it was reading nothing, or too much does not read.
    pub(crate) fn passes_over(&mut self, failed: &Self) -> bool {
        self.unread.len() < UNREAD_MAX && failed.reading.is_some_and(|page| self.unread.insert(page))
    }

    /// Pages that were passed over.
    pub(crate) const fn unread(&self) -> &BTreeSet<u32> {
        &self.unread
    }

    /// Sweeps some pages inside a transaction. If that is not committed, what it was before goes on.
    ///
    /// # Errors
    /// Those of SQLite.
    pub(crate) fn step(&mut self, db: &Connection) -> rusqlite::Result<Swept> {
        let count: u32 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
        if count >= PAGES_MAX {
            return Ok(Swept::Not("it has more than 128 GiB"));
        }
        let mut pages = Pages { db, count, looked: 0, sweep: self };
        match pages.sweep.part.clone() {
            SweepPart::Free(trunk) => pages.free(trunk),
            SweepPart::Trees(next) => pages.trees(next),
        }
    }
}

/// The pages of a database.
struct Pages<'a> {
    db: &'a Connection,
    count: u32,
    looked: u32,
    sweep: &'a mut Sweep,
}

impl Pages<'_> {
    /// `None`: it is not there, or is passed over.
    fn read(&mut self, page: u32) -> rusqlite::Result<Option<Vec<u8>>> {
        self.looked += 1;
        if page == LOCKED_AT || page > self.count || self.sweep.unread.contains(&page) {
            return Ok(None);
        }
        self.sweep.reading = Some(page);
        let mut statement = self.db.prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
        let bytes: Option<Vec<u8>> = statement.query_row([page], |row| row.get(0)).optional()?;
        self.sweep.reading = None;
        Ok(bytes.filter(|bytes| bytes.len() == PAGE))
    }

    /// Writes a page if zeros made another one of it.
    fn put(&mut self, page: u32, before: &[u8], swept: &[u8]) -> rusqlite::Result<()> {
        if before != swept {
            self.sweep.has_changed = true;
            let mut statement = self.db.prepare_cached("UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1")?;
            statement.execute(params![page, swept])?;
        }
        Ok(())
    }

    /// Sweeps free pages, from this page of their list on, or where that has been taken from it meanwhile from its head.
    fn free(&mut self, from: Option<Trunk>) -> rusqlite::Result<Swept> {
        const NOT_A_LIST: Swept = Swept::Not("its list of free pages does not read");
        let Some(first) = self.read(1)? else { return Ok(Swept::Not("its first page does not read")) };
        if first[RESERVED_AT] != 0 {
            return Ok(Swept::Not("somebody else keeps a part of its pages"));
        }
        let mut next = u32_at(&first, 32);
        if let Some(from) = from
            && self.read(from.page)?.is_some_and(|bytes| bytes == from.bytes)
        {
            next = from.page;
        }
        while next != 0 {
            let Some(before) = self.read(next)?.filter(|_| next > 1) else { return Ok(NOT_A_LIST) };
            let (behind, leaves) = (u32_at(&before, 0), u32_at(&before, 4) as usize);
            let used = 8 + 4 * leaves;
            self.sweep.trunks += 1;
            if used > PAGE || self.sweep.trunks / 2 > self.count {
                return Ok(NOT_A_LIST);
            }
            // The last one goes along: the last page of a long value, which has its end alone overwritten, might come to read like it.
            if self.looked > PAGES_A_STEP && behind != 0 {
                self.sweep.part = SweepPart::Free(Some(Trunk { page: next, bytes: before }));
                return Ok(Swept::Further);
            }
            let mut swept = before.clone();
            swept[used..].fill(0);
            self.put(next, &before, &swept)?;
            for leaf in (0..leaves).map(|at| u32_at(&before, 8 + 4 * at)).filter(|leaf| *leaf > 1) {
                if let Some(bytes) = self.read(leaf)? {
                    self.put(leaf, &bytes, &[0; PAGE])?;
                }
            }
            next = behind;
        }
        self.sweep.part = SweepPart::Trees(2);
        Ok(Swept::Further)
    }

    /// Sweeps pages of trees, from this one on.
    fn trees(&mut self, mut next: u32) -> rusqlite::Result<Swept> {
        while next <= self.count && self.looked < PAGES_A_STEP {
            self.tree(next)?;
            next += 1;
        }
        if next <= self.count {
            self.sweep.part = SweepPart::Trees(next);
            return Ok(Swept::Further);
        }
        if !std::mem::take(&mut self.sweep.has_changed) || self.sweep.round >= ROUNDS {
            return Ok(Swept::Through);
        }
        self.sweep.round += 1;
        self.sweep.part = SweepPart::Trees(2);
        Ok(Swept::Further)
    }

    fn tree(&mut self, page: u32) -> rusqlite::Result<()> {
        let Some(before) = self.read(page)? else { return Ok(()) };
        let mut swept = before.clone();
        let Some(tails) = between_cells(&mut swept) else { return Ok(()) };
        // A free page that was passed over may be taken for one of a tree, and what it says of others is long gone.
        if self.sweep.unread.is_empty() {
            for tail in tails {
                self.end_of(tail)?;
            }
        }
        self.put(page, &before, &swept)
    }

    /// Sweeps the rest of the last page of a long value.
    fn end_of(&mut self, Tail { first, pages, used }: Tail) -> rusqlite::Result<()> {
        if pages > self.count as usize {
            return Ok(());
        }
        let mut page = first;
        for left in (0..pages).rev() {
            if !(2..=self.count).contains(&page) {
                return Ok(());
            }
            let Some(before) = self.read(page)? else { return Ok(()) };
            let next = u32_at(&before, 0);
            if left == 0 && next == 0 {
                let mut swept = before.clone();
                swept[4 + used..].fill(0);
                self.put(page, &before, &swept)?;
            }
            page = next;
        }
        Ok(())
    }
}

/// Where a value that is longer than its cell goes on.
struct Tail {
    first: u32,
    pages: usize,
    /// Bytes of it on the last of them.
    used: usize,
}

/// Fills with zeros what belongs to no cell of a page of a tree; gives where its values go on. `None`, and nothing is
/// done: it is no such page.
fn between_cells(page: &mut [u8]) -> Option<Vec<Tail>> {
    let kind = page[0];
    let header = match kind {
        INDEX | TABLE => 12,
        INDEX_LEAF | TABLE_LEAF => 8,
        _ => return None,
    };
    let (cells, content) = (u16_at(page, 3), u16_at(page, 5));
    let pointers_end = header + 2 * cells;
    if !(pointers_end..=PAGE).contains(&content) {
        return None;
    }
    let mut tails = Vec::new();
    for number in 0..cells {
        let at = u16_at(page, header + 2 * number);
        if !(content..PAGE).contains(&at) {
            return None;
        }
        if let Cell::Elsewhere(tail) = cell(kind, page, at)? {
            tails.push(tail);
        }
    }
    let holes = free_blocks(page, content)?;
    page[pointers_end..content].fill(0);
    for (from, to) in holes {
        page[from..to].fill(0);
    }
    Some(tails)
}

/// What of the free blocks between cells is not their own heads; `None`: they are not what they should be.
fn free_blocks(page: &[u8], content: usize) -> Option<Vec<(usize, usize)>> {
    let (mut holes, mut at, mut behind) = (Vec::new(), u16_at(page, 1), content);
    while at != 0 {
        if at < behind || at + 4 > PAGE {
            return None;
        }
        let end = at + u16_at(page, at + 2);
        if end < at + 4 || end > PAGE {
            return None;
        }
        holes.push((at + 4, end));
        (at, behind) = (u16_at(page, at), end);
    }
    Some(holes)
}

/// A cell of a page, by where its value ends.
enum Cell {
    Here,
    Elsewhere(Tail),
}

/// Reads one; `None`: it is none.
fn cell(kind: u8, page: &[u8], at: usize) -> Option<Cell> {
    let mut at = match kind {
        TABLE => return Some(Cell::Here),
        INDEX => at + 4,
        _ => at,
    };
    let length = usize::try_from(varint(page, &mut at)?).ok()?;
    if kind == TABLE_LEAF {
        varint(page, &mut at)?;
    }
    let most = if kind == TABLE_LEAF { PAGE - 35 } else { (PAGE - 12) * 64 / 255 - 23 };
    let least = (PAGE - 12) * 32 / 255 - 23;
    if length <= most {
        return (at + length <= PAGE).then_some(Cell::Here);
    }
    let here = least + (length - least) % (PAGE - 4);
    let here = if here <= most { here } else { least };
    let first = page.get(at + here..at + here + 4).map(|bytes| u32_at(bytes, 0))?;
    let rest = length - here;
    let pages = rest.div_ceil(PAGE - 4);
    Some(Cell::Elsewhere(Tail { first, pages, used: rest - (pages - 1) * (PAGE - 4) }))
}

/// SQLite's: seven bits a byte, the last of nine has eight.
fn varint(page: &[u8], at: &mut usize) -> Option<u64> {
    let mut number = 0_u64;
    for place in 0..9 {
        let byte = *page.get(*at)?;
        *at += 1;
        if place == 8 {
            return Some((number << 8) | u64::from(byte));
        }
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number)
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Connection {
        let db = Connection::open_in_memory().expect("opens");
        let made = "PRAGMA page_size = 4096; CREATE TABLE gone (word); CREATE TABLE kept (word); INSERT INTO kept VALUES ('first')";
        db.execute_batch(made).expect("makes");
        fill(&db, "gone", "canary", 4_000);
        db.execute_batch("PRAGMA secure_delete = 0; DELETE FROM gone; PRAGMA secure_delete = 1").expect("deletes");
        db
    }

    /// Rows of some three pages each.
    fn fill(db: &Connection, table: &str, word: &str, pages: usize) {
        for _ in 0..pages / 3 {
            db.execute(&format!("INSERT INTO {table} VALUES (?1)"), [word.repeat(12_000 / word.len())])
                .expect("inserts");
        }
    }

    /// How many pages have it.
    fn with_canary(db: &Connection) -> u32 {
        let count = "SELECT count(*) FROM sqlite_dbpage WHERE instr(data, CAST('canarycanary' AS BLOB))";
        db.query_row(count, [], |row| row.get(0)).expect("counts")
    }

    /// S32: of many free pages a step looks at some, and what takes pages of their list between two of them, or adds to it, loses nothing and leaves
    /// nothing out.
    #[test]
    fn a_list_of_free_pages_is_swept_piece_by_piece_while_it_changes() {
        for taken in [0, 3, 1_500] {
            let db = open();
            let (mut sweep, mut left, mut steps) = (Sweep::BEGIN, with_canary(&db), 0);
            assert!(left > 3_900, "{left}");
            while sweep.step(&db).expect("reads") == Swept::Further {
                let now = with_canary(&db);
                assert!(left - now <= 2 * PAGES_A_STEP + 2, "{} pages in one step", left - now);
                // Others write faster than it sweeps, for a while.
                if steps < 4 {
                    fill(&db, "kept", "live", taken);
                    db.execute_batch("DELETE FROM kept WHERE rowid % 7 = 3").expect("deletes");
                }
                left = with_canary(&db);
                steps += 1;
                assert!(steps < 100, "it ends");
            }
            assert_eq!(with_canary(&db), 0, "{taken}");
            let whole: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("reads");
            let spoilt = "SELECT count(*) FROM kept WHERE word NOT IN ('first', ?1)";
            let spoilt: u32 = db.query_row(spoilt, ["live".repeat(3_000)], |row| row.get(0)).expect("reads");
            assert_eq!((whole.as_str(), spoilt), ("ok", 0), "{taken}");
        }
    }

    /// One page that does not read is left, and the others are swept.
    #[test]
    fn a_page_that_does_not_read_is_passed_over() {
        let db = open();
        let named = "SELECT pgno FROM sqlite_dbpage WHERE instr(data, CAST('canarycanary' AS BLOB)) AND substr(data, 1, 1) = x'00' LIMIT 1 OFFSET 9";
        let page = db.query_row(named, [], |row| row.get(0)).expect("there are some");
        let mut sweep = Sweep::BEGIN;
        let failed = Sweep { reading: Some(page), ..Sweep::BEGIN };
        assert_eq!(
            (sweep.passes_over(&failed), sweep.passes_over(&failed), sweep.passes_over(&Sweep::BEGIN)),
            (true, false, false)
        );
        while sweep.step(&db).expect("reads") == Swept::Further {}
        assert_eq!((with_canary(&db), sweep.unread().first()), (1, Some(&page)));
    }

    /// I18: whatever stands on a page, nothing of it is read beyond its end; of one that is not whole nothing is swept, and of one that is
    /// nothing but slack.
    #[test]
    fn a_page_that_is_none_is_left() {
        let mut state = 1_u64;
        let mut byte = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        for number in 0..4_000 {
            let kind = [INDEX, TABLE, INDEX_LEAF, TABLE_LEAF][number % 4];
            let mut page: Vec<u8> = (0..PAGE).map(|_| byte()).collect();
            (page[0], page[3], page[5]) = (kind, 0, page[5] % 16);
            let before = page.clone();
            if between_cells(&mut page).is_none() {
                assert_eq!(page, before, "page {number}");
            }
        }

        let mut page = vec![7; PAGE];
        let cell = PAGE - 5;
        // One cell: a value of three bytes, in row 1; in front of it a free block of ten.
        page[..10].copy_from_slice(&[TABLE_LEAF, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
        page[1..3].copy_from_slice(&(cell as u16 - 10).to_be_bytes());
        page[5..7].copy_from_slice(&(cell as u16 - 10).to_be_bytes());
        page[8..10].copy_from_slice(&(cell as u16).to_be_bytes());
        page[cell..].copy_from_slice(&[3, 1, 42, 43, 44]);
        page[cell - 10..cell - 6].copy_from_slice(&[0, 0, 0, 10]);
        let head = page[..10].to_vec();
        assert_eq!(between_cells(&mut page).map(|tails| tails.len()), Some(0));
        assert_eq!((&page[..10], &page[cell..]), (&head[..], &[3, 1, 42, 43, 44][..]));
        assert!(page[10..cell - 10].iter().chain(&page[cell - 6..cell]).all(|byte| *byte == 0));
        assert_eq!(page[cell - 10..cell - 6], [0, 0, 0, 10]);
    }
}
