//! The scripts: each a file, headed by its contract.

use std::sync::OnceLock;

use super::client::{self, Command};
use super::keys::Key;

macro_rules! scripts {
    ($($name:ident: $flags:literal [$($file:literal),+]),+ $(,)?) => {
        /// One script.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Script {
            $(
                /// See its file.
                $name
            ),+
        }

        impl Script {
            /// All of them.
            pub(super) const ALL: &'static [Self] = &[$(Self::$name),+];

            fn text(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("#!lua", $flags, "\n", $(include_str!(concat!("scripts/", $file, ".lua"))),+)),+
                }
            }
        }
    };
}

// What adds to what is stored is refused by Redis where there is no memory; all else goes on.
scripts! {
    Append: "" ["prelude", "row", "counts", "places", "enter", "create", "family", "append"],
    Replay: "" ["prelude", "row", "counts", "places", "enter", "create", "family", "making", "replay"],
    Lease: " flags=allow-oom" ["prelude", "row", "counts", "cursor", "places", "lease"],
    Group: " flags=allow-oom" ["group"],
    Consumers: " flags=allow-oom" ["consumers"],
    Settle: " flags=allow-oom" ["prelude", "row", "counts", "places", "enter", "settling", "settle"],
    Extend: " flags=allow-oom" ["prelude", "row", "counts", "extend"],
    Retire: " flags=allow-oom" ["prelude", "row", "counts", "places", "family", "removal", "retire"],
    Step: " flags=allow-oom" ["prelude", "row", "counts", "places", "enter", "create", "family", "settling", "removal", "making", "step"],
    Forget: " flags=allow-oom" ["prelude", "row", "counts", "places", "family", "removal", "forget"],
    Mend: " flags=allow-oom" ["prelude", "row", "counts", "cursor", "places", "enter", "family", "mend"],
    Sweep: " flags=allow-oom" ["prelude", "row", "sweep"],
    Recount: " flags=allow-oom" ["prelude", "row", "counts", "cursor", "recount"],
    Document: " flags=allow-oom" ["prelude", "document"],
    Restore: " flags=allow-oom" ["prelude", "restore"],
    Audit: " flags=allow-oom" ["prelude", "audit"],
    Lost: " flags=allow-oom" ["prelude", "row", "counts", "lost"],
    Aside: " flags=allow-oom" ["aside"],
    Presence: " flags=allow-oom" ["presence"],
    Erase: " flags=allow-oom" ["prelude", "row", "counts", "family", "erase"],
    Reseal: "" ["reseal"],
    ResealList: "" ["reseal_list"],
    Trial: " flags=allow-oom" ["trial"],
}

impl Script {
    /// Runs it, if Redis knows it.
    pub(super) fn call(self, keys: &[Key], arguments: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Command {
        Command::new("EVALSHA").arg(self.hash()).number(keys.len() as i64).args(keys).args(arguments)
    }

    /// Makes it known.
    pub(super) fn load(self) -> Command {
        Command::new("SCRIPT").arg("LOAD").arg(self.text())
    }

    fn hash(self) -> &'static str {
        static HASHES: OnceLock<Vec<String>> = OnceLock::new();
        let hashes = HASHES.get_or_init(|| Self::ALL.iter().map(|script| client::script_hash(script.text())).collect());
        &hashes[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What Lua has, and Redis gives.
    const KNOWN: &[&str] = &[
        "and", "break", "do", "else", "elseif", "end", "error", "false", "for", "function", "if", "in", "ipairs",
        "local", "math", "nil", "not", "or", "pairs", "redis", "repeat", "return", "string", "struct", "table", "then",
        "tonumber", "tostring", "true", "type", "unpack", "until", "while",
    ];

    /// Words outside of comments and texts, each with what stands before and behind it.
    fn words(text: &str) -> Vec<(char, &str, char)> {
        let mut all = Vec::new();
        for line in text.lines() {
            let code = line.split("--").next().unwrap_or_default();
            // A quote is never escaped in these.
            let mut offset = 0;
            for (number, part) in code.split('\'').enumerate() {
                let begins = offset;
                offset += part.len() + 1;
                if number % 2 == 1 {
                    continue;
                }
                let mut at = 0;
                for word in part.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_') {
                    let before = code[..begins + at].trim_end();
                    // Two dots join texts; one stands before a field.
                    let before = if before.ends_with("..") { ' ' } else { before.chars().next_back().unwrap_or(' ') };
                    let behind = code[begins + at + word.len()..].trim_start().chars().next().unwrap_or(' ');
                    at += word.len() + 1;
                    if word.starts_with(|letter: char| letter.is_ascii_lowercase()) {
                        all.push((before, word, behind));
                    }
                }
            }
        }
        all
    }

    /// A name that nothing in the text makes, is given, or knows.
    fn missing(text: &str) -> Option<&str> {
        let mut there: BTreeSet<&str> = KNOWN.iter().copied().collect();
        for line in text.lines().map(|line| line.split("--").next().unwrap_or_default()) {
            let behind = |word: &'static str| line.split(word).skip(1);
            let made = behind("local ").filter_map(|rest| rest.split('=').next());
            let looped = behind("for ").filter_map(|rest| rest.split(" in").next()?.split('=').next());
            let given = behind("function").filter_map(|rest| rest.split_once('(')?.1.split(')').next());
            let named = behind("function ").filter_map(|rest| rest.split('(').next());
            for names in made.chain(looped).chain(given).chain(named) {
                there.extend(names.split(',').map(str::trim));
            }
        }
        let is_field =
            |before, behind| matches!(before, '.' | ':') || (behind == '=' && matches!(before, '{' | ',' | ' '));
        let mut others = words(text).into_iter().filter(|(before, _, behind)| !is_field(*before, *behind));
        others.find_map(|(_, word, _)| (!there.contains(word)).then_some(word))
    }

    /// Whoever names what is not there fails when he comes there: each script has all that it names.
    #[test]
    fn each_script_has_what_it_names() {
        assert_eq!(missing("local function a(of)\n    return b(of) -- c\nend"), Some("b"));
        assert_eq!(missing("local a = 'x' .. b"), Some("b"));
        for script in Script::ALL {
            let text = script.text().split_once('\n').expect("a first line").1;
            assert_eq!(missing(text), None, "{script:?}");
        }
    }
}
