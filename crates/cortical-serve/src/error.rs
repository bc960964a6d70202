//! What keeps a server from starting.

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system gives no threads, or the listener cannot be used.
    #[error("the server cannot start: {why}")]
    Start {
        /// What the system says.
        why: std::io::Error,
    },
    /// There is no room for a text.
    #[error("a text of {got} positions has no room for a prompt and an answer; give at least 2")]
    Context {
        /// The positions.
        got: usize,
    },
}
