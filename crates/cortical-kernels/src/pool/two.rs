//! Max pooling over windows of 2×2 side by side, the most common ones, as loops that compilers vectorise.

use super::Geometry;
use crate::real::Real;

/// Whether a pool is one of these: nothing hangs over, nothing overlaps.
pub(super) fn serves(g: &Geometry) -> bool {
    let plain = |i: usize| {
        let axis = g.axes()[i];
        axis.kernel == 2
            && axis.stride == 2
            && axis.padding == [0, 0]
            && axis.dilation == 1
            && g.output()[i] == axis.input / 2
    };
    plain(0) && plain(1)
}

/// The larger of the best so far and a later tap's value, `NaN` being larger than anything.
#[inline(always)]
fn better<T: Real>((most, best): (T, u8), value: T, tap: u8) -> (T, u8) {
    // `NaN` differs from itself. Two selects instead of a branch, so that the loop becomes vector code.
    #[allow(clippy::eq_op)]
    let wins = (value > most) | (value != value);
    (
        if wins { value } else { most },
        if wins { tap } else { best },
    )
}

multiversion! {
    /// The maxima and winners of as many planes as `x` holds.
    pub(super) fn forward<T: Real>(g: &Geometry, x: &[T], y: &mut [T], taps: &mut [u8]) {
        let ([height, width], [_, out_width]) = (g.axes().map(|axis| axis.input), g.output());
        let planes = x.chunks_exact(height * width);
        let rows = planes.flat_map(|plane| plane.chunks_exact(2 * width));
        let outputs = y.chunks_exact_mut(out_width).zip(taps.chunks_exact_mut(out_width));
        for (rows, (y, taps)) in rows.zip(outputs) {
            let (upper, lower) = rows.split_at(width);
            let (upper, lower) = (upper.as_chunks::<2>().0, lower.as_chunks::<2>().0);
            for (((y, tap), a), b) in y.iter_mut().zip(taps).zip(upper).zip(lower) {
                let best = better((a[0], 0), a[1], 1);
                let best = better(best, b[0], 2);
                let (most, winner) = better(best, b[1], 3);
                *y = most;
                *tap = winner;
            }
        }
    }
}

multiversion! {
    /// The gradient of as many planes as `d_x` holds: each place is written once.
    pub(super) fn backward<T: Real>(g: &Geometry, d_y: &[T], taps: &[u8], d_x: &mut [T]) {
        let ([height, width], [out_height, out_width]) = (g.axes().map(|axis| axis.input), g.output());
        let mut outputs = d_y.chunks_exact(out_width).zip(taps.chunks_exact(out_width));
        for plane in d_x.chunks_exact_mut(height * width) {
            let (pairs, odd) = plane.split_at_mut(2 * out_height * width);
            odd.fill(T::ZERO);
            for rows in pairs.chunks_exact_mut(2 * width) {
                let (d_y, taps) = outputs.next().expect("a row of outputs for two of inputs");
                let (upper, lower) = rows.split_at_mut(width);
                let (upper, upper_odd) = upper.as_chunks_mut::<2>();
                let (lower, lower_odd) = lower.as_chunks_mut::<2>();
                upper_odd.fill(T::ZERO);
                lower_odd.fill(T::ZERO);
                for (((d_y, tap), a), b) in d_y.iter().zip(taps).zip(upper).zip(lower) {
                    let (d, tap) = (*d_y, *tap);
                    let of = |t: u8| if tap == t { d } else { T::ZERO };
                    *a = [of(0), of(1)];
                    *b = [of(2), of(3)];
                }
            }
        }
    }
}
