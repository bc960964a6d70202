//! How several machines could share a training: what each holds, and what goes over the wire in a step.

use cortical_neuron::product;
use cortical_train::{MemoryNeed, SubjectModel};

/// A way to divide a training among machines.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Split {
    /// Its name in the field.
    pub name: &'static str,
    /// What is divided, in words.
    pub how: &'static str,
    /// Bytes that the machine with the most to send sends in a step.
    pub wire_bytes: u64,
    /// Bytes of memory of the machine with the most to hold.
    pub memory: u64,
    /// The share of a step in which a machine computes; below 1 where machines wait for each other.
    pub busy: f64,
    /// Milliseconds of a step on the way over the link.
    pub wire_ms: f64,
    /// Milliseconds of a step, computing and sending one after the other, on machines like the one that was measured.
    pub step_ms: f64,
}

/// What is to be divided.
pub(super) struct Whole<'w> {
    pub(super) model: &'w SubjectModel,
    pub(super) need: MemoryNeed,
    pub(super) batch: usize,
    pub(super) step_ms: f64,
    pub(super) machines: usize,
    /// GB/s of the link of one machine, each way.
    pub(super) link_gb_s: f64,
}

/// Bytes of an activation.
const BYTES: u64 = 4;

impl Whole<'_> {
    /// The ways that there are for this model.
    pub(super) fn splits(&self) -> Vec<Split> {
        let (need, n) = (self.need, self.machines as u64);
        // A sum over all machines in a ring: each sends two parts of n for all but itself (Patarasuk and Yuan, 2009).
        let all_reduce = |bytes: u64| share(bytes, 2 * (n - 1), n);
        let of_batch = |bytes: u64| share(bytes, 1, n);
        let fixed = need.program.saturating_add(need.data);
        let moving = need.activations.saturating_add(need.workspace);
        let state = need.gradients.saturating_add(need.optimizer);
        let mut all = Vec::new();
        if self.batch as u64 >= n {
            all.push(self.split(
                "data parallel",
                "every machine has all weights and its share of the batch; gradients are summed in a ring",
                all_reduce(need.gradients),
                [fixed, need.weights, state, of_batch(moving)],
                1.0,
            ));
            // Gradients are summed to their owners, and new weights go back (ZeRO stage 1; Rajbhandari et al., 2020).
            all.push(self.split(
                "optimizer sharding",
                "as data parallel, but each machine keeps the optimizer's state of its share of the weights",
                share(need.gradients.saturating_add(need.weights), n - 1, n),
                [
                    fixed.saturating_add(need.gradients),
                    need.weights,
                    of_batch(need.optimizer),
                    of_batch(moving),
                ],
                1.0,
            ));
            // Weights are gathered on the way forward and on the way back, and gradients summed to their owners.
            let gathered = need
                .weights
                .saturating_mul(2)
                .saturating_add(need.gradients);
            all.push(self.split(
                "fully sharded",
                "weights, gradients and optimizer are divided; weights are gathered layer by layer, twice a step",
                share(gathered, n - 1, n),
                [fixed, of_batch(need.weights), of_batch(state), of_batch(moving)],
                1.0,
            ));
        }
        let whole = need.weights.saturating_add(state);
        if let SubjectModel::Language(config, costs) = self.model {
            let tokens = costs.parts().next().and_then(|part| part.output.first());
            let tokens = tokens.copied().unwrap_or(1);
            let stream = product(&[self.batch, tokens, config.hidden_size()]).saturating_mul(BYTES);
            let blocks = config.layers() as u64;
            // Two sums a block on the way forward and two on the way back (Shoeybi et al., "Megatron-LM", 2019).
            all.push(self.split(
                "tensor parallel",
                "heads and feed-forward neurons of every block are divided; their sums go over the wire four times a block",
                all_reduce(stream).saturating_mul(4).saturating_mul(blocks),
                [fixed, of_batch(whole), of_batch(moving), 0],
                1.0,
            ));
        }
        if let Some(cut) = self.cut() {
            let batch = self.batch as u64;
            // As many parts of the batch as samples; each stage waits for the first and the last (Huang et al.,
            // "GPipe", 2019).
            let busy = batch as f64 / (batch + n - 1) as f64;
            all.push(self.split(
                "pipeline",
                "each machine has some of the layers; activations go forward and their gradients back between them",
                cut.saturating_mul(2),
                [fixed, of_batch(whole), of_batch(moving), 0],
                busy,
            ));
        }
        all
    }

    fn split(
        &self,
        name: &'static str,
        how: &'static str,
        wire_bytes: u64,
        memory: [u64; 4],
        busy: f64,
    ) -> Split {
        let wire_ms = wire_bytes as f64 / self.link_gb_s / 1e6;
        Split {
            name,
            how,
            wire_bytes,
            memory: memory.into_iter().fold(0, u64::saturating_add),
            busy,
            wire_ms,
            step_ms: self.step_ms / self.machines as f64 / busy + wire_ms,
        }
    }

    /// Bytes of a batch's activations between two stages, the most of all cuts; `None` where there are too few layers.
    fn cut(&self) -> Option<u64> {
        let (sizes, costs): (Vec<u64>, Vec<u64>) = match self.model {
            SubjectModel::Network(plan) => {
                let layers = plan.layers().iter();
                let layers =
                    layers.map(|l| (product(&l.output_shape), l.description.multiply_adds));
                layers.unzip()
            }
            SubjectModel::Language(_, costs) => {
                let blocks = costs.blocks.iter();
                blocks
                    .map(|b| (product(&b.output), b.multiply_adds))
                    .unzip()
            }
            _ => return None,
        };
        let total: u64 = costs.iter().copied().fold(0, u64::saturating_add);
        if sizes.len() < self.machines || total == 0 {
            return None;
        }
        // A stage ends with the layer that brings it to its share of all arithmetic.
        let mut most = 0;
        for stage in 1..self.machines as u64 {
            let goal = share(total, stage, self.machines as u64);
            let mut sum = 0_u64;
            let end = costs.iter().position(|cost| {
                sum = sum.saturating_add(*cost);
                sum >= goal
            });
            most = most.max(sizes[end.unwrap_or(sizes.len() - 1)]);
        }
        let bytes = most.saturating_mul(BYTES);
        Some(bytes.saturating_mul(self.batch as u64))
    }
}

/// `bytes · part / of`, without wrapping.
fn share(bytes: u64, part: u64, of: u64) -> u64 {
    let product = u128::from(bytes) * u128::from(part) / u128::from(of.max(1));
    u64::try_from(product).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_train::{Recipe, Subject};

    #[test]
    fn the_wire_carries_what_the_field_says() {
        let recipe = Recipe::for_text("llama-tiny");
        let config = cortical_models::language::preset("llama-tiny")
            .unwrap()
            .config;
        let (hidden, layers) = (config.hidden_size() as u64, config.layers() as u64);
        let subject = Subject::of_language(&recipe, config).unwrap();
        let need = subject.memory(&recipe, 8);
        let whole = Whole {
            model: &subject.model,
            need,
            batch: 8,
            step_ms: 100.0,
            machines: 2,
            link_gb_s: 1.25,
        };
        let splits = whole.splits();
        let wire = |name: &str| {
            let split = splits.iter().find(|split| split.name == name);
            split.unwrap().wire_bytes
        };
        assert_eq!(wire("data parallel"), need.gradients);
        assert_eq!(wire("optimizer sharding"), wire("data parallel"));
        assert_eq!(wire("fully sharded"), need.weights * 3 / 2);
        let stream = 8 * 256 * hidden * 4;
        assert_eq!(wire("tensor parallel"), 4 * layers * stream);
        assert_eq!(wire("pipeline"), 2 * stream);
        let pipeline = splits.last().unwrap();
        assert!((pipeline.busy - 8.0 / 9.0).abs() < 1e-12);
        let data = &splits[0];
        assert!((data.step_ms - 50.0 - data.wire_bytes as f64 / 1.25e6).abs() < 1e-9);
        assert!(splits.iter().all(|split| split.memory < need.total()));
    }

    #[test]
    fn a_batch_of_one_cannot_be_divided() {
        let recipe = Recipe::for_data("iris");
        let subject = Subject::of(&recipe).unwrap();
        let whole = Whole {
            model: &subject.model,
            need: subject.memory(&recipe, 1),
            batch: 1,
            step_ms: 1.0,
            machines: 8,
            link_gb_s: 1.0,
        };
        assert_eq!(
            whole.splits(),
            [],
            "three layers and one sample for eight machines"
        );
    }
}
