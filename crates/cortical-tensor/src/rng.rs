//! Seeded random streams that do not depend on order, threads or device.
//!
//! Every stream is named. Its key is made from the run's seed and the stream's name, its numbers from the key and
//! a counter, so that two streams never disturb each other and a stream's position is a few words in a checkpoint.

use cortical_kernels::philox;

/// The seed of a run; every random stream of the run is derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// Where a random stream stands: everything needed to continue it with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RngState {
    key: [u32; 2],
    /// How many 32-bit words have been taken.
    words_taken: u64,
}

impl RngState {
    /// The state as numbers, for a file.
    #[must_use]
    pub fn to_words(self) -> [u64; 2] {
        [
            u64::from(self.key[0]) | u64::from(self.key[1]) << 32,
            self.words_taken,
        ]
    }

    /// The state that [`RngState::to_words`] wrote.
    #[must_use]
    pub fn from_words(words: [u64; 2]) -> Self {
        Self {
            key: [words[0] as u32, (words[0] >> 32) as u32],
            words_taken: words[1],
        }
    }
}

/// A stream of random numbers, a function of a seed, a name and a position.
///
/// # Source
/// Philox 4×32-10, see [`cortical_kernels::philox`].
///
/// ```
/// use cortical_tensor::{Rng, Seed};
/// let mut rng = Rng::new(Seed(1), "dropout");
/// let first = rng.next_u32();
/// let saved = rng.state();
/// let second = rng.next_u32();
/// assert_eq!(Rng::from_state(saved).next_u32(), second);
/// assert_eq!(Rng::new(Seed(1), "dropout").next_u32(), first);
/// ```
#[derive(Clone, Debug)]
pub struct Rng {
    state: RngState,
    /// The block that the next word comes from, when it has been computed already.
    block: Option<(u64, [u32; 4])>,
}

impl Rng {
    /// The stream called `stream` of the run with this `seed`, at its beginning.
    #[must_use]
    pub fn new(seed: Seed, stream: &str) -> Self {
        let key = mix(seed.0 ^ mix(hash_name(stream)));
        Self::from_state(RngState {
            key: [key as u32, (key >> 32) as u32],
            words_taken: 0,
        })
    }

    /// A stream that continues where `state` was taken.
    #[must_use]
    pub fn from_state(state: RngState) -> Self {
        Self { state, block: None }
    }

    /// Where the stream stands.
    #[must_use]
    pub fn state(&self) -> RngState {
        self.state
    }

    /// A stream of its own for `name`, which depends on this stream's key and not on its position.
    #[must_use]
    pub fn substream(&self, name: &str) -> Self {
        let [key, _] = self.state.to_words();
        Self::new(Seed(key), name)
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let index = self.state.words_taken / 4;
        let block = match self.block {
            Some((i, block)) if i == index => block,
            _ => {
                let block = philox::block(self.state.key, philox::advance([0; 4], index));
                self.block = Some((index, block));
                block
            }
        };
        let word = block[(self.state.words_taken % 4) as usize];
        self.state.words_taken = self.state.words_taken.wrapping_add(1);
        word
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        u64::from(self.next_u32()) | u64::from(self.next_u32()) << 32
    }

    /// Reserves whole blocks for `words` words and returns the key and the first block, so that a kernel can make
    /// the words itself, on any number of threads.
    pub fn reserve(&mut self, words: u64) -> ([u32; 2], u64) {
        let first = self.state.words_taken.div_ceil(4);
        self.state.words_taken = first.wrapping_add(words.div_ceil(4)).wrapping_mul(4);
        (self.state.key, first)
    }

    /// A number in `0..n`, each equally likely; `0` when `n` is `0`.
    ///
    /// # Source
    /// Lemire, "Fast random integer generation in an interval" (2019), with rejection, so there is no bias.
    pub fn below(&mut self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        let threshold = n.wrapping_neg() % n;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(n);
            if product as u64 >= threshold {
                return (product >> 64) as u64;
            }
        }
    }

    /// A real number in `[0, 1)` with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// A sample of the standard normal distribution.
    ///
    /// # Source
    /// Box and Muller (1958): `sqrt(-2 ln u) · cos(2 π v)`.
    pub fn normal(&mut self) -> f64 {
        let u = 1.0 - self.uniform();
        let v = self.uniform();
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Puts `items` into a random order, each order equally likely (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }

    /// Fills `out` with samples of the uniform distribution on `[low, high)`.
    pub fn fill_uniform(&mut self, out: &mut [f32], low: f64, high: f64) {
        for x in out {
            *x = (low + (high - low) * self.uniform()) as f32;
        }
    }

    /// Fills `out` with samples of the normal distribution.
    pub fn fill_normal(&mut self, out: &mut [f32], mean: f64, std: f64) {
        for x in out {
            *x = (mean + std * self.normal()) as f32;
        }
    }
}

/// FNV-1a of a name's bytes.
fn hash_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finaliser of SplitMix64: every input bit reaches every output bit.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_stream_continues_with_the_same_words() {
        let mut rng = Rng::new(Seed(7), "a");
        for taken in 0..9 {
            let mut restored = Rng::from_state(RngState::from_words(rng.state().to_words()));
            assert_eq!(
                restored.clone().next_u32(),
                rng.next_u32(),
                "{taken} words in"
            );
            restored.next_u32();
            assert_eq!(restored.state(), rng.state());
        }
    }

    #[test]
    fn names_and_seeds_make_different_streams() {
        let word = |seed, name| Rng::new(Seed(seed), name).next_u64();
        assert_ne!(word(1, "a"), word(1, "b"));
        assert_ne!(word(1, "a"), word(2, "a"));
    }

    #[test]
    fn below_is_in_range_and_reaches_every_value() {
        let mut rng = Rng::new(Seed(3), "below");
        let mut seen = [0; 5];
        for _ in 0..500 {
            seen[rng.below(5) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| n > 60), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn normal_has_mean_zero_and_variance_one() {
        let mut rng = Rng::new(Seed(3), "normal");
        let xs: Vec<f64> = (0..20_000).map(|_| rng.normal()).collect();
        let mean = xs.iter().sum::<f64>() / 2e4;
        let var = xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 2e4;
        assert!(
            mean.abs() < 0.03 && (var - 1.0).abs() < 0.05,
            "{mean} {var}"
        );
    }

    #[test]
    fn reserving_skips_whole_blocks() {
        let mut rng = Rng::new(Seed(3), "reserve");
        rng.next_u32();
        let (key, first) = rng.reserve(5);
        assert_eq!(first, 1);
        let direct = philox::block(key, philox::advance([0; 4], first + 2))[0];
        assert_eq!(rng.next_u32(), direct);
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut xs: Vec<u32> = (0..100).collect();
        Rng::new(Seed(1), "shuffle").shuffle(&mut xs);
        assert_ne!(xs[..5], [0, 1, 2, 3, 4]);
        xs.sort_unstable();
        assert!(xs.iter().copied().eq(0..100));
    }
}
