//! Every operation, held to the same promises through one table.
//!
//! [`table`] describes each public operation once: how it is called, on which shapes, and which of PyTorch's reference
//! cases it has to match. The other modules go through the table:
//!
//! - [`gradients`]: central differences on plain, strided, broadcast, empty and single inputs and inputs used twice, on
//!   both paths;
//! - [`halves`]: `f16` and `bf16` are computed in `f32` and rounded once;
//! - [`threads`]: the same bits on 1, 2, 4 and 8 threads and in ten repeats;
//! - [`hostile`]: random shapes, dtypes and options give a typed error or the right result, never a panic;
//! - [`listed`]: no public operation is missing from the table.

mod gradients;
mod halves;
mod hostile;
mod listed;
mod pick;
mod subject;
mod table;
mod threads;
