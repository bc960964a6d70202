//! An explicit pass through a network.

use crate::{Error, Result};
use candle_core::Tensor;
use cortical_tensor::{Rng, Seed};
use std::collections::HashMap;

/// Somebody who looks at the named activations of a pass. Looking does not change what is computed.
pub trait Observer {
    /// Layer `layer` has computed `output`.
    fn activation(&mut self, layer: &str, output: &Tensor);
}

/// Somebody who sees what linear layers read, before they compute: what weights are worth depends on it.
pub trait InputObserver {
    /// The linear layer `layer` is about to read `x`, `[…, in_features]`.
    ///
    /// # Errors
    /// What the observer cannot do; the pass ends with it.
    fn input(&self, layer: &str, x: &Tensor) -> Result<()>;
}

/// Where the gradients of parameters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gradients {
    /// Nowhere: operations read bare values.
    None,
    /// To the parameters' slots.
    InSlots,
    /// To candle's own store, where candle's optimizers look.
    InCandle,
}

/// One pass through a network: training or evaluation, with its own randomness and its observer.
///
/// A training pass takes one number from the generator that it is made with; each layer derives its own stream
/// from that number and the layer's name, so neither the order of layers nor threads change the result.
pub struct Pass<'a> {
    /// The key of this pass's random streams; `None` in evaluation.
    key: Option<Seed>,
    gradients: Gradients,
    /// How often each name has asked for a stream in this pass.
    uses: HashMap<String, u32>,
    observer: Option<&'a mut dyn Observer>,
    inputs: Option<&'a dyn InputObserver>,
    /// Whether a layer computes once more what it has computed already.
    is_replay: bool,
}

/// Where a training pass stood before a layer, so that the layer can be run again with the same random numbers.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    key: Seed,
    uses: HashMap<String, u32>,
}

impl Replay {
    /// The pass from there on: nobody looks on, and running statistics are left alone.
    pub(crate) fn pass(&self) -> Pass<'static> {
        Pass {
            key: Some(self.key),
            gradients: Gradients::InSlots,
            uses: self.uses.clone(),
            observer: None,
            inputs: None,
            is_replay: true,
        }
    }
}

impl<'a> Pass<'a> {
    /// A training pass: parameters are tracked, dropout drops.
    #[must_use]
    pub fn train(rng: &mut Rng) -> Self {
        Self {
            key: Some(Seed(rng.next_u64())),
            gradients: Gradients::InSlots,
            uses: HashMap::new(),
            observer: None,
            inputs: None,
            is_replay: false,
        }
    }

    /// An evaluation pass: nothing is tracked, nothing is random.
    #[must_use]
    pub fn eval() -> Self {
        Self {
            key: None,
            gradients: Gradients::None,
            uses: HashMap::new(),
            observer: None,
            inputs: None,
            is_replay: false,
        }
    }

    /// The same pass with the gradients of parameters wanted: an evaluation that can be differentiated, as for training
    /// on top of frozen running statistics, or for asking which weight an answer hangs on.
    #[must_use]
    pub fn tracked(mut self) -> Self {
        self.gradients = Gradients::InSlots;
        self
    }

    /// The same pass for a candle program: parameters are read as plain variables, whose gradients `loss.backward()`
    /// puts in candle's store, where candle's optimizers look for them.
    #[must_use]
    pub fn for_candle(mut self) -> Self {
        self.gradients = Gradients::InCandle;
        self
    }

    /// Whether the gradients of parameters are wanted.
    #[must_use]
    pub fn wants_gradients(&self) -> bool {
        self.gradients != Gradients::None
    }

    /// Where the gradients of parameters go.
    pub(crate) fn gradients(&self) -> Gradients {
        self.gradients
    }

    /// The same pass with somebody who sees what linear layers read. Operations that are made of several layers are
    /// then computed layer by layer, with the same result up to rounding.
    #[must_use]
    pub fn read_by(mut self, observer: &'a dyn InputObserver) -> Self {
        self.inputs = Some(observer);
        self
    }

    /// Whether somebody sees what linear layers read.
    #[must_use]
    pub fn shows_inputs(&self) -> bool {
        self.inputs.is_some()
    }

    /// Shows what the linear layer `layer` is about to read.
    ///
    /// # Errors
    /// The observer's.
    pub fn show_input(&self, layer: &str, x: &Tensor) -> Result<()> {
        self.inputs
            .map_or(Ok(()), |observer| observer.input(layer, x))
    }

    /// The same pass with somebody looking on.
    #[must_use]
    pub fn observed_by(mut self, observer: &'a mut dyn Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Whether somebody looks on: what is computed for the observer alone is then worth computing.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Whether this is a training pass.
    #[must_use]
    pub fn is_train(&self) -> bool {
        self.key.is_some()
    }

    /// Whether running statistics are to follow this pass's batch: in training, but not where a layer is only
    /// [run again](crate::Recompute).
    #[must_use]
    pub fn updates_statistics(&self) -> bool {
        self.is_train() && !self.is_replay
    }

    /// How to run what follows once more; `None` where nobody wants gradients in slots, or nothing is random.
    pub(crate) fn replay(&self) -> Option<Replay> {
        let key = self.key.filter(|_| self.gradients == Gradients::InSlots)?;
        let uses = self.uses.clone();
        Some(Replay { key, uses })
    }

    /// Runs `f` with this pass, but without gradients.
    pub(crate) fn untracked<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let gradients = std::mem::replace(&mut self.gradients, Gradients::None);
        let result = f(self);
        self.gradients = gradients;
        result
    }

    /// The random stream of a layer in this pass; another one each time the layer asks.
    ///
    /// # Errors
    /// [`Error::Option`] in evaluation, where nothing is random.
    pub fn rng(&mut self, layer: &str) -> Result<Rng> {
        let Some(key) = self.key else {
            let (expected, got) = (
                "a training pass to draw random numbers in",
                "evaluation".to_string(),
            );
            return Err(Error::Option {
                option: "pass",
                expected,
                got,
            });
        };
        let uses = self.uses.entry(layer.to_string()).or_insert(0);
        let stream = format!("{layer}#{uses}");
        *uses += 1;
        Ok(Rng::new(key, &stream))
    }

    /// Shows a layer's output to the observer, if there is one.
    pub fn observe(&mut self, layer: &str, output: &Tensor) {
        if let Some(observer) = &mut self.observer {
            observer.activation(layer, output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_layer_and_pass_but_not_on_order() {
        let pass = || Pass::train(&mut Rng::new(Seed(1), "pass"));
        let (mut one, mut other) = (pass(), pass());
        let (a, b) = (
            one.rng("a").unwrap().next_u64(),
            one.rng("b").unwrap().next_u64(),
        );
        let (b2, a2) = (
            other.rng("b").unwrap().next_u64(),
            other.rng("a").unwrap().next_u64(),
        );
        assert_eq!((a, b), (a2, b2));
        assert_ne!(a, b);
        assert_ne!(
            one.rng("a").unwrap().next_u64(),
            a,
            "a layer used twice draws anew"
        );
    }

    #[test]
    fn the_next_pass_draws_other_numbers() {
        let mut rng = Rng::new(Seed(1), "pass");
        let first = Pass::train(&mut rng).rng("a").unwrap().next_u64();
        assert_ne!(Pass::train(&mut rng).rng("a").unwrap().next_u64(), first);
    }

    #[test]
    fn evaluation_has_no_randomness() {
        assert!(Pass::eval().rng("a").is_err());
    }
}
