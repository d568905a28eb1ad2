//! The sources: who may send, and whether anything comes.

use askama::Template;
use relay_core::{name::Name, time::Wall};

use super::SourceLine;
use crate::{
    filters,
    page::{Page, Tab},
    script::Script,
    text as t,
};

/// The screen.
#[derive(Clone, Debug, Template)]
#[template(path = "sources.html")]
pub struct Sources {
    /// The frame.
    pub page: Page,
    /// By name.
    pub sources: Vec<ListedSource>,
    /// Those that are not among them.
    pub left_out: u64,
    /// What came to no source lately, the newest first.
    pub missed: Vec<MissedLine>,
}

/// A request that came to no source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedLine {
    /// When.
    pub at: Wall,
    /// Its method and the beginning of its path.
    pub request: String,
    /// From where.
    pub from: String,
    /// What it was answered.
    pub status: u16,
}

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedSource {
    /// What came.
    pub line: SourceLine,
    /// Who judges what comes; of one that is deleted none.
    pub provider: Option<String>,
    /// Where it goes.
    pub destinations: Vec<Name>,
}

impl Sources {
    const TAB: Tab = Tab::Sources;
    const SCRIPT: Script = Script::Read;
}
