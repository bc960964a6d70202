//! Dropout: training with a random part of the neurons silent.

mod channels;

pub use channels::{AlphaDropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout};

use crate::{Description, Error, Layer, Pass, Place, Result};
use candle_core::Tensor;
use cortical_tensor::ops;

/// Zeroes each element with probability `p` in training and scales the others by `1 / (1 − p)`; does nothing in
/// evaluation.
///
/// # Source
/// Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting" (2014).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{Dropout, Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let dropout = Dropout::new(0.5, &params.at("dropout"))?;
/// let x = Tensor::new(&[1.0_f32, 2.0, 3.0, 4.0], &Device::Cpu)?;
/// let y = dropout.forward(&x, &mut Pass::eval())?;
/// assert_eq!(y.to_vec1::<f32>()?, [1.0, 2.0, 3.0, 4.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Dropout {
    p: f64,
    name: String,
}

impl Dropout {
    /// A dropout layer; the scope gives its random stream a name.
    ///
    /// # Errors
    /// [`Error::Option`] when `p` is not in `[0, 1]`.
    pub fn new(p: f64, scope: &impl Place) -> Result<Self> {
        let scope = &scope.place();
        Ok(Self {
            p: probability(p)?,
            name: scope.path().to_string(),
        })
    }
}

/// Refuses what is no probability.
fn probability(p: f64) -> Result<f64> {
    if (0.0..=1.0).contains(&p) {
        return Ok(p);
    }
    Err(Error::Option {
        option: "dropout",
        expected: "a probability from 0 to 1",
        got: p.to_string(),
    })
}

impl Layer for Dropout {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        if !pass.is_train() || self.p == 0.0 {
            return Ok(x.clone());
        }
        let mut rng = pass.rng(&self.name)?;
        let y =
            ops::dropout(x, self.p, &mut rng).map_err(|e| Error::from(e).in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let reads = format!(
            "each output is its input, silent with probability {} in training",
            self.p
        );
        Ok(Description::new("Dropout", &self.name, sample).reads(reads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Params;
    use candle_core::Device;
    use cortical_tensor::Seed;

    #[test]
    fn two_passes_zero_different_elements() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let dropout = Dropout::new(0.5, &params.at("dropout")).unwrap();
        let x = Tensor::ones(64, candle_core::DType::F32, &Device::Cpu).unwrap();
        let mut rng = params.rng("pass");
        let mut draw = || {
            dropout
                .forward(&x, &mut Pass::train(&mut rng))
                .unwrap()
                .to_vec1::<f32>()
                .unwrap()
        };
        assert_ne!(draw(), draw());
        assert!(Dropout::new(-0.1, &params.at("d")).is_err());
    }
}
