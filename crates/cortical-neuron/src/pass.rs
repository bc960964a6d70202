//! An explicit pass through a network.

use crate::{Error, Result};
use candle_core::Tensor;
use cortical_tensor::{Rng, Seed};
use std::collections::HashMap;

/// What an observer may ask for beyond the outputs of layers. Where it asks for any of it, operations that span several
/// layers run layer by layer, whose sums differ in the last bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The output of every module that the network has in PyTorch: a layer's sums before the activation or pool that it
    /// has fused, the projections inside of attention and feed-forward layers, and blocks.
    Modules,
    /// What the neurons inside a feed-forward layer give to its last projection, called `NAME.input` after that.
    Units,
    /// How much each query looks at each key, `[batch, heads, queries, keys]`, called `NAME.weights` after the layer;
    /// all of them are held for that.
    Attention,
    /// Outputs in the place of those that layers have computed ([`Observer::replacement`]).
    Replacements,
}

/// Somebody who looks at the named activations of a pass. Looking does not change what is computed, unless the observer
/// asks for more than the outputs of layers ([`View`]).
pub trait Observer {
    /// Layer `layer` has computed `output`.
    fn activation(&mut self, layer: &str, output: &Tensor);

    /// Whether it asks for this as well; only outputs of layers by default.
    fn wants(&self, _view: View) -> bool {
        false
    }

    /// What goes on in the place of `output`, a tensor of the same shape; `None` for what layer `layer` has computed.
    /// Nobody is asked who does not want [`View::Replacements`].
    ///
    /// # Errors
    /// When a tensor cannot be made.
    fn replacement(&mut self, _layer: &str, _output: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }
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
    /// Whose output the observer has seen last.
    shown: String,
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
            shown: String::new(),
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
            shown: String::new(),
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
            shown: String::new(),
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

    /// Whether the observer asks for this beside the outputs of layers.
    #[must_use]
    pub fn wants(&self, view: View) -> bool {
        let observer = self.observer.as_ref();
        observer.is_some_and(|observer| observer.wants(view))
    }

    /// Whether layers must run one by one, as the observer asks for more than their outputs.
    #[must_use]
    pub fn is_layer_by_layer(&self) -> bool {
        let views = [
            View::Modules,
            View::Units,
            View::Attention,
            View::Replacements,
        ];
        views.into_iter().any(|view| self.wants(view))
    }

    /// Shows a layer's output to the observer, if there is one, and returns what goes on from there.
    ///
    /// # Errors
    /// An observer's replacement that cannot be made or has another shape.
    pub fn observe(&mut self, layer: &str, output: Tensor) -> Result<Tensor> {
        let Some(observer) = &mut self.observer else {
            return Ok(output);
        };
        layer.clone_into(&mut self.shown);
        let mut output = output;
        if observer.wants(View::Replacements)
            && let Some(other) = observer.replacement(layer, &output)?
        {
            if other.dims() != output.dims() {
                return Err(Error::ValueShape {
                    name: layer.to_owned(),
                    expected: output.dims().to_vec(),
                    got: other.dims().to_vec(),
                });
            }
            output = other;
        }
        observer.activation(layer, &output);
        Ok(output)
    }

    /// As [`Self::observe`], for an observer that asks for this.
    ///
    /// # Errors
    /// As [`Self::observe`].
    pub fn observe_in(&mut self, view: View, layer: &str, output: Tensor) -> Result<Tensor> {
        match self.wants(view) {
            true => self.observe(layer, output),
            false => Ok(output),
        }
    }

    /// As [`Self::observe`], unless the layer has shown it already: for layers made of others, and for those that do
    /// not know their names.
    ///
    /// # Errors
    /// As [`Self::observe`].
    pub fn observe_end(&mut self, layer: &str, output: Tensor) -> Result<Tensor> {
        match self.observer.is_none() || self.shown == layer {
            true => Ok(output),
            false => self.observe(layer, output),
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
    fn a_replacement_goes_on_and_must_have_the_shape_of_what_it_replaces() {
        use candle_core::Device;
        struct Other(Tensor, Vec<Vec<usize>>);
        impl Observer for Other {
            fn activation(&mut self, _: &str, output: &Tensor) {
                self.1.push(output.dims().to_vec());
            }
            fn wants(&self, view: View) -> bool {
                view == View::Replacements
            }
            fn replacement(&mut self, layer: &str, _: &Tensor) -> Result<Option<Tensor>> {
                Ok((layer == "a").then(|| self.0.clone()))
            }
        }
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let mut other = Other(tensor(&[7.0, 8.0]), Vec::new());
        let mut pass = Pass::eval().observed_by(&mut other);
        assert!(pass.is_layer_by_layer() && !pass.wants(View::Units));
        let given = pass.observe("a", tensor(&[1.0, 2.0])).unwrap();
        assert_eq!(given.to_vec1::<f32>().unwrap(), [7.0, 8.0]);
        let given = pass.observe("b", tensor(&[1.0])).unwrap();
        assert_eq!(given.to_vec1::<f32>().unwrap(), [1.0]);
        // What has been shown already is not shown again.
        pass.observe_end("b", tensor(&[1.0])).unwrap();
        pass.observe_in(View::Units, "c", tensor(&[1.0])).unwrap();
        let error = pass.observe("a", tensor(&[1.0])).unwrap_err();
        assert!(matches!(error, Error::ValueShape { .. }), "{error}");
        assert_eq!(other.1, [vec![2], vec![1]]);
    }

    #[test]
    fn evaluation_has_no_randomness() {
        assert!(Pass::eval().rng("a").is_err());
    }
}
