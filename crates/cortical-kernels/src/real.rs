//! The two arithmetic types of the kernels, `f32` for speed and `f64` for checks, and their special functions.
//!
//! The `f32` functions are branch-free polynomials that compilers turn into vector code; each states its largest
//! error. The `f64` ones call the exact library functions: gradient checks need digits, not speed.

use crate::isa::{InstructionSet, Isa};
use std::fmt::Debug;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

/// A real number type that kernels compute in.
pub trait Real:
    Copy
    + Debug
    + Default
    + PartialOrd
    + Send
    + Sync
    + Sum
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
{
    /// 0
    const ZERO: Self;
    /// 1
    const ONE: Self;
    /// 1/2
    const HALF: Self;
    /// −∞
    const NEG_INFINITY: Self;

    /// The nearest number to `x`.
    fn from_f64(x: f64) -> Self;
    /// This number in double precision.
    fn to_f64(self) -> f64;
    /// The same numbers as `f32`, if that is what they are: for kernels that exist in single precision only.
    #[inline(always)]
    fn as_f32(_: &[Self]) -> Option<&[f32]> {
        None
    }
    /// As [`Self::as_f32`], to be written.
    #[inline(always)]
    fn as_f32_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
    /// `self · a + b`, fused where the instruction set has it.
    fn mul_add<I: Isa>(self, a: Self, b: Self) -> Self;
    /// √x
    fn sqrt(self) -> Self;
    /// |x|
    fn abs(self) -> Self;
    /// The larger of two numbers; `NaN` in `self` is kept.
    #[inline(always)]
    fn maximum(self, other: Self) -> Self {
        if self < other { other } else { self }
    }
    /// The smaller of two numbers; `NaN` in `self` is kept.
    #[inline(always)]
    fn minimum(self, other: Self) -> Self {
        if self > other { other } else { self }
    }
    /// eˣ
    fn exp<I: Isa>(self) -> Self;
    /// ln x; −∞ at 0, `NaN` below.
    fn ln<I: Isa>(self) -> Self;
    /// ln(1 + x)
    fn ln_1p<I: Isa>(self) -> Self;
    /// eˣ − 1
    fn exp_m1<I: Isa>(self) -> Self;
    /// tanh x
    fn tanh<I: Isa>(self) -> Self;
    /// The error function, 2/√π ∫₀ˣ exp(−t²) dt.
    fn erf<I: Isa>(self) -> Self;
    /// 1 / (1 + e⁻ˣ)
    #[inline(always)]
    fn sigmoid<I: Isa>(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp::<I>())
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HALF: Self = 0.5;
    const NEG_INFINITY: Self = f64::NEG_INFINITY;

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }
    #[inline(always)]
    fn mul_add<I: Isa>(self, a: Self, b: Self) -> Self {
        if I::SET == InstructionSet::Portable {
            self * a + b
        } else {
            f64::mul_add(self, a, b)
        }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f64::abs(self)
    }
    #[inline(always)]
    fn exp<I: Isa>(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn ln<I: Isa>(self) -> Self {
        f64::ln(self)
    }
    #[inline(always)]
    fn ln_1p<I: Isa>(self) -> Self {
        f64::ln_1p(self)
    }
    #[inline(always)]
    fn exp_m1<I: Isa>(self) -> Self {
        f64::exp_m1(self)
    }
    #[inline(always)]
    fn tanh<I: Isa>(self) -> Self {
        f64::tanh(self)
    }
    #[inline(always)]
    fn erf<I: Isa>(self) -> Self {
        libm::erf(self)
    }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HALF: Self = 0.5;
    const NEG_INFINITY: Self = f32::NEG_INFINITY;

    #[inline(always)]
    fn from_f64(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn as_f32(x: &[Self]) -> Option<&[f32]> {
        Some(x)
    }
    #[inline(always)]
    fn as_f32_mut(x: &mut [Self]) -> Option<&mut [f32]> {
        Some(x)
    }
    #[inline(always)]
    fn mul_add<I: Isa>(self, a: Self, b: Self) -> Self {
        if I::SET == InstructionSet::Portable {
            self * a + b
        } else {
            f32::mul_add(self, a, b)
        }
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f32::abs(self)
    }

    /// Largest relative error 2·10⁻⁷. Range reduction by Cody and Waite, then the degree-5 polynomial of Cephes.
    #[inline(always)]
    fn exp<I: Isa>(self) -> Self {
        // Beyond these the result is +∞ or 0; the second factor below covers the subnormal range.
        let x = if self > 89.0 { 89.0 } else { self };
        let x = if x < -104.0 { -104.0 } else { x };
        let (n, whole) = round_to_int(Real::mul_add::<I>(x, std::f32::consts::LOG2_E, MAGIC));
        let r = Real::mul_add::<I>(n, -0.693_359_4, x);
        let r = Real::mul_add::<I>(n, 2.121_944_4e-4, r);
        let p = polynomial::<I, 6>(
            r,
            [
                1.987_569_1e-4,
                1.398_199_9e-3,
                8.333_452e-3,
                4.166_579_6e-2,
                1.666_666_5e-1,
                0.5,
            ],
        );
        let y = Real::mul_add::<I>(p, r * r, r) + 1.0;
        // 2ⁿ in two halves, so that neither leaves the range of normal numbers.
        let half = whole >> 1;
        let power = |k: i32| f32::from_bits((k.wrapping_add(127) as u32) << 23);
        y * power(half) * power(whole.wrapping_sub(half))
    }

    /// Largest relative error 3·10⁻⁷ (Cephes' polynomial for `ln(1 + f)` on `[√½ − 1, √2 − 1]`).
    #[inline(always)]
    fn ln<I: Isa>(self) -> Self {
        let tiny = self < f32::MIN_POSITIVE;
        let x = if tiny { self * 8_388_608.0 } else { self };
        let bits = x.to_bits();
        // The mantissa in [1/2, 1), moved to [√½, √2).
        let exponent = (bits >> 23) as i32 - 126;
        let mantissa = f32::from_bits((bits & 0x007f_ffff) | 0x3f00_0000);
        let low = mantissa < std::f32::consts::FRAC_1_SQRT_2;
        let e = exponent as f32 - if low { 1.0 } else { 0.0 } - if tiny { 23.0 } else { 0.0 };
        let f = (if low { mantissa + mantissa } else { mantissa }) - 1.0;
        let z = f * f;
        let p = polynomial::<I, 9>(
            f,
            [
                7.037_683_6e-2,
                -1.151_461e-1,
                1.167_699_9e-1,
                -1.242_014_1e-1,
                1.424_932_3e-1,
                -1.666_805_8e-1,
                2.000_071_5e-1,
                -2.499_999_4e-1,
                3.333_333e-1,
            ],
        );
        let y = p * f * z;
        let y = Real::mul_add::<I>(e, -2.121_944_4e-4, y);
        let y = Real::mul_add::<I>(z, -0.5, y);
        let y = Real::mul_add::<I>(e, 0.693_359_4, f + y);
        let y = if self == f32::INFINITY {
            f32::INFINITY
        } else {
            y
        };
        let y = if self == 0.0 { f32::NEG_INFINITY } else { y };
        if self >= 0.0 { y } else { f32::NAN }
    }

    #[inline(always)]
    fn ln_1p<I: Isa>(self) -> Self {
        // ln(u) is exact for the rounded u = 1 + x; the factor x / (u − 1) puts the rounding back (Kahan).
        let u = 1.0 + self;
        let d = u - 1.0;
        let scaled = Real::ln::<I>(u) * (self / d);
        let y = if d == 0.0 { self } else { scaled };
        if self == f32::INFINITY { self } else { y }
    }

    #[inline(always)]
    fn exp_m1<I: Isa>(self) -> Self {
        // A Taylor polynomial near zero, where eˣ − 1 would lose its digits.
        let x = self;
        let p = polynomial::<I, 6>(
            x,
            [
                1.0 / 5040.0,
                1.0 / 720.0,
                1.0 / 120.0,
                1.0 / 24.0,
                1.0 / 6.0,
                0.5,
            ],
        );
        let small = Real::mul_add::<I>(p, x * x, x);
        let large = Real::exp::<I>(x) - 1.0;
        if Real::abs(x) < 0.35 { small } else { large }
    }

    /// Largest relative error 3·10⁻⁷.
    #[inline(always)]
    fn tanh<I: Isa>(self) -> Self {
        let a = Real::abs(self);
        let z = self * self;
        // Cephes' polynomial near zero, 1 − 2 / (e²ˣ + 1) elsewhere.
        let p = polynomial::<I, 5>(
            z,
            [
                -5.704_988_7e-3,
                2.063_909e-2,
                -5.373_971_6e-2,
                1.333_144_2e-1,
                -3.333_328e-1,
            ],
        );
        let small = Real::mul_add::<I>(p * z, self, self);
        let large = 1.0 - 2.0 / (Real::exp::<I>(a + a) + 1.0);
        if a < 0.625 {
            small
        } else {
            large.copysign(self)
        }
    }

    /// Largest absolute error 5·10⁻⁷: the rational approximation `x P(x²) / Q(x²)` for `[−4, 4]`. Beyond 4.05 it is
    /// larger than 1 and cut off there, so that nothing is left of a large number times `1 + erf`.
    #[inline(always)]
    fn erf<I: Isa>(self) -> Self {
        let x = self;
        let z = x * x;
        // Far out only the size of z would make NaN of both polynomials.
        let z = if z > 1e4 { 1e4 } else { z };
        let p = polynomial::<I, 7>(
            z,
            [
                -2.726_142_3e-10,
                2.770_681_2e-8,
                -2.101_024e-6,
                -5.692_506_4e-5,
                -7.349_906_3e-4,
                -2.954_6e-3,
                -1.609_603_3e-2,
            ],
        );
        let q = polynomial::<I, 5>(
            z,
            [
                -1.456_607_2e-5,
                -2.133_740_6e-4,
                -1.682_827e-3,
                -7.373_329e-3,
                -1.426_473_9e-2,
            ],
        );
        let y = x * p / q;
        let y = if y > 1.0 { 1.0 } else { y };
        if y < -1.0 { -1.0 } else { y }
    }
}

/// Σ cᵢ xⁿ⁻ⁱ by Horner's rule, the highest power first.
#[inline(always)]
fn polynomial<I: Isa, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut y = coefficients[0];
    for c in &coefficients[1..] {
        y = Real::mul_add::<I>(y, x, *c);
    }
    y
}

/// 1.5 · 2²³: what is added to it is rounded to an integer, ties to even, as long as its size is below 2²².
const MAGIC: f32 = 12_582_912.0;

/// The integer that was rounded by adding it to [`MAGIC`], as both kinds of number. Its bits are read and not
/// converted, since a conversion of each number that asks whether it is a `NaN` first is not always made one of
/// vectors; from a `NaN` comes any integer.
#[inline(always)]
fn round_to_int(shifted: f32) -> (f32, i32) {
    let whole = (shifted.to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32);
    (shifted - MAGIC, whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Avx2, Portable};

    /// Compares an `f32` function with the `f64` one on a grid; the error is relative above 1, absolute below `floor`.
    fn check(
        what: &str,
        range: (f64, f64),
        tolerance: f64,
        floor: f64,
        got: impl Fn(f32) -> f32,
        want: impl Fn(f64) -> f64,
    ) {
        let steps = 200_000;
        let mut worst = (0.0, 0.0);
        for i in 0..=steps {
            let x = (range.0 + (range.1 - range.0) * f64::from(i) / f64::from(steps)) as f32;
            let (g, w) = (f64::from(got(x)), want(f64::from(x)));
            let error = (g - w).abs() / w.abs().max(floor);
            if error > worst.0 {
                worst = (error, f64::from(x));
            }
        }
        assert!(
            worst.0 <= tolerance,
            "{what}: error {:e} at {}",
            worst.0,
            worst.1
        );
    }

    fn check_all<I: Isa>() {
        check("exp", (-87.0, 88.0), 2.5e-7, 0.0, Real::exp::<I>, f64::exp);
        check(
            "exp, subnormal",
            (-103.0, -87.0),
            1e-4,
            2e-41,
            Real::exp::<I>,
            f64::exp,
        );
        check("ln", (1e-6, 100.0), 3e-7, 1e-2, Real::ln::<I>, f64::ln);
        check(
            "ln_1p",
            (-0.9, 3.0),
            6e-7,
            1e-30,
            Real::ln_1p::<I>,
            f64::ln_1p,
        );
        check(
            "exp_m1",
            (-20.0, 3.0),
            5e-7,
            1e-30,
            Real::exp_m1::<I>,
            f64::exp_m1,
        );
        check(
            "tanh",
            (-12.0, 12.0),
            3e-7,
            1e-30,
            Real::tanh::<I>,
            f64::tanh,
        );
        check("erf", (-6.0, 6.0), 5e-7, 1.0, Real::erf::<I>, libm::erf);
        check(
            "sigmoid",
            (-80.0, 30.0),
            4e-7,
            0.0,
            Real::sigmoid::<I>,
            |x| 1.0 / (1.0 + (-x).exp()),
        );
    }

    #[test]
    fn f32_functions_are_close_to_f64_ones() {
        check_all::<Portable>();
        check_all::<Avx2>();
    }

    #[test]
    fn the_ends_of_the_range_are_right() {
        type I = Portable;
        assert_eq!(Real::exp::<I>(f32::NEG_INFINITY), 0.0);
        assert_eq!(Real::exp::<I>(f32::INFINITY), f32::INFINITY);
        assert!(Real::exp::<I>(f32::NAN).is_nan());
        assert_eq!(Real::ln::<I>(0.0_f32), f32::NEG_INFINITY);
        assert_eq!(Real::ln::<I>(f32::INFINITY), f32::INFINITY);
        assert!(Real::ln::<I>(-1.0_f32).is_nan());
        assert!(Real::tanh::<I>(f32::NAN).is_nan());
        assert_eq!(Real::tanh::<I>(f32::INFINITY), 1.0);
        assert_eq!(Real::sigmoid::<I>(-200.0_f32), 0.0);
        assert_eq!(Real::sigmoid::<I>(200.0_f32), 1.0);
        for far in [4.5_f32, 100.0, f32::MAX, f32::INFINITY] {
            assert_eq!((Real::erf::<I>(far), Real::erf::<I>(-far)), (1.0, -1.0));
        }
        assert!(Real::erf::<I>(f32::NAN).is_nan());
    }
}
