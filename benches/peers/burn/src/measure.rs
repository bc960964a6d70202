//! Timing, and the loop of training that every network shares.

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor};
use std::time::Instant;

/// Times what was asked for.
pub(crate) struct Measure {
    names: Vec<String>,
    /// Whether one workload, named in full, takes turns with another program's: lines of input say how many steps each
    /// turn has.
    in_turns: bool,
}

impl Measure {
    pub(crate) fn new(mut names: Vec<String>) -> Self {
        let in_turns = names.iter().any(|name| name == "--turns");
        names.retain(|name| name != "--turns");
        Self { names, in_turns }
    }

    /// Whether a workload was asked for, by a part of its name or by no name at all.
    pub(crate) fn wants(&self, name: &str) -> bool {
        if self.in_turns {
            return self.names.iter().any(|whole| whole == name);
        }
        self.names.is_empty() || self.names.iter().any(|part| name.contains(part))
    }

    /// Prints the median of the repeated steps behind the warm-ups.
    pub(crate) fn time(
        &self,
        name: &str,
        (items, unit): (f64, &str),
        (warm_ups, repeats): (usize, usize),
        mut step: impl FnMut(),
    ) {
        for _ in 0..warm_ups {
            step();
        }
        let mut times = Vec::with_capacity(repeats);
        let mut next = self.next_turn(&[], repeats);
        while let Some(steps) = next {
            let before = times.len();
            for _ in 0..steps {
                let start = Instant::now();
                step();
                times.push(start.elapsed().as_secs_f64());
            }
            next = self.next_turn(&times[before..], 0);
        }
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        println!(
            "{{\"peer\": \"burn-flex\", \"bench\": \"{name}\", \"ms\": {:.4}, \"rate\": {:.1}, \"unit\": \"{unit}\", \"peak_rss_mb\": {:.1}}}",
            median * 1e3,
            items / median,
            peak_rss_mb()
        );
    }

    /// Forward, loss, backward, AdamW with PyTorch's settings (Burn has others of its own), and the loss as a number.
    pub(crate) fn train<M: Module>(
        &self,
        name: &str,
        rate: (f64, &str),
        times: (usize, usize),
        network: M,
        labels: Tensor<1, Int>,
        forward: impl Fn(&M) -> Tensor<2>,
        device: &Device,
    ) {
        let cross_entropy = CrossEntropyLossConfig::new().init(device);
        let settings = AdamWConfig::new().with_epsilon(1e-8);
        let mut optimizer = settings.with_weight_decay(0.01).init();
        let mut network = Some(network);
        self.time(name, rate, times, || {
            let current = network.take().expect("every step puts it back");
            let loss = cross_entropy.forward(forward(&current), labels.clone());
            let gradients = GradientsParams::from_grads(loss.backward(), &current);
            network = Some(optimizer.step(1e-3, current, gradients));
            let _ = loss.into_scalar::<f32>();
        });
    }

    /// How many steps the next turn has, if there is one: `all` in the first and only turn where nobody says it.
    fn next_turn(&self, last: &[f64], all: usize) -> Option<usize> {
        if !self.in_turns {
            return Some(all).filter(|steps| *steps > 0);
        }
        let times: Vec<f64> = last.iter().map(|seconds| seconds * 1e3).collect();
        println!("{times:?}");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).ok()?;
        line.trim().parse().ok()
    }
}

/// The most memory that this process has had, where Linux tells; 0 elsewhere.
fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}
