//! Lines as they are laid out.

use std::{borrow::Cow, fmt, ops::ControlFlow};

use crate::limits::{LAID_DEPTH_MAX, LAID_PIECES_MAX};

/// One line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Laid<'a> {
    /// Levels that it is indented by.
    pub indent: usize,
    /// What stands in it.
    pub pieces: Vec<LaidPiece<'a>>,
}

/// A part of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaidPiece<'a> {
    /// What it is.
    pub weight: Weight,
    /// As it came, but for what a form encodes.
    pub text: Cow<'a, str>,
}

/// What a part of a line is to who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// It separates: a bracket, a comma, a tag.
    Mark,
    /// The name of a member or a field.
    Name,
    /// A text in quotes.
    Text,
    /// A number or a word of JSON.
    Value,
    /// Anything else.
    Plain,
}

/// Spaces of a level.
const STEP: &str = "  ";

impl fmt::Display for Laid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.margin())?;
        self.pieces.iter().try_for_each(|piece| f.write_str(&piece.text))
    }
}

impl Laid<'_> {
    /// What it begins with.
    pub fn margin(&self) -> String {
        STEP.repeat(self.indent)
    }

    /// Its length, with its end.
    pub fn bytes(&self) -> usize {
        STEP.len() * self.indent + self.pieces.iter().map(|piece| piece.text.len()).sum::<usize>() + 1
    }
}

/// Where lines are written, each indented.
pub(super) struct Sheet<'a, 'p> {
    put: &'p mut dyn FnMut(Laid<'a>) -> ControlFlow<()>,
    line: Laid<'a>,
    depth: usize,
    is_enough: bool,
}

impl<'a, 'p> Sheet<'a, 'p> {
    pub(super) fn new(put: &'p mut dyn FnMut(Laid<'a>) -> ControlFlow<()>) -> Self {
        Self { put, line: Laid::default(), depth: 0, is_enough: false }
    }

    /// Nobody wants more.
    pub(super) const fn is_enough(&self) -> bool {
        self.is_enough
    }

    pub(super) fn push(&mut self, weight: Weight, text: impl Into<Cow<'a, str>>) {
        if self.line.pieces.is_empty() {
            self.line.indent = self.depth.min(LAID_DEPTH_MAX);
        }
        self.line.pieces.push(LaidPiece { weight, text: text.into() });
        if self.line.pieces.len() >= LAID_PIECES_MAX {
            self.next();
        }
    }

    /// What follows is a level deeper, on a line of its own.
    pub(super) fn open(&mut self) {
        self.depth += 1;
        if self.depth <= LAID_DEPTH_MAX {
            self.next();
        }
    }

    /// What follows ends a level.
    pub(super) fn close(&mut self) {
        if self.depth <= LAID_DEPTH_MAX {
            self.next();
        }
        self.shallower();
    }

    pub(super) fn deeper(&mut self) {
        self.depth += 1;
    }

    pub(super) fn shallower(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// A line that was laid out elsewhere, so many levels deeper.
    pub(super) fn copy(&mut self, line: &Laid<'_>, deeper: usize) {
        let owned = |piece: &LaidPiece<'_>| LaidPiece { weight: piece.weight, text: piece.text.to_string().into() };
        self.line = Laid { indent: line.indent + deeper, pieces: line.pieces.iter().map(owned).collect() };
        self.next();
    }

    /// Ends the line, if something stands in it.
    pub(super) fn next(&mut self) {
        if self.line.pieces.is_empty() || self.is_enough {
            return;
        }
        self.is_enough = (self.put)(std::mem::take(&mut self.line)).is_break();
    }
}
