//! No circle of imports: neither between the modules of a crate nor between the files of a module. A circle is one big module
//! that pretends to be several: nothing in it can be read, tested or moved alone.
//!
//! Tests are exempt: they may look at whatever they hold against each other. So is what stands in a crate's or a module's own
//! file (`lib.rs`, `mod.rs`), which is the face of all below it; names that it hands on count as what they stand for.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt::Write as _,
};

use super::{ARROWS, files, is_test, report};

#[test]
fn no_modules_import_each_other_in_a_circle() {
    let mut wrong = Vec::new();
    for (package, _) in ARROWS {
        for edges in levels(&imports(package)) {
            wrong.extend(circles(&edges).iter().map(|circle| told(package, circle, &edges)));
        }
    }
    report(&wrong);
}

/// Where a module stands in its crate; empty: the crate itself.
type Place = Vec<String>;
/// From module to module: the imports that make it.
type Edges = BTreeMap<(Place, Place), Vec<String>>;

/// All imports of a crate: from where, of what, and how that is shown.
fn imports(package: &str) -> Vec<(Place, Place, String)> {
    let source = format!("crates/{package}/src/");
    let mut modules = BTreeMap::new();
    let mut exempt = BTreeSet::new();
    // What the binary's own file imports is the library, from outside.
    for file in files(&source, "rs").into_iter().filter(|file| !is_test(file) && file.name() != "main.rs") {
        let place = place(&file.shown()[source.len()..]);
        let code = without_literals(&file.text);
        exempt.extend(test_modules(&code).into_iter().map(|name| below(&place, &name)));
        modules.insert(place, (without_tests(&code), file));
    }
    modules.retain(|place, _| !(1..=place.len()).any(|length| exempt.contains(&place[..length])));
    assert!(modules.len() > 5, "{package} has sources");
    let is_module = |at: &Place| modules.contains_key(at);
    let names: BTreeMap<(Place, String), Place> =
        modules.iter().flat_map(|(place, (code, _))| handed_on(code, place, is_module)).collect();
    let mut found = Vec::new();
    for (place, (code, file)) in &modules {
        for (line, path) in paths(code) {
            let to = resolved(&path, place, is_module, &names);
            found.push((place.clone(), to, format!("{}:{line}: {}", file.shown(), path.join("::"))));
        }
    }
    found
}

/// The crate's modules among each other, then for each module the files in it among each other.
fn levels(imports: &[(Place, Place, String)]) -> Vec<Edges> {
    let mut levels: BTreeMap<&[String], Edges> = BTreeMap::new();
    for (from, to, import) in imports {
        let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
        if shared < from.len() && shared < to.len() {
            let edge = (from[..=shared].to_vec(), to[..=shared].to_vec());
            levels.entry(&from[..shared]).or_default().entry(edge).or_default().push(import.clone());
        }
    }
    levels.into_values().collect()
}

/// One circle for each group of modules that reach each other, a shortest one.
fn circles(edges: &Edges) -> Vec<Vec<Place>> {
    let mut found: Vec<Vec<Place>> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut ways: Vec<Vec<Place>> = edges.keys().filter_map(|(from, to)| way(edges, to, from)).collect();
    ways.sort_by_key(Vec::len);
    for circle in ways {
        if !circle.iter().any(|place| seen.contains(place)) {
            seen.extend(circle.iter().cloned());
            found.push(circle);
        }
    }
    found
}

/// The shortest way between two modules along imports.
fn way(edges: &Edges, from: &Place, to: &Place) -> Option<Vec<Place>> {
    let mut came: BTreeMap<&Place, &Place> = BTreeMap::new();
    let mut next = VecDeque::from([from]);
    while let Some(at) = next.pop_front() {
        if at == to {
            let mut way = vec![at.clone()];
            let mut at = at;
            while at != from {
                at = came[at];
                way.push(at.clone());
            }
            way.reverse();
            return Some(way);
        }
        for (_, reached) in edges.keys().filter(|(start, _)| start == at) {
            if reached != from && !came.contains_key(reached) {
                came.insert(reached, at);
                next.push_back(reached);
            }
        }
    }
    None
}

/// A circle with the imports that make it.
fn told(package: &str, circle: &[Place], edges: &Edges) -> String {
    let mut text = format!("{package}: a circle of {}", circle.len());
    for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
        let imports = &edges[&(from.clone(), to.clone())];
        write!(text, "\n    {} -> {}, {} times:", from.join("::"), to.join("::"), imports.len())
            .expect("it is a String");
        for import in imports.iter().take(5) {
            write!(text, "\n      {import}").expect("it is a String");
        }
    }
    text
}

/// `hub/driver.rs` is `hub::driver`; `lib.rs` is the crate itself.
fn place(path: &str) -> Place {
    let mut place: Place = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if place.last().is_some_and(|last| last == "mod" || last == "lib") {
        place.pop();
    }
    place
}

fn below(place: &[String], name: &str) -> Place {
    place.iter().cloned().chain([name.to_owned()]).collect()
}

/// Which module a path leads to. Modules and names that are handed on lead further; the first other name is in that module.
fn resolved(
    path: &[String],
    from: &[String],
    is_module: impl Fn(&Place) -> bool,
    names: &BTreeMap<(Place, String), Place>,
) -> Place {
    let mut at = from.to_vec();
    for step in path {
        match step.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()),
            name => {
                let inner = below(&at, name);
                if is_module(&inner) {
                    at = inner;
                } else if let Some(meant) = names.get(&(at.clone(), name.to_owned())) {
                    return meant.clone();
                } else {
                    break;
                }
            }
        }
    }
    at
}

/// Names that a module takes from another and that others may take from it.
fn handed_on(code: &str, place: &Place, is_module: impl Fn(&Place) -> bool) -> Vec<((Place, String), Place)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let is_start = code[..at].trim_end().ends_with([';', '}', ')', ']']) || code[..at].trim_end().ends_with("pub");
        let statement = code[at + 4..].split(';').next().unwrap_or_default();
        if !is_start || at == 0 {
            continue;
        }
        for path in expanded(statement) {
            let Some(name) = path.last().filter(|name| *name != "self" && *name != "*") else { continue };
            let meant = resolved(&path, place, &is_module, &BTreeMap::new());
            if meant != *place {
                found.push(((place.clone(), name.clone()), meant));
            }
        }
    }
    found
}

/// All paths in code that begin in this crate, with their lines.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = &code[..at];
            let is_inside = before.ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c));
            if is_inside || before.ends_with("(in ") {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            found.extend(expanded(tree(&code[at..])).into_iter().map(|path| (line, path)));
        }
    }
    found
}

/// The path that text begins with, its braces included.
fn tree(code: &str) -> &str {
    let mut depth = 0_usize;
    for (at, letter) in code.char_indices() {
        match letter {
            '{' if depth > 0 || code[..at].ends_with("::") => depth += 1,
            '}' if depth > 1 => depth -= 1,
            '}' if depth == 1 => return &code[..=at],
            _ if depth > 0 || letter.is_alphanumeric() || letter == '_' || letter == ':' || letter == '*' => {}
            _ => return &code[..at],
        }
    }
    code
}

/// `a::{b, c::{self, d}}` is `a::b`, `a::c` and `a::c::d`.
fn expanded(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((before, inside)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or(tree);
        let steps = path.split("::").map(|step| step.trim().to_owned()).filter(|step| !step.is_empty());
        return vec![steps.collect()];
    };
    let inside = inside.trim_end().trim_end_matches(',');
    let inside = inside.rsplit_once('}').map_or(inside, |(inside, _)| inside);
    let mut depth = 0_usize;
    let parts = inside.split(|letter| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    });
    let parts: Vec<&str> = parts.filter(|part| !part.trim().is_empty()).collect();
    parts.into_iter().flat_map(|part| expanded(&format!("{before}{}", part.trim()))).collect()
}

/// Modules that are there in tests only.
fn test_modules(code: &str) -> Vec<String> {
    let starts = code.match_indices("#[cfg(test)]").map(|(at, start)| code[at + start.len()..].trim_start());
    starts
        .filter_map(|item| {
            let item = item.strip_prefix("pub(crate) ").unwrap_or(item);
            let name = item.strip_prefix("mod ")?.split([';', ' ']).next()?;
            Some(name.to_owned())
        })
        .collect()
}

/// Code without what is there in tests only.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some((before, item)) = rest.split_once("#[cfg(test)]") {
        kept.push_str(before);
        let mut depth = 0_usize;
        let end = item.char_indices().find(|(_, letter)| {
            match letter {
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(letter, '}' | ';' | ',')
        });
        let end = end.map_or(item.len(), |(at, _)| at + 1);
        kept.extend(item[..end].matches('\n'));
        rest = &item[end..];
    }
    kept + rest
}

/// Code whose comments, texts and letters are blank, so that no brace or word in them counts.
fn without_literals(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let length = literal(rest, kept.chars().next_back());
        if length == 0 {
            kept.push(letter);
            rest = &rest[letter.len_utf8()..];
        } else {
            kept.extend(rest[..length].matches('\n'));
            kept.push(' ');
            rest = &rest[length..];
        }
    }
    kept
}

/// How long the comment, text or letter is that code begins with; 0: there is none.
fn literal(code: &str, before: Option<char>) -> usize {
    let until = |end: &str, from: usize| code[from..].find(end).map_or(code.len(), |at| from + at + end.len());
    if code.starts_with("//") {
        return code.find('\n').unwrap_or(code.len());
    }
    if code.starts_with("/*") {
        return until("*/", 2);
    }
    let is_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if code.starts_with('r') && !(is_word && before != Some('b')) {
        let hashes = code[1..].chars().take_while(|letter| *letter == '#').count();
        if code[1 + hashes..].starts_with('"') {
            return until(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
        }
    }
    let quoted = |quote: char| {
        let mut is_escaped = false;
        code.char_indices().skip(1).find(|(_, letter)| {
            let ends = *letter == quote && !is_escaped;
            is_escaped = *letter == '\\' && !is_escaped;
            ends
        })
    };
    match code.chars().next() {
        Some('"') => quoted('"').map_or(code.len(), |(at, _)| at + 1),
        // A letter, and not a lifetime.
        Some('\'') if code[1..].starts_with('\\') || code.chars().nth(2) == Some('\'') => {
            quoted('\'').map_or(code.len(), |(at, _)| at + 1)
        }
        _ => 0,
    }
}
