//! What the parser says of a command line that makes no sense: what is wrong, what was meant, and where to look it up.
//!
//! The parser's own "Usage:" names whatever options it had read by then, and misleads.

use clap::{
    CommandFactory as _,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    cli::Cli,
    exit::{Exit, Failure, Outcome},
};

/// Words that other programs have for what is called otherwise here, and what to type.
const ELSEWHERE: &[(&str, &str)] = &[
    ("backup", "crm-relay store backup DIR"),
    ("check", "crm-relay config check or crm-relay store check"),
    ("completion", "crm-relay completions SHELL"),
    ("export", "crm-relay event list --all --json"),
    ("follow", "crm-relay event tail"),
    ("forward", "crm-relay dev --to 3000"),
    ("init", "crm-relay config print"),
    ("list", "crm-relay event list"),
    ("listen", "crm-relay dev --to 3000"),
    ("log", "crm-relay event list or crm-relay audit-log"),
    ("logs", "crm-relay event list or crm-relay audit-log"),
    ("purge", "crm-relay dead purge"),
    ("redrive", "crm-relay dead redrive"),
    ("replay", "crm-relay event replay ID"),
    ("resend", "crm-relay event replay ID"),
    ("restore", "crm-relay store restore DIR"),
    ("retry", "crm-relay dead redrive"),
    ("run", "crm-relay dev"),
    ("serve", "crm-relay server"),
    ("start", "crm-relay dev or crm-relay server"),
    ("tail", "crm-relay event tail"),
    ("top", "crm-relay status --watch"),
    ("trigger", "crm-relay send --provider NAME"),
    ("version", "crm-relay --version"),
    ("webhook", "crm-relay event list"),
    ("webhooks", "crm-relay event list"),
];

/// Help is printed; anything else is a failure of ours, in its words. `args`: the whole command line.
///
/// # Errors
/// It is not help that was asked for.
pub(crate) fn told(error: &clap::Error, args: &[String]) -> Outcome {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // A reader that has gone has read enough.
        let _closed = error.print();
        return Ok(if error.use_stderr() { Exit::Usage } else { Exit::Done });
    }
    let text = error.to_string();
    let words = ["\n\nUsage:", "\n\nFor more information"].iter().filter_map(|end| text.find(end)).min();
    let words = text[..words.unwrap_or(text.len())].trim_start_matches("error: ").trim_end();
    let elsewhere = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(word)) => ELSEWHERE.iter().find(|(known, _)| known == word),
        _ => None,
    };
    let (words, meant) = match elsewhere {
        Some((_, here)) => (words.lines().next().unwrap_or_default().to_owned(), format!("\nHere it is: {here}")),
        None => (words.to_owned(), String::new()),
    };
    Err(Failure::usage(format!("{words}{meant}\nLook it up: {} -h", command(args))))
}

/// As much of a command line as names a command: `crm-relay dead redrive`.
fn command(args: &[String]) -> String {
    let mut command = Cli::command();
    let mut named = command.get_name().to_owned();
    for word in args.iter().skip(1) {
        let Some(found) = command.find_subcommand(word).cloned() else { continue };
        named = format!("{named} {}", found.get_name());
        command = found;
    }
    named
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn words_for(line: &str) -> String {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        told(&Cli::try_parse_from(&args).unwrap_err(), &args).unwrap_err().text
    }

    #[test]
    fn a_command_line_that_makes_no_sense_is_told_where_to_look() {
        assert_eq!(
            words_for("crm-relay dead list --foo"),
            "unexpected argument '--foo' found\nLook it up: crm-relay dead list -h"
        );
        assert_eq!(
            words_for("crm-relay events --json show"),
            "the following required arguments were not provided:\n  <ID>\nLook it up: crm-relay event show -h"
        );
        assert_eq!(
            words_for("crm-relay listen 3000"),
            "unrecognized subcommand 'listen'\nHere it is: crm-relay dev --to 3000\nLook it up: crm-relay -h"
        );
        for (line, here) in
            [("crm-relay tail", "crm-relay event tail"), ("crm-relay events follow", "crm-relay event tail")]
        {
            assert!(words_for(line).contains(&format!("\nHere it is: {here}\n")), "{line}");
        }
        assert!(words_for("crm-relay dead redriev").contains("'redrive'"));
        assert!(words_for("crm-relay send --count x").contains("want a whole number, 1 or more"));
        assert!(words_for("crm-relay send --count 0").contains("want a whole number, 1 or more"));
    }

    /// What it is called here is a command that there is.
    #[test]
    fn words_of_other_programs_lead_to_commands() {
        for (word, here) in ELSEWHERE {
            assert!(Cli::command().find_subcommand(word).is_none(), "{word} is one of ours");
            for line in here.split(" or ").flat_map(|part| part.split(" and ")) {
                let line = line.replace("SHELL", "bash");
                let args: Vec<&str> = line.trim().split(' ').collect();
                let refused = Cli::try_parse_from(&args).err();
                assert!(refused.is_none_or(|error| !error.use_stderr()), "{line}");
            }
        }
    }
}
