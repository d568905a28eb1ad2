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
    Append: "" ["prelude", "append"],
    Replay: "" ["prelude", "changes", "replay"],
    Lease: " flags=allow-oom" ["prelude", "lease"],
    Group: " flags=allow-oom" ["group"],
    Consumers: " flags=allow-oom" ["consumers"],
    Settle: " flags=allow-oom" ["prelude", "changes", "settle"],
    Extend: " flags=allow-oom" ["prelude", "extend"],
    Retire: " flags=allow-oom" ["prelude", "changes", "retire"],
    Step: " flags=allow-oom" ["prelude", "changes", "step"],
    Forget: " flags=allow-oom" ["prelude", "changes", "forget"],
    Mend: " flags=allow-oom" ["prelude", "mend"],
    Sweep: " flags=allow-oom" ["prelude", "sweep"],
    Recount: " flags=allow-oom" ["prelude", "recount"],
    Document: " flags=allow-oom" ["prelude", "document"],
    Restore: " flags=allow-oom" ["prelude", "restore"],
    Audit: " flags=allow-oom" ["prelude", "audit"],
    Lost: " flags=allow-oom" ["prelude", "lost"],
    Aside: " flags=allow-oom" ["aside"],
    Presence: " flags=allow-oom" ["presence"],
    Erase: " flags=allow-oom" ["prelude", "erase"],
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
