//! What a server may take and do.

use std::time::Duration;

/// The options of a server. All have a default that suits one machine and a handful of clients.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name that clients ask for.
    pub name: String,
    /// Texts that are written together.
    pub together: usize,
    /// Requests that may wait for their turn; more are refused.
    pub queue: usize,
    /// Positions that one text may take, its prompt and what is written.
    pub context: usize,
    /// Tokens that a reply has at most, also where a client does not say how many it wants.
    pub max_tokens: usize,
    /// Positions of earlier texts that are kept, so that what begins like them need not be read again.
    pub kept: usize,
    /// Bytes of a request.
    pub max_body: usize,
    /// How long a request may take from its arrival to its end.
    pub timeout: Duration,
    /// What clients have to send as `Authorization: Bearer KEY`.
    pub api_key: Option<String>,
    /// The origins of pages that may use the server from a browser, `*` for all; none by default.
    pub cors: Vec<String>,
    /// Whether requests have to name this machine (`Host: localhost` and the like), as a page of a stranger could
    /// reach a server without a key by a name of its own.
    pub local_only: bool,
    /// How long requests may go on when the server is to end.
    pub grace: Duration,
}

impl Options {
    /// The defaults, for a model of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            together: 8,
            queue: 64,
            context: 4096,
            max_tokens: 1024,
            kept: 16_384,
            max_body: 4 << 20,
            timeout: Duration::from_secs(600),
            api_key: None,
            cors: Vec::new(),
            local_only: true,
            grace: Duration::from_secs(30),
        }
    }
}

/// How long a client may take to send the head of a request, and then its body.
pub(crate) const SLOW_HEAD: Duration = Duration::from_secs(10);
/// As above.
pub(crate) const SLOW_BODY: Duration = Duration::from_secs(30);
/// Connections at a time; further ones wait until one ends.
pub(crate) const CONNECTIONS: usize = 1024;
