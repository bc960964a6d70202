//! How a verb that did not fail ended.

/// How a verb that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The work is done.
    Finished,
    /// What was compared differs, and the result says how.
    Differs,
    /// The work was stopped on request, and everything is saved.
    Stopped,
}
