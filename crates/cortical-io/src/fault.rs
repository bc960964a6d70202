//! Places at which tests make the disk fail: every change of the disk asks here first.
//!
//! Outside this crate's own tests the question is empty and compiled away.

use std::fs::File;
use std::io::{self, Write};

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create,
    Write,
    Sync,
    Rename,
    Remove,
}

/// Whether the change may happen.
#[cfg(not(test))]
#[inline(always)]
pub(crate) fn check(_: Op) -> io::Result<()> {
    Ok(())
}

/// A file whose writes ask first.
pub(crate) struct Watched(pub(crate) File);

impl Write for Watched {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        check(Op::Write)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
pub(crate) use tests::check;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;

    /// What happens at one of the changes to come.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Fault {
        /// The process is gone: this change and all later ones do not happen.
        Kill,
        /// This change fails, the next ones do not.
        Fail(io::ErrorKind),
    }

    #[derive(Default)]
    struct State {
        seen: Vec<Op>,
        fault: Option<(usize, Fault)>,
    }

    thread_local! {
        static STATE: RefCell<State> = RefCell::default();
    }

    pub(crate) fn check(op: Op) -> io::Result<()> {
        STATE.with_borrow_mut(|state| {
            let now = state.seen.len();
            state.seen.push(op);
            match state.fault {
                Some((at, Fault::Fail(kind))) if at == now => Err(kind.into()),
                Some((at, Fault::Kill)) if at <= now => Err(io::Error::other("killed")),
                _ => Ok(()),
            }
        })
    }

    /// Runs `f` with a fault at change number `at`, counted from 0; returns the changes that were asked for.
    pub(crate) fn with_fault<R>(at: usize, fault: Fault, f: impl FnOnce() -> R) -> (R, Vec<Op>) {
        STATE.set(State {
            seen: Vec::new(),
            fault: Some((at, fault)),
        });
        let result = f();
        (result, STATE.take().seen)
    }
}
