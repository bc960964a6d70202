//! Where words go: results to stdout, everything else to stderr. Nothing breaks when nobody reads, and what cannot be
//! written is not lost without a word.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::escape::{escape, escape_json};
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
    /// The first error of stdout, after which nothing more is written.
    broken: Mutex<Option<io::Error>>,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self {
            json,
            quiet,
            out: Style::of(&io::stdout()),
            err: Style::of(&io::stderr()),
            broken: Mutex::new(None),
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The result: `value` for machines, or the text that `people` makes.
    pub(crate) fn result(&self, value: &Value, people: impl FnOnce(&Style) -> String) {
        if self.json {
            self.machines(value);
        } else {
            let text = people(&self.out);
            self.print(&format!("{}\n", escape(text.trim_end(), self.out)));
        }
    }

    /// The result as it is: a text of ours that another program reads, or `value` for machines.
    pub(crate) fn written(&self, value: &Value, text: &str) {
        if self.json {
            self.machines(value);
        } else {
            self.print(text);
        }
    }

    /// A piece of text as it comes: to people on stdout, beside an object for machines on stderr. Whether somebody
    /// still reads it.
    pub(crate) fn stream(&self, text: &str) -> bool {
        if self.json {
            if !self.quiet {
                let shown = escape(text, self.err);
                let mut err = io::stderr().lock();
                // The text stands in the object as well.
                let _ = write!(err, "{shown}").and_then(|()| err.flush());
            }
            return true;
        }
        // In a file or a pipe the text is what somebody wants to have, as it is.
        match io::stdout().is_terminal() {
            true => self.print(&escape(text, self.err)),
            false => self.print(text),
        }
        !self.is_broken()
    }

    /// One of many objects, a line for each, which are the result for people and machines. Whether somebody still reads
    /// them.
    pub(crate) fn json_line(&self, value: &Value) -> bool {
        self.machines(value);
        !self.is_broken()
    }

    /// The one object behind what was streamed, for machines only.
    pub(crate) fn streamed(&self, value: &Value) {
        if self.json {
            self.machines(value);
        }
    }

    /// A question to a person, without a new line.
    pub(crate) fn ask(&self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = write!(err, "{}", escape(text, self.err)).and_then(|()| err.flush());
    }

    /// A remark on the way.
    pub(crate) fn remark(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Something to worry about, even when quiet.
    pub(crate) fn warning(&self, text: &str) {
        self.line(&format!("{} {text}", self.err.yellow("warning:")));
    }

    /// Why the verb failed.
    pub(crate) fn error(&self, error: &Error) {
        self.line(&format!("{} {error}", self.err.red("error:")));
        if self.json {
            self.machines(&json!({ "error": error.to_string() }));
        }
    }

    /// A line on stderr.
    pub(crate) fn line(&self, text: &str) {
        eprint_line(&escape(text, self.err));
    }

    /// That all results could be written. A reader that has gone away (`cortical data | head -1`) is no failure.
    ///
    /// # Errors
    /// [`Error::Stdout`].
    pub(crate) fn close(&self) -> Result<()> {
        match self.broken.lock().ok().and_then(|mut broken| broken.take()) {
            Some(why) if why.kind() != ErrorKind::BrokenPipe => Err(Error::Stdout { why }),
            _ => Ok(()),
        }
    }

    fn machines(&self, value: &Value) {
        self.print(&format!("{}\n", escape_json(&value.to_string())));
    }

    fn is_broken(&self) -> bool {
        self.broken.lock().is_ok_and(|broken| broken.is_some())
    }

    /// Writes to stdout, until that fails once.
    fn print(&self, text: &str) {
        let Ok(mut broken) = self.broken.lock() else {
            return;
        };
        if broken.is_none() {
            let mut out = io::stdout().lock();
            *broken = write!(out, "{text}").and_then(|()| out.flush()).err();
        }
    }
}

/// Writes a line to stderr. Where even that fails, nobody is left to be told.
fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
