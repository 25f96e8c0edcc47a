//! Foreign text inside of our own lines: it stays on one line, and cannot forge another.

use std::fmt::{self, Debug, Display, Write};

use crate::catch;

/// Displays foreign text on one line, whatever its content, and even if its own `Display` panics.
///
/// Control characters, line breaks and the marks that reorder text are escaped as in a string
/// literal, so that a name, a peer's path or an error cannot forge a line of a log. A panic in the
/// inner `Display` ends here and is noted in the text; an error that it returns without a failed
/// write is ignored. `Debug` is displayed likewise.
///
/// ```
/// use picot_context::Escaped;
///
/// let name = "fetch\n2026-01-01 all is well";
/// assert_eq!(Escaped(name).to_string(), "fetch\\n2026-01-01 all is well");
/// assert_eq!(Escaped("Grüße, 世界").to_string(), "Grüße, 世界", "other text is unchanged");
/// ```
#[derive(Clone, Copy)]
pub struct Escaped<T>(pub T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_contained(f, format_args!("{}", self.0))
    }
}

impl<T: Debug> Debug for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_contained(f, format_args!("{:?}", self.0))
    }
}

fn write_contained(f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    let mut line = Line { f, failed: false };
    let written = catch(|| _ = line.write_fmt(text));
    if line.failed {
        return Err(fmt::Error);
    }
    match written {
        Ok(()) => Ok(()),
        Err(payload) => write!(f, "[its text cannot be shown: formatting it panicked with {payload}]"),
    }
}

/// Escapes the text that is written through it.
struct Line<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    /// Whether the formatter behind it has refused a write.
    failed: bool,
}

impl Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let written = text.split_inclusive(breaks_the_line).try_for_each(|part| {
            match part.chars().next_back().filter(|last| breaks_the_line(*last)) {
                Some(last) => {
                    self.f.write_str(&part[..part.len() - last.len_utf8()])?;
                    write!(self.f, "{}", last.escape_default())
                }
                None => self.f.write_str(part),
            }
        });
        self.failed |= written.is_err();
        written
    }
}

/// Control characters, Unicode's line and paragraph separators, and the marks that change the
/// direction of text.
fn breaks_the_line(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_begin_a_line_or_move_the_cursor_is_escaped_and_nothing_else() {
        for c in (0..0x2100).filter_map(char::from_u32) {
            let shown = Escaped(format!("a{c}b")).to_string();
            let is_kept = shown == format!("a{c}b");
            assert_eq!(is_kept, !breaks_the_line(c), "{c:?}");
            assert!(!shown.contains(breaks_the_line), "{c:?}");
        }
        assert_eq!(Escaped("\r\n\u{1b}[2K\u{202e}").to_string(), "\\r\\n\\u{1b}[2K\\u{202e}");
        let once = Escaped("a\nb").to_string();
        assert_eq!(Escaped(&once).to_string(), once, "what is escaped twice is escaped once");
    }

    /// Writes something, and then fails as its number says.
    struct Odd(u8);

    impl Display for Odd {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("odd\n")?;
            match self.0 {
                0 => std::panic::resume_unwind(Box::new("boom\n")),
                1 => Err(fmt::Error),
                _ => Ok(()),
            }
        }
    }

    #[test]
    fn a_text_that_fails_is_shown_as_far_as_it_came() {
        let [panics, errs, is_well] = [0, 1, 2].map(|how| Escaped(Odd(how)).to_string());
        assert_eq!(panics, "odd\\n[its text cannot be shown: formatting it panicked with \"boom\\n\"]");
        assert_eq!((errs.as_str(), is_well.as_str()), ("odd\\n", "odd\\n"));
    }

    #[test]
    fn a_writer_that_fails_is_told_so() {
        struct Full;
        impl Write for Full {
            fn write_str(&mut self, _: &str) -> fmt::Result {
                Err(fmt::Error)
            }
        }
        assert!(write!(Full, "{}", Escaped(Odd(2))).is_err());
    }
}
