//! What can go wrong between ranks.

/// Why ranks cannot work together any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommunicationDefect {
    /// A message to or from a rank that does not exist, or to the rank itself.
    #[error(
        "expected another rank below {size}, got rank {rank}; every rank must be started with the same number"
    )]
    NoSuchRank {
        /// The rank.
        rank: usize,
        /// How many there are.
        size: usize,
    },
    /// Another rank has ended.
    #[error(
        "rank {rank} has ended while others still needed it; its own output says why, resume from the checkpoint"
    )]
    RankGone {
        /// The rank.
        rank: usize,
    },
    /// A message is not as long as it should be.
    #[error(
        "rank {from} sent {got} bytes where {expected} were expected; all ranks need the same recipe and version"
    )]
    Length {
        /// Who sent it.
        from: usize,
        /// The bytes that it should have.
        expected: usize,
        /// The bytes that it has.
        got: usize,
    },
    /// A rank would have nothing to do.
    #[error(
        "{micro_batches} micro-batches cannot be shared by {ranks} ranks; start at most one rank for each"
    )]
    TooManyRanks {
        /// What is shared out.
        micro_batches: usize,
        /// How many share it.
        ranks: usize,
    },
}
