//! What a person wants to know about many numbers, gathered piece by piece.

/// Sums over numbers, from which norms and shares follow. Sums of pieces and of tensors can be merged.
///
/// ```
/// use cortical_explain::Stats;
/// let mut stats = Stats::default();
/// stats.add(&[3.0, 0.0]);
/// stats.add(&[-4.0, 0.0]);
/// assert_eq!((stats.norm(), stats.sparsity(), stats.largest), (5.0, 0.5, 4.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// How many numbers there are.
    pub count: usize,
    /// How many of them are 0.
    pub zeros: usize,
    /// How many of them are NaN or infinite; those are in no sum.
    pub non_finite: usize,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
    /// The largest size of one of them.
    pub largest: f64,
}

impl Stats {
    /// Takes in some numbers.
    pub fn add(&mut self, numbers: &[f64]) {
        self.count += numbers.len();
        for x in numbers {
            if x.is_finite() {
                self.zeros += usize::from(*x == 0.0);
                self.sum += x;
                self.squares += x * x;
                self.largest = self.largest.max(x.abs());
            } else {
                self.non_finite += 1;
            }
        }
    }

    /// Takes in what was gathered of others.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.zeros += other.zeros;
        self.non_finite += other.non_finite;
        self.sum += other.sum;
        self.squares += other.squares;
        self.largest = self.largest.max(other.largest);
    }

    /// The Euclidean norm `√Σ x²`.
    #[must_use]
    pub fn norm(&self) -> f64 {
        self.squares.sqrt()
    }

    /// The root of the mean square; 0 of nothing.
    #[must_use]
    pub fn rms(&self) -> f64 {
        (self.squares / (self.count - self.non_finite).max(1) as f64).sqrt()
    }

    /// The mean; 0 of nothing.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / (self.count - self.non_finite).max(1) as f64
    }

    /// The share of zeros; 0 of nothing.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        self.zeros as f64 / self.count.max(1) as f64
    }
}
