//! Takes out of a transcript what changes from run to run.

use std::path::Path;

/// Replaces ids, times, ports, digests, secrets and the directory.
pub(crate) fn redact(text: &str, dir: &Path) -> String {
    let text = text.replace(&dir.display().to_string(), "[DIR]");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let at_word = !out.ends_with(|c: char| c.is_ascii_alphanumeric());
        let found = RULES.iter().find_map(|rule| if at_word { rule(rest) } else { None });
        let first = rest.chars().next().map_or(1, char::len_utf8);
        let (length, word) = found.unwrap_or((first, &rest[..first]));
        out.push_str(word);
        rest = &rest[length..];
    }
    out.trim_end().to_owned()
}

/// How much of the text's beginning to replace, and by what.
type Rule = fn(&str) -> Option<(usize, &'static str)>;

const RULES: &[Rule] = &[time, id, secret, port, digest, instance, host, milliseconds, uptime, pid];

fn time(text: &str) -> Option<(usize, &'static str)> {
    let is_time = text.len() > 20 && matches_shape(text, "dddd-dd-ddTdd:dd:dd");
    is_time.then(|| (text.find('Z').map_or(19, |end| end + 1), "[TIME]"))
}

fn id(text: &str) -> Option<(usize, &'static str)> {
    let prefixes = [("evt_", "[EVENT]"), ("dlv_", "[DELIVERY]"), ("job_", "[JOB]"), ("msg_", "[MESSAGE]")];
    let (prefix, word) = prefixes.into_iter().find(|(prefix, _)| text.starts_with(prefix))?;
    Some((prefix.len() + run(&text[prefix.len()..], |c| c.is_ascii_hexdigit() || c == '-' || c == '_'), word))
}

fn secret(text: &str) -> Option<(usize, &'static str)> {
    let is_secret = ["crk_", "crt_", "cra_"].iter().any(|prefix| text.starts_with(prefix));
    is_secret.then(|| (run(text, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-'), "[SECRET]"))
}

fn port(text: &str) -> Option<(usize, &'static str)> {
    let rest = text.strip_prefix("127.0.0.1:")?;
    Some((text.len() - rest.len() + run(rest, |c| c.is_ascii_digit()), "127.0.0.1:[PORT]"))
}

fn digest(text: &str) -> Option<(usize, &'static str)> {
    let length = run(text, |c| c.is_ascii_hexdigit());
    (length == 64).then_some((64, "[SHA256]"))
}

fn instance(text: &str) -> Option<(usize, &'static str)> {
    let rest = text.strip_prefix("instance=")?;
    Some((text.len() - rest.len() + run(rest, |c| c.is_ascii_hexdigit()), "instance=[INSTANCE]"))
}

fn host(text: &str) -> Option<(usize, &'static str)> {
    let rest = text.strip_prefix("label=")?;
    Some((text.len() - rest.len() + run(rest, |c| !c.is_whitespace()), "label=[HOST]"))
}

fn milliseconds(text: &str) -> Option<(usize, &'static str)> {
    let rest = text.strip_prefix("_ms=")?;
    Some((text.len() - rest.len() + run(rest, |c| c.is_ascii_digit()), "_ms=[MS]"))
}

fn uptime(text: &str) -> Option<(usize, &'static str)> {
    let rest = text.strip_prefix("up ").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))?;
    Some((text.len() - rest.len() + rest.find(',')?, "up [SPAN]"))
}

fn pid(text: &str) -> Option<(usize, &'static str)> {
    let rest = text.strip_prefix("pid ")?;
    let digits = run(rest, |c| c.is_ascii_digit());
    (digits > 0).then_some((4 + digits, "pid [PID]"))
}

/// `d` stands for a digit, anything else for itself.
fn matches_shape(text: &str, shape: &str) -> bool {
    let is_like = |(found, wanted): (u8, u8)| if wanted == b'd' { found.is_ascii_digit() } else { found == wanted };
    text.len() >= shape.len() && text.bytes().zip(shape.bytes()).all(is_like)
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !belongs(c)).unwrap_or(text.len())
}
