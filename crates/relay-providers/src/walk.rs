//! A walk over the values of a JSON body, byte for byte where they stand.

/// Containers within each other that are kept track of; no path is as long.
const DEPTH_MAX: usize = 8;

/// Where a value stands within one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Behind this name of an object.
    Member(&'a [u8]),
    /// In a list.
    Item,
}

/// A walk over the numbers, words and texts of a JSON body, in one pass. What is no JSON is walked over all the same: it only
/// has to be walked over alike each time.
pub(crate) struct Walk<'a> {
    body: &'a [u8],
    at: usize,
    trail: Vec<Step<'a>>,
    /// Containers that are open beyond those of the trail.
    deeper: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn over(body: &'a [u8]) -> Self {
        Self { body, at: 0, trail: Vec::new(), deeper: 0 }
    }

    /// Where the value stands that was found last; `None` if that is too deep to be kept track of.
    pub(crate) fn trail(&self) -> Option<&[Step<'a>]> {
        (self.deeper == 0).then_some(&self.trail[..])
    }

    /// Where the next value begins and ends; `None` at the end.
    pub(crate) fn next_value(&mut self) -> Option<(usize, usize)> {
        loop {
            let begin = self.at;
            match self.body.get(begin)? {
                b'{' => self.open(Step::Member(b"")),
                b'[' => self.open(Step::Item),
                b'}' | b']' => self.close(),
                b'"' => {
                    self.at += text(&self.body[begin..])?;
                    let Some(value) = self.behind_colon() else { return Some((begin, self.at)) };
                    self.name(&self.body[begin + 1..self.at - 1]);
                    self.at = value;
                }
                b',' | b':' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => {
                    self.at += word(&self.body[begin..]);
                    return Some((begin, self.at));
                }
            }
        }
    }

    /// Where the value begins whose name ends here; `None`: it was no name.
    fn behind_colon(&self) -> Option<usize> {
        let rest = self.body[self.at..].trim_ascii_start().strip_prefix(b":")?;
        Some(self.body.len() - rest.len())
    }

    fn name(&mut self, name: &'a [u8]) {
        if self.deeper == 0
            && let Some(step @ Step::Member(_)) = self.trail.last_mut()
        {
            *step = Step::Member(name);
        }
    }

    fn open(&mut self, step: Step<'a>) {
        self.at += 1;
        if self.deeper > 0 || self.trail.len() == DEPTH_MAX {
            self.deeper += 1;
        } else {
            self.trail.push(step);
        }
    }

    fn close(&mut self) {
        self.at += 1;
        if self.deeper > 0 {
            self.deeper -= 1;
        } else {
            self.trail.pop();
        }
    }
}

/// The length of the JSON text that begins here, with its quotes.
fn text(value: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    let end = value.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    })?;
    Some(end + 2)
}

/// The length of the number or word that begins here; 1 at least.
fn word(value: &[u8]) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']') || byte.is_ascii_whitespace();
    value.iter().position(ends).unwrap_or(value.len()).max(1)
}
