//! Scripts: what a page does beyond being read, in one file for each kind of page, made of the parts that it needs.
//!
//! A part is a module of its own in `assets/script`, which says by its imports what it needs. A page loads one file, for each request of a
//! page counts: the parts stand in it one after the other, without their imports and exports, those that are needed first.

use std::sync::LazyLock;

/// What a page does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// It is read: times, keys.
    Read,
    /// Somebody signs in.
    Login,
    /// He changes what is his.
    Me,
    /// Users are changed.
    Users,
    /// Deliveries are changed.
    Acts,
    /// Dead letters are.
    Dead,
    /// Keys and tokens are.
    Access,
    /// A source is made.
    Wizard,
    /// It is live, and what it shows is changed.
    Live,
}

/// A file of `assets/script`.
#[derive(Debug)]
struct Part {
    name: &'static str,
    source: &'static str,
}

macro_rules! parts {
    ($($name:literal),*) => {
        &[$(Part { name: $name, source: include_str!(concat!("../assets/script/", $name)) }),*]
    };
}

/// What needs nothing first.
const PARTS: &[Part] = parts![
    "page.js",
    "ask.js",
    "fragment.js",
    "pulse.js",
    "live.js",
    "login.js",
    "me.js",
    "users.js",
    "acts.js",
    "follow.js",
    "dead.js",
    "access.js",
    "wizard.js",
    "start.js"
];

/// What every script ends with.
const LAST: &str = "start.js";

impl Script {
    /// All there are.
    pub const ALL: [Self; 9] = [
        Self::Read,
        Self::Login,
        Self::Me,
        Self::Users,
        Self::Acts,
        Self::Dead,
        Self::Access,
        Self::Wizard,
        Self::Live,
    ];

    /// Its word, in its file's name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Login => "login",
            Self::Me => "me",
            Self::Users => "users",
            Self::Acts => "acts",
            Self::Dead => "dead",
            Self::Access => "access",
            Self::Wizard => "wizard",
            Self::Live => "live",
        }
    }

    /// The parts that it begins with; they bring what they need.
    const fn wants(self) -> &'static [&'static str] {
        match self {
            Self::Read => &["page.js"],
            Self::Login => &["login.js"],
            Self::Me => &["me.js"],
            Self::Users => &["users.js"],
            Self::Acts => &["acts.js"],
            Self::Dead => &["dead.js"],
            Self::Access => &["access.js"],
            Self::Wizard => &["wizard.js"],
            Self::Live => &["acts.js", "follow.js", "live.js"],
        }
    }

    /// All of it, as it is written.
    pub(crate) fn source(self) -> &'static str {
        static SOURCES: LazyLock<[String; Script::ALL.len()]> = LazyLock::new(|| Script::ALL.map(Script::joined));
        &SOURCES[self as usize]
    }

    fn joined(self) -> String {
        let mut wanted = vec![LAST];
        for name in self.wants() {
            want(name, &mut wanted);
        }
        let parts = PARTS.iter().filter(|part| wanted.contains(&part.name));
        parts
            .map(|part| part.source.lines().filter_map(alone).fold(String::new(), |all, line| all + line + "\n"))
            .collect()
    }
}

/// Wants a part, and what it imports.
fn want(name: &str, wanted: &mut Vec<&'static str>) {
    let Some(part) = PARTS.iter().find(|part| part.name == name).filter(|part| !wanted.contains(&part.name)) else {
        return;
    };
    wanted.push(part.name);
    for (_, from) in part.imports() {
        want(from, wanted);
    }
}

/// A line where all parts stand in one file.
fn alone(line: &str) -> Option<&str> {
    if line.starts_with("import ") { None } else { Some(line.strip_prefix("export ").unwrap_or(line)) }
}

impl Part {
    /// What it takes from which other parts.
    fn imports(&self) -> impl Iterator<Item = (Vec<&'static str>, &'static str)> {
        self.source.lines().filter_map(|line| {
            let (names, from) = line.strip_prefix("import { ")?.strip_suffix("';")?.split_once(" } from './")?;
            Some((names.split(", ").collect(), from))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What a part declares for all of it: how the line begins, and the name.
    fn declared(part: &Part) -> Vec<(bool, &'static str)> {
        let names = part.source.lines().filter_map(|line| {
            let (exported, line) = line.strip_prefix("export ").map_or((false, line), |line| (true, line));
            let line = line.strip_prefix("async ").unwrap_or(line);
            let rest =
                ["const ", "let ", "function ", "class "].into_iter().find_map(|word| line.strip_prefix(word))?;
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            Some((exported, &rest[..end]))
        });
        names.collect()
    }

    /// A line without its texts: of a template what is reckoned in it stays.
    fn code(line: &str) -> String {
        // What surrounds the place: a template, or code in one with how many braces are open there.
        let (mut around, mut out) = (vec![Some(0_u32)], String::new());
        let mut characters = line.chars().peekable();
        while let Some(character) = characters.next() {
            let is_within = around.len() > 1;
            match (around.last_mut(), character) {
                (Some(None), '`') => drop(around.pop()),
                (Some(None), '$') if characters.peek() == Some(&'{') => {
                    characters.next();
                    around.push(Some(0));
                    out.push(' ');
                }
                (Some(None), _) => {}
                (Some(Some(_)), '`') => around.push(None),
                (Some(Some(0)), '}') if is_within => drop(around.pop()),
                (Some(Some(_)), '\'') => while characters.next().is_some_and(|character| character != '\'') {},
                (Some(Some(open)), _) => {
                    *open =
                        open.saturating_add(u32::from(character == '{')).saturating_sub(u32::from(character == '}'));
                    out.push(character);
                }
                (None, _) => out.push(character),
            }
        }
        out
    }

    /// The names that code uses; not texts, comments, members of objects and their keys.
    fn words(source: &str) -> Vec<String> {
        let lines = source.lines().filter(|line| !line.starts_with("import ") && !line.trim_start().starts_with("//"));
        let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut words = Vec::new();
        for code in lines.map(code) {
            let mut at = 0;
            while let Some(begin) = code[at..].find(is_of_word).map(|begin| at + begin) {
                let end = code[begin..].find(|c| !is_of_word(c)).map_or(code.len(), |end| begin + end);
                let before = &code[..begin];
                let is_member = before.ends_with('.') && !before.ends_with("...");
                if !is_member && !code[end..].starts_with(':') {
                    words.push(code[begin..end].to_owned());
                }
                at = end;
            }
        }
        words
    }

    /// No compiler looks at these files: a part has what it uses of others, and no two have a name for different things.
    #[test]
    fn a_part_imports_what_it_uses_of_others() {
        let mut owners: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
        for part in PARTS {
            for (exported, name) in declared(part) {
                assert!(
                    owners.insert(name, (part.name, exported)).is_none(),
                    "{name} of {} is elsewhere too",
                    part.name
                );
            }
        }
        for (at, part) in PARTS.iter().enumerate() {
            let mut has = Vec::new();
            for (names, from) in part.imports() {
                let place = PARTS.iter().position(|other| other.name == from);
                assert!(
                    place.is_some_and(|place| place < at),
                    "{} imports {from}, which does not stand before it",
                    part.name
                );
                for name in names {
                    assert_eq!(owners.get(name), Some(&(from, true)), "{} imports {name} of {from}", part.name);
                    assert!(
                        words(part.source).iter().any(|word| word == name),
                        "{} imports {name} and does not use it",
                        part.name
                    );
                    has.push(name);
                }
            }
            let taken = part.source.lines().filter(|line| line.starts_with("import ")).count();
            assert_eq!(taken, part.imports().count(), "an import of {} reads otherwise", part.name);
            for (name, (owner, exported)) in &owners {
                let is_used = *exported && *owner != part.name && words(part.source).iter().any(|word| word == name);
                assert!(!is_used || has.contains(name), "{} uses {name} of {owner}", part.name);
            }
        }
    }

    #[test]
    fn a_name_is_seen_where_it_is_used_and_nowhere_else() {
        let line = "  const a = `it's on ${now() + `b ${base}`} on`, c = x.send ?? [...links], d = { say: 'on' };";
        let found = words(line);
        for used in ["now", "base", "links"] {
            assert!(found.iter().any(|word| word == used), "{used} in {found:?}");
        }
        for other in ["on", "it", "send", "say"] {
            assert!(!found.iter().any(|word| word == other), "{other} in {found:?}");
        }
    }

    #[test]
    fn a_script_has_what_it_needs_once_and_no_more() {
        let read = Script::Read.source();
        assert!(read.contains("function tellTimes") && !read.contains("function send"));
        for script in Script::ALL {
            let source = script.source();
            assert_eq!(source.matches("function tellTimes(").count(), 1, "{script:?}");
            assert!(!source.contains("\nimport ") && !source.contains("\nexport "), "{script:?}");
            assert!(source.trim_end().ends_with("button.disabled = false;"), "{script:?}");
        }
        let live = Script::Live.source();
        assert!(live.find("function listen(") < live.find("listen((pulse"), "what is needed stands first");
    }
}
