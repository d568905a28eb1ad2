//! What strangers wrote is text of a page, whatever it is (S26): 40 payloads in each of eight places of every screen.

use crate::sample::{self, Words, screens};
use std::fmt::Write as _;

use proptest::prelude::*;
use relay_dashboard::{
    body::{Look, View},
    escape::steers,
    screen::{EventFacts, EventPage, Screen as _},
    viewer::Role,
};

pub(crate) const PAYLOADS: [&str; 40] = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "\"><script>alert(1)</script>",
    "'><img src=x onerror=alert(1)>",
    "\" onmouseover=\"alert(1)",
    "' onfocus='alert(1)' autofocus='",
    "` onclick=alert(1) `",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</select><img src=x onerror=alert(1)>",
    "</td></tr></table><script>alert(1)</script>",
    "</span></bdi></li></ol><iframe src=//evil.example>",
    "<!--><script>alert(1)</script>-->",
    "]]><script>alert(1)</script>",
    "<a href=\"javascript:alert(1)\">x</a>",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example/x",
    "https://evil.example/x.png",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content=\"0;url=//evil.example\">",
    "<base href=//evil.example/>",
    "<form action=//evil.example><input type=submit></form>",
    "<form id=login><input name=attributes></form>",
    "<div hx-delete=/api/v1/sources/shop hx-trigger=load></div>",
    "<button data-on-click=\"@post('/api/v1/dead/purge')\">x</button>",
    "<template><script>alert(1)</script></template>",
    "<math><mtext></mtext><mglyph><style><!--</style><img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\u{202e}fdp.eciovni\u{202c}",
    "\u{2066}a\u{2069}\u{200f}\u{200e}\u{61c}",
    "\u{1b}[31mred\u{1b}[0m\u{1b}]0;title\u{7}",
    "\u{9b}2J\u{8}\u{7f}\u{0}",
    "break\r\nLocation: //evil.example",
    "\u{2028}\u{2029}\u{feff}\u{200b}\u{e0041}\u{fff9}",
    "{{7*7}}${7*7}<%= 7*7 %>#{7*7}",
    "{% include \"/etc/hosts\" %}\u{fffd}\u{1f469}\u{200d}\u{1f4bb}",
];

/// Screens on which a payload reads otherwise than it came: in hex, or quoted for a shell.
const OTHERWISE: [&str; 3] = ["event-hex", "events-open-hex", "event-curl"];

/// A place that a stranger's value has, and how it gets there.
type Place = (&'static str, fn(&mut Words, &str));

const PLACES: [Place; 8] = [
    ("body", |words, text| words.body = text.into()),
    ("header name", |words, text| words.header_name = text.into()),
    ("header value", |words, text| words.header_value = text.into()),
    ("path", |words, text| (words.path, words.name) = (text.to_owned(), None)),
    ("query", |words, text| words.query = text.into()),
    ("event name, and what was typed", |words, text| {
        (words.name, words.find) = (Some(text.to_owned()), Some(text.to_owned()));
    }),
    ("error and answer of a target", |words, text| (words.error, words.answer) = (text.to_owned(), text.to_owned())),
    ("client label in a reason, browser, claimed user", |words, text| {
        (words.reason, words.agent, words.claimed) = (text.to_owned(), text.to_owned(), text.to_owned());
    }),
];

/// S26: the elements, attributes and links of a page are those of the same page with letters in place of the payload, and what can be read
/// in it is the payload.
#[test]
fn a_payload_is_text_wherever_it_stands() {
    for payload in PAYLOADS {
        for (place, put) in PLACES {
            let few = Words { lines: 2, ..Words::usual() };
            let (mut hostile, mut plain) = (few.clone(), few);
            put(&mut hostile, payload);
            put(&mut plain, &letters(payload));
            let mut seen = 0;
            let (expected, wanted) = (visible(payload, place == "body"), visible(&letters(payload), place == "body"));
            for ((name, html), (_, of_letters)) in screens(&hostile).into_iter().zip(screens(&plain)) {
                if !wanted.iter().any(|line| of_letters.contains(line)) {
                    assert!(html == of_letters || OTHERWISE.contains(&name), "{payload:?} as {place} on {name}");
                    continue;
                }
                assert!(!html.contains(|c| c != '\n' && steers(c)), "{payload:?} as {place} steers {name}");
                let (read, of_letters) = (read(&html), read(&of_letters));
                assert_eq!(read.shape, of_letters.shape, "{payload:?} as {place} on {name}");
                if OTHERWISE.contains(&name) {
                    continue;
                }
                let found = count(&read, &expected);
                assert_eq!(found, count(&of_letters, &wanted), "{payload:?} as {place} on {name} reads otherwise");
                seen += found;
            }
            assert!(seen > 0, "{payload:?} as {place} is on no screen");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// S26: the same of any text in all places at once, whatever it is made of.
    #[test]
    fn any_text_leaves_a_page_as_it_is(payload in "(?s)[\\PC\\pC<>&\"'`=/{}%\n\r\t]{0,80}") {
        let few = Words { lines: 2, ..Words::usual() };
        let (mut hostile, mut plain) = (few.clone(), few);
        for (_, put) in PLACES {
            put(&mut hostile, &payload);
            put(&mut plain, &letters(&payload));
        }
        for ((name, html), (_, of_letters)) in screens(&hostile).into_iter().zip(screens(&plain)) {
            prop_assert!(!html.contains(|c| c != '\n' && steers(c)), "it steers {}", name);
            prop_assert_eq!(read(&html).shape, read(&of_letters).shape, "on {}", name);
        }
    }

    /// S26: any bytes as a body are lines of a page, and take no more of it than they may.
    #[test]
    fn any_bytes_are_a_body(body in proptest::collection::vec(any::<u8>(), 0..4_000)) {
        let words = Words { body, lines: 2, ..Words::usual() };
        for (name, html) in screens(&words).into_iter().filter(|(name, _)| name.starts_with("event")) {
            prop_assert!(!html.contains(|c| c != '\n' && steers(c)), "it steers {}", name);
            prop_assert!(html.len() <= 60 * 1024, "{} is heavy", name);
        }
    }
}

/// Of as many bytes, and the same at the ends of lines; each line has a letter of its own.
fn letters(payload: &str) -> String {
    let line = |(line, letter): (&str, char)| {
        let plain =
            |c: char| if c == '\n' || c == '\r' { c.to_string() } else { letter.to_string().repeat(c.len_utf8()) };
        line.chars().map(plain).collect::<String>()
    };
    payload.split_inclusive('\n').zip("qwzkj".chars().cycle()).map(line).collect()
}

/// As it is to be read: what steers is shown as an escape. A body's lines are lines.
fn visible(payload: &str, in_lines: bool) -> Vec<String> {
    let lines: Vec<&str> = if in_lines { payload.lines().collect() } else { vec![payload] };
    let shown = |character: char| {
        if steers(character) { format!("\\u{{{:x}}}", character as u32) } else { character.to_string() }
    };
    lines.into_iter().map(|line| line.chars().map(shown).collect()).collect()
}

fn count(read: &Read, lines: &[String]) -> usize {
    lines.iter().map(|line| read.texts.iter().map(|text| text.matches(line.as_str()).count()).sum::<usize>()).sum()
}

/// A page as a browser takes it apart.
#[derive(Debug, Default)]
struct Read {
    /// Tags with the names of their attributes, and the beginnings of what leads somewhere.
    shape: Vec<String>,
    /// Texts and values of attributes, decoded.
    texts: Vec<String>,
}

fn read(html: &str) -> Read {
    let mut read = Read::default();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        read.texts.push(decoded(&rest[..start]));
        let (tag, behind) = tag(&rest[start + 1..]);
        read.shape.push(shape(tag, &mut read.texts));
        rest = behind;
    }
    read.texts.push(decoded(rest));
    read
}

/// A tag's content and what follows it: `>` in a quoted value ends none.
fn tag(text: &str) -> (&str, &str) {
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (None, '>') => return (&text[..at], &text[at + 1..]),
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character => quote = None,
            _ => {}
        }
    }
    (text, "")
}

fn shape(tag: &str, texts: &mut Vec<String>) -> String {
    let (name, mut rest) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
    let mut shape = name.to_owned();
    while let Some((attribute, behind)) = rest.split_once("=\"") {
        let (value, behind) = behind.split_once('"').unwrap_or((behind, ""));
        let attribute = attribute.trim();
        write!(shape, " {attribute}").expect("a string takes it");
        if ["href", "src", "action"].contains(&attribute) {
            let path = value.split(['?', '#']).next().unwrap_or_default();
            write!(shape, "={path}").expect("a string takes it");
        } else {
            texts.push(decoded(value));
        }
        rest = behind;
    }
    shape + rest.trim()
}

fn decoded(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#96;", "`"), ("&amp;", "&")];
    entities.into_iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// What would let others in stands on no page, and in no command, before it is asked for.
#[test]
fn a_secret_among_the_fields_is_masked_until_it_is_revealed() {
    let words = Words { header_name: "x-gitlab-token".into(), header_value: "canary".into(), ..Words::usual() };
    for (view, reveals) in [(View::Pretty, false), (View::Curl, false), (View::Pretty, true), (View::Curl, true)] {
        let event = sample::facts(&words, Role::Operator, Look { reveals, ..Look::at(view) });
        let html = EventPage { page: sample::page(Role::Operator), event }.html();
        assert_eq!(html.contains("canary"), reveals, "{view:?}");
        assert_ne!(html.contains("reveal=1"), reveals, "{view:?}");
        let event = sample::event(&Words { query: "a=1&access_token=canary".into(), ..Words::usual() }, 0);
        let look = Look { reveals, ..Look::at(view) };
        let facts = EventFacts::of(&event, event.body.len() as u64, look, true);
        assert_eq!(facts.secrets, 1, "a signature of the sender is none");
        let html = EventPage { page: sample::page(Role::Operator), event: facts }.html();
        assert_eq!((html.contains("canary"), html.contains("reveal=1")), (reveals, !reveals), "{view:?}");
    }
    let withheld = sample::facts(&words, Role::Viewer, Look { reveals: true, ..Look::default() });
    let html = EventPage { page: sample::page(Role::Viewer), event: withheld }.html();
    assert!(!html.contains("canary") && !html.contains("reveal=1"), "who sees no payloads reveals none");
}

/// S32: the page of an event that was erased has no byte of what stands in its place, and offers no replay.
#[test]
fn what_was_erased_is_said_to_be() {
    let stored = sample::event(&Words::usual(), 0);
    let erased = stored.erased(stored.body.len(), |_| [0; 32]);
    let facts = EventFacts::of(&erased, erased.body.len() as u64, Look::at(View::Curl), true);
    let facts = facts.routed(vec!["crm".parse().unwrap()]);
    let html = EventPage { page: sample::page(Role::Admin), event: facts }.html();
    assert!(html.contains("It was erased") && html.contains("stripe-signature"), "{html}");
    assert!(!html.contains('\0') && !html.contains("\u{fffd}") && !html.contains("SHA-256"), "{html}");
    assert!(!html.contains("id=\"replay\""), "{html}");
}
