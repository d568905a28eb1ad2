//! Tables: aligned with headings on a terminal, tab-separated elsewhere, so that `cut` and `awk` can take them apart.

use comfy_table::{ContentArrangement, Table, TableStyle};

use super::style;

/// Lays out rows under headings.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    if style::is_terminal() { pretty(headings, rows) } else { plain(headings, rows) }
}

fn pretty(headings: &[&str], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    let text: Vec<String> = table.lines().map(|line| line.trim_end().trim_start_matches(' ').to_owned()).collect();
    text.join("\n")
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
