//! Where words go: results to stdout, everything else to stderr, and nothing breaks when nobody reads.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::error::Error;
use crate::style::Style;

/// How results and remarks are shown.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    /// Colours of stdout.
    pub(crate) out: Style,
    /// Colours of stderr.
    pub(crate) err: Style,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            out: Style::of(&io::stdout()),
            err: Style::of(&io::stderr()),
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The result: `value` for machines, or the text that `people` makes.
    pub(crate) fn result(&self, value: &Value, people: impl FnOnce(&Style) -> String) {
        if self.json {
            print_line(&value.to_string());
        } else {
            print_line(people(&self.out).trim_end());
        }
    }

    /// A piece of text as it comes: to people on stdout, beside an object for machines on stderr.
    pub(crate) fn stream(&self, text: &str) {
        // A reader that has gone away is no failure.
        let _ = if self.json {
            let mut err = io::stderr().lock();
            (!self.quiet)
                .then(|| write!(err, "{text}").and_then(|()| err.flush()))
                .transpose()
        } else {
            let mut out = io::stdout().lock();
            write!(out, "{text}").and_then(|()| out.flush()).map(Some)
        };
    }

    /// The one object behind what was streamed, for machines only.
    pub(crate) fn streamed(&self, value: &Value) {
        if self.json {
            print_line(&value.to_string());
        }
    }

    /// A question to a person, without a new line.
    pub(crate) fn ask(&self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = write!(err, "{text}").and_then(|()| err.flush());
    }

    /// A remark on the way.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet {
            eprint_line(text);
        }
    }

    /// Something to worry about, even when quiet.
    pub(crate) fn warning(&self, text: &str) {
        eprint_line(&format!("{} {text}", self.err.yellow("warning:")));
    }

    /// Why the verb failed.
    pub(crate) fn error(&self, error: &Error) {
        eprint_line(&format!("{} {error}", self.err.red("error:")));
        if self.json {
            print_line(&json!({ "error": error.to_string() }).to_string());
        }
    }
}

/// Writes a line to stdout. A reader that has gone away (`cortical data | head -1`) is no failure.
pub(crate) fn print_line(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// Writes a line to stderr, as [`print_line`].
pub(crate) fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
