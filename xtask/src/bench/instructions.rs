//! The instruction sets that both sides are held to.

use super::peer::Peer;
use std::fs;

/// An instruction set, the richest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InstructionSet {
    /// AVX-512 and tiles of `bf16`.
    Amx,
    /// AVX-512, with products of `bf16` where the processor has them.
    Avx512,
    /// AVX2 and FMA.
    Avx2,
}

impl InstructionSet {
    pub(crate) const ALL: [Self; 3] = [Self::Amx, Self::Avx512, Self::Avx2];

    /// What `CORTICAL_ISA` calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
        }
    }

    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Amx => "AMX",
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|isa| isa.name() == name)
    }

    /// Those that this machine's processor names among its features.
    pub(crate) fn of_this_machine() -> Vec<Self> {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let features = text.lines().find(|line| line.starts_with("flags"));
        Self::among(features.unwrap_or_default())
    }

    fn among(features: &str) -> Vec<Self> {
        let has = |names: &[&str]| {
            names
                .iter()
                .all(|name| features.split_whitespace().any(|feature| feature == *name))
        };
        let needs: [&[&str]; 3] = [
            &["amx_tile", "amx_bf16", "avx512f"],
            &["avx512f", "avx512bw", "avx512dq", "avx512vl"],
            &["avx2", "fma"],
        ];
        let all = Self::ALL.into_iter().zip(needs);
        all.filter(|(_, needs)| has(needs))
            .map(|(isa, _)| isa)
            .collect()
    }

    /// Variables of the environment that hold a side to it, us if `None`. PyTorch multiplies `f32` without tiles
    /// wherever it runs; its libraries each have a switch of their own.
    pub(crate) fn limits(self, side: Option<Peer>) -> &'static [(&'static str, &'static str)] {
        match (side, self) {
            (None, Self::Amx) => &[("CORTICAL_ISA", "amx")],
            (None, Self::Avx512) => &[("CORTICAL_ISA", "avx512")],
            (None, Self::Avx2) => &[("CORTICAL_ISA", "avx2")],
            (Some(Peer::Torch), Self::Avx512) => &[("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")],
            (Some(Peer::Torch), Self::Avx2) => &[
                ("ONEDNN_MAX_CPU_ISA", "AVX2"),
                ("MKL_ENABLE_INSTRUCTIONS", "AVX2"),
                ("ATEN_CPU_CAPABILITY", "avx2"),
            ],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_name_instruction_sets() {
        use InstructionSet::{Amx, Avx2, Avx512};
        for (features, want) in [
            ("flags : sse2 avx2 fma", vec![Avx2]),
            (
                "flags : avx2 fma avx512f avx512bw avx512dq avx512vl",
                vec![Avx512, Avx2],
            ),
            (
                "flags : avx2 fma avx512f avx512bw avx512dq avx512vl amx_bf16 amx_tile",
                vec![Amx, Avx512, Avx2],
            ),
            // Half of AVX-512 is none.
            ("flags : avx2 fma avx512f", vec![Avx2]),
            ("", vec![]),
        ] {
            assert_eq!(InstructionSet::among(features), want, "{features}");
        }
    }

    #[test]
    fn names_lead_back() {
        for isa in InstructionSet::ALL {
            assert_eq!(InstructionSet::named(isa.name()), Some(isa));
        }
        assert_eq!(InstructionSet::named("portable"), None);
    }
}
