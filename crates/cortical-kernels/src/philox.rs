//! Philox 4×32-10: random numbers as a function of a key and a counter.
//!
//! A counter-based generator has no hidden state: word `i` of a stream is computed from `(key, i)` alone. Any
//! part of a stream can be made by any thread in any order, and its position is one number that a checkpoint
//! can hold.
//!
//! # Source
//! Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 4.

const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// The four random words of one counter value under one key.
///
/// ```
/// let words = cortical_kernels::philox::block([0, 0], [0, 0, 0, 0]);
/// assert_eq!(words[0], 0x6627_e8d5);
/// ```
#[inline(always)]
#[must_use]
pub fn block(key: [u32; 2], counter: [u32; 4]) -> [u32; 4] {
    let [mut k0, mut k1] = key;
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    for _ in 0..ROUNDS {
        let p0 = u64::from(MULTIPLIERS[0]) * u64::from(c0);
        let p1 = u64::from(MULTIPLIERS[1]) * u64::from(c2);
        let (hi0, lo0) = ((p0 >> 32) as u32, p0 as u32);
        let (hi1, lo1) = ((p1 >> 32) as u32, p1 as u32);
        (c0, c1, c2, c3) = (hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// The counter that stands `blocks` blocks after `counter`, wrapping at 2¹²⁸.
#[inline(always)]
#[must_use]
pub fn advance(counter: [u32; 4], blocks: u64) -> [u32; 4] {
    let [c0, c1, c2, c3] = counter.map(u128::from);
    let position = c0 | c1 << 32 | c2 << 64 | c3 << 96;
    let next = position.wrapping_add(u128::from(blocks));
    [
        next as u32,
        (next >> 32) as u32,
        (next >> 64) as u32,
        (next >> 96) as u32,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with their reference implementation.
    #[test]
    fn known_answers() {
        let pi_key = [0xa409_3822, 0x299f_31d0];
        let pi = [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344];
        assert_eq!(
            block([0; 2], [0; 4]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            block([u32::MAX; 2], [u32::MAX; 4]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            block(pi_key, pi),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn advancing_carries_into_the_next_word() {
        assert_eq!(advance([u32::MAX, 0, 7, 9], 1), [0, 1, 7, 9]);
        assert_eq!(advance([u32::MAX; 4], 1), [0; 4]);
    }
}
