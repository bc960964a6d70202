//! A layer as the head of a network: its outputs are scores, and only their loss is wanted.

use crate::Linear;
use candle_core::Tensor;
use cortical_kernels::activation::Activation;
use cortical_neuron::{Error, Pass, Result};
use cortical_tensor::ops::{self, CrossEntropy};

impl Linear {
    /// The mean cross-entropy of the scores that this layer gives `x`, as one operation that never holds all scores:
    /// what `cross_entropy(&head.forward(x, pass)?, labels)` computes, in the memory of a block of rows. There are no
    /// scores to observe.
    ///
    /// # Shapes
    /// - `x`: `[…, in_features]`; `labels`: the leading dimensions of `x`, of `u32` or `i64`, below `out_features`
    /// - result: scalar
    ///
    /// # Errors
    /// When the shapes do not fit or a label is no class; [`Error::Option`] when the layer has an activation, whose
    /// outputs are no scores.
    ///
    /// # Source
    /// As [`linear_cross_entropy`](cortical_tensor::ops::linear_cross_entropy).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cortical_dense::Linear;
    /// use cortical_neuron::{Params, Pass};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let head = Linear::config(4, 10).build(&params.at("lm_head"))?;
    /// let x = Tensor::zeros((2, 3, 4), DType::F32, &Device::Cpu)?;
    /// let labels = Tensor::zeros((2, 3), DType::U32, &Device::Cpu)?;
    /// let loss = head.loss(&x, &labels, &mut Pass::eval())?;
    /// assert!(loss.to_scalar::<f32>()? > 0.0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn loss(&self, x: &Tensor, labels: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        self.loss_with(x, labels, &CrossEntropy::default(), pass)
    }

    /// [`Self::loss`] with class weights, smoothing, an ignored label or another reduction.
    ///
    /// # Errors
    /// As [`Self::loss`].
    pub fn loss_with(
        &self,
        x: &Tensor,
        labels: &Tensor,
        options: &CrossEntropy,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let activation = self.activation();
        if activation != Activation::Identity {
            let (expected, got) = ("none on a layer of scores", format!("{activation:?}"));
            return Err(Error::Option {
                option: "activation",
                expected,
                got,
            });
        }
        let loss = match self.plain_inputs(pass) {
            Some((weight, bias)) => {
                ops::linear_cross_entropy(x, weight, bias, labels, options).map_err(Error::from)
            }
            None => self.loss_of_scores(x, labels, options, pass),
        };
        loss.map_err(|e| e.in_layer(self.name()))
    }

    /// The loss from all scores at once, for weights that the one operation does not take.
    fn loss_of_scores(
        &self,
        x: &Tensor,
        labels: &Tensor,
        options: &CrossEntropy,
        pass: &mut Pass<'_>,
    ) -> Result<Tensor> {
        let scores = self.apply(x, pass)?;
        let rows = scores.flatten_to(scores.rank().saturating_sub(2))?;
        Ok(ops::cross_entropy(&rows, &labels.flatten_all()?, options)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use cortical_neuron::{Layer, Params, loss::cross_entropy};
    use cortical_tensor::Seed;

    #[test]
    fn it_is_the_loss_of_the_scores() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let head = Linear::config(4, 7).build(&params.at("head")).unwrap();
        let x = Tensor::arange(0.0_f32, 24.0, &Device::Cpu)
            .unwrap()
            .reshape((2, 3, 4))
            .unwrap();
        let labels = Tensor::new(&[[0_u32, 6, 3], [2, 2, 1]], &Device::Cpu).unwrap();
        let mut rng = params.rng("pass");
        let mut grads = Vec::new();
        for joined in [true, false] {
            let mut pass = Pass::train(&mut rng);
            let loss = if joined {
                head.loss(&x, &labels, &mut pass).unwrap()
            } else {
                let scores = head.forward(&x, &mut pass).unwrap().flatten_to(1).unwrap();
                cross_entropy(&scores, &labels.flatten_all().unwrap()).unwrap()
            };
            params.backward(&loss).unwrap();
            grads.push(
                [
                    head.weight().unwrap().grad().unwrap(),
                    head.bias().unwrap().grad().unwrap(),
                ]
                .map(|g| g.flatten_all().unwrap().to_vec1::<f32>().unwrap())
                .concat(),
            );
            params.zero_grad();
            grads.push(vec![loss.to_scalar::<f32>().unwrap()]);
        }
        for (one, two) in [(&grads[0], &grads[2]), (&grads[1], &grads[3])] {
            assert!(
                one.iter().zip(two).all(|(a, b)| (a - b).abs() < 1e-4),
                "{one:?} {two:?}"
            );
        }
    }

    #[test]
    fn an_activation_is_refused() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let head = Linear::config(2, 2)
            .activation(Activation::Relu)
            .build(&params.at("head"))
            .unwrap();
        let x = Tensor::zeros((1, 2), candle_core::DType::F32, &Device::Cpu).unwrap();
        let labels = Tensor::new(&[0_u32], &Device::Cpu).unwrap();
        let error = head
            .loss(&x, &labels, &mut Pass::eval())
            .unwrap_err()
            .to_string();
        assert!(error.contains("none on a layer of scores"), "{error}");
    }
}
