//! The heads of answers as they come in, byte by byte, beside the HTTP library that reads them.
//!
//! Three things the library leaves to its user: interim answers without end, versions, and fields without number. It knows HTTP/1.0 and HTTP/1.1,
//! and gives up on chunks of the former; a recipient reads any other minor version as the highest it knows (RFC 9110
//! section 2.5), and what frames itself in a way that its version has not ends its connection, not its answer (RFC 9112
//! section 6.1). So every answer is handed on as one of HTTP/1.1, and what its version was is kept here.
//!
//! The status decides however many fields stand below it. The library takes [`FIELDS`] at no cost and clears its whole table
//! for each answer if it is to take more, so that the lines behind them are handed on as what it leaves out: no field.

/// What a status line begins with, up to its minor version.
const NAME: &[u8] = b"HTTP/1.";
/// `HTTP/1.1 200`
const OPENING_BYTES: usize = 12;

/// Lines of fields that are handed on: as many as the library has room for without clearing it.
pub(crate) const FIELDS: usize = 100;
/// Makes a line no field: no name begins with it (RFC 9110 section 5.6.2).
const NO_NAME: u8 = b'(';

/// See the module. Begins with the first byte of an answer, ends with that answer's own head.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    /// How the present head's first line begins.
    opening: [u8; OPENING_BYTES],
    /// Bytes of the present head, line ends before its first line left out; no more than are in `opening`.
    length: usize,
    is_first_line: bool,
    /// Bytes of the present line but its end, as far as it matters: none, or some.
    is_empty_line: bool,
    /// Lines of the present head that began, the first one left out.
    fields: usize,
    minor: Option<u8>,
    interim: usize,
    is_over: bool,
}

impl Heads {
    /// Before the first byte of an answer.
    pub(crate) fn begin() -> Self {
        Self { is_first_line: true, ..Self::default() }
    }

    /// Reads what comes next, and makes another minor version HTTP/1.1.
    pub(crate) fn read(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !self.is_over
            && let Some((byte, behind)) = rest.split_first_mut()
        {
            self.take(byte);
            rest = if self.may_skip_to_line_end() { from_line_end(behind) } else { behind };
        }
    }

    /// Interim answers (1xx) so far.
    pub(crate) const fn interim(&self) -> usize {
        self.interim
    }

    /// The minor version of the latest head, as it came.
    pub(crate) const fn minor(&self) -> Option<u8> {
        self.minor
    }

    /// Whether the latest head has lines that were not handed on; what frames the answer may be among them.
    pub(crate) const fn is_cut(&self) -> bool {
        self.fields > FIELDS
    }

    /// No more heads are looked for.
    pub(crate) fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether nothing matters before the present line's end.
    const fn may_skip_to_line_end(&self) -> bool {
        !self.is_empty_line && (!self.is_first_line || self.length == OPENING_BYTES)
    }

    fn take(&mut self, byte: &mut u8) {
        if self.is_first_line {
            if self.length == 0 && matches!(byte, b'\r' | b'\n') {
                return;
            }
            if self.length == NAME.len() && self.opening.starts_with(NAME) && byte.is_ascii_digit() {
                self.minor = Some(*byte - b'0');
                *byte = b'1';
            }
            if let Some(place) = self.opening.get_mut(self.length) {
                *place = *byte;
                self.length += 1;
            }
        }
        if !self.is_first_line && self.is_empty_line && !matches!(byte, b'\r' | b'\n') {
            self.fields += 1;
            if self.is_cut() {
                *byte = NO_NAME;
            }
        }
        match byte {
            b'\n' if !self.is_first_line && self.is_empty_line => self.ended(),
            b'\n' => (self.is_first_line, self.is_empty_line) = (false, true),
            b'\r' => {}
            _ => self.is_empty_line = false,
        }
    }

    /// A head is complete: another one follows an interim answer, but for the switch of protocols, and nothing else.
    fn ended(&mut self) {
        let is_interim = self.opening.starts_with(NAME) && self.opening[NAME.len() + 2] == b'1';
        if is_interim && !self.opening.ends_with(b"101") {
            *self = Self { interim: self.interim + 1, ..Self::begin() };
        } else {
            self.is_over = true;
        }
    }
}

fn from_line_end(bytes: &mut [u8]) -> &mut [u8] {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    &mut bytes[end..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the bytes are cut into pieces.
    fn check(bytes: &[u8], want: &[u8], interim: usize, minor: Option<u8>) {
        for size in [1, 2, 3, 7, bytes.len()] {
            let (mut heads, mut read) = (Heads::begin(), bytes.to_vec());
            read.chunks_mut(size).for_each(|piece| heads.read(piece));
            assert_eq!(String::from_utf8_lossy(&read), String::from_utf8_lossy(want));
            assert_eq!((heads.interim(), heads.minor()), (interim, minor), "in pieces of {size}");
        }
    }

    #[test]
    fn every_minor_version_is_handed_on_as_the_highest_that_is_known() {
        for (came, minor) in [("HTTP/1.1", 1), ("HTTP/1.0", 0), ("HTTP/1.2", 2), ("\r\n\nHTTP/1.9", 9)] {
            let rest = " 200 OK\r\nx: HTTP/1.0\r\n\r\nHTTP/1.0 200\r\n\r\n";
            let want = format!("{}1{rest}", &came[..came.len() - 1]);
            check(format!("{came}{rest}").as_bytes(), want.as_bytes(), 0, Some(minor));
        }
        for other in
            ["HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.x 200\r\n\r\n", "SSH-2.0\r\n", "\0\0\0", "http/1.0 200\r\n\r\n", "x"]
        {
            check(other.as_bytes(), other.as_bytes(), 0, None);
        }
    }

    #[test]
    fn lines_behind_those_that_are_taken_are_no_fields() {
        let head = |lines: &str| format!("HTTP/1.1 200 OK\r\n{}{lines}\r\n\r\nA: b\r\n", "a: b\r\n".repeat(FIELDS - 1));
        for (came, want, is_cut) in [
            ("x: 1", "x: 1", false),
            ("x: 1\r\nx: 2\n y", "x: 1\r\n(: 2\n(y", true),
            ("x:\r\nlength: 1\r\nz: 3", "x:\r\n(ength: 1\r\n(: 3", true),
        ] {
            check(head(came).as_bytes(), head(want).as_bytes(), 0, Some(1));
            let mut heads = Heads::begin();
            heads.read(&mut head(came).into_bytes());
            assert_eq!(heads.is_cut(), is_cut);
        }
    }

    #[test]
    fn interim_answers_are_counted_until_the_answer_is_there() {
        let hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 103 X\na: b\n\n\r\nHTTP/1.2 200 OK\na: \r\n\r\nHTTP/1.1 100 X\r\n\r\n";
        let want = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\na: b\n\n\r\nHTTP/1.1 200 OK\na: \r\n\r\nHTTP/1.1 100 X\r\n\r\n";
        check(hints, want, 2, Some(2));
        let switch = b"HTTP/1.1 101 Switching\r\n\r\nHTTP/1.0 100\r\n\r\n";
        check(switch, switch, 0, Some(1));
        let mut heads = Heads::begin();
        heads.end();
        let mut late = *b"HTTP/1.0 100\r\n\r\n";
        heads.read(&mut late);
        assert_eq!((heads.interim(), &late), (0, b"HTTP/1.0 100\r\n\r\n"));
    }
}
