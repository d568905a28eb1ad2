//! Settings that are lists: what stands between commas, each read and written as it is shown.

use relay_net::{cidr::Cidr, tls};

use super::target;

pub(super) fn origins(text: &str) -> Result<String, String> {
    let origins: Result<Vec<String>, String> = parts(text)?.map(target::origin).collect();
    Ok(origins?.join(","))
}

pub(super) fn hosts(text: &str) -> Result<String, String> {
    let hosts: Result<Vec<String>, String> = parts(text)?.map(target::host_name).collect();
    Ok(hosts?.join(","))
}

pub(super) fn networks(text: &str) -> Result<String, String> {
    let networks: Result<Vec<String>, String> =
        parts(text)?.map(|part| part.parse::<Cidr>().map(|network| network.to_string())).collect();
    Ok(networks?.join(","))
}

pub(super) fn pins(text: &str) -> Result<String, String> {
    let pins: Result<Vec<String>, String> =
        parts(text)?.map(|part| part.parse::<tls::Pin>().map(|pin| pin.to_string())).collect();
    Ok(pins?.join(","))
}

/// The first of these words alone, or any of the others.
pub(super) fn words(text: &str, words: &[&str]) -> Result<String, String> {
    let (none, others) = words.split_first().map_or(("", words), |(none, others)| (*none, others));
    let wanted: Vec<&str> = parts(text)?.collect();
    if wanted.iter().all(|word| word.eq_ignore_ascii_case(none)) {
        return Ok(none.to_owned());
    }
    let is_wanted = |word: &&&str| wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(word));
    let known: Vec<&str> = others.iter().filter(is_wanted).copied().collect();
    let is_known = |wanted: &&str| known.iter().any(|word| word.eq_ignore_ascii_case(wanted));
    if !wanted.iter().all(is_known) {
        return Err(format!("want {none}, or {} with commas between them", others.join(", ")));
    }
    Ok(known.join(","))
}

/// What stands between commas, of which one at the end is no fault; that there is nothing else is one.
fn parts(text: &str) -> Result<impl Iterator<Item = &str>, String> {
    let mut parts = text.split(',').map(str::trim).filter(|part| !part.is_empty()).peekable();
    let none = || "has nothing but commas; leave it empty, or name something".to_owned();
    if parts.peek().is_some() { Ok(parts) } else { Err(none()) }
}
