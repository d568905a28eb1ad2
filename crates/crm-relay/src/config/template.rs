//! A configuration file to begin with: every setting of a process with its meaning and its default, all of it a comment.

use super::{
    kind::Kind,
    settings::{Process, SETTINGS, Setting},
};
use crate::render::wrap;

/// Places in a line of the file.
const WIDTH: usize = 100;

const HEAD: &str = "Settings of crm-relay as a file. What is a comment has the value shown, or none; the environment \
                    (SERVER_PORT) and flags (--server-port) go before it. `crm-relay config check` says what is wrong.";

/// What a server declares, as an example.
const OF_A_SERVER: &str = r#"
# A source is a path that a platform posts to. `crm-relay provider show NAME` says what it needs.
#[source.shop]
#provider = "hmac"
#header = "X-Signature"
#prefix = "sha256="
#secret = { file = "shop.secret" }

# A route leads from it to a destination, whose URL only its client knows.
#[[route]]
#source = "shop"
#destination = "crm"
#ttl = "7d"
#max_retries = 5

# Somebody is told when something is not as it should be: by a signed request, a chat or a program.
#[alert.ops]
#url = "https://hooks.example.com/relay"
#secret = { file = "alert.secret" }
#severity = "warning"
"#;

/// What a client declares, as an example.
const OF_A_CLIENT: &str = r#"
# What is added to each request to a destination of RELAY_TO.
#[destination.crm]
#headers = { X-Environment = "production" }
"#;

/// The file for a process.
pub(crate) fn text(process: Process) -> String {
    let settings = SETTINGS.iter().filter(|setting| setting.concerns(process));
    let settings =
        settings.map(|setting| format!("{}\n#{} = {}\n", comment(setting.meaning), setting.key(), shown(setting)));
    let parts: Vec<String> = std::iter::once(comment(HEAD) + "\n").chain(settings).collect();
    let declared = match process {
        Process::Server => OF_A_SERVER,
        Process::Client => OF_A_CLIENT,
        Process::Dev | Process::Command => "",
    };
    parts.join("\n") + declared
}

fn comment(text: &str) -> String {
    let lines = wrap::lines(text, WIDTH - 2);
    lines.lines().map(|line| format!("# {line}")).collect::<Vec<_>>().join("\n")
}

/// Its default, as the file has it.
fn shown(setting: &Setting) -> String {
    let is_number = matches!(setting.kind, Kind::Port | Kind::Count(..) | Kind::Factor | Kind::Share);
    if is_number && !setting.default.is_empty() { setting.default.to_owned() } else { format!("{:?}", setting.default) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{
        super::layers::{Flags, Layers},
        *,
    };

    /// The settings of a template whose lines are no comments any more.
    fn taken(process: Process) -> Layers {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("shop.secret"), "whsec-0123456789abcdef\n").expect("it is written");
        fs::write(dir.path().join("alert.secret"), format!("whsec_{}\n", "QUJD".repeat(8))).expect("it is written");
        let path = dir.path().join("crm-relay.toml");
        let lines = text(process);
        let settings = lines.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if !setting.starts_with(' ') && !setting.ends_with(" \"\"") => setting,
            _ => line,
        });
        fs::write(&path, settings.collect::<Vec<_>>().join("\n")).expect("it is written");
        Layers::collect(process, Some(&path), &Flags::new(), &|_| None)
    }

    #[test]
    fn every_line_of_a_template_is_one_that_the_file_may_have() {
        for process in [Process::Server, Process::Client] {
            let layers = taken(process);
            assert!(layers.faults.0.is_empty(), "{:?}", layers.faults);
            for setting in SETTINGS.iter().filter(|setting| setting.concerns(process) && !setting.default.is_empty()) {
                let given = layers.given(setting.name).expect(setting.name);
                assert!(setting.kind.read(setting.default).is_ok_and(|value| value == given.value), "{}", setting.name);
            }
            let declared = (layers.file.sources.len(), layers.file.routes.len(), layers.file.destinations.len());
            assert_eq!(layers.file.alerts.len(), usize::from(process == Process::Server));
            assert_eq!(declared, if process == Process::Server { (1, 1, 0) } else { (0, 0, 1) });
        }
    }

    #[test]
    fn a_template_alone_gives_nothing() {
        for process in [Process::Server, Process::Client] {
            assert!(text(process).lines().all(|line| (line.is_empty() || line.starts_with('#')) && line.len() <= 120));
            assert_eq!(toml::from_str::<toml::Table>(&text(process)).expect("it reads"), toml::Table::new());
        }
    }
}
