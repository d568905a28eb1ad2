//! The log: lines on stderr, as text or JSON. They go through the [`printer`], so that whoever logs neither waits nor fails.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::IsTerminal as _,
    panic::{self, PanicHookInfo},
    thread,
};

use jiff::Timestamp;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::LevelFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

mod libraries;

use self::libraries::Libraries;
use crate::{
    config::Logging,
    exit::{Exit, Failure},
    printer::{self, Printer, Stream},
    render::{time, visible::visible},
};

/// Our crates.
const OURS: [&str; 7] =
    ["crm_relay", "relay_client", "relay_core", "relay_net", "relay_providers", "relay_server", "relay_store"];

/// Starts logging for the rest of the process. `RUST_LOG`, if set, decides what is logged.
///
/// # Errors
/// The system gives no thread for it.
pub(crate) fn start(logging: &Logging) -> Result<&'static Printer, Failure> {
    let failed = |error| Failure::new(Exit::StoreFailed, format!("cannot start the thread of the log: {error}"));
    let printer = printer::begin().map_err(failed)?;
    let is_json = logging.json;
    panic::set_hook(Box::new(move |panic| printer.print(Stream::Err, panicked(panic, is_json).as_bytes())));
    let asked = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let asked = asked.and_then(|text| EnvFilter::try_new(capped(&text)).ok());
    // Whoever says what is logged gets the lines of libraries as they write them.
    let libraries = asked.is_none().then(|| Libraries::new(printer, is_json).with_filter(libraries_of(&logging.level)));
    let filter = asked.unwrap_or_else(|| {
        let hidden = if logging.hides_notices { ",relay_server::notice=error" } else { "" };
        EnvFilter::new(format!("{}{hidden}", directives("off", &logging.level)))
    });
    // Its own complaints would go past the printer.
    let lines = fmt::layer().with_writer(move || printer).with_target(false).log_internal_errors(false);
    let lines = if is_json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).with_filter(filter).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).with_filter(filter).boxed()
    };
    // A second call, as in tests, changes nothing: the first one's log stays.
    let _already_started = tracing_subscriber::registry().with(lines).with(libraries).try_init();
    Ok(printer)
}

/// The line of a panic. Not through `tracing`, which may be where it was.
fn panicked(panic: &PanicHookInfo<'_>, is_json: bool) -> String {
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = panic.location().map_or_else(String::new, ToString::to_string);
    let what = panic.payload_as_str().unwrap_or_default();
    // Only if RUST_BACKTRACE asks for it.
    let trace = Backtrace::capture();
    let trace = if trace.status() == BacktraceStatus::Captured { trace.to_string() } else { String::new() };
    let at = Timestamp::try_from(time::now()).unwrap_or_default();
    if is_json {
        let line = serde_json::json!({
            "timestamp": at.to_string(), "level": "ERROR", "event": "panicked", "thread": thread, "place": place, "what": what,
            "backtrace": trace,
        });
        return format!("{line}\n");
    }
    format!("{at} ERROR event=\"panicked\" thread={thread:?} place={place:?} what=\"{}\"\n{trace}", visible(what))
}

/// Lines of libraries from warnings on, or from errors where nothing else is wanted; none of ours.
fn libraries_of(level: &str) -> EnvFilter {
    EnvFilter::new(directives(if level == "error" { "error" } else { "warn" }, "off"))
}

/// The directives of `RUST_LOG`, where a level without a name reaches our own lines only: below `info` libraries write
/// bytes that pass through them, tokens and bodies among them. Whoever names a library gets all of its lines.
fn capped(asked: &str) -> String {
    let each = asked.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let capped = each.map(|directive| match directive.parse::<LevelFilter>() {
        Ok(level) => directives(&level.min(LevelFilter::INFO).to_string(), &level.to_string()),
        Err(_) => directive.to_owned(),
    });
    capped.collect::<Vec<_>>().join(",")
}

fn directives(others: &str, ours: &str) -> String {
    let ours: Vec<String> = OURS.iter().map(|name| format!("{name}={ours}")).collect();
    format!("{others},{}", ours.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: no level alone makes libraries write what passes through them.
    #[test]
    fn a_level_without_a_name_never_reaches_libraries_below_info() {
        for asked in ["trace", "debug", "TRACE", "5"] {
            let capped = capped(asked);
            assert!(capped.starts_with("info,crm_relay="), "{capped}");
            assert!(EnvFilter::try_new(&capped).is_ok(), "{capped}");
        }
        assert!(capped("error").starts_with("error,crm_relay=error,"));
        assert_eq!(capped("relay_server=debug, tungstenite=trace"), "relay_server=debug,tungstenite=trace");
        assert!(capped("trace,hyper=debug").ends_with(",relay_store=trace,hyper=debug"));
        assert!(libraries_of("trace").to_string().contains("warn"));
    }
}
