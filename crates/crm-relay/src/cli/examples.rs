//! Examples in the help of every command that somebody types. A test reads each of them with the parser itself.

use clap::Command;

/// Of a command, by its words; what follows `#` says what it is for.
const EXAMPLES: &[(&str, &[&str])] = &[
    (
        "dev",
        &[
            "crm-relay dev                            # print what arrives",
            "crm-relay dev --to 3000                  # hand it to localhost:3000",
            "crm-relay dev --to 3000/hooks --show body",
        ],
    ),
    (
        "server",
        &[
            "crm-relay server --public-url https://relay.example.com",
            "crm-relay server --config /etc/crm-relay/crm-relay.toml",
        ],
    ),
    (
        "client",
        &[
            "crm-relay client --url https://relay.example.com --token @token --to 3000",
            "crm-relay client --config /etc/crm-relay/client.toml",
            "crm-relay client --redis redis://r1:6379 --to 3000",
        ],
    ),
    (
        "receive",
        &[
            "crm-relay receive --listen 3000",
            "crm-relay receive --status 422           # refuse everything",
            "crm-relay receive --fail-first 3 --delay 2s",
        ],
    ),
    (
        "send",
        &[
            "crm-relay send                           # to the server on this machine",
            "crm-relay send --source pay --event invoice.paid --wait 30s",
            "crm-relay send --count 1000 --rate 50 --body order.json",
        ],
    ),
    (
        "invite",
        &[
            "crm-relay invite shop                    # a sender with a key",
            "crm-relay invite pay --provider stripe --set endpoint_secret=@secret",
            "crm-relay invite shop --destination crm --token-file token",
        ],
    ),
    ("alert list", &["crm-relay alert list", "crm-relay alert list --json"]),
    ("alert test", &["crm-relay alert test                     # every one", "crm-relay alert test ops"]),
    (
        "source create",
        &[
            "crm-relay source create ci --destination builds",
            "crm-relay source create pay --provider stripe --set endpoint_secret=@secret",
        ],
    ),
    ("source list", &["crm-relay source list"]),
    ("source show", &["crm-relay source show shop              # with its last refusals"]),
    ("source await-secret", &["crm-relay source await-secret notion", "crm-relay source await-secret notion --forget"]),
    (
        "source update",
        &["crm-relay source update pay --set endpoint_secret=@new", "crm-relay source update shop --dedupe strict"],
    ),
    (
        "source rotate",
        &[
            "crm-relay source rotate pay --set endpoint_secret=@new --keep-old 24h",
            "crm-relay source rotate pay --finish     # the platform has the new one",
        ],
    ),
    ("source delete", &["crm-relay source delete shop"]),
    ("provider list", &["crm-relay provider list"]),
    ("provider show", &["crm-relay provider show stripe"]),
    (
        "route create",
        &[
            "crm-relay route create default crm",
            "crm-relay route create shop erp --ttl 7d --max-retries 5",
            "crm-relay route create shop erp --schedule 5s,5m,2h",
        ],
    ),
    ("route list", &["crm-relay route list"]),
    ("route show", &["crm-relay route show shop crm"]),
    ("route update", &["crm-relay route update shop crm --ttl 7d"]),
    ("route delete", &["crm-relay route delete default default"]),
    ("key create", &["crm-relay key create default ci           # whose key, who uses it"]),
    ("key list", &["crm-relay key list", "crm-relay key list --source shop"]),
    ("key show", &["crm-relay key show default ci"]),
    ("key revoke", &["crm-relay key revoke default ci"]),
    ("token create", &["crm-relay token create office --destination crm", "crm-relay token create office > token"]),
    ("token list", &["crm-relay token list"]),
    ("token show", &["crm-relay token show office"]),
    ("token update", &["crm-relay token update office --destination crm --destination erp"]),
    (
        "token rotate",
        &[
            "crm-relay token rotate office > token    # then the client with it, then:",
            "crm-relay token rotate office --finish",
        ],
    ),
    ("token revoke", &["crm-relay token revoke office"]),
    ("destination list", &["crm-relay destination list"]),
    ("destination show", &["crm-relay destination show crm           # who serves it, and how it is"]),
    ("destination pause", &["crm-relay destination pause crm"]),
    ("destination resume", &["crm-relay destination resume crm"]),
    (
        "event list",
        &[
            "crm-relay event list --source shop --since 2h --name 'invoice.*'",
            "crm-relay event list --source stripe --key evt_1NG8Du2eZvKYlo2C",
            "crm-relay event list --source shop --since 2d --contains ada@example.com",
        ],
    ),
    (
        "event show",
        &[
            "crm-relay event show last",
            "crm-relay event show evt_01a2214f-0295   # an id, or its beginning",
            "crm-relay event show last --body > body.json",
        ],
    ),
    ("event tail", &["crm-relay event tail", "crm-relay event tail --source shop --since 10m --json"]),
    ("event export", &["crm-relay event export --source shop --since 30d > shop.ndjson"]),
    (
        "event erase",
        &[
            "crm-relay event erase evt_0192",
            "crm-relay event erase --source shop --until 2026-01-01 --dry-run",
            "crm-relay event erase --source shop --until 2026-01-01 --cancel",
        ],
    ),
    (
        "event replay",
        &[
            "crm-relay event replay last --destination crm",
            "crm-relay event replay --source shop --since 24h --rate 20",
        ],
    ),
    (
        "delivery list",
        &["crm-relay delivery list --destination crm --state scheduled", "crm-relay delivery list --event last"],
    ),
    ("delivery show", &["crm-relay delivery show last             # with every try"]),
    (
        "delivery cancel",
        &["crm-relay delivery cancel dlv_01a2214f-0295", "crm-relay delivery cancel --all --destination crm --dry-run"],
    ),
    ("dead list", &["crm-relay dead list --destination crm --reason refused", "crm-relay dead list --since 24h"]),
    ("dead show", &["crm-relay dead show dlv_01a2214f-0295"]),
    ("dead summary", &["crm-relay dead summary --since 24h"]),
    (
        "dead redrive",
        &[
            "crm-relay dead redrive --all             # asks first",
            "crm-relay dead redrive --status 500 --limit 100 --dry-run",
            "crm-relay dead redrive --destination crm --rate 20",
        ],
    ),
    ("dead purge", &["crm-relay dead purge --destination crm --until 2026-01-31 --dry-run"]),
    ("audit", &["crm-relay audit                          # once a day is plenty"]),
    (
        "user create",
        &[
            "crm-relay user create alice --role operator    # prints a link, good once",
            "crm-relay user create bob --role admin --password @file",
        ],
    ),
    ("user list", &["crm-relay user list"]),
    ("user role", &["crm-relay user role alice admin"]),
    ("user disable", &["crm-relay user disable alice               # her sessions end at once"]),
    ("user enable", &["crm-relay user enable alice"]),
    ("user reset", &["crm-relay user reset alice                 # she forgot her password"]),
    ("dashboard", &["crm-relay dashboard                        # open the link within a minute"]),
    ("audit-log", &["crm-relay audit-log --since 24h", "crm-relay audit-log --action dead --who cli"]),
    ("status", &["crm-relay status", "crm-relay status --watch"]),
    (
        "health",
        &["crm-relay health --strict                # for cron: exit 1 if degraded", "crm-relay health --client"],
    ),
    (
        "doctor",
        &[
            "crm-relay doctor",
            "crm-relay doctor stripe                  # of one source",
            "crm-relay doctor --config client.toml    # where the client runs",
        ],
    ),
    (
        "bench",
        &[
            "crm-relay bench                          # some 15 s",
            "crm-relay bench --dir /var/lib           # on the disk that DATA_DIR is on",
            "crm-relay bench --senders 64 --bytes 8KiB --json",
        ],
    ),
    ("store backup", &["crm-relay store backup /backup/relay-2026-11-20"]),
    ("store restore", &["crm-relay store restore /backup/relay-2026-11-20 --data-dir /var/lib/crm-relay"]),
    (
        "store check",
        &[
            "crm-relay store check --data-dir /var/lib/crm-relay",
            "crm-relay store check --repair           # in a Redis",
            "crm-relay store check --accept-loss      # go on without what does not read",
        ],
    ),
    ("store rekey", &["crm-relay store rekey --data-dir /var/lib/crm-relay"]),
    (
        "store migrate",
        &[
            "crm-relay store migrate --from crm-relay-data --to redis://r1 --dry-run",
            "crm-relay store migrate --from crm-relay-data --to redis://r1:6379",
            "crm-relay store migrate --from redis://r1:6379 --to ./back",
        ],
    ),
    ("config check", &["crm-relay config check", "crm-relay config check client --config /etc/crm-relay/client.toml"]),
    ("config print", &["crm-relay config print", "crm-relay config print --json"]),
    ("config template", &["crm-relay config template > crm-relay.toml", "crm-relay config template client"]),
    ("man", &["crm-relay man | man -l -", "crm-relay man --dir ~/.local/share/man/man1"]),
    ("completions", &["source <(crm-relay completions bash)", "crm-relay completions zsh > ~/.zfunc/_crm-relay"]),
];

/// Puts its examples below the help of each command.
pub(super) fn below(command: Command) -> Command {
    below_at(command, "")
}

fn below_at(mut command: Command, path: &str) -> Command {
    if let Some((_, lines)) = EXAMPLES.iter().find(|(of, _)| *of == path) {
        let said = command.get_after_help().map(|said| format!("{said}\n\n")).unwrap_or_default();
        command = command.after_help(format!("{said}Examples:\n  {}", lines.join("\n  ")));
    }
    let names: Vec<String> = command.get_subcommands().map(|child| child.get_name().to_owned()).collect();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command = command.mut_subcommand(name, |child| below_at(child, &path));
    }
    command
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::cli::Cli;

    /// The command in a line, without what other programs and the shell have to do with it.
    fn words(line: &str) -> Vec<&str> {
        let line = line.split('#').next().unwrap();
        let line = &line[line.find("crm-relay").unwrap()..];
        let line = line.split(['>', ')', '|']).next().unwrap();
        line.split_whitespace().collect()
    }

    #[test]
    fn every_example_is_understood_and_fits() {
        for (of, lines) in EXAMPLES {
            assert!((1..=3).contains(&lines.len()), "{of}");
            for line in *lines {
                let words = words(line);
                assert!(line.len() + 2 <= 80, "{line}");
                assert!(words.join(" ").starts_with(&format!("crm-relay {of}")), "{line} is no example of {of}");
                // What an option reads from a file is not there; that it is an option is what counts.
                let words: Vec<&str> = words.iter().map(|word| word.strip_prefix('@').unwrap_or(word)).collect();
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{line}: {error}");
                }
            }
        }
    }

    #[test]
    fn every_command_that_is_typed_has_examples() {
        fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
            for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
                let path = format!("{path} {}", child.get_name());
                if child.has_subcommands() { leaves(child, &path, found) } else { found.push(path.trim().to_owned()) }
            }
        }
        let mut typed = Vec::new();
        leaves(&Cli::command(), "", &mut typed);
        let with: Vec<&str> = EXAMPLES.iter().map(|(of, _)| *of).collect();
        let without: Vec<&String> = typed.iter().filter(|of| !with.contains(&of.as_str())).collect();
        assert!(without.is_empty(), "give them one to three lines in cli/examples.rs: {without:?}");
        let gone: Vec<&&str> = with.iter().filter(|of| !typed.iter().any(|known| known == *of)).collect();
        assert!(gone.is_empty(), "no such command: {gone:?}");
    }
}
