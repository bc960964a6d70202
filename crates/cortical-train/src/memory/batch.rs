//! What a batch leaves behind on its way forward, and what is made on its way back.

use cortical_models::Plan;
use cortical_models::language::TextCosts;
use cortical_neuron::{Description, product};

use super::arena::{Arena, Block};

/// Bytes of an activation: they are in single precision, whatever weights are stored in.
const BYTES: u64 = 4;
/// Scores of tokens that the head holds at a time, as `linear_cross_entropy` has it, and its fewest rows.
const SCORES: u64 = 1 << 20;
const SCORE_ROWS: u64 = 64;

/// The layers of a model, each with the tensors that a training keeps of one sample.
#[derive(Clone, Debug)]
pub struct Activations {
    layers: Vec<LayerActivations>,
    /// Layers that are computed twice are in segments of so many; 0 where all is kept.
    segment: usize,
    /// Tokens in a vocabulary, and in a text; of a network none.
    head: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct LayerActivations {
    /// Elements that enter.
    input: u64,
    /// Elements of the tensors that are kept, its output last unless that is its input.
    kept: Vec<u64>,
}

impl LayerActivations {
    fn new(input: u64, part: &Description) -> Self {
        Self {
            input,
            kept: part.kept(),
        }
    }

    fn sum(&self) -> u64 {
        self.kept.iter().copied().fold(0, u64::saturating_add)
    }
}

/// The layers inside of a layer, if all that is kept is kept by them.
fn parts<'d>(whole: &'d Description, all: &mut Vec<&'d Description>) {
    if whole.parts.is_empty() || !whole.keeps.is_empty() {
        all.push(whole);
    } else {
        for part in &whole.parts {
            parts(part, all);
        }
    }
}

impl Activations {
    /// Those of a network whose layers are kept, or computed twice in so many segments.
    #[must_use]
    pub fn of_network(plan: &Plan, recompute: usize) -> Self {
        let layers = plan.layers();
        let mut all = Vec::new();
        for layer in layers {
            let input = product(&layer.input_shape);
            let mut leaves = Vec::new();
            // Segments are of the network's layers, whatever these are made of.
            match recompute {
                0 => parts(&layer.description, &mut leaves),
                _ => leaves.push(&layer.description),
            }
            let mut before = input;
            for leaf in leaves {
                all.push(LayerActivations::new(before, leaf));
                before = product(&leaf.output);
            }
        }
        Self {
            layers: all,
            segment: match recompute {
                0 => 0,
                segments => layers.len().div_ceil(segments).max(1),
            },
            head: None,
        }
    }

    /// Those of a language model that learns from texts of so many tokens.
    #[must_use]
    pub fn of_text(costs: &TextCosts, tokens: usize, vocabulary: usize) -> Self {
        let mut leaves = Vec::new();
        for part in costs.parts() {
            parts(part, &mut leaves);
        }
        let mut before = tokens as u64;
        let layers = leaves.into_iter().map(|leaf| {
            let layer = LayerActivations::new(before, leaf);
            before = product(&leaf.output);
            layer
        });
        Self {
            layers: layers.collect(),
            segment: 0,
            head: Some((vocabulary as u64, tokens as u64)),
        }
    }

    /// Bytes that a batch of so many samples leaves behind for its way back.
    #[must_use]
    pub fn kept(&self, batch: usize) -> u64 {
        let elements = match self.segment {
            0 => self
                .layers
                .iter()
                .map(LayerActivations::sum)
                .fold(0, u64::saturating_add),
            length => {
                let segments = self.layers.chunks(length);
                let inputs = segments.clone().map(|segment| segment[0].input);
                let inside = segments.map(|segment| {
                    let sums = segment.iter().map(LayerActivations::sum);
                    sums.fold(0, u64::saturating_add)
                });
                inputs.fold(inside.max().unwrap_or(0), u64::saturating_add)
            }
        };
        elements.saturating_mul(BYTES).saturating_mul(batch as u64)
    }

    /// The most bytes that a program takes for data of so many bytes, for a batch's way forward and back, and for one
    /// of `eval_batch` on its way forward alone, beside parameters and what is as large as they are.
    #[must_use]
    pub fn peak(&self, data: u64, batch: usize, eval_batch: usize) -> u64 {
        let mut arena = Arena::default();
        arena.read(data);
        if self.head.is_some() {
            // Tokens come document by document, and are gathered then.
            arena.read_again(data);
        }
        match self.segment {
            0 => self.train(&mut arena, batch),
            length => self.train_twice(&mut arena, batch, length),
        }
        if eval_batch > 0 {
            self.evaluate(&mut arena, eval_batch);
        }
        arena.peak()
    }

    /// The most bytes that a program takes for a batch's way forward alone.
    #[must_use]
    pub fn peak_forward(&self, batch: usize) -> u64 {
        let mut arena = Arena::default();
        self.evaluate(&mut arena, batch);
        arena.peak()
    }

    /// A way forward on which everything is kept, and one back on which each layer makes a gradient for all of it.
    fn train(&self, arena: &mut Arena, batch: usize) {
        let bytes = |elements: u64| elements.saturating_mul(BYTES).saturating_mul(batch as u64);
        let input = self
            .layers
            .first()
            .map(|layer| arena.alloc(bytes(layer.input)));
        let kept = forward(arena, &self.layers, bytes);
        self.score(arena, batch);
        let gradient = backward(arena, &self.layers, bytes, None);
        for block in kept.into_iter().chain(input).chain(gradient) {
            arena.free(block);
        }
    }

    /// The same in segments of so many layers, of which the inputs are kept.
    fn train_twice(&self, arena: &mut Arena, batch: usize, length: usize) {
        let bytes = |elements: u64| elements.saturating_mul(BYTES).saturating_mul(batch as u64);
        let mut inputs = Vec::new();
        for segment in self.layers.chunks(length) {
            inputs.push(arena.alloc(bytes(segment[0].input)));
            through(arena, segment, bytes);
        }
        let mut gradient = None;
        for segment in self.layers.chunks(length).rev() {
            let kept = forward(arena, segment, bytes);
            gradient = backward(arena, segment, bytes, gradient);
            for block in kept {
                arena.free(block);
            }
        }
        for block in inputs.into_iter().chain(gradient) {
            arena.free(block);
        }
    }

    /// A way forward on which only what the next layer reads is kept.
    fn evaluate(&self, arena: &mut Arena, batch: usize) {
        let bytes = |elements: u64| elements.saturating_mul(BYTES).saturating_mul(batch as u64);
        let input = self
            .layers
            .first()
            .map(|layer| arena.alloc(bytes(layer.input)));
        through(arena, &self.layers, bytes);
        input.into_iter().for_each(|block| arena.free(block));
    }

    /// Scores of tokens and their gradients, some rows at a time.
    fn score(&self, arena: &mut Arena, batch: usize) {
        if let Some((vocabulary, tokens)) = self.head {
            let rows = tokens.saturating_mul(batch as u64);
            let together = (SCORES / vocabulary.max(1)).max(SCORE_ROWS).min(rows);
            let bytes = together.saturating_mul(vocabulary).saturating_mul(BYTES);
            let blocks = [arena.alloc(bytes), arena.alloc(bytes)];
            blocks.into_iter().for_each(|block| arena.free(block));
        }
    }
}

/// Every tensor that is kept on the way forward.
fn forward(
    arena: &mut Arena,
    layers: &[LayerActivations],
    bytes: impl Fn(u64) -> u64,
) -> Vec<Block> {
    let kept = layers.iter().flat_map(|layer| &layer.kept);
    kept.map(|elements| arena.alloc(bytes(*elements))).collect()
}

/// The way forward without a graph: a layer's tensors go when the next one has read its output.
fn through(arena: &mut Arena, layers: &[LayerActivations], bytes: impl Fn(u64) -> u64) {
    let mut before: Option<Block> = None;
    for layer in layers {
        let mut blocks: Vec<Block> = layer
            .kept
            .iter()
            .map(|elements| arena.alloc(bytes(*elements)))
            .collect();
        // A layer without tensors of its own hands on what it was given.
        let Some(output) = blocks.pop() else {
            continue;
        };
        for block in blocks.into_iter().chain(before.replace(output)) {
            arena.free(block);
        }
    }
    before.into_iter().for_each(|block| arena.free(block));
}

/// The way back: each layer makes a gradient for each of its tensors, and hands on that of its input.
fn backward(
    arena: &mut Arena,
    layers: &[LayerActivations],
    bytes: impl Fn(u64) -> u64,
    above: Option<Block>,
) -> Option<Block> {
    let mut gradient = above;
    for layer in layers.iter().rev() {
        let Some((output, inside)) = layer.kept.split_last() else {
            continue;
        };
        let d_output = gradient.unwrap_or_else(|| arena.alloc(bytes(*output)));
        let own: Vec<Block> = inside
            .iter()
            .map(|elements| arena.alloc(bytes(*elements)))
            .collect();
        let d_input = arena.alloc(bytes(layer.input));
        for block in own.into_iter().chain([d_output]) {
            arena.free(block);
        }
        gradient = Some(d_input);
    }
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_models::ModelSpec;

    fn activations(name: &str, recompute: usize) -> Activations {
        let spec: ModelSpec = name.parse().unwrap();
        let plan = Plan::new(&spec.layers(), &[1, 28, 28], 10).unwrap();
        Activations::of_network(&plan, recompute)
    }

    #[test]
    fn what_is_kept_grows_with_the_batch_and_is_less_where_layers_run_twice() {
        // The two convolutions' outputs, a byte for each winner of the pool, and two dense layers'.
        let sample = 32 * 26 * 26 + 64 * 12 * 12 + 64 * 12 * 12 / 4 + 128 + 10;
        assert_eq!(activations("lenet", 0).kept(3), 3 * 4 * sample);
        let resnet = |segments| activations("resnet20", segments).kept(64);
        assert!(resnet(4) < resnet(0) * 2 / 3);
        assert!(activations("lenet", 0).peak(0, 64, 0) > activations("lenet", 0).kept(64));
    }

    #[test]
    fn an_evaluation_of_larger_batches_is_what_counts() {
        let (small, large) = (
            activations("lenet", 0).peak(0, 8, 8),
            activations("lenet", 0).peak(0, 8, 1000),
        );
        assert!(large > small + 900 * 4 * (32 * 26 * 26 + 64 * 12 * 12));
    }
}
