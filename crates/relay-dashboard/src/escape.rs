//! What strangers wrote, as text of a page (S26): no markup, and nothing that moves a cursor or turns text round.

use std::fmt::{self, Write};

use askama::filters::Escaper;

/// The escaper of every template: markup becomes entities, and what would steer a screen becomes `\u{1b}`.
#[derive(Clone, Copy, Debug)]
pub struct Visible;

impl Escaper for Visible {
    fn write_escaped_str<W: Write>(&self, mut to: W, text: &str) -> fmt::Result {
        let mut plain = 0;
        for (at, character) in text.char_indices().filter(|(_, character)| is_special(*character)) {
            to.write_str(&text[plain..at])?;
            write_special(&mut to, character)?;
            plain = at + character.len_utf8();
        }
        to.write_str(&text[plain..])
    }
}

/// How many bytes a character takes in a page.
pub(crate) fn width(character: char) -> usize {
    if !is_special(character) {
        return character.len_utf8();
    }
    let mut counted = Counted(0);
    // Counting cannot fail.
    let _ = write_special(&mut counted, character);
    counted.0
}

/// Control characters of both sets, what turns the direction of text, ends lines, or takes no place on the screen.
/// Joiners (U+200C and U+200D) stay, since whole scripts need them, and so does the tab.
pub fn steers(character: char) -> bool {
    character != '\t'
        && (character.is_control()
            || matches!(
                character,
                '\u{ad}'
                    | '\u{61c}'
                    | '\u{180e}'
                    | '\u{200b}'
                    | '\u{200e}'
                    | '\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{feff}'
                    | '\u{fff9}'..='\u{fffb}'
                    | '\u{e0000}'..='\u{e007f}'
            ))
}

fn is_special(character: char) -> bool {
    matches!(character, '<' | '>' | '&' | '"' | '\'' | '`') || steers(character)
}

fn write_special(to: &mut impl Write, character: char) -> fmt::Result {
    match character {
        '<' => to.write_str("&lt;"),
        '>' => to.write_str("&gt;"),
        '&' => to.write_str("&amp;"),
        '"' => to.write_str("&quot;"),
        '\'' => to.write_str("&#39;"),
        '`' => to.write_str("&#96;"),
        steering => write!(to, "\\u{{{:x}}}", steering as u32),
    }
}

struct Counted(usize);

impl Write for Counted {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        Visible.write_escaped_str(&mut out, text).unwrap();
        out
    }

    /// S26
    #[test]
    fn markup_is_entities_and_what_steers_is_seen() {
        assert_eq!(escaped("a<b a='c' d=\"e\">&`"), "a&lt;b a=&#39;c&#39; d=&quot;e&quot;&gt;&amp;&#96;");
        assert_eq!(escaped("a\u{1b}[31mb\r\n"), "a\\u{1b}[31mb\\u{d}\\u{a}");
        assert_eq!(
            escaped("\u{202e}x\u{2066}\u{200f}\u{feff}\u{e0041}"),
            "\\u{202e}x\\u{2066}\\u{200f}\\u{feff}\\u{e0041}"
        );
        assert_eq!(escaped("Grüße, 日本, نام\u{200c}ها\tx"), "Grüße, 日本, نام\u{200c}ها\tx");
    }

    #[test]
    fn a_width_is_what_is_written() {
        for character in ['a', 'ß', '日', '<', '&', '"', '\u{0}', '\u{202e}', '\u{e0041}', '\t'] {
            assert_eq!(width(character), escaped(&character.to_string()).len(), "{character:?}");
        }
    }
}
