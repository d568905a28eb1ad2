//! What a page loads beside itself: three files, in the program, under names that carry a digest of their content.
//!
//! A name never stands for other content, so that browsers may keep them for good.

use std::sync::LazyLock;

use crate::script::Script;

/// A file that pages load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asset {
    /// The style sheet.
    Style,
    /// The icon.
    Icon,
    /// What a page does.
    Script(Script),
}

/// A file as it is sent.
struct Sent {
    asset: Asset,
    name: String,
    content: String,
}

static SENT: LazyLock<Vec<Sent>> = LazyLock::new(|| {
    let sent = |asset: Asset| {
        let content = bare(asset.source());
        let (of, digest) = (asset.of(), digest(content.as_bytes()));
        Sent { asset, name: format!("{of}-{digest:016x}.{}", asset.extension()), content }
    };
    Asset::all().map(sent).collect()
});

impl Asset {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Style, Self::Icon].into_iter().chain(Script::ALL.map(Self::Script))
    }

    /// Its name, below `/assets`.
    pub fn name(self) -> &'static str {
        &self.sent().name
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        SENT.iter().find(|sent| sent.name == name).map(|sent| sent.asset)
    }

    /// Its media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Style => "text/css; charset=utf-8",
            Self::Script(_) => "text/javascript; charset=utf-8",
            Self::Icon => "image/svg+xml",
        }
    }

    /// Its content, as it is sent: without what is only for who reads its source.
    pub fn bytes(self) -> &'static [u8] {
        self.sent().content.as_bytes()
    }

    fn sent(self) -> &'static Sent {
        SENT.iter().find(|sent| sent.asset == self).expect("each of them is there")
    }

    /// Its content, as it is written.
    fn source(self) -> &'static str {
        match self {
            Self::Style => include_str!("../assets/dashboard.css"),
            Self::Script(script) => script.source(),
            Self::Icon => include_str!("../assets/icon.svg"),
        }
    }

    /// What its name begins with.
    const fn of(self) -> &'static str {
        match self {
            Self::Style | Self::Icon => "dashboard",
            Self::Script(script) => script.as_str(),
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Style => "css",
            Self::Script(_) => "js",
            Self::Icon => "svg",
        }
    }
}

/// Without the spaces that lines begin with, without lines that are comments or empty, and without the ends of lines that end nothing. No
/// text of theirs goes over lines, and no comment stands behind anything.
fn bare(source: &str) -> String {
    let lines = source.lines().map(str::trim_start);
    let is_kept = |line: &&str| {
        !(line.is_empty()
            || line == &"//"
            || line.starts_with("// ")
            || (line.starts_with("/*") && line.ends_with("*/")))
    };
    let end = |line: &str| if line.ends_with(['{', '}', '(', '[', ',', ';']) { "" } else { "\n" };
    lines.filter(is_kept).fold(String::with_capacity(source.len()), |bare, line| bare + line + end(line))
}

/// FNV-1a in 64 bits: tells two builds apart, and proves nothing.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_its_file_and_follows_its_content() {
        for asset in Asset::all() {
            assert_eq!(Asset::named(asset.name()), Some(asset));
            assert!(asset.name().ends_with(asset.extension()), "{}", asset.name());
        }
        assert_eq!(Asset::named("dashboard.css"), None);
        assert_eq!(bare("a {\n  /* b */\n\n  // c\n  d//e\n}"), "a {d//e\n}");
        assert_ne!(digest(b"a"), digest(b"b"));
    }
}
