//! Options of operations: sensible ones for checks of the mathematics, hostile ones for checks of the checks.

use crate::subject::Fill;
use candle_core::{DType, Device, Tensor};
use cortical_kernels::activation::Activation;
use cortical_tensor::ops::Reduction;
use cortical_tensor::{Rng, Seed};

/// Chooses options: the ones given first, or at random.
pub(crate) struct Pick {
    rng: Option<Rng>,
    /// Whether an option was chosen that makes values meaningless, such as an infinite margin.
    pub(crate) wild: bool,
    tensors: usize,
}

impl Pick {
    /// What the table says.
    pub(crate) fn sensible() -> Self {
        Self {
            rng: None,
            wild: false,
            tensors: 0,
        }
    }

    /// What nobody should ask for, among what the table says.
    pub(crate) fn hostile(seed: u64) -> Self {
        Self {
            rng: Some(Rng::new(Seed(seed), "options")),
            wild: false,
            tensors: 0,
        }
    }

    /// One time in `n` while hostile.
    fn strikes(&mut self, n: u64) -> bool {
        self.rng.as_mut().is_some_and(|rng| rng.below(n) == 0)
    }

    fn among<T: Copy>(&mut self, choices: &[T]) -> T {
        let i = match &mut self.rng {
            Some(rng) => rng.below(choices.len() as u64) as usize,
            None => 0,
        };
        choices[i]
    }

    pub(crate) fn size(&mut self, sensible: usize) -> usize {
        if self.strikes(3) {
            return self.among(&[0, 1, 2, 3, 5, 7, 1 << 33, 1 << 62, usize::MAX]);
        }
        sensible
    }

    pub(crate) fn axis(&mut self, sensible: isize) -> isize {
        if self.strikes(3) {
            return self.among(&[0, 1, 2, -1, -2, -3, 9, isize::MAX, isize::MIN]);
        }
        sensible
    }

    /// A number that stands for a size or a probability somewhere in an operation.
    pub(crate) fn real(&mut self, sensible: f64) -> f64 {
        if self.strikes(4) {
            self.wild = true;
            return self.among(&[
                0.0,
                -1.0,
                1.0,
                1e30,
                f64::INFINITY,
                f64::NEG_INFINITY,
                f64::NAN,
            ]);
        }
        sensible
    }

    pub(crate) fn flag(&mut self, sensible: bool) -> bool {
        self.choose(&[sensible, !sensible])
    }

    /// One of several sensible values, the first unless hostile.
    pub(crate) fn choose<T: Copy>(&mut self, choices: &[T]) -> T {
        if self.strikes(2) {
            self.among(choices)
        } else {
            choices[0]
        }
    }

    pub(crate) fn reduction(&mut self, sensible: Reduction) -> Reduction {
        self.choose(&[sensible, Reduction::Sum, Reduction::Mean, Reduction::None])
    }

    pub(crate) fn activation(&mut self, sensible: Activation) -> Activation {
        self.choose(&[
            sensible,
            Activation::Identity,
            Activation::Relu,
            Activation::Gelu,
            Activation::Tanh,
        ])
    }

    /// A constant argument; hostile ones have another shape or dtype.
    pub(crate) fn constant(&mut self, fill: Fill, shape: &[usize], dtype: DType) -> Tensor {
        self.tensors += 1;
        // A huge view has no constant beside it.
        let count = (shape.iter()).try_fold(1_usize, |n, d| n.checked_mul(*d));
        let most = if count.is_some_and(|n| n < 1 << 20) {
            usize::MAX
        } else {
            9
        };
        let shape: Vec<usize> = shape.iter().map(|d| (*d).min(most)).collect();
        let tensor = fill.tensor(&shape, &format!("constant {}", self.tensors), DType::F32);
        // Numbers that half precision has as well, so that every dtype computes with the same ones.
        let steps = ((tensor * 32.0).and_then(|t| t.round())).and_then(|t| t / 32.0);
        let tensor = steps.and_then(|t| t.to_dtype(dtype));
        self.spoil(tensor.expect("a float dtype"))
    }

    /// Class labels below `classes`; hostile ones are none, or have another shape or dtype.
    pub(crate) fn labels(&mut self, shape: &[usize], classes: usize) -> Tensor {
        let shape: Vec<usize> = shape.iter().map(|d| (*d).min(999_999)).collect();
        let product = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d));
        let n = product.unwrap_or(usize::MAX).min(1 << 20);
        let mut rng = Rng::new(Seed(3), "labels");
        let mut labels: Vec<i64> = (0..n)
            .map(|_| rng.below(classes.max(1) as u64) as i64)
            .collect();
        if self.strikes(4) {
            let none = self.among(&[-1, classes as i64, i64::MAX, i64::MIN, -100]);
            labels.iter_mut().step_by(2).for_each(|label| *label = none);
        }
        let shape = if product == Some(n) { shape } else { vec![n] };
        let dtype = self.choose(&[DType::U32, DType::I64]);
        let tensor = Tensor::from_vec(labels, shape, &Device::Cpu).expect("a small tensor");
        let tensor = tensor.to_dtype(dtype).expect("integers convert");
        self.spoil(tensor)
    }

    fn spoil(&mut self, tensor: Tensor) -> Tensor {
        let Some(rng) = &mut self.rng else {
            return tensor;
        };
        match rng.below(6) {
            0 => spoiled(&tensor, rng),
            _ => tensor,
        }
    }
}

/// The same tensor in another shape or dtype, or a view of more elements than memory has.
pub(crate) fn spoiled(tensor: &Tensor, rng: &mut Rng) -> Tensor {
    let dims = tensor.dims().to_vec();
    let spoil = || -> candle_core::Result<Tensor> {
        let mut rng = rng.clone();
        let at = if dims.is_empty() {
            0
        } else {
            rng.below(dims.len() as u64) as usize
        };
        let with = |size: usize| {
            let mut dims = dims.clone();
            dims.get_mut(at).into_iter().for_each(|d| *d = size);
            dims
        };
        match rng.below(10) {
            0 => Tensor::zeros(with(0), tensor.dtype(), &Device::Cpu),
            1 => Tensor::ones(with(1), tensor.dtype(), &Device::Cpu),
            2 => Tensor::ones(with(3), tensor.dtype(), &Device::Cpu),
            3 => tensor.unsqueeze(at),
            4 if !dims.is_empty() => tensor.narrow(at, 0, 1)?.squeeze(at),
            5 => tensor.to_dtype(DType::U32),
            6 => tensor.to_dtype(DType::BF16),
            7 => tensor.to_dtype(DType::F64),
            8 => {
                let one = Tensor::ones(vec![1; dims.len()], tensor.dtype(), &Device::Cpu)?;
                one.broadcast_as(vec![1_usize << 33; dims.len()])
            }
            _ => {
                let one = Tensor::ones((1, 1), tensor.dtype(), &Device::Cpu)?;
                one.broadcast_as((1_usize << 33, 1_usize << 33))
            }
        }
    };
    let spoilt = spoil().unwrap_or_else(|_| tensor.clone());
    rng.next_u32();
    spoilt
}
