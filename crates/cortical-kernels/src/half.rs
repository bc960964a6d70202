//! 16-bit numbers as `f32`, bit by bit.

/// The value of the bits of a half-precision number (IEEE binary16).
#[inline(always)]
#[must_use]
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits & 0x8000) << 16;
    let rest = u32::from(bits & 0x7fff);
    let magnitude = if rest >= 0x7c00 {
        // Infinities and NaNs keep their fractions.
        f32::from_bits(rest << 13 | 0x7f80_0000)
    } else {
        // Shifted into place the exponent is 112 too small; a product mends it, for subnormal numbers as well.
        f32::from_bits(rest << 13) * f32::from_bits(0x7780_0000)
    };
    f32::from_bits(sign | magnitude.to_bits())
}

/// The half-precision bits nearest to a number, ties to even.
#[must_use]
pub(crate) fn f32_to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let rest = bits & 0x7fff_ffff;
    if rest > 0x7f80_0000 {
        return sign | 0x7e00;
    }
    if rest >= 0x4780_0000 {
        return sign | 0x7c00;
    }
    if rest < 0x3880_0000 {
        // Below 2⁻¹⁴ the unit is 2⁻²⁴: an addition rounds to it.
        let rounded = f32::from_bits(rest) + 0.5;
        return sign | (rounded.to_bits() - 0.5_f32.to_bits()) as u16;
    }
    let even = rest >> 13 & 1;
    sign | ((rest - 0x3800_0000 + 0xfff + even) >> 13) as u16
}

/// The value of the bits of a bfloat16 number.
#[inline(always)]
#[must_use]
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The bfloat16 bits nearest to a number, ties to even.
#[must_use]
pub(crate) fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back() {
        for bits in 0..=u16::MAX {
            let x = f16_to_f32(bits);
            if x.is_nan() {
                assert!(f16_to_f32(f32_to_f16(x)).is_nan());
            } else {
                assert_eq!(f32_to_f16(x), bits, "{x}");
            }
            let y = bf16_to_f32(bits);
            if !y.is_nan() {
                assert_eq!(f32_to_bf16(y), bits, "{y}");
            }
        }
    }

    #[test]
    fn rounding_is_to_nearest_even() {
        assert_eq!(f16_to_f32(0x3c00), 1.0);
        assert_eq!(f16_to_f32(0x0001), 2.0_f32.powi(-24));
        assert_eq!(f32_to_f16(1.0 + 2.0_f32.powi(-11)), 0x3c00);
        assert_eq!(f32_to_f16(1.0 + 3.0 * 2.0_f32.powi(-11)), 0x3c02);
        assert_eq!(f32_to_f16(65519.0), 0x7bff);
        assert_eq!(f32_to_f16(65520.0), 0x7c00);
        assert_eq!(f32_to_f16(1.5 * 2.0_f32.powi(-24)), 0x0002);
        assert_eq!(f32_to_bf16(1.0 + 2.0_f32.powi(-8)), 0x3f80);
        assert_eq!(f32_to_bf16(1.0 + 3.0 * 2.0_f32.powi(-8)), 0x3f82);
    }
}
