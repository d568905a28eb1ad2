//! Tables: aligned with headings on a terminal, tab-separated elsewhere, so that `cut` and `awk` can take them apart.

use anstream::adapter::strip_str;

use super::style;

/// Blanks between two columns.
const GAP: &str = "  ";

/// Lays out rows under headings.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    if style::is_terminal() { aligned(headings, rows) } else { plain(headings, rows) }
}

/// As [`table`]; on a terminal its last column is wrapped, so that long sentences stay below their heading.
pub(crate) fn wrapped(headings: &[&str], rows: &[Vec<String>]) -> String {
    if !style::is_terminal() {
        return plain(headings, rows);
    }
    let last = headings.len().saturating_sub(1);
    let before: usize = (0..last).map(|column| widest(headings, rows, column) + GAP.len()).sum();
    let mut lines: Vec<Vec<String>> = Vec::new();
    for row in rows {
        let (text, first) = row.split_last().map_or(("", row.as_slice()), |(text, first)| (text.as_str(), first));
        for (index, part) in broken(text, style::columns().saturating_sub(before)).into_iter().enumerate() {
            let cells = first.iter().map(|cell| if index == 0 { cell.clone() } else { String::new() });
            lines.push(cells.chain([part]).collect());
        }
    }
    aligned(headings, &lines)
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
fn broken(text: &str, width: usize) -> Vec<String> {
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
