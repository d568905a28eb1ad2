//! What is wrong with a configuration: everything at once, each with its place and what would be right.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::exit::{Exit, Failure};

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// On the command line.
    Flag,
    /// In the environment.
    Environment,
    /// In a file that the variable `X_FILE` names.
    EnvironmentFile(PathBuf),
    /// In the configuration file.
    File {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
    /// Nowhere.
    Default,
}

impl Origin {
    /// A path that was given there: in the configuration file it is relative to that file.
    pub(crate) fn beside(&self, path: &Path) -> PathBuf {
        match self {
            Self::File { path: file, .. } => file.parent().unwrap_or(Path::new("")).join(path),
            Self::Flag | Self::Environment | Self::EnvironmentFile(_) | Self::Default => path.to_path_buf(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("command line"),
            Self::Environment => f.write_str("environment"),
            Self::EnvironmentFile(path) => write!(f, "environment, read from {}", path.display()),
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The setting or key.
    pub(crate) name: String,
    /// Its value, as it may be shown.
    pub(crate) value: Option<String>,
    /// Where it was given; [`Origin::Default`]: it was not.
    pub(crate) origin: Origin,
    /// What would be right.
    pub(crate) text: String,
}

/// Everything that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    /// Notes one more. Wherever it is shown or logged, no login of a URL is in it.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        value: Option<String>,
        origin: &Origin,
        text: impl Into<String>,
    ) {
        let (value, text) = (value.map(|value| without_logins(&value)), without_logins(&text.into()));
        self.0.push(Fault { name: name.into(), value, origin: origin.clone(), text });
    }

    /// These and others, each once.
    pub(crate) fn and(mut self, others: Self) -> Self {
        for fault in others.0 {
            if !self.0.contains(&fault) {
                self.0.push(fault);
            }
        }
        self
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has a fault")?,
            n => write!(f, "the configuration has {n} faults")?,
        }
        for fault in &self.0 {
            write!(f, "\n\n  {}", fault.name)?;
            if let Some(value) = &fault.value {
                let short: String = value.chars().take(80).collect();
                write!(f, " = {short:?}")?;
            }
            if fault.origin != Origin::Default {
                write!(f, "  ({})", fault.origin)?;
            }
            write!(f, "\n      {}", fault.text)?;
        }
        Ok(())
    }
}

/// Text that may hold URLs, with user and password of each left out. What follows `://` up to the last `@` before the
/// next `://` counts as such, so that a password may hold anything; so does, in a word without it, all but a name and `=`.
pub(crate) fn without_logins(text: &str) -> String {
    let words = without_full_logins(text);
    words.split_inclusive(|c: char| c.is_whitespace() || c == ',').map(without_bare_login).collect()
}

/// `u:secret@host`, `http:/u:secret@host`, `//u:secret@host`: no URL, and meant as one.
fn without_bare_login(word: &str) -> String {
    let login = word.rsplit_once('@').filter(|(before, _)| !before.contains("://") && before.contains([':', '/']));
    let Some((before, rest)) = login else { return word.to_owned() };
    let name = before.split_once('=').map_or("", |(name, _)| name);
    let quote = if before.starts_with('"') { "\"" } else { "" };
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name { format!("{name}=redacted@{rest}") } else { format!("{quote}redacted@{rest}") }
}

fn without_full_logins(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        shown.push_str(&part.rsplit_once('@').map_or_else(|| part.to_owned(), |(_, rest)| format!("redacted@{rest}")));
    }
    shown
}

impl From<Faults> for Failure {
    fn from(faults: Faults) -> Self {
        Self::new(Exit::Configuration, faults.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: the user and the password of a URL that has a fault are not shown with it.
    #[test]
    fn a_fault_shows_no_login_of_a_url() {
        let mut faults = Faults::default();
        let value = "a=http://u:canary@h/,b=http://u:c@na//r y@h/ x";
        faults.add("LOCAL_WEBHOOK_URL", Some(value.to_owned()), &Origin::Environment, format!("{value}: not a URL"));
        let shown = faults.to_string();
        assert!(shown.contains("\"a=http://redacted@h/,b=http://redacted@h/ x\""), "{shown}");
        assert!(!shown.contains("canary") && !shown.contains("r y"), "{shown}");
    }

    /// The same where it is no URL, for want of a scheme or a slash.
    #[test]
    fn what_is_nearly_a_url_shows_no_login_either() {
        for (given, shown) in [
            ("u:canary@h:3000", "redacted@h:3000"),
            ("x=u:canary@h", "x=redacted@h"),
            ("http:/u:canary@h/, b", "redacted@h/, b"),
            ("\"//u:canary@h\": no URL", "\"redacted@h\": no URL"),
            ("ftp://u:canary@h", "ftp://redacted@h"),
            ("http://canary@h/", "http://redacted@h/"),
            ("@/etc/relay/secret", "@/etc/relay/secret"),
            ("somebody@example.com", "somebody@example.com"),
        ] {
            assert_eq!(without_logins(given), shown);
        }
    }
}
