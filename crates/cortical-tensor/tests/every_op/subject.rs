//! What the table says of one operation.

use crate::pick::Pick;
use candle_core::{DType, Device, Tensor};
use cortical_tensor::{Result, Rng, Seed};

/// How an argument is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// Normal random numbers.
    Normal,
    /// Numbers strictly between 0 and 1.
    Inside,
    /// Positive numbers away from 0.
    Positive,
    /// The logarithms of numbers strictly between 0 and 1.
    Logarithm,
}

impl Fill {
    fn draw(self, rng: &mut Rng) -> f64 {
        let normal = rng.normal();
        match self {
            Self::Normal => normal,
            Self::Inside => 0.5 + 0.45 * (0.7 * normal).tanh(),
            Self::Positive => 0.5 + normal.abs(),
            Self::Logarithm => (0.5 + 0.45 * (0.7 * normal).tanh()).ln(),
        }
    }

    /// A tensor of this shape that depends on nothing but its arguments.
    pub(crate) fn tensor(self, shape: &[usize], stream: &str, dtype: DType) -> Tensor {
        let mut rng = Rng::new(Seed(11), stream);
        let n = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|_| self.draw(&mut rng)).collect();
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu).expect("a small tensor");
        tensor.to_dtype(dtype).expect("a float dtype")
    }
}

/// What an operation must agree with besides its own derivative.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Case {
    /// The operation that the runner of the cases calls, this one or the one it is an instance of, and how the files of
    /// PyTorch's cases begin.
    Of(&'static str, &'static str),
    /// The layer that the runner of the cases builds, which is nothing but this operation, and how the files begin.
    Layer(&'static str, &'static str),
    /// None can exist, for this reason.
    None(&'static str),
}

/// Calls an operation on its arguments, its options chosen by the [`Pick`].
pub(crate) type Run = Box<dyn Fn(&mut Pick, &[Tensor]) -> Result<Tensor> + Send + Sync>;

/// A set of shapes, one for each argument.
pub(crate) type Shapes = &'static [&'static [usize]];

/// An operation with one choice of options.
pub(crate) struct Subject {
    /// The public function's name.
    pub(crate) op: &'static str,
    /// What tells this entry from others of the same function.
    pub(crate) with: &'static str,
    pub(crate) case: Case,
    pub(crate) run: Run,
    pub(crate) fills: &'static [Fill],
    pub(crate) shapes: Vec<Shapes>,
    /// Shapes large enough that the work is split among threads.
    pub(crate) large: Shapes,
    /// Whether equal elements have a difference quotient, as they have not where the largest one is chosen.
    pub(crate) smooth: bool,
    /// Whether the result has a gradient at all.
    pub(crate) differentiable: bool,
    /// Function and entry, for messages.
    pub(crate) name: String,
}

/// The start of an entry of the table.
pub(crate) fn subject(
    op: &'static str,
    case: Case,
    run: impl Fn(&mut Pick, &[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Subject {
    Subject {
        op,
        with: "",
        case,
        run: Box::new(run),
        fills: &[],
        shapes: Vec::new(),
        large: &[],
        smooth: true,
        differentiable: true,
        name: op.to_string(),
    }
}

impl Subject {
    pub(crate) fn with(mut self, with: &'static str) -> Self {
        self.with = with;
        self.name = format!("{} {with}", self.op);
        self
    }

    pub(crate) fn fills(mut self, fills: &'static [Fill]) -> Self {
        self.fills = fills;
        self
    }

    /// The shapes of gradient checks: one set must hold an empty argument and one a first argument with an axis of one
    /// element.
    pub(crate) fn shapes(mut self, shapes: &[Shapes]) -> Self {
        self.shapes.extend(shapes);
        self
    }

    /// Other shapes than those of before.
    pub(crate) fn replace_shapes(mut self, shapes: &[Shapes]) -> Self {
        self.shapes = shapes.to_vec();
        self
    }

    pub(crate) fn large(mut self, large: Shapes) -> Self {
        self.large = large;
        self
    }

    pub(crate) fn chooses(mut self) -> Self {
        self.smooth = false;
        self
    }

    pub(crate) fn without_gradient(mut self) -> Self {
        self.differentiable = false;
        self
    }

    /// The arguments of these shapes.
    pub(crate) fn arguments(&self, shapes: Shapes, dtype: DType) -> Vec<Tensor> {
        (shapes.iter().enumerate())
            .map(|(i, shape)| {
                let fill = self.fills.get(i).copied().unwrap_or(Fill::Normal);
                fill.tensor(shape, &format!("{}/{i}", self.name), dtype)
            })
            .collect()
    }
}

/// The elements as numbers, in order.
pub(crate) fn numbers(tensor: &Tensor) -> Vec<f64> {
    let wide = tensor.to_dtype(DType::F64).and_then(|t| t.contiguous());
    let flat = wide.and_then(|t| t.flatten_all());
    flat.and_then(|t| t.to_vec1()).expect("numbers")
}
