//! The log: lines on stderr, as text or JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::Logging;

/// Starts logging for the rest of the process. `RUST_LOG`, if set, decides what is logged.
pub(crate) fn start(logging: &Logging) {
    let filter = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let filter = filter.and_then(|text| EnvFilter::try_new(text).ok()).unwrap_or_else(|| own_filter(&logging.level));
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second call, as in tests, changes nothing: the first one's log stays.
    let _already_started = if logging.json {
        builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).try_init()
    };
}

/// Our own lines at `level`; those of libraries only from warnings on, unless everything is asked for.
fn own_filter(level: &str) -> EnvFilter {
    if level == "trace" {
        return EnvFilter::new("trace");
    }
    let ours = ["crm_relay", "relay_client", "relay_core", "relay_providers", "relay_server", "relay_store"];
    let others = if level == "error" { "error" } else { "warn" };
    let directives: Vec<String> = ours.iter().map(|name| format!("{name}={level}")).collect();
    EnvFilter::new(format!("{others},{}", directives.join(",")))
}
