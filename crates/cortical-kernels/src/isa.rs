//! The instruction set: found out at run time, limited by a switch, and handed to kernels as a type.
//!
//! A kernel's body is written once, generic over [`Isa`], and compiled for each instruction set by the
//! `multiversion!` macro. The environment variable `CORTICAL_ISA` (`amx`, `avx512`, `avx2`, `portable`) lowers the
//! choice for a process, [`limited_to`] for one closure on one thread, so that every path can be tested on one machine.

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
    /// The same with AMX's tiles of `bf16`: matrix products with a multiple of the speed. Every other kernel is that of
    /// AVX-512.
    Amx,
}

impl InstructionSet {
    /// The name that `CORTICAL_ISA` and checkpoints use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Portable, Self::Avx2, Self::Avx512, Self::Amx]
            .into_iter()
            .find(|isa| isa.name() == name)
    }
}

/// What this processor offers, before any limit.
#[must_use]
pub(crate) fn detected() -> InstructionSet {
    static DETECTED: OnceLock<InstructionSet> = OnceLock::new();
    *DETECTED.get_or_init(detect)
}

#[cfg(target_arch = "x86_64")]
fn detect() -> InstructionSet {
    let avx2 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx512, avx2) {
        (true, _) if amx::is_allowed() => InstructionSet::Amx,
        (true, _) => InstructionSet::Avx512,
        (false, true) => InstructionSet::Avx2,
        (false, false) => InstructionSet::Portable,
    }
}

/// Whether the processor multiplies pairs of `bf16` (AVX-512 BF16), which some with [`InstructionSet::Avx512`] do and
/// all with [`InstructionSet::Amx`].
#[must_use]
pub(crate) fn has_pairs() -> bool {
    #[cfg(target_arch = "x86_64")]
    return detected() >= InstructionSet::Avx512 && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

#[cfg(target_arch = "x86_64")]
mod amx {
    //! Whether the processor has tiles and the operating system lets this process use them.

    /// Asks the operating system, which must save eight kilobytes more when it switches threads, for the use of tiles.
    #[cfg(target_os = "linux")]
    pub(super) fn is_allowed() -> bool {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        const OS_XSAVE: u32 = 1 << 27;
        const BF16_AND_TILE: u32 = 1 << 22 | 1 << 24;
        const TILE_CONFIG_AND_DATA: u64 = 1 << 17 | 1 << 18;
        if __cpuid(0).eax < 7
            || __cpuid(1).ecx & OS_XSAVE == 0
            || __cpuid_count(7, 0).edx & BF16_AND_TILE != BF16_AND_TILE
        {
            return false;
        }
        // SAFETY: the system has switched XSAVE on, which is all that reading register 0 asks for.
        let saved = unsafe { saved_states() };
        saved & TILE_CONFIG_AND_DATA == TILE_CONFIG_AND_DATA && request() == 0
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn is_allowed() -> bool {
        false
    }

    /// Which registers the system saves.
    ///
    /// # Safety
    /// The system has switched XSAVE on.
    #[cfg(target_os = "linux")]
    unsafe fn saved_states() -> u64 {
        let (low, high): (u32, u32);
        // SAFETY: the instruction reads a register into two others; the caller promises that it exists.
        unsafe {
            std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags));
        }
        u64::from(high) << 32 | u64::from(low)
    }

    /// `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`: 0 if this process may use tiles.
    #[cfg(target_os = "linux")]
    fn request() -> i64 {
        const ARCH_PRCTL: i64 = 158;
        const REQUEST_PERMISSION: u64 = 0x1023;
        const TILE_DATA: u64 = 18;
        let result;
        // SAFETY: a system call with two numbers as arguments; it touches no memory of this process, and the registers
        // that it changes are named.
        unsafe {
            std::arch::asm!(
                "syscall",
                inlateout("rax") ARCH_PRCTL => result,
                in("rdi") REQUEST_PERMISSION,
                in("rsi") TILE_DATA,
                lateout("rcx") _,
                lateout("r11") _,
                options(nostack),
            );
        }
        result
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
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,popcnt")]
            fn avx512 $(<$t: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::isa::Avx512 $(, $t)?>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,popcnt")]
            fn avx2 $(<$t: $bound>)? ($($arg: $ty),*) $(-> $ret)? {
                body::<$crate::isa::Avx2 $(, $t)?>($($arg),*)
            }
            match isa.min($crate::isa::detected()) {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the minimum with `detected` proves that the processor has these features.
                $crate::isa::InstructionSet::Amx | $crate::isa::InstructionSet::Avx512 => unsafe { avx512($($arg),*) },
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
            InstructionSet::Amx,
        ] {
            assert_eq!(InstructionSet::from_name(isa.name()), Some(isa));
        }
    }
}
