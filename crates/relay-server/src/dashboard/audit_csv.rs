//! The audit log as a table for other programs: RFC 4180, of what the page's filter matches.
//!
//! **Invariant:** a spreadsheet reckons nothing that a stranger wrote: what it would take for a formula begins with an apostrophe there.

use std::sync::Arc;

use axum::{
    extract::Query,
    response::{IntoResponse as _, Response},
};
use http::header;
use relay_core::time::Wall;
use relay_store::seam::{AuditEntry, Page};

use super::{
    audit::{Asked, filter_of, line, seam_of},
    frame::Looking,
};
use crate::{admin::problem::AdminError, clock::rfc3339};

/// Lines of a file: the newest of them.
const LINES_MAX: usize = 10_000;
/// Lines that are read at a time.
const READ: u32 = 1_000;
/// Reads for a file: one that a rare filter leaves short looks through no more.
const READS_MAX: usize = 20;

pub(super) async fn show(looking: Looking, Query(asked): Query<Asked>) -> Response {
    match table(&looking, asked).await {
        Ok(text) => {
            let fields = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"audit.csv\""),
            ];
            (fields, text).into_response()
        }
        Err(error) => looking.answer(Err(error)),
    }
}

async fn table(looking: &Looking, asked: Asked) -> Result<String, AdminError> {
    // However many ask, few are put together.
    let place = Arc::clone(&looking.state.downloads).try_acquire_owned();
    let _place = place.map_err(|_| AdminError::Busy("as many files are on their way as there may be".into()))?;
    let filter = filter_of(asked);
    let (mut text, mut lines, mut cursor) = (row(&["at", "who", "says", "action", "subject", "from"]), 0, None);
    for _ in 0..READS_MAX {
        let asked = seam_of(&filter, looking.page.now);
        let listing = looking.state.archive.browse_audit(asked, Page { cursor, limit: READ }).await?;
        for entry in listing.items.iter().take(LINES_MAX - lines) {
            lines += 1;
            text.push_str(&of(entry, looking));
        }
        cursor = listing.next;
        if cursor.is_none() || lines >= LINES_MAX {
            break;
        }
    }
    if cursor.is_some() {
        let left_out = "older lines are not in this file: narrow it by who, action or time";
        text.push_str(&row(&["", "", "", "", left_out, ""]));
    }
    Ok(text)
}

fn of(entry: &AuditEntry, looking: &Looking) -> String {
    let line = line(entry, looking.site());
    let at: Wall = line.at;
    let (says, from) = (line.claimed.unwrap_or_default(), line.origin.unwrap_or_default());
    row(&[&rfc3339(at), &line.who, &says, &line.action, &line.subject, &from])
}

fn row(fields: &[&str]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| quoted(field)).collect();
    format!("{}\r\n", fields.join(","))
}

fn quoted(field: &str) -> String {
    let is_reckoned = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = field.replace('"', "\"\"");
    format!("\"{}{text}\"", if is_reckoned { "'" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_field_and_no_spreadsheet_reckons_it() {
        assert_eq!(row(&["a,b", "c\"d\ne", ""]), "\"a,b\",\"c\"\"d\ne\",\"\"\r\n");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert!(quoted(formula).starts_with("\"'"), "{formula:?}");
        }
        assert_eq!(quoted("user:alice"), "\"user:alice\"");
    }
}
