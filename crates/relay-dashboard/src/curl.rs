//! An event as a command of a POSIX shell that sends it again: byte for byte, whatever it is.
//!
//! Nothing that stands in it is obeyed by the shell, and nothing moves a cursor: what a terminal or a page would not show as it is stands there in
//! octal, for `printf`.

use std::fmt::Write as _;

use relay_core::{event::Event, secret_field::is_secret};

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
/// Fields that are the sender's of the request that is made, not the event's.
const OWN_FIELDS: [&[u8]; 3] = [b"host", b"content-length", b"expect"];

/// The lines of the command; each but the last goes on in the next. Where it goes is `$TARGET`.
pub(crate) fn command(event: &Event, body_bytes: u64, look: Look) -> Vec<String> {
    let (before, data) = body(event, body_bytes, look.room);
    let mut lines: Vec<String> = before.into_iter().collect();
    lines.push(format!("curl --globoff -X {} {}", word(&event.method), target(event)));
    let has_type = event.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"content-type"));
    if data.is_some() && !has_type {
        // Else it says that the body is a form.
        lines.push("-H 'Content-Type:'".to_owned());
    }
    let fields = event.headers.iter().filter(|(name, value)| is_sent(name, value));
    let given = |name: &[u8], value: &[u8]| {
        if look.reveals || !is_secret(name, value) { word(&field(name, value)) } else { variable(name) }
    };
    lines.extend(fields.map(|(name, value)| format!("-H {}", given(name, value))));
    lines.extend(data);
    lines
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
fn target(event: &Event) -> String {
    let mut behind = event.rest().to_vec();
    if let Some(query) = &event.query {
        behind.push(b'?');
        behind.extend_from_slice(query);
    }
    if behind.is_empty() { "\"$TARGET\"".to_owned() } else { format!("\"$TARGET\"{}", word(&behind)) }
}

/// It can be a field of a request, and is not one that each request has of its own.
fn is_sent(name: &[u8], value: &[u8]) -> bool {
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_own = OWN_FIELDS.iter().any(|own| name.eq_ignore_ascii_case(own));
    !name.is_empty() && name.iter().all(is_of_token) && !is_own && !value.iter().any(|byte| b"\r\n\0".contains(byte))
}

/// A field whose value is a secret: whoever runs the command gives it in a variable of that name.
fn variable(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name);
    let of_shell = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let variable: String = name.chars().map(of_shell).collect();
    // A name of the shell begins with no digit.
    let before = if variable.starts_with(|c: char| c.is_ascii_digit()) { "_" } else { "" };
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        return format!("\"{name}: ${before}{variable}\"");
    }
    format!("{}\"${before}{variable}\"", quoted(&format!("{name}: ")))
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
        let event = event(None, &fields, b"{}");
        let text = |reveals| command(&event, 2, Look { reveals, ..Look::default() }).join(" ");
        let masked = text(false);
        assert!(masked.contains("-H \"authorization: $AUTHORIZATION\""), "{masked}");
        assert!(!masked.contains("canary") && masked.contains("'x-hub-signature: sha1=ab'"), "{masked}");
        assert!(masked.contains("-H 'x-`-token: '\"$X___TOKEN\""), "{masked}");
        assert!(text(true).contains("'authorization: Bearer canary'"));
        let run =
            format!("curl() {{ for each; do echo \"[$each]\"; done; }}\nTARGET=t AUTHORIZATION='a b'\n{masked}\n");
        let out = Command::new("sh").arg("-c").arg(&run).output().expect("a shell runs");
        assert!(String::from_utf8_lossy(&out.stdout).contains("[authorization: a b]"), "{out:?}");
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
