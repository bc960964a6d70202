//! What a file may have at most. Real models are far below; a file above is an attack or a mistake.

/// Bytes of the header. The largest published models have headers of a few MiB.
pub const HEADER_BYTES: u64 = 16 << 20;
/// Number of tensors.
pub const TENSORS: usize = 100_000;
/// Number of dimensions of a tensor.
pub const RANK: usize = 8;
/// Bytes of a tensor's name.
pub const NAME_BYTES: usize = 1024;
