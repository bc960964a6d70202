//! Averages of weights over the steps of a training, which often predict better than the last weights.

use crate::algorithm::check;
use crate::buffer::{Buffer, state_dtype};
use crate::state::Reader;
use crate::{Error, Result};
use candle_core::{DType, Device, Tensor};
use cortical_kernels::optimizer::average::move_towards;
use cortical_neuron::{Param, Params};
use cortical_tensor::{is_fallback, values};
use serde::{Deserialize, Serialize};

/// How a [`ModelEma`] weighs the past: `a ← a + w (p − a)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Averaging {
    /// Exponentially: `w = 1 − decay`, and with `warmup` at first `1 − min(decay, (1 + n) / (10 + n))` after `n`
    /// updates.
    Exponential {
        /// The share of the average that an update keeps, at least 0 and below 1.
        decay: f64,
        /// Whether early updates count more, so that the beginning is forgotten soon.
        #[serde(default)]
        warmup: bool,
    },
    /// All alike: `w = 1 / (n + 1)` after `n` updates, the mean of the weights at each update.
    Mean,
}

impl Averaging {
    fn validate(self) -> Result<()> {
        match self {
            Self::Exponential { decay, .. } => {
                let holds = (0.0..1.0).contains(&decay);
                check("ModelEma", "decay", "at least 0 and below 1", holds, decay)
            }
            Self::Mean => Ok(()),
        }
    }

    /// The weight of the update after `n` others.
    fn weight(self, n: u64) -> f64 {
        let n = n as f64;
        match self {
            Self::Exponential {
                decay,
                warmup: false,
            } => 1.0 - decay,
            Self::Exponential {
                decay,
                warmup: true,
            } => 1.0 - decay.min((1.0 + n) / (10.0 + n)),
            Self::Mean => 1.0 / (n + 1.0),
        }
    }
}

/// A second set of weights that follows the trained ones: an exponential moving average or a mean.
///
/// Call [`update`](Self::update) after each step of the optimizer; to evaluate, put the averages in the network for a
/// while with [`during`](Self::during). Averages of half-precision weights are kept in single precision. Buffers
/// (running statistics) are not averaged.
///
/// # Source
/// Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992); Izmailov et al., "Averaging
/// weights leads to wider optima and better generalization" (2018).
///
/// ```
/// # use candle_core::{Device, Tensor};
/// # use cortical_neuron::{Init, Params};
/// # use cortical_tensor::Seed;
/// use cortical_optim::{Averaging, ModelEma};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let params = Params::new(&Device::Cpu, Seed(1));
/// let weight = params.root().param("weight", &[1], Init::ZEROS)?;
/// let mut ema = ModelEma::new(&params, Averaging::Exponential { decay: 0.75, warmup: false })?;
/// weight.set(&Tensor::new(&[4.0_f32], &Device::Cpu)?)?;
/// ema.update()?;
/// let inside = ema.during(|| weight.tensor().to_vec1::<f32>())??;
/// assert_eq!(inside, [1.0]);
/// assert_eq!(weight.tensor().to_vec1::<f32>()?, [4.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ModelEma {
    averaging: Averaging,
    updates: u64,
    averages: Vec<(Param, Buffer)>,
    /// The trained weights while the averages are in the network.
    trained: Option<Vec<Tensor>>,
    device: Device,
}

const UPDATES: &str = "updates";

impl ModelEma {
    /// Averages of all parameters, which begin as the parameters are now.
    ///
    /// # Errors
    /// [`Error::Hyperparameter`] for a decay outside `[0, 1)`.
    pub fn new(params: &Params, averaging: Averaging) -> Result<Self> {
        averaging.validate()?;
        let begin = |param: Param| {
            let mut buffer = Buffer::Tensor(wide(&param)?.copy()?);
            if param.var().device().is_cpu() {
                buffer.make_plain()?;
            }
            Ok((param, buffer))
        };
        Ok(Self {
            averaging,
            updates: 0,
            averages: params.all().into_iter().map(begin).collect::<Result<_>>()?,
            trained: None,
            device: params.device().clone(),
        })
    }

    /// Moves the averages towards the weights as they are now.
    ///
    /// # Errors
    /// [`Error::Swapped`] while the averages are in the network.
    pub fn update(&mut self) -> Result<()> {
        self.expect_trained("update")?;
        let weight = self.averaging.weight(self.updates);
        let fallback = is_fallback(&self.device);
        for (param, buffer) in &mut self.averages {
            // candle returns an empty tensor itself from its operations, which would tie the average to the parameter.
            if param.count() == 0 {
                continue;
            }
            let x = wide(param)?;
            if fallback {
                let average = buffer.to_tensor(param.dims(), param.var().device())?;
                let moved = (&average + (x - &average)?.affine(weight, 0.0)?)?;
                *buffer = Buffer::Tensor(moved);
                continue;
            }
            buffer.make_plain()?;
            match buffer {
                Buffer::F32(average) => move_towards(average, &values::<f32>(&x)?, weight),
                Buffer::F64(average) => move_towards(average, &values::<f64>(&x)?, weight),
                Buffer::Tensor(_) => unreachable!("it was made plain"),
            }
        }
        self.updates += 1;
        Ok(())
    }

    /// How many updates have been made.
    #[must_use]
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// The averages under their parameters' names and in their dtypes: what a model file of them holds.
    ///
    /// # Errors
    /// candle's, when a tensor cannot be made.
    pub fn named_tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let named = |(param, buffer): &(Param, Buffer)| {
            let average = buffer.to_tensor(param.dims(), param.var().device())?;
            // Connections pruned since the averages began are 0 in them, too.
            let average = param.masked(&average)?;
            Ok((param.name().to_string(), average.to_dtype(param.dtype())?))
        };
        self.averages.iter().map(named).collect()
    }

    /// Puts the averages in the network and the trained weights aside.
    ///
    /// # Errors
    /// [`Error::Swapped`] if they are there already.
    pub fn swap_in(&mut self) -> Result<()> {
        self.expect_trained("swap_in")?;
        let averages = self.named_tensors()?;
        let mut trained = Vec::with_capacity(averages.len());
        for (param, _) in &self.averages {
            trained.push(param.tensor().copy()?);
        }
        for ((param, _), (_, average)) in self.averages.iter().zip(&averages) {
            param.set(average)?;
        }
        self.trained = Some(trained);
        Ok(())
    }

    /// Puts the trained weights back.
    ///
    /// # Errors
    /// [`Error::Swapped`] if they are there already.
    pub fn swap_out(&mut self) -> Result<()> {
        let Some(trained) = self.trained.take() else {
            return Err(Error::Swapped {
                operation: "swap_out",
                expected: "averaged",
                remedy: "swap_in",
            });
        };
        for ((param, _), trained) in self.averages.iter().zip(&trained) {
            param.set(trained)?;
        }
        Ok(())
    }

    /// Runs `f` with the averages in the network; the trained weights are back afterwards, whatever `f` returns.
    ///
    /// # Errors
    /// [`Error::Swapped`] if the averages are in the network already.
    pub fn during<R>(&mut self, f: impl FnOnce() -> R) -> Result<R> {
        self.swap_in()?;
        let result = f();
        self.swap_out()?;
        Ok(result)
    }

    /// The averages in full precision and the number of updates, for a checkpoint: `updates` and `{parameter}.average`.
    ///
    /// # Errors
    /// candle's, when a tensor cannot be made.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let updates = i64::try_from(self.updates).unwrap_or(i64::MAX);
        let mut state = vec![(UPDATES.to_string(), Tensor::new(updates, &Device::Cpu)?)];
        for (param, buffer) in &self.averages {
            let average = buffer.to_tensor(param.dims(), param.var().device())?;
            state.push((average_of(param), average));
        }
        Ok(state)
    }

    /// Puts the averages back, whole or not at all.
    ///
    /// # Errors
    /// [`Error::State`] lists everything that is missing, unknown or of another shape or dtype.
    pub fn load_state(&mut self, state: &[(String, Tensor)]) -> Result<()> {
        let mut reader = Reader::new(state);
        let updates = reader.count(UPDATES.to_string())?;
        let mut averages = Vec::with_capacity(self.averages.len());
        for (param, _) in &self.averages {
            let dtype = state_dtype(param.dtype());
            let average = reader.take(average_of(param), param.dims(), dtype);
            averages.push(average.map(|t| t.to_device(&self.device)).transpose()?);
        }
        reader.finish()?;
        for ((_, buffer), average) in self.averages.iter_mut().zip(averages.into_iter().flatten()) {
            *buffer = Buffer::Tensor(average.detach());
        }
        self.updates = updates.unwrap_or(0);
        Ok(())
    }

    fn expect_trained(&self, operation: &'static str) -> Result<()> {
        if self.trained.is_none() {
            return Ok(());
        }
        Err(Error::Swapped {
            operation,
            expected: "trained",
            remedy: "swap_out",
        })
    }
}

fn average_of(param: &Param) -> String {
    format!("{}.average", param.name())
}

/// The values of a parameter in the dtype of its average.
fn wide(param: &Param) -> Result<Tensor> {
    let dtype: DType = state_dtype(param.dtype());
    Ok(param.tensor().to_dtype(dtype)?.contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
    use cortical_tensor::{Seed, with_fallback};

    fn store(dtype: DType) -> (Params, Param) {
        let params = Params::new(&Device::Cpu, Seed(1));
        let var = Var::zeros(3, dtype, &Device::Cpu).unwrap();
        let param = params.adopt("w", var).unwrap();
        let empty = Var::zeros((0, 2), dtype, &Device::Cpu).unwrap();
        params.adopt("empty", empty).unwrap();
        (params, param)
    }

    fn set(param: &Param, value: f64) {
        let value = Tensor::new(&[value, -value, 0.0], &Device::Cpu).unwrap();
        param.set(&value.to_dtype(param.dtype()).unwrap()).unwrap();
    }

    fn first(ema: &ModelEma) -> f64 {
        let average = ema.named_tensors().unwrap().remove(0).1;
        let wide = average.to_dtype(DType::F64).unwrap();
        wide.to_vec1::<f64>().unwrap()[0]
    }

    fn check(averaging: Averaging, want: [f64; 3]) {
        for dtype in [DType::F32, DType::F64, DType::BF16] {
            let steps = || {
                let (params, param) = store(dtype);
                let mut ema = ModelEma::new(&params, averaging).unwrap();
                for (value, want) in [8.0, 4.0, 12.0].into_iter().zip(want) {
                    set(&param, value);
                    ema.update().unwrap();
                    let got = first(&ema);
                    assert!((got - want).abs() < 5e-3 * want, "{dtype:?} {got} {want}");
                }
                ema.during(|| ()).unwrap();
            };
            steps();
            with_fallback(steps);
        }
    }

    #[test]
    fn averages_follow_their_rule() {
        let decay = 0.75;
        let exponential = |warmup| Averaging::Exponential { decay, warmup };
        check(exponential(false), [2.0, 2.5, 4.875]);
        // With warm-up the average keeps 1/10, 2/11 and 3/12 at first.
        let a = 8.0 * 0.9;
        let b = a + (4.0 - a) * 9.0 / 11.0;
        check(exponential(true), [a, b, b + (12.0 - b) * 0.75]);
        check(Averaging::Mean, [8.0, 6.0, 8.0]);
    }

    #[test]
    fn a_swap_is_undone_to_the_bit_and_guarded() {
        let (params, param) = store(DType::BF16);
        let mut ema = ModelEma::new(&params, Averaging::Mean).unwrap();
        for value in [1.0, 1.1] {
            set(&param, value);
            ema.update().unwrap();
        }
        let read = || {
            param
                .tensor()
                .to_dtype(DType::F64)
                .unwrap()
                .to_vec1::<f64>()
                .unwrap()
        };
        let (trained, average) = (read(), first(&ema));
        let version = param.slot().version();
        ema.swap_in().unwrap();
        assert!(param.slot().version() > version, "a swap is a change");
        assert_eq!(read()[0], average);
        assert_eq!(
            ema.update().unwrap_err().to_string(),
            "update needs the trained weights in the network; call `swap_out` first"
        );
        assert!(ema.swap_in().is_err());
        ema.swap_out().unwrap();
        assert!(ema.swap_out().is_err());
        assert_eq!(read(), trained);
        assert_eq!(ema.during(read).unwrap()[0], average);
        assert_eq!(read(), trained);
    }

    #[test]
    fn a_state_that_was_saved_goes_on_with_the_same_bits() {
        for averaging in [
            Averaging::Mean,
            Averaging::Exponential {
                decay: 0.9,
                warmup: true,
            },
        ] {
            let (params, param) = store(DType::F32);
            let mut ema = ModelEma::new(&params, averaging).unwrap();
            set(&param, 0.3);
            ema.update().unwrap();
            let state = ema.state().unwrap();
            let mut resumed = ModelEma::new(&params, averaging).unwrap();
            resumed.load_state(&state).unwrap();
            assert_eq!(resumed.updates(), 1);
            set(&param, 0.7);
            ema.update().unwrap();
            resumed.update().unwrap();
            assert_eq!(first(&resumed), first(&ema));
            let error = resumed.load_state(&state[..1]).unwrap_err();
            assert!(
                error.to_string().contains("w.average is missing"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_decay_of_one_would_never_move() {
        let (params, _) = store(DType::F32);
        let averaging = Averaging::Exponential {
            decay: 1.0,
            warmup: false,
        };
        assert_eq!(
            ModelEma::new(&params, averaging).unwrap_err().to_string(),
            "ModelEma: decay must be at least 0 and below 1, but is 1"
        );
    }
}
