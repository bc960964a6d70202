//! Dropout of whole channels, and dropout that keeps mean and variance.

use super::probability;
use crate::{Description, Error, Layer, Pass, Place, Result};
use candle_core::{DType, Tensor};
use cortical_tensor::{Rng, ops};

/// What SELU tends to far on the left, −λα: the value of a silent neuron among neurons of mean 0 and variance 1.
const SELU_FLOOR: f64 = -1.758_099_340_847_376_6;

/// Ones, and zeros with probability `p`, of `x`'s dtype.
fn keep(shape: &[usize], x: &Tensor, p: f64, rng: &mut Rng) -> Result<Tensor> {
    let ones = Tensor::ones(shape, DType::F32, x.device())?;
    let kept = ops::dropout(&ones, p, rng)?.ne(0.0)?;
    Ok(kept.to_dtype(x.dtype())?)
}

/// The shape of a mask with one element for each channel, for inputs of these ranks with and without a batch.
fn channels(
    op: &'static str,
    x: &Tensor,
    batched: &[usize],
    single: &[usize],
) -> Result<Vec<usize>> {
    let dims = x.dims();
    let kept = if batched.contains(&dims.len()) {
        2
    } else if single.contains(&dims.len()) {
        1
    } else {
        let ranks: Vec<String> = batched.iter().chain(single).map(usize::to_string).collect();
        return Err(cortical_tensor::Error::Shape {
            op,
            argument: "x",
            expected: format!(
                "{} dimensions with channels first or behind the batch",
                ranks.join(" or ")
            ),
            got: dims.to_vec(),
        }
        .into());
    };
    let shape = dims.iter().enumerate();
    Ok(shape.map(|(i, d)| if i < kept { *d } else { 1 }).collect())
}

/// The parts that the layers of this file share.
macro_rules! dropout_layer {
    ($(#[$doc:meta])* $name:ident, $words:literal, |$layer:ident, $x:ident, $rng:ident| $run:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name {
            p: f64,
            name: String,
        }

        impl $name {
            /// The layer; the scope gives its random stream a name.
            ///
            /// # Errors
            /// [`Error::Option`] when `p` is not in `[0, 1]`.
            pub fn new(p: f64, scope: &impl Place) -> Result<Self> {
                let scope = &scope.place();
                let (p, name) = (probability(p)?, scope.path().to_string());
                Ok(Self { p, name })
            }
        }

        impl Layer for $name {
            fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
                if !pass.is_train() || self.p == 0.0 {
                    return Ok(x.clone());
                }
                let mut rng = pass.rng(&self.name)?;
                let ($layer, $x, $rng) = (self, x, &mut rng);
                let mut run = || -> Result<Tensor> { $run };
                let y = run().map_err(|e: Error| e.in_layer(&self.name))?;
                pass.observe(&self.name, y)
            }

            fn describe(&self, sample: &[usize]) -> Result<Description> {
                let description = Description::new(stringify!($name), &self.name, sample);
                Ok(description.reads(format!($words, self.p)))
            }
        }
    };
}

/// Whole channels silent, the others louder.
fn zero(layer_p: f64, x: &Tensor, shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
    let ones = Tensor::ones(shape, DType::F32, x.device())?;
    let mask = ops::dropout(&ones, layer_p, rng)?.to_dtype(x.dtype())?;
    Ok(x.broadcast_mul(&mask)?)
}

/// `y = a (x m + α′ (1 − m)) + b` with `a`, `b` such that mean 0 and variance 1 stay.
fn keep_moments(p: f64, x: &Tensor, shape: &[usize], rng: &mut Rng) -> Result<Tensor> {
    if p == 1.0 {
        return Ok(x.affine(0.0, 0.0)?);
    }
    let a = ((SELU_FLOOR * SELU_FLOOR * p + 1.0) * (1.0 - p)).powf(-0.5);
    let b = -a * SELU_FLOOR * p;
    let mask = keep(shape, x, p, rng)?;
    let shift = mask.affine(-a * SELU_FLOOR, a * SELU_FLOOR + b)?;
    Ok(x.broadcast_mul(&(mask * a)?)?.broadcast_add(&shift)?)
}

dropout_layer! {
    /// Zeroes whole channels of a sequence with probability `p` in training and scales the others by `1 / (1 − p)`,
    /// PyTorch's `nn.Dropout1d`: neighbouring steps of a channel tell much the same, so zeroing single ones would hide
    /// nothing.
    ///
    /// No parameters, one multiplication an element while training.
    ///
    /// # Shapes
    /// - input and output: `[n, channels, length]`, or without `n`
    ///
    /// # Source
    /// Tompson et al., "Efficient object localization using convolutional networks" (2014).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cortical_neuron::{Dropout1d, Layer, Params, Pass};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let layer = Dropout1d::new(0.5, &params.at("drop"))?;
    /// let x = Tensor::ones((1, 4, 3), DType::F32, &Device::Cpu)?;
    /// let mut rng = params.rng("pass");
    /// let y = layer.forward(&x, &mut Pass::train(&mut rng))?.to_vec3::<f32>()?;
    /// assert!(y[0].iter().all(|channel| *channel == [0.0; 3] || *channel == [2.0; 3]));
    /// # Ok(())
    /// # }
    /// ```
    Dropout1d, "each channel is itself, silent with probability {} in training",
    |layer, x, rng| zero(layer.p, x, &channels("dropout1d", x, &[3], &[2])?, rng)
}

dropout_layer! {
    /// As [`Dropout1d`] for pictures, PyTorch's `nn.Dropout2d`.
    ///
    /// No parameters, one multiplication an element while training.
    ///
    /// # Shapes
    /// - input and output: `[n, channels, height, width]`, or `[n, channels, length]` as PyTorch reads three dimensions
    ///
    /// # Source
    /// Tompson et al., "Efficient object localization using convolutional networks" (2014).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cortical_neuron::{Dropout2d, Layer, Params, Pass};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let layer = Dropout2d::new(0.5, &params.at("drop"))?;
    /// let x = Tensor::ones((2, 4, 3, 3), DType::F32, &Device::Cpu)?;
    /// assert_eq!(layer.forward(&x, &mut Pass::eval())?.dims(), [2, 4, 3, 3]);
    /// # Ok(())
    /// # }
    /// ```
    Dropout2d, "each channel is itself, silent with probability {} in training",
    |layer, x, rng| zero(layer.p, x, &channels("dropout2d", x, &[4, 3], &[])?, rng)
}

dropout_layer! {
    /// As [`Dropout1d`] for volumes, PyTorch's `nn.Dropout3d`.
    ///
    /// No parameters, one multiplication an element while training.
    ///
    /// # Shapes
    /// - input and output: `[n, channels, depth, height, width]`, or without `n`
    ///
    /// # Source
    /// Tompson et al., "Efficient object localization using convolutional networks" (2014).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cortical_neuron::{Dropout3d, Layer, Params, Pass};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let layer = Dropout3d::new(0.5, &params.at("drop"))?;
    /// let x = Tensor::ones((4, 2, 3, 3), DType::F32, &Device::Cpu)?;
    /// assert_eq!(layer.forward(&x, &mut Pass::eval())?.dims(), [4, 2, 3, 3]);
    /// # Ok(())
    /// # }
    /// ```
    Dropout3d, "each channel is itself, silent with probability {} in training",
    |layer, x, rng| zero(layer.p, x, &channels("dropout3d", x, &[5], &[4])?, rng)
}

dropout_layer! {
    /// Sets each element to what SELU tends to with probability `p` in training, then scales and shifts all so that
    /// mean 0 and variance 1 stay, PyTorch's `nn.AlphaDropout`: `y = a (x m + α′ (1 − m)) + b` with `α′ = −1.7581`,
    /// `a = ((α′² p + 1)(1 − p))^−½`, `b = −a α′ p`.
    ///
    /// No parameters, two multiplications an element while training.
    ///
    /// # Shapes
    /// - input and output: any
    ///
    /// # Source
    /// Klambauer et al., "Self-normalizing neural networks" (2017).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cortical_neuron::{AlphaDropout, Layer, Params, Pass};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let layer = AlphaDropout::new(0.5, &params.at("drop"))?;
    /// let x = Tensor::zeros((2, 4), DType::F32, &Device::Cpu)?;
    /// assert_eq!(layer.forward(&x, &mut Pass::eval())?.to_vec2::<f32>()?, [[0.0; 4]; 2]);
    /// # Ok(())
    /// # }
    /// ```
    AlphaDropout, "each output is its input, at rest with probability {} in training",
    |layer, x, rng| keep_moments(layer.p, x, x.dims(), rng)
}

dropout_layer! {
    /// As [`AlphaDropout`] for whole channels, PyTorch's `nn.FeatureAlphaDropout`.
    ///
    /// No parameters, two multiplications an element while training.
    ///
    /// # Shapes
    /// - input and output: `[n, channels, …]`
    ///
    /// # Source
    /// Klambauer et al., "Self-normalizing neural networks" (2017).
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use cortical_neuron::{FeatureAlphaDropout, Layer, Params, Pass};
    /// use cortical_tensor::Seed;
    /// # fn main() -> cortical_neuron::Result<()> {
    /// let params = Params::new(&Device::Cpu, Seed(1));
    /// let layer = FeatureAlphaDropout::new(0.5, &params.at("drop"))?;
    /// let x = Tensor::zeros((2, 4, 3), DType::F32, &Device::Cpu)?;
    /// assert_eq!(layer.forward(&x, &mut Pass::eval())?.dims(), [2, 4, 3]);
    /// # Ok(())
    /// # }
    /// ```
    FeatureAlphaDropout, "each channel is itself, at rest with probability {} in training",
    |layer, x, rng| keep_moments(layer.p, x, &channels("feature_alpha_dropout", x, &[2, 3, 4, 5], &[])?, rng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Params;
    use candle_core::Device;
    use cortical_tensor::Seed;

    fn train(layer: &dyn Layer, x: &Tensor) -> Vec<f32> {
        let mut rng = Rng::new(Seed(5), "pass");
        let y = layer.forward(x, &mut Pass::train(&mut rng)).unwrap();
        y.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn channels_fall_silent_as_a_whole() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let at = params.at("drop");
        let layers: [(Box<dyn Layer>, &[usize], usize); 5] = [
            (
                Box::new(Dropout1d::new(0.25, &at).unwrap()),
                &[20, 10, 3],
                3,
            ),
            (Box::new(Dropout1d::new(0.25, &at).unwrap()), &[200, 3], 3),
            (
                Box::new(Dropout2d::new(0.25, &at).unwrap()),
                &[20, 10, 2, 3],
                6,
            ),
            (
                Box::new(Dropout2d::new(0.25, &at).unwrap()),
                &[20, 10, 6],
                6,
            ),
            (
                Box::new(Dropout3d::new(0.25, &at).unwrap()),
                &[20, 10, 2, 1, 3],
                6,
            ),
        ];
        for (layer, shape, each) in layers {
            let x = Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
            let y = train(&*layer, &x);
            let mut silent = 0;
            for channel in y.chunks(each) {
                assert!(channel.iter().all(|v| *v == channel[0]));
                assert!(channel[0] == 0.0 || (channel[0] - 4.0 / 3.0).abs() < 1e-6);
                silent += usize::from(channel[0] == 0.0);
            }
            assert!(
                (30..=70).contains(&silent),
                "{silent} of 200 with probability 0.25"
            );
        }
    }

    #[test]
    fn alpha_dropout_keeps_mean_and_variance() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let mut rng = Rng::new(Seed(2), "x");
        let mut values = vec![0.0_f32; 40_000];
        rng.fill_normal(&mut values, 0.0, 1.0);
        let x = Tensor::from_vec(values, (4_000, 10), &Device::Cpu).unwrap();
        let layers: [Box<dyn Layer>; 2] = [
            Box::new(AlphaDropout::new(0.3, &params.at("a")).unwrap()),
            Box::new(FeatureAlphaDropout::new(0.3, &params.at("b")).unwrap()),
        ];
        for layer in layers {
            let y = train(&*layer, &x);
            let mean = y.iter().sum::<f32>() / y.len() as f32;
            let variance = y.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / y.len() as f32;
            assert!(
                mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02,
                "{mean} {variance}"
            );
        }
        let all = AlphaDropout::new(1.0, &params.at("c")).unwrap();
        assert!(train(&all, &x).iter().all(|v| *v == 0.0));
    }

    #[test]
    fn inputs_without_channels_are_refused() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let layer = Dropout2d::new(0.5, &params.at("d")).unwrap();
        let x = Tensor::ones((2, 3), DType::F32, &Device::Cpu).unwrap();
        let error = layer
            .forward(&x, &mut Pass::train(&mut params.rng("p")))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "in layer \"d\": dropout2d: x must have shape 4 or 3 dimensions with channels first or behind the batch, but has [2, 3]"
        );
    }
}
