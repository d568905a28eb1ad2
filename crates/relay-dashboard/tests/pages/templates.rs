//! The rules of templates that no compiler checks (S26): what may stand where.

use std::{fs, path::Path};

/// Attributes that lead somewhere: only a `Url` may stand there.
const LEADING: [&str; 8] = ["href", "src", "action", "formaction", "poster", "data", "ping", "srcset"];

#[test]
fn nothing_escapes_the_escaper() {
    let mut wrong = Vec::new();
    for (name, text) in templates() {
        for banned in ["|safe", "| safe", "|escape", "| escape", "|e ", "autoescape", "{% raw"] {
            if text.contains(banned) {
                wrong.push(format!("{name}: {banned}"));
            }
        }
    }
    for (name, text) in files("src", "rs") {
        for banned in ["HtmlSafe", "MaybeSafe", "filters::Safe", "escape = \"none\"", "ext = \"txt\""] {
            if text.contains(banned) {
                wrong.push(format!("{name}: {banned}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn values_stand_only_where_text_may() {
    let mut wrong = Vec::new();
    for (name, text) in templates() {
        wrong.extend(faults(&text).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every word that a page says stands in one file.
#[test]
fn templates_say_nothing_of_their_own() {
    let mut wrong = Vec::new();
    for (name, text) in templates() {
        let code =
            ["crm-relay send", "crm-relay invite stripe --provider stripe", "crm-relay dashboard", "SHA-256", "UTC"];
        let known =
            |word: &str| code.iter().any(|code| code.contains(word)) || ["viewer", "operator", "admin"].contains(&word);
        for piece in texts(&text) {
            let words = piece.split_whitespace().filter(|word| word.chars().any(char::is_alphabetic));
            wrong.extend(words.filter(|word| word.len() > 1 && !known(word)).map(|word| format!("{name}: {word}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A slow module has no form sent as a page: what changes something is disabled, or hidden, until the module has bound it.
#[test]
fn no_button_is_pressed_before_it_is_heard() {
    let mut seen = 0;
    for (name, text) in templates() {
        let mut rest = text.as_str();
        let mut form = "";
        while let Some(start) = rest.find('<') {
            rest = &rest[start..];
            let tag = &rest[..rest.find('>').map_or(rest.len(), |end| end + 1)];
            match tag.split([' ', '>']).next() {
                Some("<form") => form = tag,
                Some("</form") => form = "",
                Some("<button") if form.contains("method=\"get\"") || form.contains("method=\"dialog\"") => {}
                Some("<button") => {
                    assert!(tag.contains(" disabled>") || tag.contains(" hidden>"), "{name}: {tag}");
                    seen += 1;
                }
                _ => {}
            }
            rest = &rest[1..];
        }
    }
    assert!(seen > 10, "the buttons are somewhere else");
}

#[test]
fn the_rules_see_what_breaks_them() {
    for bad in [
        "<a href=\"{{ x }}\">",
        "<a href={{ x|url }}>",
        "<a href=\"/a{{ x|url }}\">",
        "<p class={{ x }}>",
        "<p onclick=\"a({{ x }})\">",
        "<p onclick=\"a()\">",
        "<p style=\"color:red\">",
        "<p class=x>",
        "<script>let a = {{ x }};</script>",
        "<style>{{ x }}</style>",
        "<{{ x }}>",
        "<p {{ x }}>",
        "<!-- {{ x }} -->",
    ] {
        assert!(!faults(bad).is_empty(), "{bad}");
    }
    let good = "<a class=\"a {{ b }}\" href=\"{{ x|url }}\"{% if c %} hidden{% endif %}>{{ d }}</a>";
    assert!(faults(good).is_empty(), "{:?}", faults(good));
}

/// What is wrong in a template: values outside text and quoted attributes, and in those where text does harm.
fn faults(text: &str) -> Vec<String> {
    let text = without_statements(text);
    let mut wrong = Vec::new();
    if text.contains("<!--") {
        wrong.push("a comment of HTML: use {# #}".into());
    }
    for inline in ["script", "style"] {
        for (at, start) in text.match_indices(&format!("<{inline}")) {
            let rest = &text[at + start.len()..];
            let content =
                rest.find('>').and_then(|end| rest[end + 1..].find("</").map(|stop| &rest[end + 1..end + 1 + stop]));
            if content.is_none_or(|content| !content.trim().is_empty()) {
                wrong.push(format!("<{inline}> holds something"));
            }
        }
    }
    for tag in tags(&text) {
        wrong.extend(faults_of_tag(tag));
    }
    wrong
}

fn faults_of_tag(tag: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut rest = tag;
    let name_end = rest.find(|c: char| c.is_whitespace()).unwrap_or(rest.len());
    if rest[..name_end].contains("{{") {
        wrong.push(format!("<{tag}>: a value as its name"));
    }
    rest = &rest[name_end..];
    while let Some(equals) = rest.find('=') {
        let name = rest[..equals].split_whitespace().next_back().unwrap_or_default();
        if rest[..equals].contains("{{") {
            wrong.push(format!("<{tag}>: a value as an attribute"));
        }
        let Some(quoted) = rest[equals + 1..].strip_prefix('"') else {
            wrong.push(format!("<{tag}>: {name} is not in double quotes"));
            return wrong;
        };
        let end = closing_quote(quoted);
        let value = &quoted[..end];
        if name.starts_with("on") || name == "style" || name == "srcdoc" {
            wrong.push(format!("<{tag}>: {name}"));
        }
        let is_url = value.starts_with("{{ ") && value.ends_with("|url }}") && value.matches("{{").count() == 1;
        if LEADING.contains(&name) && value.contains("{{") && !is_url {
            wrong.push(format!("<{tag}>: {name} is no Url"));
        }
        rest = quoted.get(end + 1..).unwrap_or_default();
    }
    if rest.contains("{{") {
        wrong.push(format!("<{tag}>: a value as an attribute"));
    }
    wrong
}

/// Where a quoted value ends; quotes within an expression do not count.
fn closing_quote(text: &str) -> usize {
    let mut inside = false;
    for (at, character) in text.char_indices() {
        match &text[at..] {
            rest if rest.starts_with("{{") => inside = true,
            rest if rest.starts_with("}}") => inside = false,
            _ if character == '"' && !inside => return at,
            _ => {}
        }
    }
    text.len()
}

/// What stands between `<` and `>`, without what is closed.
fn tags(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let (mut end, mut inside, mut quoted) = (rest.len(), false, false);
        for (at, character) in rest.char_indices() {
            match &rest[at..] {
                here if here.starts_with("{{") => inside = true,
                here if here.starts_with("}}") => inside = false,
                _ if character == '"' && !inside => quoted = !quoted,
                _ if character == '>' && !inside && !quoted => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let tag = &rest[..end];
        if !tag.starts_with(['/', '!']) {
            found.push(tag);
        }
        rest = &rest[end..];
    }
    found
}

/// What is neither tag nor expression.
fn texts(text: &str) -> Vec<String> {
    let text = without_statements(text);
    let (mut found, mut out, mut depth, mut quoted) = (Vec::new(), String::new(), 0_i32, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '{' if characters.peek() == Some(&'{') => {
                let mut before = ' ';
                for inner in characters.by_ref() {
                    if before == '}' && inner == '}' {
                        break;
                    }
                    before = inner;
                }
            }
            '"' if depth > 0 => quoted = !quoted,
            '<' if depth == 0 => {
                depth = 1;
                found.push(std::mem::take(&mut out));
            }
            '>' if depth > 0 && !quoted => depth = 0,
            _ if depth == 0 => out.push(character),
            _ => {}
        }
    }
    found.push(out);
    found
}

/// Without `{% ... %}`.
fn without_statements(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("{%") {
        out.push_str(&rest[..start]);
        rest = rest[start..].find("%}").map_or("", |end| &rest[start + end + 2..]);
    }
    out + rest
}

fn templates() -> Vec<(String, String)> {
    let mut all = files("templates", "html");
    all.extend(files("templates/part", "html"));
    assert!(all.len() > 12, "the templates are somewhere else");
    all
}

fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(folder).expect("it can be read").map(|entry| entry.expect("it can be read").path());
    let wanted = paths.filter(|path| path.extension().is_some_and(|found| found == extension));
    wanted.map(|path| (path.display().to_string(), fs::read_to_string(&path).expect("it can be read"))).collect()
}
