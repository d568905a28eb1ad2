//! Sentences on a terminal: broken between words, so that nothing is cut in its middle, and a command that somebody is to
//! type stays in one piece.

use anstream::adapter::strip_str;

use super::style;

/// What a command begins with, in a sentence.
const PROGRAM: &str = "crm-relay ";

/// As it is where nobody looks; else in lines that fit the terminal that errors go to.
pub(crate) fn beside(text: &str) -> String {
    if style::is_attended() { lines(text, style::screen_beside()) } else { text.to_owned() }
}

/// As it is in a pipe; else in lines that fit the terminal that results go to.
pub(crate) fn results(text: &str) -> String {
    if style::is_terminal() { lines(text, style::screen()) } else { text.to_owned() }
}

/// A command to be copied: on a terminal that it is too long for, in lines that a shell takes as one.
pub(crate) fn offered(margin: &str, text: &str) -> String {
    let room = if style::is_terminal() { style::screen().saturating_sub(margin.len()) } else { usize::MAX };
    continued(text, room).iter().map(|line| format!("{margin}{}", style::copy(line))).collect::<Vec<_>>().join("\n")
}

/// Lines of at most `room` places, each but the last with a backslash at its end. An option stays with its value.
fn continued(text: &str, room: usize) -> Vec<String> {
    const INDENT: &str = "    ";
    if places(text) <= room {
        return vec![text.to_owned()];
    }
    let mut lines = vec![String::new()];
    for part in text.split_inclusive(' ').fold(Vec::<String>::new(), together) {
        let part = part.trim_end();
        let line = lines.last_mut().filter(|line| places(line) + 1 + places(part) + 2 <= room || line.is_empty());
        match line {
            Some(line) if line.is_empty() => line.push_str(part),
            Some(line) => {
                line.push(' ');
                line.push_str(part);
            }
            None => lines.push(format!("{INDENT}{part}")),
        }
    }
    let last = lines.len() - 1;
    lines[..last].iter_mut().for_each(|line| line.push_str(" \\"));
    lines
}

/// Words, an option's value being part of its word.
fn together(mut parts: Vec<String>, word: &str) -> Vec<String> {
    match parts.last_mut() {
        Some(part) if part.starts_with("--") && !part.trim_end().contains(' ') && !word.starts_with("--") => {
            part.push_str(word);
        }
        _ => parts.push(word.to_owned()),
    }
    parts
}

/// Each line in lines of at most `width` places, which begin below its first word.
pub(crate) fn lines(text: &str, width: usize) -> String {
    text.split('\n').map(|line| line_in(line, width)).collect::<Vec<_>>().join("\n")
}

fn line_in(line: &str, width: usize) -> String {
    let margin = line.len() - line.trim_start_matches(' ').len();
    // What is there to be copied is broken by the terminal alone, which knows that it is one line.
    if places(line) <= width || line[margin..].starts_with(style::COPY) {
        return line.to_owned();
    }
    let room = width.saturating_sub(margin);
    let mut broken = String::new();
    let mut used = 0;
    for piece in pieces(line.trim_start_matches(' '), room) {
        let wants = places(piece);
        if used == 0 {
            broken.push_str(&line[..margin]);
        } else if used + 1 + wants <= room {
            broken.push(' ');
            used += 1;
        } else {
            broken.push('\n');
            broken.push_str(&line[..margin]);
            used = 0;
        }
        broken.push_str(piece);
        used += wants;
    }
    broken
}

/// Words; a command that fits into a line is one piece.
fn pieces(line: &str, room: usize) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let word = rest.find(' ').unwrap_or(rest.len());
        let length = command(rest).filter(|length| *length > word && places(&rest[..*length]) <= room).unwrap_or(word);
        found.push(&rest[..length]);
        rest = rest[length..].trim_start_matches(' ');
    }
    found
}

/// Length of the command that a text begins with; what stands before it in its word belongs to it.
fn command(text: &str) -> Option<usize> {
    let word = text.find(' ')?;
    let begin = text[..=word].find(PROGRAM)?;
    let rest = &text[begin..];
    let ends = [". ", "; ", ", ", ") ", ": ", " or ", " and "];
    let end = ends.iter().filter_map(|end| rest.find(end).map(|at| at + end.find(' ').unwrap_or(0))).min();
    Some(begin + end.unwrap_or(rest.len()))
}

/// Places on the screen; colours take none.
fn places(text: &str) -> usize {
    strip_str(text).to_string().chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_broken_between_words_and_commands_are_not() {
        assert_eq!(lines("one two three", 7), "one two\nthree");
        assert_eq!(lines("  one two three", 9), "  one two\n  three");
        assert_eq!(lines("immeasurable", 5), "immeasurable");
        let text = "no such thing. Make one: crm-relay source create shop; or look: crm-relay source list";
        assert_eq!(
            lines(text, 50),
            "no such thing. Make one:\ncrm-relay source create shop; or look:\ncrm-relay source list"
        );
        assert_eq!(lines("wrong (crm-relay token list) here", 30), "wrong (crm-relay token list)\nhere");
        let long = format!("go: crm-relay client --url {}", "x".repeat(60));
        assert!(
            lines(&long, 40).starts_with("go: crm-relay client --url\nxxx"),
            "a longer one is broken like any text"
        );
    }

    #[test]
    fn a_long_command_goes_on_in_the_next_line() {
        let text = "crm-relay invite NAME --provider meta --set app_secret=@FILE --set verify_token=@FILE";
        assert_eq!(
            continued(text, 80),
            ["crm-relay invite NAME --provider meta --set app_secret=@FILE \\", "    --set verify_token=@FILE"]
        );
        assert_eq!(continued(text, 100), [text]);
        let lines = continued("crm-relay client --url https://relay.example.com --token @token", 30);
        assert_eq!(lines, ["crm-relay client \\", "    --url https://relay.example.com \\", "    --token @token"]);
    }

    #[test]
    fn colours_take_no_room_and_short_lines_stay_as_they_are() {
        let text = format!("{}  two   blanks", style::bad("red"));
        assert_eq!(lines(&text, 17), text);
        let copied = format!("  {}", style::copy("crm-relay client --url https://relay.example.com"));
        assert_eq!(lines(&copied, 17), copied);
    }
}
