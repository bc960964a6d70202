//! The innermost block: up to two by two tiles of sixteen by sixteen sums, kept in tile registers over a run of packed
//! blocks.
//!
//! Each number is the sum of three of `bf16` ([`super::pack`]), and of the nine products of parts the six that reach
//! into the twenty-four bits of an `f32` are added, the small ones first. Every product of two `bf16` is exact in
//! `f32`, and the sums are `f32`.
//!
//! Where every number of both operands is a `bf16` already, the five products with middle and low parts are zero and
//! are left out: the sums have the same value.
//!
//! The code is assembly because the compiler has no types for tiles yet. Tile registers belong to nobody between two
//! calls: a [`Configured`] value says that they have their shape on this thread.

use super::pack::{PART, TILE};
use std::arch::asm;
use std::marker::PhantomData;

/// Where the operands of one block are, and where its sums go.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// How many packed blocks of 32 products each the sum is long.
    pub(super) depth: usize,
    /// The packed rows: one or two tiles of sixteen.
    pub(super) a: [*const u8; 2],
    /// The packed columns.
    pub(super) b: [*const u8; 2],
    /// The first sum; rows are `c_row` numbers apart.
    pub(super) c: *mut f32,
    pub(super) c_row: usize,
    /// Whether to add to what is in `c`.
    pub(super) add: bool,
    /// Whether both operands have high parts only.
    pub(super) narrow: bool,
}

/// Tile registers of sixteen rows of 64 bytes on this thread, until it is dropped.
pub(super) struct Configured {
    /// Registers are a thread's own.
    thread: PhantomData<*mut ()>,
}

#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configured {
    /// # Safety
    /// The processor has AMX with `bf16` and the system has allowed its use.
    pub(super) unsafe fn new() -> Self {
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        configuration.row_bytes[..8].fill(64);
        configuration.rows[..8].fill(16);
        // SAFETY: the caller's promise; the memory has the 64 bytes that the instruction reads.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, preserves_flags));
        }
        Self {
            thread: PhantomData,
        }
    }

    /// `c[i, j] (+)= Σ_p a[i, p] · b[p, j]` for `rows` × `columns` tiles, one or two each.
    ///
    /// # Safety
    /// `depth` packed blocks can be read behind each of the first `rows` and `columns` pointers, and every sum can be
    /// read and written.
    pub(super) unsafe fn run(&self, rows: usize, columns: usize, block: &Block) {
        // SAFETY: the caller's promises.
        unsafe {
            match (block.narrow, rows > 1, columns > 1) {
                (false, true, true) => wide::two_by_two(block),
                (false, true, false) => wide::two_by_one(block),
                (false, false, true) => wide::one_by_two(block),
                (false, false, false) => wide::one_by_one(block),
                (true, true, true) => narrow::two_by_two(block),
                (true, true, false) => narrow::two_by_one(block),
                (true, false, true) => narrow::one_by_two(block),
                (true, false, false) => narrow::one_by_one(block),
            }
        }
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: tiles exist, or this value would not; nobody uses them any more.
        unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
    }
}

/// Asks for a sixth of each operand's next packed block, so that it has come nearer when its turn is there.
macro_rules! ahead {
    ($part:literal) => {
        concat!(
            ahead!(@ "{a0}", $part),
            ahead!(@ "{a1}", $part),
            ahead!(@ "{b0}", $part),
            ahead!(@ "{b1}", $part)
        )
    };
    (@ $from:literal, $part:literal) => {
        concat!(
            ahead!(@ $from, $part, "0"),
            ahead!(@ $from, $part, "1"),
            ahead!(@ $from, $part, "2"),
            ahead!(@ $from, $part, "3"),
            ahead!(@ $from, $part, "4"),
            ahead!(@ $from, $part, "5"),
            ahead!(@ $from, $part, "6"),
            ahead!(@ $from, $part, "7")
        )
    };
    (@ $from:literal, $part:literal, $line:literal) => {
        concat!("prefetcht0 [", $from, " + 3072 + 512 * ", $part, " + 64 * ", $line, "]\n")
    };
}

/// What is done with one packed block. The six products of wide numbers want the parts (high, low), (high, middle),
/// (middle, middle), (middle, high), (low, high), (high, high) of the left and the right operand; in this order only
/// one part is loaded twice. While they run, the next block comes nearer: its 12 KiB are more than the processor asks
/// for by itself.
macro_rules! products {
    (wide, $a:ident, $b:ident, $multiply:literal) => {
        concat!(
            $a!("0"),
            "\n",
            $b!("2048"),
            "\n",
            ahead!("0"),
            $multiply,
            "\n",
            $b!("1024"),
            "\n",
            ahead!("1"),
            $multiply,
            "\n",
            $a!("1024"),
            "\n",
            ahead!("2"),
            $multiply,
            "\n",
            $b!("0"),
            "\n",
            ahead!("3"),
            $multiply,
            "\n",
            $a!("2048"),
            "\n",
            ahead!("4"),
            $multiply,
            "\n",
            $a!("0"),
            "\n",
            ahead!("5"),
            $multiply
        )
    };
    (narrow, $a:ident, $b:ident, $multiply:literal) => {
        concat!(
            $a!("0"),
            "\n",
            $b!("0"),
            "\n",
            ahead!("0"),
            ahead!("1"),
            $multiply
        )
    };
}

/// Makes one shape of the kernel.
macro_rules! kernel {
    ($parts:ident $name:ident, load: $load:expr, zero: $zero:expr, a: $a:ident, b: $b:ident, multiply: $multiply:literal, store: $store:expr) => {
        /// # Safety
        /// As [`Configured::run`], on a thread whose tiles are configured.
        pub(super) unsafe fn $name(block: &Block) {
            let below = block.c.wrapping_add(TILE * block.c_row);
            // SAFETY: the caller's promises: the packed blocks and the sums are all that is read and written.
            unsafe {
                asm!(
                    "test {add:e}, {add:e}",
                    "jz 3f",
                    $load,
                    "jmp 2f",
                    "3:",
                    $zero,
                    "2:",
                    products!($parts, $a, $b, $multiply),
                    "add {a0}, {step}",
                    "add {a1}, {step}",
                    "add {b0}, {step}",
                    "add {b1}, {step}",
                    "dec {depth}",
                    "jnz 2b",
                    $store,
                    add = in(reg) u32::from(block.add),
                    a0 = inout(reg) block.a[0] => _,
                    a1 = inout(reg) block.a[1] => _,
                    b0 = inout(reg) block.b[0] => _,
                    b1 = inout(reg) block.b[1] => _,
                    depth = inout(reg) block.depth => _,
                    c0 = in(reg) block.c,
                    c1 = in(reg) below,
                    row = in(reg) size_of::<f32>() * block.c_row,
                    line = in(reg) 64_usize,
                    step = const 3 * PART,
                    options(nostack),
                );
            }
        }
    };
}

macro_rules! one_a {
    ($part:literal) => {
        concat!("tileloadd tmm4, [{a0} + {line} + ", $part, "]")
    };
}
macro_rules! two_a {
    ($part:literal) => {
        concat!(
            "tileloadd tmm4, [{a0} + {line} + ",
            $part,
            "]\n",
            "tileloadd tmm5, [{a1} + {line} + ",
            $part,
            "]"
        )
    };
}
macro_rules! one_b {
    ($part:literal) => {
        concat!("tileloadd tmm6, [{b0} + {line} + ", $part, "]")
    };
}
macro_rules! two_b {
    ($part:literal) => {
        concat!(
            "tileloadd tmm6, [{b0} + {line} + ",
            $part,
            "]\n",
            "tileloadd tmm7, [{b1} + {line} + ",
            $part,
            "]"
        )
    };
}

/// Makes the kernels for every shape of a block.
macro_rules! shapes {
    ($parts:ident) => {
        mod $parts {
            use super::{Block, PART, TILE};
            use std::arch::asm;

            kernel!(
                $parts two_by_two,
                load: "tileloadd tmm0, [{c0} + {row}]\ntileloadd tmm1, [{c0} + {row} + 64]\ntileloadd tmm2, [{c1} + {row}]\ntileloadd tmm3, [{c1} + {row} + 64]",
                zero: "tilezero tmm0\ntilezero tmm1\ntilezero tmm2\ntilezero tmm3",
                a: two_a,
                b: two_b,
                multiply: "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7",
                store: "tilestored [{c0} + {row}], tmm0\ntilestored [{c0} + {row} + 64], tmm1\ntilestored [{c1} + {row}], tmm2\ntilestored [{c1} + {row} + 64], tmm3"
            );
            kernel!(
                $parts two_by_one,
                load: "tileloadd tmm0, [{c0} + {row}]\ntileloadd tmm2, [{c1} + {row}]",
                zero: "tilezero tmm0\ntilezero tmm2",
                a: two_a,
                b: one_b,
                multiply: "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm2, tmm5, tmm6",
                store: "tilestored [{c0} + {row}], tmm0\ntilestored [{c1} + {row}], tmm2"
            );
            kernel!(
                $parts one_by_two,
                load: "tileloadd tmm0, [{c0} + {row}]\ntileloadd tmm1, [{c0} + {row} + 64]\n# {c1}",
                zero: "tilezero tmm0\ntilezero tmm1",
                a: one_a,
                b: two_b,
                multiply: "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7",
                store: "tilestored [{c0} + {row}], tmm0\ntilestored [{c0} + {row} + 64], tmm1"
            );
            kernel!(
                $parts one_by_one,
                load: "tileloadd tmm0, [{c0} + {row}]\n# {c1}",
                zero: "tilezero tmm0",
                a: one_a,
                b: one_b,
                multiply: "tdpbf16ps tmm0, tmm4, tmm6",
                store: "tilestored [{c0} + {row}], tmm0"
            );
        }
    };
}

shapes!(wide);
shapes!(narrow);
