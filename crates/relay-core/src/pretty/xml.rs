//! XML with each element and each text on a line; one that holds nothing but a short text stays together.

use super::lines::{Sheet, Weight};
use crate::limits::LAID_TOGETHER_BYTES_MAX;

pub(super) fn lay_out<'a>(text: &'a str, sheet: &mut Sheet<'a, '_>) {
    let mut rest = text;
    while !rest.is_empty() && !sheet.is_enough() {
        let (part, behind) = rest.split_at(end_of_part(rest));
        rest = behind;
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        if part.starts_with("</") {
            sheet.shallower();
        }
        let is_start = is_start(part);
        if is_start && let Some((words, end, behind)) = together(part, rest) {
            rest = behind;
            [part, words, end].into_iter().filter(|part| !part.is_empty()).for_each(|part| push(sheet, part));
            sheet.next();
            continue;
        }
        for line in part.lines().map(|line| line.trim_matches(['\r', ' ', '\t'])) {
            push(sheet, line);
            sheet.next();
        }
        if is_start {
            sheet.deeper();
        }
    }
}

/// Where the tag, the comment or the text at the beginning ends.
fn end_of_part(rest: &str) -> usize {
    let end = if rest.starts_with("<!--") {
        rest.find("-->").map(|at| at + 3)
    } else if rest.starts_with("<![CDATA[") {
        rest.find("]]>").map(|at| at + 3)
    } else if rest.starts_with('<') {
        rest.find('>').map(|at| at + 1)
    } else {
        rest.find('<')
    };
    end.unwrap_or(rest.len())
}

/// Tags of less weight than what they hold.
fn push<'a>(sheet: &mut Sheet<'a, '_>, part: &'a str) {
    let weight = if part.starts_with('<') { Weight::Mark } else { Weight::Plain };
    if !part.is_empty() {
        sheet.push(weight, part);
    }
}

/// `<a ...>` that is not ended at once.
fn is_start(part: &str) -> bool {
    part.starts_with('<')
        && !part.starts_with("</")
        && !part.starts_with("<!")
        && !part.starts_with("<?")
        && !part.ends_with("/>")
}

/// The short text that an element holds and its end, if that is all; and what stands behind it.
fn together<'a>(start: &str, rest: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let text_end = rest.find('<')?;
    let (words, behind) = rest.split_at(text_end);
    let (end, behind) = behind.split_at(behind.find('>')? + 1);
    let is_short = start.len() + words.trim().len() + end.len() <= LAID_TOGETHER_BYTES_MAX;
    (end.starts_with("</") && is_short && !words.contains('\n')).then(|| (words.trim(), end, behind))
}
