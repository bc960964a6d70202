//! A place in a model, where a layer makes its parameters.

// circle: `params.at(name)` makes a place and a place holds its store, the two ends of one interface.
use crate::Params;
use crate::{Buffer, Error, Init, Param, Result};
use candle_core::{Device, Tensor, Var};

/// A place in a model: a prefix for the names that a layer gives its parameters.
#[derive(Clone, Debug)]
pub struct Scope {
    params: Params,
    path: String,
}

/// Where a layer can be built: a [`Scope`], or a whole store, whose names then have no prefix.
///
/// ```
/// use candle_core::Device;
/// use cortical_neuron::{LayerNorm, Params};
/// use cortical_tensor::Seed;
/// let params = Params::new(&Device::Cpu, Seed(1));
/// LayerNorm::config(&[4]).build(&params)?;
/// LayerNorm::config(&[4]).build(&params.at("norm"))?;
/// assert!(params.get("weight").is_ok() && params.get("norm.weight").is_ok());
/// # Ok::<(), cortical_neuron::Error>(())
/// ```
pub trait Place {
    /// The place.
    fn place(&self) -> Scope;
}

impl Place for Scope {
    fn place(&self) -> Scope {
        self.clone()
    }
}

impl Place for Params {
    fn place(&self) -> Scope {
        self.root()
    }
}

impl Scope {
    pub(crate) fn new(params: Params, path: String) -> Self {
        Self { params, path }
    }

    /// A place inside this one.
    #[must_use]
    pub fn at(&self, name: &str) -> Self {
        Self {
            params: self.params.clone(),
            path: self.name_of(name),
        }
    }

    /// The name of the place, empty for the whole model.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The store.
    #[must_use]
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Makes the parameter `name` of this place, its values drawn from the stream of its own name.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::TooLarge`], candle's when memory or device refuse.
    pub fn param(&self, name: &str, shape: &[usize], init: Init) -> Result<Param> {
        let name = self.name_of(name);
        self.params.check_free(&name)?;
        let bytes = shape
            .iter()
            .try_fold(size_of::<f64>(), |n, d| n.checked_mul(*d))
            .and_then(|bytes| isize::try_from(bytes).ok());
        let elements = bytes.map(|bytes| bytes.unsigned_abs() / size_of::<f64>());
        if !elements.is_some_and(|elements| self.params.has_room(elements)) {
            return Err(Error::TooLarge {
                name,
                shape: shape.to_vec(),
            });
        }
        if self.params.is_dry() {
            return self
                .params
                .add(Param::dry(name, shape, self.params.dtype())?);
        }
        if let Some(source) = self.params.source()
            && let Some(value) = source.tensor(&name, shape)?
        {
            if value.dims() != shape {
                let (expected, got) = (shape.to_vec(), value.dims().to_vec());
                return Err(Error::ValueShape {
                    name,
                    expected,
                    got,
                });
            }
            let value = value
                .to_dtype(self.params.dtype())?
                .to_device(self.params.device())?;
            return self.params.adopt(&name, Var::from_tensor(&value)?);
        }
        let values = init.draw(shape, &mut self.params.rng(&format!("init/{name}")))?;
        let tensor = Tensor::from_vec(values, shape, &Device::Cpu)?
            .to_dtype(self.params.dtype())?
            .to_device(self.params.device())?;
        self.params.adopt(&name, Var::from_tensor(&tensor)?)
    }

    /// Gives `param` a second name in this place: one weight in two places, whose gradients from both add up. It is
    /// counted, trained and saved once, under its first name; files that hold it under either name can be loaded.
    ///
    /// # Errors
    /// [`Error::NameTaken`]; [`Error::UnknownName`] when the parameter belongs to another store.
    pub fn tie(&self, name: &str, param: &Param) -> Result<()> {
        self.params.tie(&self.name_of(name), param)
    }

    /// Makes the buffer `name` of this place.
    ///
    /// # Errors
    /// [`Error::NameTaken`].
    pub fn buffer(&self, name: &str, value: &Tensor) -> Result<Buffer> {
        self.params.add_buffer(&self.name_of(name), value)
    }

    /// Makes a buffer of this shape in which every element is the same; in a dry store it has a shape and nothing else.
    pub(crate) fn filled_buffer(&self, name: &str, shape: &[usize], value: f64) -> Result<Buffer> {
        let device = self.params.device();
        let one = Tensor::new(value, device)?.to_dtype(self.params.dtype())?;
        let all = one.broadcast_as(shape)?;
        match self.params.is_dry() {
            true => self.buffer(name, &all),
            false => self.buffer(name, &all.contiguous()?),
        }
    }

    /// The full name of what is called `name` in this place.
    #[must_use]
    pub fn name_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}
