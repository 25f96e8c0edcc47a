//! Writes JSON.

use std::fmt::{Display, Write};
use std::time::Duration;

/// A JSON text that is being written. Separators are written where they are needed.
#[derive(Default)]
pub(crate) struct Json {
    text: String,
    /// Whether the next key or element follows another one.
    follows: bool,
}

impl Json {
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn separate(&mut self) {
        if std::mem::replace(&mut self.follows, true) {
            self.text.push(',');
        }
    }

    fn enclose(&mut self, open: char, close: char, content: impl FnOnce(&mut Json)) {
        self.separate();
        self.text.push(open);
        self.follows = false;
        content(self);
        self.text.push(close);
        self.follows = true;
    }

    pub(crate) fn object(&mut self, content: impl FnOnce(&mut Json)) {
        self.enclose('{', '}', content);
    }

    pub(crate) fn array<T>(&mut self, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Json, T)) {
        self.enclose('[', ']', |json| items.into_iter().for_each(|item| write(json, item)));
    }

    /// Begins a member of an object; its value is written next.
    pub(crate) fn key(&mut self, key: &str) -> &mut Json {
        self.string(key);
        self.text.push(':');
        self.follows = false;
        self
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.separate();
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                // The last two are line ends in JavaScript.
                c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                    write!(self.text, "\\u{:04x}", u32::from(c)).expect("a string takes all text");
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    /// Writes a number, `true`, `false` or `null`.
    pub(crate) fn plain(&mut self, value: impl Display) {
        self.separate();
        write!(self.text, "{value}").expect("a string takes all text");
    }

    pub(crate) fn seconds(&mut self, duration: Duration) {
        self.plain(format_args!("{}.{:09}", duration.as_secs(), duration.subsec_nanos()));
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Json, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.plain("null"),
        }
    }
}
