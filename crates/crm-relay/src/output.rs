//! What commands print: results to standard output, all else to standard error. Lines and colours are ours; nothing else in
//! it steers the terminal.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use serde::Serialize;
use serde_json::Value;

use crate::{
    exit::Failure,
    printer::{self, Stream},
    render::{
        style,
        visible::{safe, safe_json},
        wrap,
    },
};

/// Prints a result. Lines and colours are ours; nothing else in it steers the terminal.
///
/// # Errors
/// Standard output is gone.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{}", safe(text))?;
    Ok(out.flush()?)
}

/// Prints sentences: on a terminal they are broken between words.
///
/// # Errors
/// Standard output is gone.
pub(crate) fn tell(text: &str) -> Result<(), Failure> {
    print(&wrap::results(text))
}

/// Shows people something that nothing depends on: a process that runs on does so whether or not anybody reads it.
pub(crate) fn show(text: &str) {
    beside(Stream::Out, text);
}

/// Says something beside the result.
pub(crate) fn say(text: &str) {
    beside(Stream::Err, &wrap::beside(text));
}

fn beside(stream: Stream, text: &str) {
    let line = format!("{}\n", safe(text));
    // Nobody reads any more: that is no reason to end.
    let _gone = match (printer::running(), stream) {
        (Some(printer), _) => {
            let choice = match stream {
                Stream::Out => AutoStream::choice(&io::stdout()),
                Stream::Err => AutoStream::choice(&io::stderr()),
            };
            let line = if choice == ColorChoice::Never { strip_str(&line).to_string() } else { line };
            printer.print(stream, line.as_bytes());
            Ok(())
        }
        (None, Stream::Out) => write(&mut anstream::stdout().lock(), &line),
        (None, Stream::Err) => write(&mut anstream::stderr().lock(), &line),
    };
}

/// In one piece, so that lines at the same time do not mix.
fn write(to: &mut impl Write, line: &str) -> io::Result<()> {
    to.write_all(line.as_bytes())?;
    to.flush()
}

/// Says why a command did not do what was asked.
pub(crate) fn failed(text: &str) {
    say(&format!("{}{}", style::error("crm-relay: "), shortened(text)));
}

/// Without the rest of words that nobody reads: an error names what was typed, of which it may be any number of characters.
pub(crate) fn shortened(text: &str) -> String {
    const WORD_MAX: usize = 300;
    const SHOWN: usize = 80;
    let one = |word: &str| match word.char_indices().nth(WORD_MAX) {
        Some(_) => format!("{}... ", word.chars().take(SHOWN).collect::<String>()),
        None => word.to_owned(),
    };
    text.split_inclusive([' ', '\n']).map(one).collect()
}

/// JSON for people and scripts alike.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    safe_json(&serde_json::to_string_pretty(value).expect("what is told has string keys, strings and numbers only"))
}

/// The same on one line.
pub(crate) fn compact(value: &Value) -> String {
    safe_json(&value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_no_longer_than_what_is_wrong() {
        let long = "x".repeat(5_000);
        let text = format!("no event evt_{long}: it never was\nLook it up: {}", "y".repeat(300));
        let shown = shortened(&text);
        assert_eq!(shown, format!("no event evt_{}... it never was\nLook it up: {}", "x".repeat(76), "y".repeat(300)));
    }
}
