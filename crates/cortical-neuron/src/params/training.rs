//! What training does with a store: backpropagation into the slots, and which parameters stay as they are.

use super::{Params, Place};
use crate::{Error, Param, Result};
use candle_core::{Tensor, Var};

impl Params {
    /// Empties every slot.
    pub fn zero_grad(&self) {
        for param in &self.read().params {
            param.slot().set(None);
        }
    }

    /// Backpropagation: adds `d loss / d parameter` to the slot of every parameter.
    ///
    /// Gradients accumulate until [`Params::zero_grad`].
    ///
    /// # Errors
    /// [`Error::LossNotScalar`], [`Error::LossNotTracked`]; [`Error::MissingGradient`] names every trainable parameter
    /// that the loss does not depend on; an operation's error when a parameter was changed since the forward pass.
    pub fn backward(&self, loss: &Tensor) -> Result<()> {
        let names = self.backward_partial(loss)?;
        if names.is_empty() {
            Ok(())
        } else {
            Err(Error::MissingGradient { names })
        }
    }

    /// As [`Params::backward`] for a loss that depends on a part of the parameters; returns the names of those that got
    /// nothing.
    ///
    /// # Errors
    /// As [`Params::backward`], without [`Error::MissingGradient`].
    pub fn backward_partial(&self, loss: &Tensor) -> Result<Vec<String>> {
        if loss.elem_count() != 1 {
            return Err(Error::LossNotScalar {
                got: loss.dims().to_vec(),
            });
        }
        if !loss.track_op() {
            return Err(Error::LossNotTracked);
        }
        let params = self.trainable();
        let before: Vec<u64> = params.iter().map(|p| p.slot().arrivals()).collect();
        let mut store = loss.backward()?;
        let mut missing = Vec::new();
        for (param, before) in params.iter().zip(before) {
            if let Some(grad) = store.remove(param.var()) {
                param.slot().add(grad)?;
            }
            if param.slot().arrivals() == before {
                missing.push(param.name().to_string());
            }
        }
        Ok(missing)
    }

    /// The parameters that training changes, in the order of their making.
    #[must_use]
    pub fn trainable(&self) -> Vec<Param> {
        self.read()
            .params
            .iter()
            .filter(|p| p.is_trainable())
            .cloned()
            .collect()
    }

    /// Freezes the parameter of this name, or every parameter under this place (`encoder` freezes `encoder.0.weight`):
    /// training leaves them as they are and asks no gradient for them. Returns their names.
    ///
    /// # Errors
    /// [`Error::UnknownName`] when nothing is called so.
    ///
    /// ```
    /// use candle_core::Device;
    /// use cortical_neuron::{Init, Params};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// params.at("encoder.fc1").param("weight", &[2, 2], Init::ZEROS)?;
    /// params.at("head").param("weight", &[2, 2], Init::ZEROS)?;
    /// assert_eq!(params.freeze("encoder")?, ["encoder.fc1.weight"]);
    /// assert_eq!(params.trainable().len(), 1);
    /// params.unfreeze("encoder")?;
    /// assert_eq!(params.trainable().len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn freeze(&self, name: &str) -> Result<Vec<String>> {
        self.set_trainable(name, false)
    }

    /// Lets the parameters train again that [`freeze`](Self::freeze) would freeze.
    ///
    /// # Errors
    /// [`Error::UnknownName`] when nothing is called so.
    pub fn unfreeze(&self, name: &str) -> Result<Vec<String>> {
        self.set_trainable(name, true)
    }

    fn set_trainable(&self, name: &str, trainable: bool) -> Result<Vec<String>> {
        let entries = self.read();
        if let Some(Place::Param(place)) = entries.by_name.get(name) {
            let param = &entries.params[*place];
            param.set_trainable(trainable);
            return Ok(vec![param.name().to_string()]);
        }
        let under = |param: &&Param| {
            let rest = param.name().strip_prefix(name);
            rest.is_some_and(|rest| name.is_empty() || rest.starts_with('.'))
        };
        let mut names = Vec::new();
        for param in entries.params.iter().filter(under) {
            param.set_trainable(trainable);
            names.push(param.name().to_string());
        }
        if names.is_empty() {
            return Err(entries.unknown(name));
        }
        Ok(names)
    }

    /// Prunes weights of the parameter of this name; see [`Param::prune`].
    ///
    /// # Errors
    /// [`Error::UnknownName`], [`Error::ValueShape`].
    pub fn prune(&self, name: &str, mask: &Tensor) -> Result<()> {
        self.get(name)?.prune(mask)
    }

    /// The masks of pruned parameters, by name: what has to be kept beside the weights to go on training a pruned
    /// network.
    #[must_use]
    pub fn masks(&self) -> Vec<(String, Tensor)> {
        let entries = self.read();
        let masked = entries.params.iter();
        masked
            .filter_map(|p| Some((p.name().to_string(), p.mask()?)))
            .collect()
    }

    /// The variables behind the trainable parameters, for an optimizer of candle's.
    #[must_use]
    pub fn vars(&self) -> Vec<Var> {
        let trainable = self.trainable();
        trainable.iter().map(|p| p.var().clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::two;
    use super::*;
    use crate::{Init, Pass};
    use candle_core::Device;
    use cortical_kernels::activation::Activation;
    use cortical_tensor::ops::linear;

    fn loss(a: &Param, b: &Param, pass: &Pass<'_>) -> Tensor {
        let x = Tensor::new(&[[1.0_f32, 2.0]], &Device::Cpu).unwrap();
        let h = linear(&x, a.input(pass), None, Activation::Identity).unwrap();
        linear(&h, b.input(pass), None, Activation::Identity).unwrap()
    }

    #[test]
    fn gradients_accumulate_until_they_are_cleared() {
        let (params, a, b) = two();
        let mut rng = params.rng("pass");
        let pass = Pass::train(&mut rng);
        params.backward(&loss(&a, &b, &pass)).unwrap();
        let once = a.grad().unwrap().to_vec2::<f32>().unwrap();
        params.backward(&loss(&a, &b, &pass)).unwrap();
        let twice = a.grad().unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(twice[0][1], 2.0 * once[0][1]);
        params.zero_grad();
        assert!(a.grad().is_none());
    }

    #[test]
    fn a_parameter_without_a_gradient_is_named() {
        let (params, a, _) = two();
        let unused = params.at("c").param("bias", &[3], Init::ZEROS).unwrap();
        let mut rng = params.rng("pass");
        let pass = Pass::train(&mut rng);
        let square = linear(a.tensor(), a.input(&pass), None, Activation::Identity)
            .unwrap()
            .sum_all()
            .unwrap();
        let error = params.backward(&square).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no gradient reached b.weight, c.bias; if that is meant, freeze them or use `backward_partial` (a layer of your own reads parameters by `Param::tracked`, not by `Param::tensor`)"
        );
        unused.set_trainable(false);
        assert_eq!(params.backward_partial(&square).unwrap(), ["b.weight"]);
    }

    #[test]
    fn a_stale_gradient_does_not_count_as_an_arrival() {
        let (params, a, b) = two();
        let mut rng = params.rng("pass");
        let pass = Pass::train(&mut rng);
        params.backward(&loss(&a, &b, &pass)).unwrap();
        let only_a = linear(a.tensor(), a.input(&pass), None, Activation::Identity)
            .unwrap()
            .sum_all()
            .unwrap();
        assert!(
            matches!(params.backward(&only_a), Err(Error::MissingGradient { names }) if names == ["b.weight"])
        );
    }

    #[test]
    fn candles_own_operations_count_too() {
        let (params, a, b) = two();
        let y = (a.var().as_tensor().sum_all().unwrap() + b.var().as_tensor().sum_all().unwrap())
            .unwrap();
        params.backward(&y).unwrap();
        assert_eq!(b.grad().unwrap().to_vec2::<f32>().unwrap(), [[1.0, 1.0]]);
    }

    #[test]
    fn losses_that_cannot_be_differentiated_are_refused() {
        let (params, a, b) = two();
        let mut rng = params.rng("pass");
        let pass = Pass::train(&mut rng);
        let vector = linear(a.tensor(), a.input(&pass), None, Activation::Identity).unwrap();
        assert!(matches!(
            params.backward(&vector),
            Err(Error::LossNotScalar { .. })
        ));
        let untracked = loss(&a, &b, &Pass::eval());
        assert!(matches!(
            params.backward(&untracked),
            Err(Error::LossNotTracked)
        ));
    }

    #[test]
    fn changing_a_parameter_between_forward_and_backward_is_an_error() {
        let (params, a, b) = two();
        let mut rng = params.rng("pass");
        let y = loss(&a, &b, &Pass::train(&mut rng));
        a.set(&a.tensor().affine(2.0, 0.0).unwrap()).unwrap();
        let error = params.backward(&y).unwrap_err().to_string();
        assert!(error.contains("a parameter was changed"), "{error}");
    }

    #[test]
    fn evaluation_sees_changes_and_makes_no_graph() {
        let (_, a, b) = two();
        let before = loss(&a, &b, &Pass::eval());
        assert!(!before.track_op());
        b.set(&b.tensor().affine(2.0, 0.0).unwrap()).unwrap();
        let after = loss(&a, &b, &Pass::eval());
        let number = |t: &Tensor| t.to_vec2::<f32>().unwrap()[0][0];
        assert_eq!(number(&after), 2.0 * number(&before));
    }
}
