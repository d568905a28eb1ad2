//! Every setting as a flag, made from the table of settings.

use std::{
    collections::BTreeMap,
    marker::PhantomData,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, error::ErrorKind};

use crate::{
    config::{
        fault::{Faults, Origin},
        kind::Kind,
        layers::Flags,
        settings::{Process, SETTINGS, Setting},
        target, text_file,
    },
    output::say,
    render::style,
};

/// The settings of one process, as given on its command line.
#[derive(Clone, Debug)]
pub(crate) struct SettingFlags<P> {
    /// Those that were given.
    pub(crate) given: Flags,
    /// Where secrets were read from that were given as `@FILE`.
    files: BTreeMap<&'static str, PathBuf>,
    process: PhantomData<P>,
}

impl<P> SettingFlags<P> {
    /// Those that were given, with what stands in their files by now.
    pub(crate) fn again(&self) -> (Flags, Faults) {
        let (mut given, mut faults) = (self.given.clone(), Faults::default());
        for (name, path) in &self.files {
            match text_file::value(path) {
                Ok(text) => drop(given.insert(name, text)),
                Err(text) => faults.add(*name, Some(format!("@{}", path.display())), &Origin::Flag, text),
            }
        }
        (given, faults)
    }
}

/// Names a process in the type of its flags.
pub(crate) trait Of: std::fmt::Debug + 'static {
    /// Which.
    const PROCESS: Process;
}

/// `crm-relay server`.
#[derive(Clone, Debug)]
pub(crate) struct OfServer;
/// `crm-relay client`.
#[derive(Clone, Debug)]
pub(crate) struct OfClient;
/// `crm-relay dev`.
#[derive(Clone, Debug)]
pub(crate) struct OfDev;

impl Of for OfServer {
    const PROCESS: Process = Process::Server;
}
impl Of for OfClient {
    const PROCESS: Process = Process::Client;
}
impl Of for OfDev {
    const PROCESS: Process = Process::Dev;
}

impl<P: Of> Args for SettingFlags<P> {
    fn augment_args(command: Command) -> Command {
        let concerned = SETTINGS.iter().filter(|setting| setting.concerns(P::PROCESS));
        let command = concerned.fold(command, |command, setting| command.arg(flag(setting, P::PROCESS)));
        if P::PROCESS == Process::Client { command } else { command.arg(listen_flag()) }
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<P: Of> FromArgMatches for SettingFlags<P> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let (mut given, mut files) = (Flags::new(), BTreeMap::new());
        if P::PROCESS != Process::Client
            && let Some(address) = matches.get_one::<String>("listen")
        {
            split_listen(address, &mut given)?;
        }
        for setting in SETTINGS.iter().filter(|setting| setting.concerns(P::PROCESS)) {
            let Some(values) = matches.get_many::<String>(&setting.key()) else { continue };
            let text = values.cloned().collect::<Vec<_>>().join(",");
            let file = text.strip_prefix('@').filter(|_| setting.is_secret());
            files.extend(file.and_then(|path| text_file::path(path).ok()).map(|path| (setting.name, path)));
            if setting.is_secret() || (matches!(setting.kind, Kind::Proxy | Kind::Redis) && holds_password(&text)) {
                warn_of_bare(&format!("--{}", typed(setting, P::PROCESS)), &text, Some(setting.name));
            }
            let text = if setting.is_secret() {
                text_file::argument(&text)
                    .map_err(|why| refused(&format!("--{}: {why}", typed(setting, P::PROCESS))))?
            } else {
                text
            };
            given.insert(setting.name, text);
        }
        Ok(Self { given, files, process: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Warns, once in a process, of a secret that stands on the command line itself: every user of the machine sees it with `ps`,
/// and shells write it down.
pub(crate) fn warn_of_bare(option: &str, value: &str, setting: Option<&str>) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if value == "-" || value.starts_with('@') || WARNED.swap(true, Ordering::Relaxed) {
        return;
    }
    let instead = match (setting, option.split_once(' ')) {
        (Some(name @ ("RELAY_PROXY" | "REDIS_URL")), _) => format!("{name} in the environment or in crm-relay.toml"),
        (Some(name), _) => format!("{option} @FILE, or {name} in the environment"),
        (None, Some((flag, name))) => format!("{flag} {name}=@FILE, or {name}=- for standard input"),
        (None, None) => format!("{option} @FILE, or - for standard input"),
    };
    let text = format!("{option}: a secret on the command line is seen by ps and kept by shells; better: {instead}");
    say(&style::warn(text));
}

/// Whether a URL carries a password.
fn holds_password(url: &str) -> bool {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// What people type goes by its short name.
fn typed(setting: &Setting, process: Process) -> String {
    match (setting.name, process) {
        ("RELAY_URL", Process::Client) => "url".to_owned(),
        ("RELAY_TOKEN", Process::Client) => "token".to_owned(),
        ("LOCAL_WEBHOOK_URL", _) => "to".to_owned(),
        _ => setting.flag(),
    }
}

fn flag(setting: &'static Setting, process: Process) -> Arg {
    let mut help = setting.meaning.to_owned();
    let default = setting.default_in(process);
    if !default.is_empty() {
        help = format!("{help} [default: {default}]");
    }
    let arg = Arg::new(setting.key())
        .long(typed(setting, process))
        .value_name(setting.kind.placeholder())
        .help(help)
        .allow_hyphen_values(setting.is_secret());
    let arg = if setting.kind == Kind::Targets { arg.action(ArgAction::Append) } else { arg };
    // Said without a value, it means what it says.
    let arg = match setting.name {
        "ALLOW_HTTP" => arg.num_args(0..=1).require_equals(true).default_missing_value("yes"),
        _ => arg,
    };
    match (setting.name, process) {
        ("RELAY_URL" | "RELAY_TOKEN", Process::Client) | ("LOCAL_WEBHOOK_URL", _) => arg.visible_alias(setting.flag()),
        ("DATA_DIR", _) => arg,
        ("CLIENT_LISTEN", Process::Client) => {
            arg.visible_alias("listen").hide_short_help(true).help_heading("Settings")
        }
        _ => arg.hide_short_help(true).help_heading("Settings"),
    }
}

fn listen_flag() -> Arg {
    Arg::new("listen")
        .long("listen")
        .value_name("ADDR")
        .help("Address of the public listener: short for --server-host and --server-port")
        .conflicts_with_all(["server_host", "server_port"])
}

fn refused(text: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{text}\n"))
}

fn split_listen(text: &str, given: &mut Flags) -> Result<(), clap::Error> {
    match target::listen_address(text) {
        Ok(Some(address)) => {
            given.insert("SERVER_HOST", address.ip().to_string());
            given.insert("SERVER_PORT", address.port().to_string());
            Ok(())
        }
        _ => Err(refused(&format!("--listen {text}: want an address and a port, like 127.0.0.1:8080, or a port"))),
    }
}
