//! The instruction set: found out at run time, limited by a switch, and handed to kernels as a type.
//!
//! A kernel's body is written once, generic over [`Isa`], and compiled for each instruction set by the
//! `multiversion!` macro. The environment variable `CORTICAL_ISA` (`avx512`, `avx2`, `portable`) lowers the choice for a
//! process, [`limited_to`] for one closure on one thread, so that every path can be tested on one machine.

use std::cell::Cell;
use std::sync::OnceLock;

/// An instruction set that kernels are compiled for, in ascending order of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstructionSet {
    /// Whatever the compiler's target has; no fused multiply-add is assumed.
    Portable,
    /// x86-64 with AVX2 and FMA: eight `f32` at a time.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, DQ, VL): sixteen `f32` at a time.
    Avx512,
}

impl InstructionSet {
    /// The name that `CORTICAL_ISA` and checkpoints use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Portable, Self::Avx2, Self::Avx512]
            .into_iter()
            .find(|isa| isa.name() == name)
    }
}

/// What this processor offers, before any limit.
#[must_use]
pub fn detected() -> InstructionSet {
    static DETECTED: OnceLock<InstructionSet> = OnceLock::new();
    *DETECTED.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> InstructionSet {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx512, avx2) {
        (true, _) => InstructionSet::Avx512,
        (false, true) => InstructionSet::Avx2,
        (false, false) => InstructionSet::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> InstructionSet {
    InstructionSet::Portable
}

/// The instruction set that kernels called from this thread use: the best one detected, no higher than
/// `CORTICAL_ISA` and [`limited_to`] allow.
#[must_use]
pub fn current() -> InstructionSet {
    static FROM_ENVIRONMENT: OnceLock<InstructionSet> = OnceLock::new();
    let process = *FROM_ENVIRONMENT.get_or_init(|| {
        let limit = std::env::var("CORTICAL_ISA")
            .ok()
            .and_then(|name| InstructionSet::from_name(&name));
        limit.map_or_else(detected, |limit| limit.min(detected()))
    });
    LIMIT.get().map_or(process, |limit| limit.min(process))
}

thread_local! {
    static LIMIT: Cell<Option<InstructionSet>> = const { Cell::new(None) };
}

/// Runs `f` with kernels called from this thread limited to `isa`; the work that they spread over other threads is
/// limited with them.
pub fn limited_to<R>(isa: InstructionSet, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<InstructionSet>);
    impl Drop for Restore {
        fn drop(&mut self) {
            LIMIT.set(self.0);
        }
    }
    let _restore = Restore(LIMIT.replace(Some(isa)));
    f()
}

/// An instruction set as a type, so that a kernel's body is compiled for it.
pub trait Isa: Copy {
    /// Which one it is.
    const SET: InstructionSet;
}

/// [`InstructionSet::Portable`] as a type.
#[derive(Clone, Copy)]
pub struct Portable;
/// [`InstructionSet::Avx2`] as a type.
#[derive(Clone, Copy)]
pub struct Avx2;
/// [`InstructionSet::Avx512`] as a type.
#[derive(Clone, Copy)]
pub struct Avx512;

impl Isa for Portable {
    const SET: InstructionSet = InstructionSet::Portable;
}
impl Isa for Avx2 {
    const SET: InstructionSet = InstructionSet::Avx2;
}
impl Isa for Avx512 {
    const SET: InstructionSet = InstructionSet::Avx512;
}

/// Compiles one function body for every instruction set, with the type `I: Isa` in scope.
///
/// The function takes the instruction set as its first argument, named by the caller with [`current`] *before* work is
/// handed to other threads, so that a limit reaches them. Closures inside the body must not contain
/// intrinsics: they are functions of their own to the compiler.
macro_rules! multiversion {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$t:ident : $bound:path>)? ($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)?
        $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name $(<$t: $bound>)? (isa: $crate::isa::InstructionSet, $($arg: $ty),*) $(-> $ret)? {
            #[allow(unused, clippy::extra_unused_type_parameters)]
            #[inline(always)]
            fn body<I: $crate::isa::Isa $(, $t: $bound)?>($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2")]
            fn avx512 $(<$t: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::isa::Avx512 $(, $t)?>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2")]
            fn avx2 $(<$t: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::isa::Avx2 $(, $t)?>($($arg),*)
            }
            match isa.min($crate::isa::detected()) {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the minimum with `detected` proves that the processor has these features.
                $crate::isa::InstructionSet::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::isa::InstructionSet::Avx2 => unsafe { avx2($($arg),*) },
                _ => body::<$crate::isa::Portable $(, $t)?>($($arg),*),
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_inside_and_ends_outside() {
        let before = current();
        limited_to(InstructionSet::Portable, || {
            assert_eq!(current(), InstructionSet::Portable);
        });
        assert_eq!(current(), before);
    }

    #[test]
    fn names_lead_back() {
        for isa in [
            InstructionSet::Portable,
            InstructionSet::Avx2,
            InstructionSet::Avx512,
        ] {
            assert_eq!(InstructionSet::from_name(isa.name()), Some(isa));
        }
    }
}
