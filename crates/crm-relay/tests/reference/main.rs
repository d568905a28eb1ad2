//! The reference pages, generated from the table of settings and the command line. `BLESS=1` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot read or write a page has failed")]

mod guides;
mod providers;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::Command;
use crm_relay::{
    cli::Cli,
    config::{
        kind::Kind,
        settings::{Process, Role, SETTINGS},
    },
    quantity,
};
use relay_server::AdminCode;

#[test]
fn the_reference_page_of_settings_is_true() {
    holds("settings.md", &settings());
}

#[test]
fn the_reference_page_of_the_command_line_is_true() {
    holds("cli.md", &command_line());
}

#[test]
fn the_document_of_the_admin_api_is_true() {
    holds("openapi.json", &relay_server::openapi());
}

/// Whoever writes a program against the API finds every code there, and none that there is not.
#[test]
fn the_page_of_the_admin_api_lists_every_code() {
    let page = fs::read_to_string(folder().join("admin-api.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit());
    let cells = rows.filter_map(|row| row.split(" | ").nth(1)).flat_map(|cell| cell.split(", "));
    let listed: BTreeSet<&str> = cells.map(|code| code.trim_matches('`')).collect();
    let codes: BTreeSet<&str> = AdminCode::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(listed, codes, "docs/reference/admin-api.md");
}

/// Compares a page with what it should be, or writes it.
fn holds(name: &str, wanted: &str) {
    let path = folder().join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, wanted).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "docs/reference/{name} is out of date: BLESS=1 cargo test -p crm-relay --test reference");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference")
}

fn settings() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Generated from `crates/crm-relay/src/config/settings.rs`.\n\n\
         The flag `--x-y`, the variable `X_Y` and the key `x_y` of the configuration file are the same setting; flags beat the\n\
         environment, the environment beats the file. The file is `--config FILE`, `CRM_RELAY_CONFIG`, or `./crm-relay.toml`.\n\
         An empty value counts as not set. `X_FILE` reads the value of `X` from a file. Durations are written `250ms`, `30s`,\n\
         `5 min`, `1h30m` or `7d`, a bare number is seconds unless said otherwise; sizes are written `64KiB`, `25MiB` or `1GiB`\n\
         (`MB` counts as `MiB`), a bare number is bytes. Secret flags also take `@FILE`, and `-` for standard input. White space\n\
         and quotes around a value are left out; `~/` at the beginning of a path is the home directory, variables in it are not\n\
         expanded. `crm-relay config check` names every fault at once, `crm-relay config print` shows where each value comes from.\n\n\
         | setting | process | default | values | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let mut default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
        if setting.default_in(Process::Dev) != setting.default {
            default = format!("{default} (dev: `{}`)", setting.default_in(Process::Dev));
        }
        let process = match setting.name {
            "RELAY_TOKEN" => "both",
            _ => role(setting.role),
        };
        let values = describe(setting.kind).replace('|', "\\|");
        writeln!(page, "| `{}` | {process} | {default} | {values} | {} |", setting.name, setting.meaning).unwrap();
    }
    page
}

fn command_line() -> String {
    let mut page = String::from(
        "# Command line\n\n\
         Generated from the program. Nouns are singular, plurals work too. Results go to stdout, everything else to stderr.\n\n\
         | exit code | meaning |\n| --- | --- |\n\
         | 0 | done |\n| 1 | the answer is no |\n| 2 | usage |\n| 69 | unreachable; port or data directory in use |\n\
         | 74 | store failed |\n| 75 | stopped over its grace |\n| 76 | store or protocol of a newer version |\n\
         | 77 | token refused |\n| 78 | configuration |\n",
    );
    let mut command = Cli::parser();
    command.build();
    describe_command(&mut page, &mut command, "");
    page
}

fn describe_command(page: &mut String, command: &mut Command, above: &str) {
    let name = format!("{above}{}", command.get_name());
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    writeln!(page, "\n## {name}\n\n```text\n{}\n```", help.join("\n").trim_end()).unwrap();
    for child in command.get_subcommands_mut().filter(|child| child.get_name() != "help") {
        describe_command(page, child, &format!("{name} "));
    }
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Client => "client",
        Role::Both => "both",
        Role::Command => "commands",
    }
}

/// Values that a setting takes.
fn describe(kind: Kind) -> String {
    match kind {
        Kind::Text => "text".to_owned(),
        Kind::Secret => "16 to 256 printable ASCII characters, no spaces".to_owned(),
        Kind::Foreign => "text, never shown".to_owned(),
        Kind::Dir => "path".to_owned(),
        Kind::Certificates | Kind::PrivateKey => "path of a PEM file".to_owned(),
        Kind::EncryptionKeys => "path of a file with numbered keys".to_owned(),
        Kind::Host => "IP address".to_owned(),
        Kind::Port => "port, 0 to 65535".to_owned(),
        Kind::Listen => "address:port, port or off".to_owned(),
        Kind::Url | Kind::Proxy | Kind::Redis => "URL".to_owned(),
        Kind::AddressMap => "ADDRESS=ADDRESS,...".to_owned(),
        Kind::Targets => "[NAME=]URL,...".to_owned(),
        Kind::Origins => "origins".to_owned(),
        Kind::Hosts => "hosts".to_owned(),
        Kind::Pins => "sha256/BASE64,...".to_owned(),
        Kind::Networks => "networks or addresses".to_owned(),
        Kind::Count(min, max) => format!("{min} to {max}"),
        Kind::Factor => "1 to 100".to_owned(),
        Kind::Share => "0 to 1".to_owned(),
        Kind::Span(_, min, max) => {
            format!("duration, {} to {}", quantity::show_duration(min), quantity::show_duration(max))
        }
        Kind::Size(min, max) => format!("size, {} to {}", quantity::show_size(min), quantity::show_size(max)),
        Kind::Word(words) => words.join(" or "),
        Kind::Words(words) => {
            let (none, others) = words.split_first().expect("there is a first");
            format!("{none}, or {}", others.join(", "))
        }
    }
}
