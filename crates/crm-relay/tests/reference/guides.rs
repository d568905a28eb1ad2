//! The guides, held against the table of providers; and the commands in every document, held against the command line.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::{Parser as _, error::ErrorKind};
use crm_relay::cli::Cli;
use relay_providers::{Provider, provider};

use super::providers::set_options;

/// Providers with a guide, and its name in `docs/guides/`.
const GUIDES: &[(&str, &str)] = &[
    ("github", "github"),
    ("hubspot", "hubspot"),
    ("meta", "meta-whatsapp"),
    ("pipedrive", "pipedrive"),
    ("salesforce", "salesforce"),
    ("shopify", "shopify"),
    ("slack", "slack"),
    ("stripe", "stripe"),
    ("twilio", "twilio"),
    ("zendesk", "zendesk"),
];

/// The guide for a provider.
pub(super) fn of(provider: &str) -> Option<&'static str> {
    GUIDES.iter().find(|(name, _)| *name == provider).map(|(_, guide)| *guide)
}

#[test]
fn every_guide_is_listed_and_every_listed_guide_is_there() {
    let listed: BTreeSet<String> = GUIDES.iter().map(|(_, guide)| format!("{guide}.md")).collect();
    let entries = fs::read_dir(root().join("docs/guides")).into_iter().flatten();
    let found: BTreeSet<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(found, listed);
}

#[test]
fn a_guide_makes_a_source_that_lacks_nothing_and_names_what_its_provider_needs() {
    let mut wrong = Vec::new();
    for (name, guide) in GUIDES {
        let text = fs::read_to_string(root().join(format!("docs/guides/{guide}.md"))).unwrap();
        let provider = provider(name).expect("a guide is for a provider of the table");
        wrong.extend(lacking(provider, &text).into_iter().map(|what| format!("docs/guides/{guide}.md: {what}")));
    }
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

#[test]
fn every_command_in_a_document_is_understood() {
    let mut wrong = Vec::new();
    let mut understood = 0;
    for path in documents() {
        for command in commands(&fs::read_to_string(&path).unwrap()) {
            match Cli::try_parse_from(&command) {
                Ok(_) => understood += 1,
                // --help and --version are understood too.
                Err(error) if error.exit_code() == 0 => understood += 1,
                Err(error) => {
                    let shown = path.strip_prefix(root()).unwrap_or(&path).display();
                    let said = error.to_string();
                    wrong.push(format!("{shown}: {}: {}", command.join(" "), said.lines().next().unwrap_or_default()));
                }
            }
        }
    }
    assert!(understood > 100, "the documents no longer have their commands in `sh` blocks: {understood} were found");
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

/// Commands in the middle of a sentence: the words of one may be left out there, but those that stand there are right.
#[test]
fn every_command_in_a_sentence_is_one() {
    let (mut wrong, mut understood) = (Vec::new(), 0);
    for path in documents() {
        for line in sentences(&fs::read_to_string(&path).unwrap()) {
            let words = simple_commands(&line).swap_remove(0);
            let is_left_out = |word: &&String| word.as_str() == "...";
            let values = words.iter().filter(|word| !is_left_out(word));
            let error = Cli::try_parse_from(values).err();
            let is_wrong = |error: &clap::Error| {
                matches!(
                    error.kind(),
                    ErrorKind::UnknownArgument | ErrorKind::InvalidSubcommand | ErrorKind::InvalidValue
                )
            };
            understood += 1;
            if let Some(error) = error.filter(is_wrong) {
                let shown = path.strip_prefix(root()).unwrap_or(&path).display();
                wrong.push(format!("{shown}: {line}: {}", error.to_string().lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(understood > 60, "sentences no longer have commands in them: {understood} were found");
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

/// The code of the program in sentences and tables: what stands between two backticks and begins with its name.
fn sentences(text: &str) -> Vec<String> {
    let mut is_block = false;
    let outside = text.lines().filter(|line| {
        is_block ^= line.starts_with("```");
        !is_block && !line.starts_with("```")
    });
    let joined = outside.collect::<Vec<_>>().join("\n");
    let spans = joined.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "));
    spans.filter(|span| span.starts_with("crm-relay ")).collect()
}

/// What of the provider's entry is not in its guide.
fn lacking(provider: &Provider, text: &str) -> Vec<String> {
    let required = provider.parameters.iter().filter(|parameter| parameter.required).map(|parameter| parameter.name);
    let mut wanted: Vec<String> = required.map(|name| format!("`{name}`")).collect();
    wanted.push(format!("/webhook/{}", provider.name));
    wanted.push(format!("../reference/providers/{}.md", provider.name));
    wanted.push(provider.docs.to_owned());
    if provider.signs_url {
        wanted.push("PUBLIC_URL".to_owned());
    }
    let mut lacking: Vec<String> =
        wanted.into_iter().filter(|what| !text.contains(what)).map(|what| format!("does not name {what}")).collect();
    let commands: Vec<String> = commands(text).into_iter().map(|command| command.join(" ")).collect();
    // The name of the source may go on behind the provider's.
    let making = format!("crm-relay source create {}", provider.name);
    let is_making = |line: &&String| {
        line.starts_with(&making)
            && line.contains(&format!(" --provider {}", provider.name))
            && provider.usual().iter().all(|parameter| line.contains(&format!(" --set {}=", parameter.name)))
    };
    if commands.iter().find(is_making).is_none() {
        lacking.push(format!("has no `{making}` with{}", set_options(&provider.usual())));
    }
    let starts = [
        format!("crm-relay send --provider {}", provider.name),
        format!("crm-relay source show {}", provider.name),
        format!("crm-relay source update {}", provider.name),
        format!("crm-relay event list --source {}", provider.name),
    ];
    lacking.extend(
        starts
            .into_iter()
            .filter(|start| !commands.iter().any(|line| line.starts_with(start)))
            .map(|start| format!("has no `{start}`")),
    );
    lacking
}

/// Commands of the program in the `sh` blocks of a document, word by word.
fn commands(text: &str) -> Vec<Vec<String>> {
    let blocks = text.split("\n```sh\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let lines = blocks.flat_map(|block| {
        let joined = block.replace("\\\n", " ");
        joined.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    lines.flat_map(|line| simple_commands(&line)).filter_map(|words| program(&words)).collect()
}

/// The words of each command of a line, up to its comment. Enough of a shell for what documents hold: quotes, pipes.
fn simple_commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '|' | ';' | '&' | '>' | '<' | '(' | ')') => {
                all.last_mut().expect("never empty").extend(word.take());
                if letter != ' ' {
                    all.push(Vec::new());
                }
            }
            (Some(_) | None, _) => word.get_or_insert_default().push(letter),
        }
    }
    all.last_mut().expect("never empty").extend(word);
    all
}

/// The words from the program's name on, if it is a command of ours.
fn program(words: &[String]) -> Option<Vec<String>> {
    let is_before =
        |word: &&String| word.as_str() == "sudo" || word.split_once('=').is_some_and(|(name, _)| is_variable(name));
    // The files of secrets are the reader's: what they hold stands here instead.
    let value = |word: &String| if word.starts_with('@') { "crt_0123456789abcdef".to_owned() } else { word.clone() };
    let rest: Vec<String> = words.iter().skip_while(is_before).map(value).collect();
    (rest.first()? == "crm-relay").then_some(rest)
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

fn documents() -> Vec<PathBuf> {
    let mut folders = vec![root().join("docs")];
    let mut found: Vec<PathBuf> =
        ["README.md", "QUICKSTART.md", "CONTRIBUTING.md"].map(|name| root().join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
