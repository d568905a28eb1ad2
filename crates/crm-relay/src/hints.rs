//! What `dev` and `server` say first on a terminal: what they do and what to type next.

use std::path::Path;

use relay_client::config::Destination;
use relay_server::Server;

use crate::{
    credentials::Kept,
    place::{DEV_DATA_DIR, url_on_this_machine},
    render::{
        style::{self, bold, copy, dim},
        wrap,
    },
};

/// What a server that has started can say about itself.
pub(crate) struct Facts<'a> {
    /// The URL of its public listener, as programs on this machine reach it.
    pub(crate) public: String,
    /// Where a client reaches it: `PUBLIC_URL`, else that address.
    pub(crate) url: String,
    /// Its secrets.
    pub(crate) kept: &'a Kept,
    /// A link that opens its dashboard once.
    pub(crate) link: Option<String>,
}

impl<'a> Facts<'a> {
    /// Of a server that has started.
    pub(crate) fn of(server: &Server, kept: &'a Kept) -> Self {
        let public = server.public_addr().map(|addr| addr.to_string()).unwrap_or_default();
        let public = url_on_this_machine(&public, server.speaks_tls());
        let url = kept.public_url.clone().unwrap_or_else(|| public.clone());
        Self { public, url, kept, link: None }
    }

    /// With a link that opens its dashboard.
    pub(crate) fn with_link(self, link: Option<String>) -> Self {
        Self { link, ..self }
    }
}

/// The first words of `dev`.
pub(crate) fn dev(facts: &Facts<'_>, destinations: &[Destination], has_receiver: bool) -> String {
    let url = format!("{}/webhook", facts.public);
    let key = shown_key(facts);
    let targets: Vec<String> = destinations
        .iter()
        .map(|destination| {
            if has_receiver {
                "printed here".to_owned()
            } else {
                format!("{} {}", destination.url, dim(format!("(destination {})", destination.name)))
            }
        })
        .collect();
    let other = if has_receiver {
        format!("Hand them to your application instead:  {}", copy(format!("{} dev --to 3000", program())))
    } else {
        format!("See what arrives without it:  {}", copy(format!("{} dev", program())))
    };
    let at = elsewhere(&facts.kept.path);
    let dashboard = match &facts.link {
        Some(link) => format!("See it in a browser, by a link that is good once:\n\n  {}\n\n", copy(link)),
        None => format!("See it in a browser:  {}\n", copy(format!("{} dashboard{at}", program()))),
    };
    format!(
        "{}\n\n  post to   {}\n  goes to   {}\n\nTry it in another terminal:\n\n  {}\n\n  {}\n\n{}{}\n{}\n",
        bold("crm-relay dev: server and client in one process"),
        copy(&url),
        targets.join("\n            "),
        copy(curl(&url, &key)),
        copy(format!("{} send --count 3{at}", program())),
        dashboard,
        format_args!("{other}\nSee what is stored:  {}", copy(format!("{} status{at}", program()))),
        dim("Ctrl-C stops; what is not delivered by then is after the next start."),
    )
}

/// The first words of `server`.
pub(crate) fn server(facts: &Facts<'_>) -> String {
    let intake = format!("{}/webhook", facts.url);
    let path = facts.kept.path.display();
    let head = format!("{}\n\n  senders post to   {}\n", bold("crm-relay server"), copy(&intake));
    if facts.kept.generated.is_empty() {
        return format!("{head}  secrets           {path}\n");
    }
    let generated = facts.kept.generated.iter().filter_map(|name| Some((name, facts.kept.secret(name)?)));
    let shown: Vec<String> = generated.map(|(name, value)| format!("{}\n", below(name, value.expose()))).collect();
    format!(
        "{head}{}{}\n{}\n\n{}\n\nPost a webhook:\n\n  {}\n",
        shown.concat(),
        dim(format!("  These are shown this once; they are kept in {path}")),
        token_into_a_file("RELAY_TOKEN"),
        wrap::offered("  ", &format!("crm-relay client --url {} --token @token --to localhost:3000", facts.url)),
        copy(curl(&intake, &shown_key(facts))),
    )
}

/// A value to be copied, below what it is: a generated secret beside it would be wider than a terminal.
pub(crate) fn below(label: &str, value: &str) -> String {
    format!("  {label}\n    {}", copy(value))
}

/// How a token gets to the client's machine without standing in a history or a list of processes. Two commands, to be
/// pasted one after the other: the first one takes what comes next.
pub(crate) fn token_into_a_file(what: &str) -> String {
    let file = copy("install -m 600 /dev/stdin token");
    let then = dim(format!("# then paste {what}; Enter, Ctrl-D"));
    format!(
        "\nJoin a client, on the machine behind the firewall. Its token goes into a file first:\n\n  {file}  {then}"
    )
}

/// The key itself on a terminal; elsewhere, as in a log, only where it stands.
fn shown_key(facts: &Facts<'_>) -> String {
    if style::is_terminal()
        && let Some(key) = facts.kept.secret("API_KEY")
    {
        return key.expose().to_owned();
    }
    format!("$(sed -n s/^API_KEY=//p {})", facts.kept.path.display())
}

fn curl(url: &str, key: &str) -> String {
    // One line per part: each fits a terminal of 80 columns.
    format!("curl -i {url} \\\n    -H \"X-API-Key: {key}\" \\\n    -d '{{\"hello\": \"relay\"}}'")
}

/// What a command needs to find the server whose credentials are there, and not another one.
fn elsewhere(credentials: &Path) -> String {
    match credentials.parent().filter(|dir| *dir != Path::new(DEV_DATA_DIR)) {
        Some(dir) => format!(" --data-dir {}", dir.display()),
        None => String::new(),
    }
}

/// This program as it was called, where a shell may not find it by its short name.
fn program() -> String {
    let called = std::env::args().next().filter(|called| called.contains('/'));
    called.unwrap_or_else(|| "crm-relay".to_owned())
}
