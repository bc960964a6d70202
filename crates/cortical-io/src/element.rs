//! Element types of safetensors files, their sizes, and their little-endian bytes.

use std::borrow::Cow;

use candle_core::DType;
use cortical_kernels::buffer;
use half::slice::HalfFloatSliceExt;
use half::vec::HalfBitsVecExt;

/// Element type of a tensor in a file.
///
/// All types of whole bytes that the format knows are here, so that a file that holds one can be opened and listed;
/// [`Element::dtype`] says which of them candle has a tensor for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(
    missing_docs,
    reason = "the variants are the format's names of number types"
)]
pub enum Element {
    Bool,
    U8,
    I8,
    F8E4M3,
    F8E5M2,
    F8E8M0,
    F8E4M3FNUZ,
    F8E5M2FNUZ,
    U16,
    I16,
    F16,
    BF16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
    C64,
}

use Element::{
    BF16, Bool, C64, F8E4M3, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, F16, F32, F64, I8, I16, I32,
    I64, U8, U16, U32, U64,
};

/// Every element type.
const ALL: [Element; 19] = [
    Bool, U8, I8, F8E4M3, F8E5M2, F8E8M0, F8E4M3FNUZ, F8E5M2FNUZ, U16, I16, F16, BF16, U32, I32,
    F32, U64, I64, F64, C64,
];

impl Element {
    /// The name in a file's header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Bool => "BOOL",
            U8 => "U8",
            I8 => "I8",
            F8E4M3 => "F8_E4M3",
            F8E5M2 => "F8_E5M2",
            F8E8M0 => "F8_E8M0",
            F8E4M3FNUZ => "F8_E4M3FNUZ",
            F8E5M2FNUZ => "F8_E5M2FNUZ",
            U16 => "U16",
            I16 => "I16",
            F16 => "F16",
            BF16 => "BF16",
            U32 => "U32",
            I32 => "I32",
            F32 => "F32",
            U64 => "U64",
            I64 => "I64",
            F64 => "F64",
            C64 => "C64",
        }
    }

    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Bool | U8 | I8 | F8E4M3 | F8E5M2 | F8E8M0 | F8E4M3FNUZ | F8E5M2FNUZ => 1,
            U16 | I16 | F16 | BF16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 | C64 => 8,
        }
    }

    /// The candle type that a tensor of such elements is loaded as: `BOOL` as bytes 0 and 1, `None` for what candle
    /// has no tensors of.
    #[must_use]
    pub fn dtype(self) -> Option<DType> {
        match self {
            Bool | U8 => Some(DType::U8),
            F8E4M3 => Some(DType::F8E4M3),
            I16 => Some(DType::I16),
            F16 => Some(DType::F16),
            BF16 => Some(DType::BF16),
            U32 => Some(DType::U32),
            I32 => Some(DType::I32),
            F32 => Some(DType::F32),
            I64 => Some(DType::I64),
            F64 => Some(DType::F64),
            I8 | F8E5M2 | F8E8M0 | F8E4M3FNUZ | F8E5M2FNUZ | U16 | U64 | C64 => None,
        }
    }

    /// The type a candle tensor is stored as; `None` for candle's types of less than a byte.
    #[must_use]
    pub fn of(dtype: DType) -> Option<Self> {
        match dtype {
            DType::U8 => Some(U8),
            DType::F8E4M3 => Some(F8E4M3),
            DType::I16 => Some(I16),
            DType::F16 => Some(F16),
            DType::BF16 => Some(BF16),
            DType::U32 => Some(U32),
            DType::I32 => Some(I32),
            DType::F32 => Some(F32),
            DType::I64 => Some(I64),
            DType::F64 => Some(F64),
            // Types of less than a byte, and whatever a later candle adds.
            _ => None,
        }
    }

    /// Whether these are numbers with fractions.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(
            self,
            F8E4M3 | F8E5M2 | F8E8M0 | F8E4M3FNUZ | F8E5M2FNUZ | F16 | BF16 | F32 | F64
        )
    }

    /// The numbers that bytes of this type stand for; `false` for complex numbers.
    pub(crate) fn numbers(self, bytes: &[u8], out: &mut [f64]) -> bool {
        fn each<const N: usize>(bytes: &[u8], out: &mut [f64], number: fn([u8; N]) -> f64) {
            for (out, bytes) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
                *out = number(*bytes);
            }
        }
        match self {
            Bool | U8 => each(bytes, out, |b: [u8; 1]| b[0].into()),
            I8 => each(bytes, out, |b| i8::from_le_bytes(b).into()),
            U16 => each(bytes, out, |b| u16::from_le_bytes(b).into()),
            I16 => each(bytes, out, |b| i16::from_le_bytes(b).into()),
            F16 => each(bytes, out, |b| half::f16::from_le_bytes(b).into()),
            BF16 => each(bytes, out, |b| half::bf16::from_le_bytes(b).into()),
            U32 => each(bytes, out, |b| u32::from_le_bytes(b).into()),
            I32 => each(bytes, out, |b| i32::from_le_bytes(b).into()),
            F32 => each(bytes, out, |b| f32::from_le_bytes(b).into()),
            U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f64),
            I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f64),
            F64 => each(bytes, out, f64::from_le_bytes),
            F8E4M3 => each(bytes, out, |[b]| small_float(b, 4, 7, Ends::Nan)),
            F8E5M2 => each(bytes, out, |[b]| small_float(b, 5, 15, Ends::Infinite)),
            F8E4M3FNUZ => each(bytes, out, |[b]| small_float(b, 4, 8, Ends::NoNegativeZero)),
            F8E5M2FNUZ => each(bytes, out, |[b]| {
                small_float(b, 5, 16, Ends::NoNegativeZero)
            }),
            F8E8M0 => each(bytes, out, |[b]| match b {
                0xff => f64::NAN,
                b => 2_f64.powi(i32::from(b) - 127),
            }),
            C64 => return false,
        }
        true
    }

    /// Writes numbers as bytes of this type, rounded to nearest; `false` for the types that are only read.
    pub(crate) fn bytes_of(self, numbers: &[f64], out: &mut [u8]) -> bool {
        fn each<const N: usize>(numbers: &[f64], out: &mut [u8], bytes: fn(f64) -> [u8; N]) {
            for (number, out) in numbers.iter().zip(out.as_chunks_mut::<N>().0) {
                *out = bytes(*number);
            }
        }
        match self {
            F16 => each(numbers, out, |x| half::f16::from_f64(x).to_le_bytes()),
            BF16 => each(numbers, out, |x| half::bf16::from_f64(x).to_le_bytes()),
            F32 => each(numbers, out, |x| (x as f32).to_le_bytes()),
            F64 => each(numbers, out, f64::to_le_bytes),
            _ => return false,
        }
        true
    }

    /// The type with this name in a file's header.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|element| element.name() == name)
    }

    /// Names of all types, for messages.
    pub(crate) fn names() -> String {
        ALL.map(Self::name).join(", ")
    }

    /// Names of the types that can be loaded, for messages.
    pub(crate) fn loadable_names() -> String {
        let loadable = ALL.into_iter().filter(|element| element.dtype().is_some());
        loadable.map(Self::name).collect::<Vec<_>>().join(", ")
    }
}

/// What the largest exponent of a float of eight bits stands for.
#[derive(PartialEq)]
enum Ends {
    /// Infinity and NaN, as in larger floats.
    Infinite,
    /// Numbers, but for the very largest, which is NaN.
    Nan,
    /// Numbers; NaN stands where the negative zero would.
    NoNegativeZero,
}

/// A float of eight bits.
fn small_float(byte: u8, exponent_bits: u32, bias: i32, ends: Ends) -> f64 {
    let mantissa_bits = 7 - exponent_bits;
    let (mantissa, exponent) = (
        i32::from(byte) & ((1 << mantissa_bits) - 1),
        i32::from(byte & 0x7f) >> mantissa_bits,
    );
    let top = (1 << exponent_bits) - 1;
    let size = match ends {
        Ends::NoNegativeZero if byte == 0x80 => return f64::NAN,
        Ends::Infinite if exponent == top && mantissa == 0 => f64::INFINITY,
        Ends::Infinite if exponent == top => return f64::NAN,
        Ends::Nan if byte & 0x7f == 0x7f => return f64::NAN,
        _ => {
            let whole = if exponent == 0 { 0 } else { 1 << mantissa_bits };
            let power = exponent.max(1) - bias - mantissa_bits as i32;
            f64::from(whole + mantissa) * 2_f64.powi(power)
        }
    };
    if byte & 0x80 == 0 { size } else { -size }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A number with a fixed little-endian representation.
pub(crate) trait Number: Copy + Default + Send + Sync {
    /// So many numbers, whose little-endian bytes `fill` writes; `None` when there is no memory for them.
    fn filled<E>(
        count: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Option<Result<Vec<Self>, E>>;
    /// The bytes of numbers, one behind the other.
    fn bytes(numbers: &[Self]) -> Cow<'_, [u8]>;
}

/// Turns the bytes of numbers from little-endian order to the processor's, or back.
fn turn<const N: usize>(bytes: &mut [u8]) {
    if cfg!(target_endian = "big") {
        let numbers = bytes.as_chunks_mut::<N>().0;
        numbers.iter_mut().for_each(|number| number.reverse());
    }
}

macro_rules! number {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn filled<E>(
                count: usize,
                fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
            ) -> Option<Result<Vec<Self>, E>> {
                buffer::filled(count, |bytes| {
                    fill(bytes)?;
                    turn::<{ size_of::<Self>() }>(bytes);
                    Ok(())
                })
            }
            fn bytes(numbers: &[Self]) -> Cow<'_, [u8]> {
                let bytes = buffer::as_bytes(numbers);
                if cfg!(target_endian = "little") {
                    return Cow::Borrowed(bytes);
                }
                let mut turned = bytes.to_vec();
                turn::<{ size_of::<Self>() }>(&mut turned);
                Cow::Owned(turned)
            }
        }
    )*};
}
number!(u8, i16, u16, u32, i32, f32, i64, f64);

macro_rules! half {
    ($($type:ty),*) => {$(
        impl Number for $type {
            fn filled<E>(
                count: usize,
                fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
            ) -> Option<Result<Vec<Self>, E>> {
                let bits = u16::filled(count, fill)?;
                Some(bits.map(HalfBitsVecExt::reinterpret_into))
            }
            fn bytes(numbers: &[Self]) -> Cow<'_, [u8]> {
                u16::bytes(numbers.reinterpret_cast())
            }
        }
    )*};
}
half!(half::f16, half::bf16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sizes_and_candle_types_agree() {
        for element in ALL {
            assert_eq!(Element::from_name(element.name()), Some(element));
            if let Some(dtype) = element.dtype() {
                assert_eq!(dtype.size_in_bytes(), element.size(), "{element}");
                let stored = if element == Bool { U8 } else { element };
                assert_eq!(Element::of(dtype), Some(stored));
            }
        }
        assert_eq!(Element::from_name("f32"), None);
    }

    #[test]
    fn small_floats_are_what_their_formats_say() {
        let one = |element: Element, byte: u8| {
            let mut out = [0.0];
            assert!(element.numbers(&[byte], &mut out));
            out[0]
        };
        for (element, byte, number) in [
            (F8E4M3, 0x38, 1.0),
            (F8E4M3, 0x7e, 448.0),
            (F8E4M3, 0x01, 0.001953125),
            (F8E4M3, 0xc0, -2.0),
            (F8E5M2, 0x3c, 1.0),
            (F8E5M2, 0x7b, 57344.0),
            (F8E5M2, 0xfc, f64::NEG_INFINITY),
            (F8E4M3FNUZ, 0x40, 1.0),
            (F8E4M3FNUZ, 0x7f, 240.0),
            (F8E5M2FNUZ, 0x40, 1.0),
            (F8E5M2FNUZ, 0x7f, 57344.0),
            (F8E8M0, 127, 1.0),
            (F8E8M0, 0, 2_f64.powi(-127)),
        ] {
            assert_eq!(one(element, byte), number, "{element} {byte:#x}");
        }
        for (element, byte) in [
            (F8E4M3, 0x7f),
            (F8E4M3, 0xff),
            (F8E5M2, 0x7d),
            (F8E4M3FNUZ, 0x80),
            (F8E5M2FNUZ, 0x80),
            (F8E8M0, 0xff),
        ] {
            assert!(one(element, byte).is_nan(), "{element} {byte:#x}");
        }
    }

    #[test]
    fn numbers_keep_every_bit() {
        let numbers = [f32::NAN, -0.0, f32::MIN_POSITIVE / 2.0, f32::INFINITY, 1.5];
        let bytes = f32::bytes(&numbers);
        assert_eq!(bytes[16..], [0, 0, 0xc0, 0x3f]);
        let fill = |out: &mut [u8]| {
            out.copy_from_slice(&bytes);
            Ok::<_, ()>(())
        };
        let back = f32::filled(5, fill).unwrap().unwrap();
        let back: [f32; 5] = back.try_into().unwrap();
        assert_eq!(back.map(f32::to_bits), numbers.map(f32::to_bits));
        let halves = [half::bf16::from_f32(1.5), half::bf16::NAN];
        assert_eq!(half::bf16::bytes(&halves)[..2], [0xc0, 0x3f]);
        let fill = |out: &mut [u8]| {
            out.copy_from_slice(&[0xc0, 0x3f]);
            Ok::<_, ()>(())
        };
        let back = half::bf16::filled(1, fill).unwrap().unwrap();
        assert_eq!(back, halves[..1]);
    }
}
