//! Values that make no sense, in the place of every value of every command: none is taken for something else, and what is
//! said about it names it, fits a screen and leads on.

use clap::{Arg, Command};
use crm_relay::cli::Cli;

use crate::{place::Place, refusals::LEADS_ON};

/// Commands that serve until they are stopped, and options that only say where a server is.
const SERVES: &[&str] = &["dev", "server", "client", "receive"];
const WHERE: &[&str] = &["config", "data_dir", "admin_url", "admin_token", "json", "wide", "help"];
/// No error is longer: what was typed is cut in it.
const ERROR_BYTES_MAX: usize = 800;

#[test]
fn odd_values_are_refused_in_every_place() {
    let place = Place::new();
    let _server = place.server();
    let long = "x".repeat(5_000);
    let id = format!("evt_{}", "a".repeat(5_000));
    let delivery = id.replace("evt_", "dlv_");
    let mut parser = Cli::parser();
    parser.build();
    let mut lines = Vec::new();
    walk(&parser, &mut Vec::new(), &mut |command, words| {
        for odd in ["", " ", "\u{1b}[2Jx", &long, &id, &delivery] {
            lines.extend(with_odd(command, words, odd));
        }
    });
    assert!(lines.len() > 500, "{} lines", lines.len());
    let mut faults = Vec::new();
    for line in &lines {
        let args: Vec<&str> = line.iter().map(String::as_str).collect();
        let output = place.cli(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let short: Vec<String> =
            args.iter().map(|arg| format!("{:?}", arg.chars().take(30).collect::<String>())).collect();
        let mut fault = |what: &str| {
            let said: String = said.chars().take(300).collect();
            faults.push(format!("{}: {what} ({:?}): {said}", short.join(" "), output.status.code()));
        };
        let code = output.status.code();
        let is_refused = matches!(code, Some(1 | 2 | 69 | 78));
        if code != Some(0) && !is_refused {
            fault("it ended badly");
        } else if is_refused && said.len() > ERROR_BYTES_MAX {
            fault("the error is too long");
        } else if is_refused && said.contains("nothing is here") {
            fault("it led elsewhere");
        } else if is_refused && !leads_on(&said) {
            fault("the error leads nowhere");
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), lines.len(), faults.join("\n"));
}

/// A number that is none is told what would be one, in one way.
#[test]
fn odd_numbers_are_told_what_would_be_right() {
    let place = Place::new();
    let mut parser = Cli::parser();
    parser.build();
    let mut count = 0;
    walk(&parser, &mut Vec::new(), &mut |command, words| {
        let is_number = |arg: &&Arg| {
            let names: Vec<&str> =
                arg.get_value_names().into_iter().flatten().map(clap::builder::Str::as_str).collect();
            matches!(names.as_slice(), ["N" | "R" | "FACTOR"])
        };
        for arg in command.get_arguments().filter(|arg| arg.get_long().is_some()).filter(is_number) {
            for odd in ["", " ", "-1", "1e-320", "1e308", "NaN", "99999999999999999999", "many"] {
                let mut line: Vec<String> = words.to_vec();
                line.extend(needed(command, arg, "default"));
                line.push(format!("--{}={odd}", arg.get_long().unwrap()));
                let args: Vec<&str> = line.iter().map(String::as_str).collect();
                let output = place.cli(&args);
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                // Settings are judged with all others, and say so at the start.
                let is_told = said.contains("want ") || output.status.code() == Some(78);
                assert!(is_told && matches!(output.status.code(), Some(2 | 78)), "{line:?}: {output:?}");
                count += 1;
            }
        }
    });
    assert!(count > 60, "{count}");
}

fn leads_on(said: &str) -> bool {
    LEADS_ON.iter().any(|word| said.contains(word)) || said.contains("possible values") || said.contains("want")
}

/// Every command that does something, with the words that name it.
fn walk(command: &Command, words: &mut Vec<String>, on_leaf: &mut impl FnMut(&Command, &[String])) {
    let children: Vec<&Command> = command.get_subcommands().filter(|child| child.get_name() != "help").collect();
    if children.is_empty() && !SERVES.contains(&command.get_name()) {
        on_leaf(command, words);
    }
    for child in children {
        words.push(child.get_name().to_owned());
        walk(child, words, on_leaf);
        words.pop();
    }
}

/// Command lines with the odd value in each place, one at a time.
fn with_odd(command: &Command, words: &[String], odd: &str) -> Vec<Vec<String>> {
    let takes = |arg: &&Arg| arg.get_action().takes_values() && !WHERE.contains(&arg.get_id().as_str());
    let line = |arg: &Arg| {
        let mut line = words.to_vec();
        if let Some(long) = arg.get_long() {
            line.extend(needed(command, arg, "default"));
            line.push(format!("--{long}={odd}"));
            return line;
        }
        // In its place among the others.
        let is_tried = |other: &Arg| other.get_id() == arg.get_id();
        let given = command.get_positionals().filter(|other| other.is_required_set() || is_tried(other));
        line.extend(given.map(|other| if is_tried(other) { odd.to_owned() } else { "default".to_owned() }));
        line
    };
    command.get_arguments().filter(takes).map(line).collect()
}

/// What a command wants beside the value that is tried.
fn needed(command: &Command, tried: &Arg, value: &str) -> Vec<String> {
    let wanted = command.get_positionals().filter(|arg| arg.is_required_set() && arg.get_id() != tried.get_id());
    wanted.map(|_| value.to_owned()).collect()
}
