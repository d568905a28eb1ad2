//! The blocks of the documents that are marked (`<!-- run -->` above a block of `sh`) do what they say: they are run page by page, in
//! their order, as somebody would type them who has come that far.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
};

use crate::place::{Place, Running, wait_until};

/// Above a block that is run.
const MARK: &str = "<!-- run -->";

/// A page with such blocks.
struct Page {
    path: &'static str,
    runs: Runs,
    /// What its reader did and has before, in the same directory.
    before: &'static str,
    /// What he reads then.
    told: &'static [&'static str],
}

/// What runs by then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// `crm-relay dev`.
    Dev,
    Server,
    /// A server, and a client with a target for `default` and `crm`.
    ServerAndClient,
}

const PAGES: &[Page] = &[
    Page { path: "README.md", runs: Runs::Dev, before: "", told: &["202 Accepted", "event_id"] },
    Page {
        path: "QUICKSTART.md",
        runs: Runs::Dev,
        before: "echo 0123456789abcdef0123456789abcdef > meta-app-secret.txt",
        told: &["202 Accepted", "/webhook/whatsapp", "evt_"],
    },
    Page {
        path: "docs/operating/install.md",
        runs: Runs::Server,
        before: "",
        told: &["ok, version", "relay-before-upgrade"],
    },
    Page {
        path: "docs/operating/configure.md",
        runs: Runs::ServerAndClient,
        before: "",
        told: &["the configuration is fine", "/webhook/shop", "evt_", "192.0.2.0/24", "crk_", "crt_"],
    },
    Page {
        path: "docs/operating/dashboard.md",
        runs: Runs::Server,
        before: "echo correct-horse-battery-staple > file",
        told: &["/login#crl_", "alice", "bob"],
    },
    Page {
        path: "docs/operating/backup.md",
        runs: Runs::Server,
        before: "crm-relay send\ncrm-relay store backup /backup/relay-2026-11-20\ncp crm-relay-data/credentials /secret/credentials",
        told: &["/backup/relay-", "holds 1 events again", "healthy"],
    },
    Page { path: "docs/operating/disaster.md", runs: Runs::Server, before: "crm-relay send", told: &["default"] },
    Page { path: "docs/operating/monitor.md", runs: Runs::Server, before: "crm-relay send", told: &["default"] },
    Page {
        path: "docs/operating/secrets.md",
        runs: Runs::Server,
        before: "echo 0123456789abcdef-the-old-one > old\necho 0123456789abcdef-the-new-one > new\n\
                 crm-relay source create shop --provider hmac --set header=X-Signature --set secret=@old\n\
                 crm-relay key create default ci\ncrm-relay token create office --destination default",
        told: &["crk_", "crt_"],
    },
    Page { path: "docs/operating/sizing.md", runs: Runs::Server, before: "crm-relay send", told: &["store.db"] },
    Page {
        path: "docs/operating/troubleshoot.md",
        runs: Runs::ServerAndClient,
        before: "crm-relay send --wait 1m",
        told: &["target"],
    },
];

/// Directories of a machine, which stand below that of the test.
const OF_THE_MACHINE: [&str; 7] =
    ["/backup", "/var/backups", "/var/lib", "/var/tmp", "/run/secrets", "/secret", "/etc/crm-relay"];

/// What would be done as another user is done by the one who runs the test.
const STAND_INS: [(&str, &str); 2] = [
    ("sudo", "while [ \"$1\" = -u ]; do shift 2; done; exec \"$@\""),
    (
        "install",
        "for word; do shift; case $word in -o|-g) skip=1 ;; *) [ \"${skip:-}\" ] || set -- \"$@\" \"$word\"; skip= ;; esac; done; \
         exec /usr/bin/install \"$@\"",
    ),
];

#[test]
fn what_stands_in_a_document_to_be_typed_does_what_it_says() {
    thread::scope(|scope| {
        let pages: Vec<_> = PAGES.iter().map(|page| (page.path, scope.spawn(|| follow(page)))).collect();
        let ended = pages.into_iter().map(|(path, page)| (path, page.join()));
        let wrong: Vec<String> = ended
            .filter_map(|(path, ended)| {
                let wrong = ended.unwrap_or_else(|_| Some("it could not be begun: see above".to_owned()));
                wrong.map(|why| format!("{path}: {why}"))
            })
            .collect();
        assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
    });
}

#[test]
fn every_page_with_marked_blocks_is_run() {
    let root = root();
    let listed = Command::new("git").args(["ls-files", "*.md"]).current_dir(&root).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let marked = listed.lines().filter(|path| fs::read_to_string(root.join(path)).unwrap().contains(MARK));
    let marked: BTreeSet<&str> = marked.filter(|path| *path != "CONTRIBUTING.md").collect();
    let run: BTreeSet<&str> = PAGES.iter().map(|page| page.path).collect();
    assert_eq!(marked, run);
}

#[test]
fn a_command_that_is_to_be_refused_ends_with_that_code_and_no_other() {
    let place = Place::new();
    let is_well = |line: &str| typed(&adapted(line, &place, ""), &place).status.success();
    assert!(is_well("false   # refused, exit 1"));
    for line in [
        "true # refused, exit 1",
        "(exit 2) # refused, exit 1",
        "(exit 1) # refused, exit 10",
        "no-program # refused, exit 1",
    ] {
        assert!(!is_well(line), "{line}");
    }
}

/// Otherwise a block that names a word would answer with it.
#[test]
fn what_is_typed_is_not_taken_for_what_it_answers() {
    let place = Place::new();
    let output = typed("true only-typed", &place);
    assert_eq!((output.stdout, output.stderr), (Vec::new(), Vec::new()));
}

/// Runs its blocks; what went wrong.
fn follow(page: &Page) -> Option<String> {
    let place = Place::new();
    let (_running, url) = begin(&place, page.runs);
    for dir in OF_THE_MACHINE {
        fs::create_dir_all(place.path(&dir[1..])).unwrap();
    }
    place.write("run/secrets/shop", "0123456789abcdef-of-the-shop\n");
    for (name, script) in STAND_INS {
        executable(&place, name, script);
    }
    let text = fs::read_to_string(root().join(page.path)).unwrap();
    let blocks = blocks(&text);
    let script = adapted(&format!("{}\n{}", page.before, blocks.join("\n")), &place, &url);
    let output = typed(&script, &place);
    // Of what was run only this: what was typed does not stand for its answer.
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let missing: Vec<&str> = page.told.iter().filter(|words| !told.contains(**words)).copied().collect();
    let is_well = output.status.success() && missing.is_empty();
    (!is_well).then(|| format!("{}, not told: {missing:?}\n{script}\n\ncame to\n{told}", output.status))
}

/// Runs it in a shell that finds the program and the stand-ins.
fn typed(script: &str, place: &Place) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_crm-relay")).parent().unwrap().display();
    let path = format!("{}:{program}:/usr/local/bin:/usr/bin:/bin", place.path("stand-ins").display());
    let mut shell = Command::new("timeout");
    shell.args(["60", "sh", "-eu", "-c", script]).current_dir(place.path("")).env_clear();
    shell.env("PATH", path).env("HOME", place.path("")).stdin(Stdio::null()).output().unwrap()
}

/// The marked blocks.
fn blocks(text: &str) -> Vec<String> {
    let line = format!("\n{MARK}\n");
    let marked = text.split(&line).skip(1);
    let block =
        |behind: &str| behind.strip_prefix("```sh\n").and_then(|block| Some(block.split_once("\n```")?.0.to_owned()));
    let found: Vec<String> =
        marked.map(|behind| block(behind).unwrap_or_else(|| panic!("no block of sh follows {MARK}"))).collect();
    assert_eq!(found.len(), text.matches(MARK).count(), "{MARK} is a line of its own");
    found
}

/// For this place: with its paths, the server that runs there, and what is to fail failing.
fn adapted(script: &str, place: &Place, url: &str) -> String {
    let mut script = script.replace("http://localhost:8080", url);
    for dir in OF_THE_MACHINE {
        for before in [' ', '@', '='] {
            script =
                script.replace(&format!("{before}{dir}/"), &format!("{before}{}/", place.path(&dir[1..]).display()));
        }
    }
    let mut adapted = String::new();
    for line in script.lines() {
        match line.split_once('#').and_then(|(command, comment)| Some((command.trim(), refusal(comment)?))) {
            Some((command, code)) => writeln!(
                adapted,
                "if {command}; then echo 'not refused' >&2; exit 99; else code=$?; \
                 [ $code = {code} ] || {{ echo \"ended with $code\" >&2; exit 98; }}; fi"
            ),
            None => writeln!(adapted, "{line}"),
        }
        .unwrap();
    }
    adapted
}

/// The code that a command ends with which is to be refused: `refused, exit 1`.
fn refusal(comment: &str) -> Option<u8> {
    let code = comment.split_once("refused, exit ")?.1;
    code.split(|behind: char| !behind.is_ascii_digit()).next()?.parse().ok()
}

/// Starts what a reader has running by then; where its server takes webhooks.
fn begin(place: &Place, runs: Runs) -> (Vec<Running>, String) {
    let dir = if runs == Runs::Dev { "crm-relay-dev" } else { "crm-relay-data" };
    let any =
        [("SERVER_HOST", "127.0.0.1"), ("SERVER_PORT", "0"), ("ADMIN_LISTEN", "127.0.0.1:0"), ("DISK_RESERVE", "1MiB")];
    let mut running = vec![place.start("server", &[if runs == Runs::Dev { "dev" } else { "server" }], &any)];
    let announced = place.path(&format!("{dir}/run.json"));
    wait_until("the server", || announced.exists());
    let run: serde_json::Value = serde_json::from_slice(&fs::read(announced).unwrap()).unwrap();
    let url = format!("http://{}", run["public"].as_str().unwrap());
    if runs == Runs::ServerAndClient {
        let (receiver, target) = place.receiver(&[]);
        let credentials = place.read("crm-relay-data/credentials");
        let token = credentials.lines().find_map(|line| line.strip_prefix("RELAY_TOKEN=")).unwrap();
        let targets = ["client", "--to", &target, "--to", &format!("crm={target}")];
        let client = place.start("client", &targets, &[("RELAY_URL", &url), ("RELAY_TOKEN", token)]);
        place.wait_for("server.log", "client_joined");
        running.extend([receiver, client]);
    }
    (running, url)
}

fn executable(place: &Place, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    fs::create_dir_all(place.path("stand-ins")).unwrap();
    let path = place.path(&format!("stand-ins/{name}"));
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}
