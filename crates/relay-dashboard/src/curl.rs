//! An event as a command of a POSIX shell that sends it again: byte for byte, whatever it is.
//!
//! Nothing that stands in it is obeyed by the shell, and nothing moves a cursor: what a terminal or a page would not show as it is stands there in
//! octal, for `printf`.

use std::{collections::BTreeMap, fmt::Write as _};

use relay_core::{
    event::Event,
    secret_field::{QueryPart, is_secret, query_parts},
};

use crate::{
    body::{Look, Room},
    escape::{steers, width},
};

/// A larger body is fetched by the command line.
const BODY_BYTES_MAX: u64 = 64 * 1024;
/// So is one that takes more of a page than this, as it stands in its HTML.
const SHOWN_MAX: usize = 16 * 1024;
/// The same beside a list.
const SHOWN_IN_PANE_MAX: usize = 1_024;
/// What the name of a variable begins with. Nobody has one of his own that does, which would go out in place of the event's: the names of
/// fields are strangers'.
const PREFIX: &str = "RELAY_EVENT_";
/// Characters of a stranger's name that a variable has.
const NAME_CHARS_MAX: usize = 48;
/// Fields that are the sender's of the request that is made, not the event's.
const OWN_FIELDS: [&[u8]; 3] = [b"host", b"content-length", b"expect"];

/// The lines of the command; each but the last goes on in the next. Where it goes is `$TARGET`.
pub(crate) fn command(event: &Event, body_bytes: u64, look: Look) -> Vec<String> {
    let (before, data) = body(event, body_bytes, look.room);
    let mut lines: Vec<String> = before.into_iter().collect();
    let mut variables = Variables::default();
    lines.push(format!("curl --globoff -X {} {}", word(&event.method), target(event, look, &mut variables)));
    let has_type = event.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
    if data.is_some() && !has_type {
        // Else it says that the body is a form.
        lines.push("-H 'Content-Type:'".to_owned());
    }
    let fields = event.headers.iter().filter(|(name, value)| is_sent(name, value));
    lines.extend(fields.map(|(name, value)| {
        let is_shown = look.reveals || !is_secret(name, value);
        format!("-H {}", if is_shown { word(&field(name, value)) } else { variables.field(name) })
    }));
    lines.extend(data);
    lines
}

/// Variables in which whoever runs the command gives what is a secret, by their names; each has the number of the last that is called so.
#[derive(Debug, Default)]
struct Variables(BTreeMap<String, usize>);

impl Variables {
    /// A field whose value is a secret.
    fn field(&mut self, name: &[u8]) -> String {
        let given = self.given(name);
        let name = String::from_utf8_lossy(name);
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
            return format!("\"{name}: {given}\"");
        }
        format!("{}\"{given}\"", quoted(&format!("{name}: ")))
    }

    /// The value of a variable that is called as what it stands for, and is no other's; where it is not set the shell says so and runs nothing.
    fn given(&mut self, name: &[u8]) -> String {
        let of_shell = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let name: String = String::from_utf8_lossy(name).chars().take(NAME_CHARS_MAX).map(of_shell).collect();
        let first = format!("{PREFIX}{name}");
        let (mut number, mut variable) = (1, first.clone());
        while self.0.contains_key(&variable) {
            number = self.0.get(&first).map_or(number, |last| number.max(*last)) + 1;
            variable = format!("{first}_{number}");
        }
        self.0.insert(first, number);
        self.0.entry(variable.clone()).or_insert(1);
        format!("${{{variable}:?}}")
    }
}

/// What writes the body for the command, and what gives it that.
fn body(event: &Event, bytes: u64, room: Room) -> (Option<String>, Option<String>) {
    let read = || Some("--data-binary @-".to_owned());
    if bytes == 0 {
        let is_without = [b"GET".as_slice(), b"HEAD"].contains(&&event.method[..]);
        return (None, (!is_without).then(|| "--data-raw ''".to_owned()));
    }
    let fetched = || (Some(format!("crm-relay event show {} --body |", event.id)), read());
    if bytes > BODY_BYTES_MAX {
        return fetched();
    }
    let given = match plain(&event.body) {
        Some(text) => (None, Some(format!("--data-raw {}", quoted(text)))),
        None => (Some(format!("{} |", printed(&event.body))), read()),
    };
    let shown: usize = given.0.iter().chain(&given.1).flat_map(|line| line.chars()).map(width).sum();
    let room = if room == Room::Pane { SHOWN_IN_PANE_MAX } else { SHOWN_MAX };
    if shown > room { fetched() } else { given }
}

/// Where it goes, and what stood behind that.
fn target(event: &Event, look: Look, variables: &mut Variables) -> String {
    let mut behind = event.rest().to_vec();
    let query = event.query.as_deref();
    behind.extend(query.map(|_| b'?'));
    let parts = match query {
        Some(query) if look.reveals => vec![QueryPart::Said(query)],
        query => query_parts(query.unwrap_or_default()),
    };
    let mut target = "\"$TARGET\"".to_owned();
    for part in parts {
        match part {
            QueryPart::Said(said) => behind.extend_from_slice(said),
            QueryPart::Secret(name) => {
                target.push_str(&word(&std::mem::take(&mut behind)));
                // Writing to a string cannot fail.
                let _ = write!(target, "\"{}\"", variables.given(&name));
            }
        }
    }
    if !behind.is_empty() {
        target.push_str(&word(&behind));
    }
    target
}

/// It can be a field of a request, and is not one that each request has of its own.
fn is_sent(name: &[u8], value: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_own = OWN_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own));
    !name.is_empty() && name.iter().all(is_of_token) && !is_own && !value.iter().any(|byte| b"\r\n\0".contains(byte))
}

/// As curl takes it: an empty one ends with a semicolon.
fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    if value.is_empty() { [name, b";"].concat() } else { [name, b": ", value].concat() }
}

/// One word of the shell. It has no line end at its end, which the shell would take away.
fn word(bytes: &[u8]) -> String {
    plain(bytes).map_or_else(|| format!("\"$({})\"", printed(bytes)), quoted)
}

/// As text, if it is one that shows as it is.
fn plain(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok().filter(|text| !text.contains(|c| c == '\t' || steers(c)))
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A command that prints these bytes: those that do not show stand in it in octal.
fn printed(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '%' => out.push_str("%%"),
                '\\' => out.push_str(r"\\"),
                '\'' => out.push_str(r"'\''"),
                // Between double quotes a shell that somebody types at puts a line of its history there.
                '!' => octal(&mut out, b"!"),
                '\n' => out.push_str(r"\n"),
                '\t' => out.push_str(r"\t"),
                _ if steers(character) => octal(&mut out, character.encode_utf8(&mut [0; 4]).as_bytes()),
                _ => out.push(character),
            }
        }
        octal(&mut out, chunk.invalid());
    }
    // Nothing that begins with a dash is taken for an option.
    format!("printf -- '{out}'")
}

fn octal(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(out, "\\{byte:03o}");
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use bytes::Bytes;
    use proptest::prelude::*;
    use relay_core::time::Wall;

    use super::*;

    /// A POST of this body with these fields.
    fn event(query: Option<&[u8]>, headers: &[(&[u8], &[u8])], body: &[u8]) -> Event {
        let bytes = Bytes::copy_from_slice;
        Event {
            id: relay_core::id::EventId::from_u128((7 << 76) | (2 << 62)),
            source: "shop".parse().unwrap(),
            method: Bytes::from_static(b"POST"),
            path: Bytes::from_static(b"/webhook/shop"),
            query: query.map(bytes),
            headers: headers.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            body: bytes(body),
            body_sha256: [0; 32],
            received_at: Wall::from_micros(0),
            name: None,
            key: None,
        }
    }

    /// The command as a page shows it.
    fn shown(event: &Event) -> String {
        command(event, event.body.len() as u64, Look { reveals: true, ..Look::default() }).join(" \\\n  ")
    }

    /// What a real shell gives curl: its arguments, and what it reads.
    fn run(event: &Event) -> (Vec<Vec<u8>>, Vec<u8>) {
        let said = r#"curl() { for each; do printf '%s\000' "$each"; done; printf '\000'; case "$*" in *--data-binary*) cat;; esac; }"#;
        let text = format!("{said}\nTARGET=http://t/\n{}\n", shown(event));
        let out = Command::new("sh").env("LC_ALL", "C.UTF-8").arg("-c").arg(&text).output().expect("a shell runs");
        assert!(out.status.success() && out.stderr.is_empty(), "{text}\n{}", String::from_utf8_lossy(&out.stderr));
        let end = out.stdout.windows(2).position(|two| two == [0, 0]).expect("the arguments end");
        let arguments = out.stdout[..end].split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        (arguments, out.stdout[end + 2..].to_vec())
    }

    fn is_there(arguments: &[Vec<u8>], option: &str, value: &[u8]) -> bool {
        arguments.windows(2).any(|two| two[0] == option.as_bytes() && two[1] == value)
    }

    #[test]
    fn a_usual_event_is_a_command_that_one_can_read() {
        let fields: [(&[u8], &[u8]); 5] = [
            (b"content-type", b"application/json"),
            (b"Content-Length", b"17"),
            (b"host", b"relay"),
            (b"x-signature", b"it's"),
            (b"x-empty", b""),
        ];
        let text = shown(&event(Some(b"a=[1]&b"), &fields, br#"{"name":"O'Hara"}"#));
        assert_eq!(
            text,
            "curl --globoff -X 'POST' \"$TARGET\"'?a=[1]&b' \\\n  -H 'content-type: application/json' \\\n  -H 'x-signature: \
             it'\\''s' \\\n  -H 'x-empty;' \\\n  --data-raw '{\"name\":\"O'\\''Hara\"}'"
        );
        let large = event(None, &[], &vec![b'x'; 65 * 1024]);
        let text = shown(&large);
        assert!(text.starts_with(&format!("crm-relay event show {} --body | \\\n  curl ", large.id)), "{text}");
        assert!(text.ends_with("-H 'Content-Type:' \\\n  --data-binary @-") && text.len() < 200, "{text}");
    }

    /// A command that is copied ends up in chats and tickets: what would let others in is given by whoever runs it.
    #[test]
    fn a_secret_is_a_variable_until_it_is_revealed() {
        let fields: [(&[u8], &[u8]); 3] =
            [(b"authorization", b"Bearer canary"), (b"x-`-token", b"canary"), (b"x-hub-signature", b"sha1=ab")];
        let event = event(Some(b"a=1&access%5Ftoken=canary&b=2"), &fields, b"{}");
        let text = |reveals| command(&event, 2, Look { reveals, ..Look::default() }).join(" ");
        let masked = text(false);
        assert!(!masked.contains("canary") && masked.contains("'x-hub-signature: sha1=ab'"), "{masked}");
        for part in [
            "\"$TARGET\"'?a=1&access%5Ftoken='\"${RELAY_EVENT_ACCESS_TOKEN:?}\"'&b=2'",
            "-H \"authorization: ${RELAY_EVENT_AUTHORIZATION:?}\"",
            "-H 'x-`-token: '\"${RELAY_EVENT_X___TOKEN:?}\"",
        ] {
            assert!(masked.contains(part), "{part}: {masked}");
        }
        assert!(text(true).contains("'authorization: Bearer canary'") && text(true).contains("n=canary&b=2'"));
        let run = |given: &str| {
            let run = format!("curl() {{ for each; do echo \"[$each]\"; done; }}\nTARGET=t {given}\n{masked}\n");
            Command::new("sh").arg("-c").arg(&run).output().expect("a shell runs")
        };
        let out = run("RELAY_EVENT_AUTHORIZATION='a b' RELAY_EVENT_X___TOKEN=c RELAY_EVENT_ACCESS_TOKEN=d");
        let said = String::from_utf8_lossy(&out.stdout);
        assert!(said.contains("[authorization: a b]") && said.contains("[t?a=1&access%5Ftoken=d&b=2]"), "{out:?}");
        let unset = run("RELAY_EVENT_AUTHORIZATION=a RELAY_EVENT_X___TOKEN=c");
        assert!(!unset.status.success() && unset.stdout.is_empty(), "{unset:?}");
    }

    /// A stranger chooses the names of fields: none becomes a variable that whoever pastes the command has in his environment.
    #[test]
    fn no_variable_of_a_command_is_one_of_its_readers() {
        let names =
            ["github-token", "token", "x-api-key", "x_api_key", "X-API-Key", "x-api-key-2", "aws-secret-access-key"];
        let fields = names.map(|name| (name.as_bytes(), b"canary".as_slice()));
        let event = event(Some(b"token=canary"), &fields, b"");
        let text = command(&event, 0, Look::default()).join(" ");
        let variables: Vec<&str> = text.split("${").skip(1).filter_map(|behind| behind.split(":?}").next()).collect();
        let expected = ["TOKEN", "GITHUB_TOKEN", "TOKEN_2", "X_API_KEY", "X_API_KEY_2", "X_API_KEY_3", "X_API_KEY_2_2"];
        assert_eq!(variables[..7], expected.map(|name| format!("{PREFIX}{name}")), "{text}");
        assert!(
            variables.len() == 8
                && !text.contains("canary")
                && !text.replace("$TARGET", "").replace("${RELAY_EVENT_", "").contains('$'),
            "{text}"
        );
    }

    /// S26: what a stranger sent has a shell do nothing, and arrives as it was.
    #[test]
    fn a_shell_obeys_nothing_that_stands_in_an_event() {
        let hostile: [&[u8]; 11] = [
            b"'; echo owned; '",
            b"$(echo owned)`echo owned`$HOME\\",
            b"@/etc/passwd",
            b"-- --next",
            b"%s%n\\0\\c%%",
            b"line\nline\n\n",
            b"\x00\xff\x1b[2J\t\r",
            "\u{202e}Grüße 日本\u{feff}".as_bytes(),
            b"!! !1 !$",
            b"\xff !! !1",
            b"\\'\\\\''",
        ];
        for text in hostile {
            let query = plain(text).map(str::as_bytes);
            let (arguments, read) = run(&event(query, &[(b"x-a", text)], text));
            let (is_piped, is_field) = (plain(text).is_none(), !text.iter().any(|byte| b"\r\n\0".contains(byte)));
            assert_eq!(read == text, is_piped, "{text:?} as a body");
            // Where somebody types it a shell puts a line of its history in the place of that, but within single quotes.
            assert!(!is_piped || !word(text).contains('!'), "{text:?}");
            assert!(is_piped || is_there(&arguments, "--data-raw", text), "{text:?} as a body: {arguments:?}");
            assert_eq!(is_there(&arguments, "-H", &[b"x-a: ", text].concat()), is_field, "{text:?} as a field");
            assert!(
                !shown(&event(Some(text), &[(b"x-a", text)], text)).contains(|c| c != '\n' && steers(c)),
                "{text:?}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// R10: any bytes go through a shell as they are.
        #[test]
        fn any_body_goes_through_a_shell(body in prop::collection::vec(any::<u8>(), 1..300)) {
            let (arguments, read) = run(&event(None, &[], &body));
            prop_assert!(read == body || is_there(&arguments, "--data-raw", &body));
        }
    }
}
