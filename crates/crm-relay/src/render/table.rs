//! Tables: aligned with headings on a terminal, tab-separated elsewhere, so that `cut` and `awk` can take them apart.

use anstream::adapter::strip_str;

use super::style;

/// Blanks between two columns.
const GAP: &str = "  ";

/// Places of a whole id that are shown where there is little room: `evt_` or `dlv_`, the millisecond and its counter, which
/// no other id of a store has.
const ID_PLACES: usize = 22;
/// A column is not made narrower than this.
const NARROWEST: usize = 8;

/// Lays out rows under headings. On a terminal they fit it, as far as they can: ids are shown by their beginning, which
/// names them as well, then what is longest is cut.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    if style::is_terminal() {
        aligned(headings, &fitted(headings, rows, style::screen()))
    } else {
        plain(headings, rows)
    }
}

/// The lines of a table that is as wide as this at most, as far as it can be.
pub(crate) fn within(headings: &[&str], rows: &[Vec<String>], columns: usize) -> Vec<String> {
    aligned(headings, &fitted(headings, rows, columns)).lines().map(str::to_owned).collect()
}

/// The same with every cell whole.
pub(crate) fn wide(headings: &[&str], rows: &[Vec<String>]) -> String {
    if style::is_terminal() { aligned(headings, rows) } else { plain(headings, rows) }
}

/// Rows whose lines take at most `room` places.
fn fitted(headings: &[&str], rows: &[Vec<String>], room: usize) -> Vec<Vec<String>> {
    let mut rows = rows.to_vec();
    let total = |rows: &[Vec<String>]| {
        let places = (0..headings.len()).map(|column| widest(headings, rows, column) + GAP.len());
        places.sum::<usize>().saturating_sub(GAP.len())
    };
    if total(&rows) > room {
        for cell in rows.iter_mut().flatten().filter(|cell| is_id(cell)) {
            *cell = cell.chars().take(ID_PLACES).collect();
        }
    }
    loop {
        let over = total(&rows).saturating_sub(room);
        let widest_first = (0..headings.len())
            .filter(|column| !rows.iter().filter_map(|row| row.get(*column)).any(|cell| is_short_id(cell)))
            .map(|column| (widest(headings, &rows, column), column))
            .max();
        let Some((places, column)) = widest_first.filter(|_| over > 0) else { return rows };
        let floor = headings[column].len().max(NARROWEST);
        if places <= floor {
            return rows;
        }
        // Down to the next widest at most, so that two long columns share what is missing.
        let next =
            (0..headings.len()).filter(|other| *other != column).map(|other| widest(headings, &rows, other)).max();
        let wanted = places.saturating_sub(over).max(next.unwrap_or(0).min(places - 1)).max(floor);
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            *cell = cut(cell, wanted);
        }
    }
}

fn is_id(cell: &str) -> bool {
    cell.len() == 40 && is_short_id(cell)
}

fn is_short_id(cell: &str) -> bool {
    (cell.starts_with("evt_") || cell.starts_with("dlv_")) && cell.len() >= ID_PLACES
}

/// A cell of at most `places`, its end left out; codes of colours take no place and stay.
pub(crate) fn cut(cell: &str, places: usize) -> String {
    if width(cell) <= places {
        return cell.to_owned();
    }
    let (mut out, mut left, mut rest) = (String::new(), places.saturating_sub(1), cell);
    while let Some(character) = rest.chars().next() {
        let code = rest.starts_with('\u{1b}').then(|| rest.find('m').map(|at| at + 1)).flatten();
        let length = code.unwrap_or(character.len_utf8());
        if code.is_some() {
            out.push_str(&rest[..length]);
        } else if left > 0 {
            out.push(character);
            left -= 1;
            if left == 0 {
                out.push('…');
            }
        }
        rest = &rest[length..];
    }
    out
}

/// As [`table`]; on a terminal its last column is wrapped, so that long sentences stay below their heading, and those
/// before it leave it room.
pub(crate) fn wrapped(headings: &[&str], rows: &[Vec<String>]) -> String {
    if style::is_terminal() {
        aligned(headings, &folded(headings, rows, style::columns()))
    } else {
        plain(headings, rows)
    }
}

/// Rows whose last cell goes on in further rows below it.
fn folded(headings: &[&str], rows: &[Vec<String>], room: usize) -> Vec<Vec<String>> {
    /// What a sentence needs to be read.
    const SENTENCE: usize = 28;
    let last = headings.len().saturating_sub(1);
    let wanted = widest(headings, rows, last).min(SENTENCE) + GAP.len();
    let first: Vec<Vec<String>> = rows.iter().map(|row| row[..last.min(row.len())].to_vec()).collect();
    let first = fitted(&headings[..last], &first, room.saturating_sub(wanted));
    let before: usize = (0..last).map(|column| widest(headings, &first, column) + GAP.len()).sum();
    let mut lines: Vec<Vec<String>> = Vec::new();
    for (row, first) in rows.iter().zip(first) {
        let text = row.last().map_or("", String::as_str);
        for (index, part) in broken(text, room.saturating_sub(before)).into_iter().enumerate() {
            let cells = first.iter().map(|cell| if index == 0 { cell.clone() } else { String::new() });
            lines.push(cells.chain([part]).collect());
        }
    }
    lines
}

/// As [`fields`], for sentences: each is broken into lines on a terminal.
pub(crate) fn remarks(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let room = if style::is_terminal() { style::columns().saturating_sub(width + GAP.len()) } else { usize::MAX };
    let margin = format!("\n{}{GAP}", " ".repeat(width));
    let one = |(name, text): &(&str, String)| {
        format!("{}{GAP}{}", style::dim(format!("{name:width$}")), broken(text, room).join(&margin))
    };
    pairs.iter().map(one).collect::<Vec<_>>().join("\n")
}

/// Lines of at most `width` places; a longer word stays whole. At least one line.
pub(crate) fn broken(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line =
            lines.last_mut().filter(|line| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

fn widest(headings: &[&str], rows: &[Vec<String>], column: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell));
    cells.chain(headings.get(column).map(|heading| heading.len())).max().unwrap_or(0)
}

fn aligned(headings: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = headings.iter().map(|heading| heading.to_uppercase()).collect();
    let lines: Vec<&[String]> = std::iter::once(head.as_slice()).chain(rows.iter().map(Vec::as_slice)).collect();
    let widths: Vec<usize> = (0..head.len()).map(|column| widest(headings, rows, column)).collect();
    let text: Vec<String> = lines.iter().map(|line| padded(line, &widths)).collect();
    text.join("\n")
}

fn padded(cells: &[String], widths: &[usize]) -> String {
    let pad = |(cell, wanted): (&String, &usize)| format!("{cell}{}", " ".repeat(wanted.saturating_sub(width(cell))));
    let cells: Vec<String> = cells.iter().zip(widths).map(pad).collect();
    cells.join(GAP).trim_end().to_owned()
}

/// Places on the screen; the codes of a colour take none.
fn width(cell: &str) -> usize {
    strip_str(cell).to_string().chars().count()
}

fn plain(headings: &[&str], rows: &[Vec<String>]) -> String {
    let lines = std::iter::once(headings.join("\t")).chain(rows.iter().map(|row| row.join("\t")));
    lines.collect::<Vec<_>>().join("\n")
}

/// Pairs one below the other, the names in one column.
pub(crate) fn fields(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}  {value}", style::dim(format!("{name:width$}")))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_coloured_cell_takes_no_more_room_than_its_text() {
        let rows = [
            vec!["crm".to_owned(), style::good("up"), "7".to_owned()],
            vec!["erp".into(), "no client".into(), "0".into()],
        ];
        let text = strip_str(&aligned(&["name", "status", "waiting"], &rows)).to_string();
        assert_eq!(text, "NAME  STATUS     WAITING\ncrm   up         7\nerp   no client  0");
    }

    #[test]
    fn a_list_fits_its_terminal() {
        let id = "evt_0192f3c2-7d4e-7a31-8f5e-2b1c9d0e4f6a";
        let rows = [vec![id.to_owned(), style::bad("a long error that nobody reads to its end"), "7".to_owned()]];
        let lines = |room| {
            strip_str(&aligned(&["id", "last try", "n"], &fitted(&["id", "last try", "n"], &rows, room))).to_string()
        };
        assert!(lines(200).contains(id));
        let text = lines(50);
        assert_eq!(text.lines().last(), Some("evt_0192f3c2-7d4e-7a31  a long error that nobo…  7"));
        assert!(text.lines().all(|line| line.chars().count() <= 50), "{text}");
        assert!(cut(&rows[0][1], 8).ends_with("\u{1b}[39m"), "the colour ends: {:?}", cut(&rows[0][1], 8));
    }

    #[test]
    fn a_sentence_in_the_last_column_has_room() {
        let id = "dlv_0192f3c2-7d4e-7a31-8f5e-2b1c9d0e4f6a";
        let row = |name: &str| {
            vec!["17".to_owned(), name.to_owned(), id.to_owned(), "no such customer in the north".to_owned()]
        };
        let headings = ["count", "destination", "example", "last try"];
        let rows = [row(&"crm-".repeat(15)), row("crm")];
        let text = aligned(&headings, &folded(&headings, &rows, 80));
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(
            text.contains("…  dlv_0192f3c2-7d4e-7a31  no such customer in the") && text.contains("\n    "),
            "{text}"
        );
    }

    #[test]
    fn a_long_text_is_broken_between_words() {
        assert_eq!(broken("one two three", 7), ["one two", "three"]);
        assert_eq!(broken("immeasurable", 7), ["immeasurable"]);
        assert_eq!(broken("", 7), [""]);
    }

    #[test]
    fn plain_tables_are_separated_by_tabs() {
        assert_eq!(plain(&["a", "b"], &[vec!["1".to_owned(), "2".to_owned()]]), "a\tb\n1\t2");
    }
}
