//! What arithmetic runs on: this machine, measured, or a card by its name.

use std::time::Duration;

use cortical_io::machine_memory;
use cortical_kernels::roofline::Roofline;

/// A processor with its memory.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Machine {
    /// Its name; `this machine` for the one that the program runs on.
    pub name: String,
    /// Bytes of memory.
    pub memory: u64,
    /// GB/s from memory.
    pub gb_s: f64,
    /// Thousand million operations a second in single precision, a multiply-add counting as two.
    pub gflops: f64,
    /// The same in `bf16` where that is another number.
    pub bf16_gflops: Option<f64>,
    /// Where the numbers are from.
    pub source: String,
}

/// A card: GB of memory, GB/s, TFLOP/s in single precision and of tensor cores in bf16 (f16 for those that have no
/// bf16), without sparsity.
struct Card {
    name: &'static str,
    title: &'static str,
    memory_gb: f64,
    gb_s: f64,
    tflops: f64,
    bf16_tflops: f64,
    source: &'static str,
}

/// The cards that there are numbers of.
const CARDS: [Card; 11] = [
    Card {
        name: "t4",
        title: "NVIDIA T4",
        memory_gb: 16.0,
        gb_s: 320.0,
        tflops: 8.1,
        bf16_tflops: 65.0,
        source: "NVIDIA T4 Tensor Core GPU datasheet (2019); f16",
    },
    Card {
        name: "v100",
        title: "NVIDIA V100 SXM2 32 GB",
        memory_gb: 32.0,
        gb_s: 900.0,
        tflops: 15.7,
        bf16_tflops: 125.0,
        source: "NVIDIA V100 Tensor Core GPU datasheet (2020); f16",
    },
    Card {
        name: "rtx3090",
        title: "NVIDIA GeForce RTX 3090",
        memory_gb: 24.0,
        gb_s: 936.0,
        tflops: 35.6,
        bf16_tflops: 71.0,
        source: "NVIDIA Ampere GA102 GPU architecture whitepaper (2021), table 9",
    },
    Card {
        name: "a100-40gb",
        title: "NVIDIA A100 40 GB",
        memory_gb: 40.0,
        gb_s: 1555.0,
        tflops: 19.5,
        bf16_tflops: 312.0,
        source: "NVIDIA A100 Tensor Core GPU datasheet (2021)",
    },
    Card {
        name: "a100",
        title: "NVIDIA A100 SXM 80 GB",
        memory_gb: 80.0,
        gb_s: 2039.0,
        tflops: 19.5,
        bf16_tflops: 312.0,
        source: "NVIDIA A100 Tensor Core GPU datasheet (2021)",
    },
    Card {
        name: "l4",
        title: "NVIDIA L4",
        memory_gb: 24.0,
        gb_s: 300.0,
        tflops: 30.3,
        bf16_tflops: 121.0,
        source: "NVIDIA L4 Tensor Core GPU datasheet (2023), halved where it counts sparsity",
    },
    Card {
        name: "rtx4090",
        title: "NVIDIA GeForce RTX 4090",
        memory_gb: 24.0,
        gb_s: 1008.0,
        tflops: 82.6,
        bf16_tflops: 165.2,
        source: "NVIDIA Ada GPU architecture whitepaper (2023), appendix A",
    },
    Card {
        name: "l40s",
        title: "NVIDIA L40S",
        memory_gb: 48.0,
        gb_s: 864.0,
        tflops: 91.6,
        bf16_tflops: 362.05,
        source: "NVIDIA L40S datasheet (2023)",
    },
    Card {
        name: "h100",
        title: "NVIDIA H100 SXM 80 GB",
        memory_gb: 80.0,
        gb_s: 3350.0,
        tflops: 67.0,
        bf16_tflops: 989.5,
        source: "NVIDIA H100 Tensor Core GPU datasheet (2023), halved where it counts sparsity",
    },
    Card {
        name: "h200",
        title: "NVIDIA H200 SXM",
        memory_gb: 141.0,
        gb_s: 4800.0,
        tflops: 67.0,
        bf16_tflops: 989.5,
        source: "NVIDIA H200 Tensor Core GPU datasheet (2024), halved where it counts sparsity",
    },
    Card {
        name: "mi300x",
        title: "AMD Instinct MI300X",
        memory_gb: 192.0,
        gb_s: 5300.0,
        tflops: 163.4,
        bf16_tflops: 1307.4,
        source: "AMD Instinct MI300X datasheet (2023)",
    },
];

impl Machine {
    /// The card of this name.
    ///
    /// ```
    /// use cortical_explain::Machine;
    /// let card = Machine::card("h100").expect("it is in the table");
    /// assert_eq!(card.memory, 80_000_000_000);
    /// ```
    #[must_use]
    pub fn card(name: &str) -> Option<Self> {
        let card = CARDS.iter().find(|card| card.name == name)?;
        Some(Self {
            name: card.title.to_owned(),
            memory: (card.memory_gb * 1e9) as u64,
            gb_s: card.gb_s,
            gflops: card.tflops * 1e3,
            bf16_gflops: Some(card.bf16_tflops * 1e3),
            source: card.source.to_owned(),
        })
    }

    /// The names of the cards.
    pub fn cards() -> impl Iterator<Item = &'static str> {
        CARDS.iter().map(|card| card.name)
    }

    /// This machine, its limits measured for about `effort`.
    #[must_use]
    pub fn this(effort: Duration) -> Self {
        let measured = Roofline::measure(effort / 3);
        Self {
            name: "this machine".to_owned(),
            memory: machine_memory().unwrap_or(u64::MAX),
            gb_s: measured.memory_gb_s,
            gflops: measured.gflops,
            bf16_gflops: None,
            source: "measured with the threads in use".to_owned(),
        }
    }

    /// The least number of milliseconds for so many multiply-adds and so many bytes moved, whichever takes longer.
    #[must_use]
    pub fn floor_ms(&self, multiply_adds: u64, bytes: u64, is_bf16: bool) -> f64 {
        let gflops = match (is_bf16, self.bf16_gflops) {
            (true, Some(gflops)) => gflops,
            _ => self.gflops,
        };
        let arithmetic = 2.0 * multiply_adds as f64 / gflops / 1e6;
        let memory = bytes as f64 / self.gb_s / 1e6;
        arithmetic.max(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slower_of_arithmetic_and_memory_counts() {
        let card = Machine::card("a100").unwrap();
        assert_eq!(card.floor_ms(9_750_000_000, 0, false), 1.0);
        assert_eq!(card.floor_ms(156_000_000_000, 0, true), 1.0);
        assert_eq!(card.floor_ms(1, 2_039_000_000, false), 1.0);
        assert!(Machine::card("a101").is_none());
        assert_eq!(Machine::cards().count(), CARDS.len());
    }
}
