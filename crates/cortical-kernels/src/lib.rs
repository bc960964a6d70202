//! CPU arithmetic of neural networks on plain slices.
//!
//! A kernel is a function of slices and dimensions: it knows no tensors and no files. Each family is a module in
//! which the forward pass stands beside the backward pass and the naive kernel beside the fast one:
//!
//! - [`matmul`]: general matrix products over strided views; [`linear`]: a layer of neurons on top of them;
//! - [`activation`]: what a neuron does with its weighted sum; [`prelu`]: one whose slope is learnt;
//! - [`softmax`], [`cross_entropy`]: from scores to probabilities and to a loss;
//! - [`conv`], [`pool`], [`resample`]: windows that slide over one, two or three axes, and planes of another size;
//! - [`optimizer`]: how a parameter follows its gradient, with norms, clipping and averages;
//! - [`norm`]: layer, RMS, batch, group and instance norm;
//! - [`attention`]: scaled dot-product attention in memory linear in the sequence;
//! - [`recurrent`]: RNN, LSTM and GRU over whole sequences;
//! - [`embedding`], [`rope`], [`gated`], [`residual`]: rows of a table, rotary positions, gated units, sums of
//!   branches;
//! - [`outer`]: the products of all pairs of two rows;
//! - [`reduction`]: sums, extremes and norms along an axis;
//! - [`loss`]: losses between two numbers, and the likelihood of classes; [`ctc`]: that of label sequences;
//! - [`quantized`]: weights in 16, 8, 6 and 4 bits and products computed from them;
//! - [`sparse`]: weights of which most connections are severed, and products over those that are left;
//!   [`constant`]: what both can do;
//! - [`dropout`], [`philox`]: randomness as a function of a key and a counter;
//! - [`roofline`]: what the machine allows at most; [`alloc`], [`buffer`]: memory for steps that repeat.
//!
//! Two promises hold for all of them. On one processor and build the bits do not depend on the number of threads:
//! work is split by the size of the problem ([`parallel`]) and sums have a fixed order. And the instruction set is
//! chosen at run time ([`isa`]): AVX-512 (for products with AMX, or pairs of `bf16`), AVX2 with FMA, or portable code.
//!
//! Preconditions (slice lengths) are asserted: a caller that has checked its shapes, as `cortical-tensor` does, never
//! meets a panic.
//!
//! ```
//! use cortical_kernels::activation::{Activation, forward};
//! let mut y = [0.0_f32; 3];
//! forward(Activation::Relu, &[-1.0, 0.0, 2.0], &mut y);
//! assert_eq!(y, [0.0, 0.0, 2.0]);
//! ```

// This crate is the one that talks to the processor; every block says why it is sound.
#![allow(unsafe_code)]

#[macro_use]
pub mod isa;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod simd;
pub mod activation;
pub mod alloc;
pub mod attention;
pub mod buffer;
pub mod constant;
pub mod conv;
pub mod cross_entropy;
pub mod ctc;
mod disjoint;
pub mod dropout;
pub mod embedding;
pub mod gated;
mod half;
pub mod linear;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod optimizer;
pub mod outer;
pub mod parallel;
pub mod philox;
pub mod pool;
mod prefetch;
pub mod prelu;
pub mod quantized;
pub mod real;
pub mod recurrent;
pub mod reduction;
pub mod resample;
pub mod residual;
pub mod roofline;
pub mod rope;
mod scratch;
pub mod slice_sums;
pub mod softmax;
pub mod sparse;
mod stream;
#[cfg(test)]
mod testing;
