//! What is handed out: the archive, the Debian package, the image's files. Made by the scripts that a release is made by, of the program
//! under test.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use rustix::process::geteuid;
use serde_json::Value;

use crate::{
    contrib::{read, root},
    place::{Place, Running, wait_until},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_crm-relay");
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn run(program: &str, args: &[&str]) -> String {
    let ran =
        Command::new(program).args(args).current_dir(root()).env("COMPRESSION", "gzip").env("LEVEL", "1").output();
    let ran: Output = ran.unwrap_or_else(|error| panic!("{program}: {error}; `make setup` installs what is missing"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{program} {args:?}: {said}");
    String::from_utf8(ran.stdout).unwrap()
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The one file of a folder with this end.
fn ending(folder: &Path, end: &str) -> String {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    names.map(|path| shown(&path).to_owned()).find(|path| path.ends_with(end)).unwrap()
}

#[test]
fn the_archive_is_whole_and_says_what_is_in_it() {
    let place = Place::new();
    let out = place.path("dist");
    run("scripts/dist", &[PROGRAM, shown(&out)]);
    run("scripts/dist", &[PROGRAM, shown(&place.path("again"))]);
    assert_eq!(place.read("dist/SHA256SUMS"), place.read("again/SHA256SUMS"), "the same program gives the same bytes");
    let digests =
        Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&out).output().unwrap();
    assert!(digests.status.success(), "{digests:?}");
    let archive = ending(&out, ".tar.gz");
    run("tar", &["--extract", "--file", &archive, "--directory", shown(&out)]);
    let arch = std::env::consts::ARCH;
    let top = out.join(format!("crm-relay-{VERSION}-linux-{arch}"));
    let version = Command::new(top.join("bin/crm-relay")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&version.stdout).trim(), format!("crm-relay {VERSION}"));
    for wanted in
        ["share/man/man1/crm-relay.1", "share/man/man1/crm-relay-dead-redrive.1", "crm-relay.toml", "LICENSE-MIT"]
    {
        assert!(fs::metadata(top.join(wanted)).is_ok_and(|file| file.len() > 100), "{wanted}");
    }
    assert!(top.join("contrib/systemd/crm-relay-server.service").exists());
    for shell in ["bash", "zsh", "fish"] {
        let script = top.join(format!("share/completions/crm-relay.{shell}"));
        assert!(fs::read_to_string(&script).unwrap().contains("redrive"), "{shell}");
        // Where the shell is there, it takes the script.
        if let Ok(read) = Command::new(shell).arg("-n").arg(&script).output() {
            assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr));
        }
    }
    let needs = fs::read_to_string(top.join("NEEDS")).unwrap();
    assert!(needs.starts_with("glibc 2.") && needs.contains("libc.so.6") || needs == "static\n", "{needs}");
    is_bill_of_materials(&serde_json::from_str(&fs::read_to_string(ending(&out, ".cdx.json")).unwrap()).unwrap());
}

/// What is built in, and no more: with version, licence and, unless it is ours, the digest by which it was taken.
fn is_bill_of_materials(bill: &Value) {
    assert_eq!((bill["bomFormat"].as_str(), bill["specVersion"].as_str()), (Some("CycloneDX"), Some("1.5")));
    assert_eq!(bill["metadata"]["component"]["version"], VERSION);
    let lock = read("Cargo.lock");
    let mut names = BTreeSet::new();
    for component in bill["components"].as_array().unwrap() {
        let (name, version) = (component["name"].as_str().unwrap(), component["version"].as_str().unwrap());
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")), "{name} {version}");
        assert!(component["licenses"][0]["expression"].is_string(), "{name}");
        let digest = component["hashes"][0]["content"].as_str();
        assert!(name.starts_with("relay-") || digest.is_some_and(|digest| lock.contains(digest)), "{name}");
        names.insert(name);
    }
    for built_in in ["rusqlite", "libsqlite3-sys", "rustls", "aws-lc-sys", "tokio", "relay-core"] {
        assert!(names.contains(built_in), "{built_in}");
    }
    for not in ["proptest", "insta", "winapi", "tempfile"] {
        assert!(!names.contains(not), "{not} is for tests or other platforms");
    }
}

#[test]
fn what_a_program_needs_is_measured() {
    let needs = run("scripts/linkage", &[PROGRAM]);
    let newer = Command::new(root().join("scripts/linkage")).args([PROGRAM, "2.0"]).output().unwrap();
    assert_eq!(newer.status.success(), needs == "static\n", "{newer:?}");
}

#[test]
fn the_package_has_its_files_in_their_places() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        return;
    }
    let place = Place::new();
    let out = place.path("deb");
    run("scripts/deb", &[PROGRAM, shown(&out)]);
    let package = ending(&out, ".deb");
    let again = place.path("again");
    run("scripts/deb", &[PROGRAM, shown(&again)]);
    assert!(
        fs::read(&package).unwrap() == fs::read(ending(&again, ".deb")).unwrap(),
        "the same program gives the same bytes"
    );
    let field = |name: &str| run("dpkg-deb", &["--field", &package, name]).trim().to_owned();
    assert_eq!((field("Package").as_str(), field("Version").as_str()), ("crm-relay", VERSION));
    assert!(field("Depends").contains("ca-certificates") && !field("Depends").contains('@'), "{}", field("Depends"));
    let list = run("dpkg-deb", &["--contents", &package]);
    let modes: Vec<(&str, &str)> = list
        .lines()
        .map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!(words[1], "root/root", "{line}");
            (words[0], words[5])
        })
        .collect();
    for (mode, path) in [
        ("-rwxr-xr-x", "./usr/bin/crm-relay"),
        ("-rw-r-----", "./etc/crm-relay/crm-relay.toml"),
        ("-rw-r--r--", "./usr/lib/systemd/system/crm-relay-server.service"),
        ("-rw-r--r--", "./usr/lib/systemd/system/crm-relay-server.socket"),
        ("-rw-r--r--", "./usr/lib/systemd/system/crm-relay-client.service"),
        ("-rw-r--r--", "./usr/lib/sysusers.d/crm-relay.conf"),
        ("-rw-r--r--", "./usr/share/man/man1/crm-relay.1.gz"),
        ("-rw-r--r--", "./usr/share/bash-completion/completions/crm-relay"),
        ("-rw-r--r--", "./usr/share/zsh/vendor-completions/_crm-relay"),
        ("-rw-r--r--", "./usr/share/fish/vendor_completions.d/crm-relay.fish"),
        ("-rw-r--r--", "./usr/share/doc/crm-relay/copyright"),
        ("-rw-r--r--", "./usr/share/doc/crm-relay/changelog.gz"),
        ("-rw-r--r--", "./usr/share/doc/crm-relay/examples/systemd/low-port.conf"),
    ] {
        assert!(modes.contains(&(mode, path)), "{mode} {path}:\n{list}");
    }
    let opened = place.path("opened");
    run("dpkg-deb", &["--raw-extract", &package, shown(&opened)]);
    let unit = fs::read_to_string(opened.join("usr/lib/systemd/system/crm-relay-server.service")).unwrap();
    assert!(unit.contains("ExecStart=/usr/bin/crm-relay server --config /etc/crm-relay/crm-relay.toml\n"), "{unit}");
    assert_eq!(fs::read_to_string(opened.join("DEBIAN/conffiles")).unwrap(), "/etc/crm-relay/crm-relay.toml\n");
    for script in ["postinst", "prerm", "postrm"] {
        run("sh", &["-n", shown(&opened.join("DEBIAN").join(script))]);
    }
    // Data go at a purge and at nothing else.
    let removed = fs::read_to_string(opened.join("DEBIAN/postrm")).unwrap();
    let purge = &removed[removed.find("= purge ]").unwrap()..removed.find("\nfi\n").unwrap()];
    assert_eq!(removed.matches("rm -rf").count(), purge.matches("rm -rf").count());
    // What it starts with is a configuration.
    let file = opened.join("etc/crm-relay/crm-relay.toml");
    let checked = place.run(&["config", "check", "--config", shown(&file)], &[("DATA_DIR", "data")]);
    assert!(checked.status.success(), "{}", place.transcript(&checked));
}

/// The files of the image are all that the program needs: in a root that has nothing else it serves, under the image's user.
#[test]
fn the_program_runs_in_a_root_that_has_only_the_files_of_the_image() {
    let place = Place::new();
    let image = place.path("image");
    fs::create_dir(&image).unwrap();
    run("scripts/image-root", &[PROGRAM, shown(&image)]);
    for none in ["bin/sh", "usr", "var"] {
        assert!(!image.join(none).exists(), "{none}");
    }
    // Nor does one need libraries that names none, as a static one.
    run("scripts/image-root", &["scripts/image-root", shown(&place.path("static"))]);
    assert!(place.path("static/data").is_dir() && !place.path("static/lib").exists());
    let inside = |args: &[&str]| {
        let mut command = if geteuid().is_root() {
            let mut command = Command::new("chroot");
            command.arg("--userspec=65532:65532");
            command
        } else {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "chroot"]);
            command
        };
        command.arg(&image).arg("/bin/crm-relay").args(args).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        // As the Dockerfile has it; ports of this test's own.
        command.envs([
            ("DATA_DIR", "/data/relay"),
            ("SERVER_PORT", "0"),
            ("ADMIN_LISTEN", "off"),
            ("DISK_RESERVE", "1MiB"),
        ]);
        command
    };
    let server = Running(inside(&["server"]).stderr(Stdio::null()).spawn().unwrap());
    wait_until("the server to announce itself", || image.join("data/relay/run.json").exists());
    let health = inside(&["health"]).output().unwrap();
    assert!(health.status.success(), "{health:?}");
    let sent = inside(&["send"]).output().unwrap();
    assert!(sent.status.success() && sent.stdout.starts_with(b"evt_"), "{sent:?}");
    assert_eq!(server.terminate(), Some(0));
}
