//! How many of each thing a message holds, counted in its bytes before anything is decoded: a few bytes can say "one more",
//! and each costs the decoder a structure of fifty. Decoded first and counted then, a message would take fifty times its size.

use crate::limits;

/// Fields that repeat: of which message, which field, how often at most, and what it is called.
const REPEATED: [(u64, u64, usize, &str); 8] = [
    (1, 3, limits::SESSION_DESTINATIONS_MAX, "hello.destinations"),
    (1, 5, limits::HELD_MAX, "hello.held"),
    (2, 3, limits::SESSION_DESTINATIONS_MAX, "welcome.destinations"),
    (2, 4, limits::HELD_MAX, "welcome.resumed"),
    (3, 10, limits::HEADERS_MAX, "grant.headers"),
    (5, 1, limits::LEASES_PER_MESSAGE, "extend.held"),
    (7, 1, limits::LEASES_PER_MESSAGE, "settled.leases"),
    (8, 1, limits::LEASES_PER_MESSAGE, "release.leases"),
];

/// Fields of later versions that change what the others say: of which message, which field, and what it is called. Whoever skips
/// one would do something else than was asked for.
const RESERVED: [(u64, u64, &str); 4] =
    [(3, 17, "grant.answer_wanted"), (3, 18, "grant.answer_before"), (3, 20, "grant.sealed"), (6, 7, "report.reply")];

/// What is wrong with a frame before it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// More than so many of this field.
    TooMany(&'static str, usize),
    /// A field that only a later version understands.
    Reserved(&'static str),
    /// A group.
    Group,
}

/// Counts what repeats in the bytes of a frame. Where they end within a field or are no protobuf the count ends as well, for
/// so does the decoder.
///
/// # Errors
/// What there is too much of; or groups, which this protocol never had and which could hide what is behind them.
pub(super) fn check(frame: &[u8]) -> Result<(), Flaw> {
    // Over the whole frame: fields of one message that come twice are merged.
    let mut left = REPEATED.map(|(_, _, most, _)| most);
    let mut rest = frame;
    while let Some(field) = next(&mut rest)? {
        let mut inside = field.bytes;
        let is_looked_into = REPEATED.iter().any(|(message, ..)| *message == field.number)
            || RESERVED.iter().any(|(message, ..)| *message == field.number);
        while is_looked_into && let Some(found) = next(&mut inside)? {
            let is =
                |(message, number, ..): &(u64, u64, usize, &str)| (*message, *number) == (field.number, found.number);
            let reserved =
                RESERVED.iter().find(|(message, number, _)| (*message, *number) == (field.number, found.number));
            if let Some((.., name)) = reserved {
                return Err(Flaw::Reserved(name));
            }
            let Some(at) = REPEATED.iter().position(is) else { continue };
            let (_, _, most, name) = REPEATED[at];
            left[at] = left[at].checked_sub(1).ok_or(Flaw::TooMany(name, most))?;
        }
    }
    Ok(())
}

/// One field. Its bytes, if it has a length.
struct Field<'a> {
    number: u64,
    bytes: &'a [u8],
}

/// The next field; `None` at the end, and where it cannot be told where the next one begins.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<Field<'a>>, Flaw> {
    let Some(key) = varint(rest) else { return Ok(None) };
    let taken = match key & 7 {
        0 => varint(rest).map(|_| &[][..]),
        1 => take(rest, 8).map(|_| &[][..]),
        2 => varint(rest).and_then(|length| take(rest, usize::try_from(length).ok()?)),
        3 | 4 => return Err(Flaw::Group),
        5 => take(rest, 4).map(|_| &[][..]),
        _ => None,
    };
    Ok(taken.map(|bytes| Field { number: key >> 3, bytes }))
}

/// A number of one to ten bytes. What of it is beyond 64 bits the decoder refuses.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for (at, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            *rest = &rest[at + 1..];
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(taken)
}
