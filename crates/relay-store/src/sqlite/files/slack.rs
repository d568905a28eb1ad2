//! Slack: bytes of the database that belong to nothing. Free pages, what is between the cells of a page, and the rest of the last page of a long
//! value keep what stood there: SQLite leaves a copy of what it moves from page to page. A sweep fills all of it with zeros.
//!
//! **Invariant:** nothing that SQLite reads is written: of a page that is not quite what it should be nothing is touched.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::schema::PAGE_BYTES;

const PAGE: usize = PAGE_BYTES as usize;
/// Pages that a step looks at, or some more where a value is long.
const PAGES_A_STEP: u32 = 1_024;
/// What is in use while a sweep goes on may take over slack from a page that it has yet to come to: so it goes round twice.
const ROUNDS: u8 = 2;
/// From so many pages on (128 GiB) a page of a long value may look like one of a tree.
pub(crate) const PAGES_MAX: u32 = 2 << 24;
/// The page that SQLite never uses, since other systems lock bytes of it.
const LOCKED_AT: u32 = (0x4000_0000 / PAGE_BYTES) as u32 + 1;
/// Where the first page says how much of each is kept free.
const RESERVED_AT: usize = 20;
/// What begins a page of a tree.
const INDEX: u8 = 2;
const TABLE: u8 = 5;
const INDEX_LEAF: u8 = 10;
const TABLE_LEAF: u8 = 13;

/// How far a sweep is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sweep {
    /// The next page.
    next: u32,
    round: u8,
}

impl Sweep {
    /// One that has not begun. The first page has the schema alone.
    pub(crate) const BEGIN: Self = Self { next: 2, round: 1 };

    /// Sweeps some pages inside a transaction; gives how far it is then, `None`: through.
    ///
    /// # Errors
    /// Those of SQLite.
    pub(crate) fn step(self, db: &Connection) -> rusqlite::Result<Option<Self>> {
        let count: u32 = db.pragma_query_value(None, "page_count", |row| row.get(0))?;
        if count >= PAGES_MAX {
            return Ok(None);
        }
        let mut pages = Pages { db, count, looked: 0 };
        let free = pages.free()?;
        let (mut next, begun) = (self.next, pages.looked);
        let count = pages.count;
        while next <= count && pages.looked - begun < PAGES_A_STEP {
            pages.sweep(next, free.get(&next).copied())?;
            next += 1;
        }
        Ok(match (next <= count, self.round < ROUNDS) {
            (true, _) => Some(Self { next, ..self }),
            (false, true) => Some(Self { round: self.round + 1, ..Self::BEGIN }),
            (false, false) => None,
        })
    }
}

/// The pages of a database.
struct Pages<'a> {
    db: &'a Connection,
    count: u32,
    looked: u32,
}

impl Pages<'_> {
    fn read(&mut self, page: u32) -> rusqlite::Result<Option<Vec<u8>>> {
        self.looked += 1;
        let mut statement = self.db.prepare_cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
        let bytes: Option<Vec<u8>> = statement.query_row([page], |row| row.get(0)).optional()?;
        Ok(bytes.filter(|bytes| bytes.len() == PAGE))
    }

    /// Writes a page if zeros made another one of it.
    fn put(&self, page: u32, before: &[u8], swept: &[u8]) -> rusqlite::Result<()> {
        if before != swept {
            let mut statement = self.db.prepare_cached("UPDATE sqlite_dbpage SET data = ?2 WHERE pgno = ?1")?;
            statement.execute(params![page, swept])?;
        }
        Ok(())
    }

    /// The free pages, and how many bytes of each say which others are free.
    fn free(&mut self) -> rusqlite::Result<BTreeMap<u32, usize>> {
        let mut free = BTreeMap::new();
        let Some(first) = self.read(1)? else { return Ok(free) };
        if first[RESERVED_AT] != 0 {
            // Somebody else's pages are shorter.
            self.count = 0;
        }
        let mut trunk = u32_at(&first, 32);
        while (2..=self.count).contains(&trunk) && !free.contains_key(&trunk) {
            let Some(bytes) = self.read(trunk)? else { break };
            let leaves = u32_at(&bytes, 4) as usize;
            let used = 8 + 4 * leaves;
            if used > PAGE {
                break;
            }
            free.extend((0..leaves).map(|at| (u32_at(&bytes, 8 + 4 * at), 0)));
            free.insert(trunk, used);
            trunk = u32_at(&bytes, 0);
        }
        Ok(free)
    }

    fn sweep(&mut self, page: u32, free: Option<usize>) -> rusqlite::Result<()> {
        if page == LOCKED_AT {
            return Ok(());
        }
        let Some(before) = self.read(page)? else { return Ok(()) };
        let mut swept = before.clone();
        if let Some(used) = free {
            swept[used..].fill(0);
        } else {
            let Some(tails) = between_cells(&mut swept) else { return Ok(()) };
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
