//! The ordered store of named parameters and buffers.

mod training;

use crate::{Adapters, Buffer, Error, Param, Result, Scope, Source};
use candle_core::{DType, Device, Tensor, Var};
use cortical_tensor::{Rng, Seed};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The parameters and buffers of a model, in the order in which its layers made them.
///
/// Names are PyTorch's: a layer built at `params.at("conv1")` makes `conv1.weight` and `conv1.bias`. Clones share one
/// store.
#[derive(Clone, Debug)]
pub struct Params(Arc<Store>);

#[derive(Debug)]
struct Store {
    device: Device,
    dtype: DType,
    seed: Seed,
    /// How many elements all parameters may have together.
    limit: usize,
    /// Whether parameters have a shape and nothing else.
    dry: bool,
    source: Option<Arc<dyn Source>>,
    adapters: RwLock<Option<Adapters>>,
    entries: RwLock<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    params: Vec<Param>,
    /// How many elements all parameters have together.
    count: usize,
    buffers: Vec<Buffer>,
    by_name: HashMap<String, Place>,
    /// Second names of parameters, with the place of the parameter.
    ties: Vec<(String, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Param(usize),
    Buffer(usize),
}

impl Params {
    /// An empty store of `f32` parameters on `device`, whose random values come from `seed`.
    #[must_use]
    pub fn new(device: &Device, seed: Seed) -> Self {
        Self::with_dtype(device, seed, DType::F32)
    }

    /// An empty store whose parameters have this dtype.
    #[must_use]
    pub fn with_dtype(device: &Device, seed: Seed, dtype: DType) -> Self {
        Self::make(device, seed, dtype, None, (usize::MAX, false))
    }

    /// An empty store whose parameters begin with the values of `source`, and are drawn only where it has none.
    #[must_use]
    pub fn with_source(device: &Device, seed: Seed, dtype: DType, source: Arc<dyn Source>) -> Self {
        Self::make(device, seed, dtype, Some(source), (usize::MAX, false))
    }

    fn make(
        device: &Device,
        seed: Seed,
        dtype: DType,
        source: Option<Arc<dyn Source>>,
        (limit, dry): (usize, bool),
    ) -> Self {
        Self(Arc::new(Store {
            device: device.clone(),
            dtype,
            seed,
            limit,
            dry,
            source,
            adapters: RwLock::default(),
            entries: RwLock::default(),
        }))
    }

    /// Where first values come from, if not from random numbers.
    #[must_use]
    pub fn source(&self) -> Option<&Arc<dyn Source>> {
        self.0.source.as_ref()
    }

    /// Has every linear layer that is built from now on and that `adapters` names carry a low-rank change.
    pub fn adapt(&self, adapters: Option<Adapters>) {
        *self
            .0
            .adapters
            .write()
            .unwrap_or_else(PoisonError::into_inner) = adapters;
    }

    /// Which layers carry a low-rank change.
    #[must_use]
    pub fn adapters(&self) -> Option<Adapters> {
        self.0
            .adapters
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// An empty store of `f32` parameters that refuses to hold more elements than this: for networks whose sizes come
    /// from somebody else.
    ///
    /// ```
    /// use candle_core::Device;
    /// use cortical_neuron::{Init, Params};
    /// use cortical_tensor::Seed;
    /// let params = Params::limited(&Device::Cpu, Seed(1), 100);
    /// assert!(params.root().param("weight", &[10, 11], Init::ZEROS).is_err()); // and nothing was allocated
    /// ```
    #[must_use]
    pub fn limited(device: &Device, seed: Seed, limit: usize) -> Self {
        Self::make(device, seed, DType::F32, None, (limit, false))
    }

    /// An empty store whose parameters have a name and a shape, but no elements, and which refuses more than `limit` of
    /// them: layers built in it take no memory and can be described, not run.
    ///
    /// ```
    /// use cortical_neuron::{Init, Params};
    /// let params = Params::dry(usize::MAX);
    /// let weight = params.at("fc1").param("weight", &[1_000_000, 1_000_000], Init::KAIMING_UNIFORM)?;
    /// assert_eq!((weight.name(), weight.dims()), ("fc1.weight", &[1_000_000, 1_000_000][..]));
    /// assert_eq!(params.count(), 1_000_000_000_000);
    /// # Ok::<(), cortical_neuron::Error>(())
    /// ```
    #[must_use]
    pub fn dry(limit: usize) -> Self {
        Self::make(&Device::Cpu, Seed(0), DType::F32, None, (limit, true))
    }

    /// Whether parameters have a shape and nothing else.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        self.0.dry
    }

    /// How many elements all parameters may have together.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.limit
    }

    /// Whether so many more elements may be held.
    pub(crate) fn has_room(&self, elements: usize) -> bool {
        let held = self.count();
        held.checked_add(elements)
            .is_some_and(|all| all <= self.0.limit)
    }

    /// A place for a layer, under which its parameters are named.
    #[must_use]
    pub fn at(&self, name: &str) -> Scope {
        Scope::new(self.clone(), name.to_string())
    }

    /// The place of the whole model, where names have no prefix.
    #[must_use]
    pub fn root(&self) -> Scope {
        self.at("")
    }

    /// The random stream of this name, a function of the store's seed.
    #[must_use]
    pub fn rng(&self, stream: &str) -> Rng {
        Rng::new(self.0.seed, stream)
    }

    /// Where the parameters live.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.0.device
    }

    /// The dtype of new parameters.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.0.dtype
    }

    /// Takes in a variable of a candle program under a name, so that it can be trained, saved and inspected here.
    ///
    /// # Errors
    /// [`Error::NameTaken`].
    pub fn adopt(&self, name: &str, var: Var) -> Result<Param> {
        self.add(Param::new(name.to_string(), var))
    }

    /// Takes in a parameter under its full name.
    pub(crate) fn add(&self, param: Param) -> Result<Param> {
        let mut entries = self.write();
        entries.reserve(param.name())?;
        let place = Place::Param(entries.params.len());
        entries.count = entries.count.saturating_add(param.count());
        entries.params.push(param.clone());
        entries.by_name.insert(param.name().to_string(), place);
        Ok(param)
    }

    /// Gives a parameter of this store a second name.
    pub(crate) fn tie(&self, name: &str, param: &Param) -> Result<()> {
        let mut entries = self.write();
        entries.reserve(name)?;
        let place = entries.params.iter().position(|p| p.is_same(param));
        let place = place.ok_or_else(|| entries.unknown(param.name()))?;
        entries
            .by_name
            .insert(name.to_string(), Place::Param(place));
        entries.ties.push((name.to_string(), place));
        Ok(())
    }

    /// Second names of parameters, each with the name that the parameter is counted and saved under.
    #[must_use]
    pub fn ties(&self) -> Vec<(String, String)> {
        let entries = self.read();
        let first = |place: usize| entries.params[place].name().to_string();
        let ties = entries.ties.iter();
        ties.map(|(name, place)| (name.clone(), first(*place)))
            .collect()
    }

    /// Takes in a buffer under its full name.
    pub(crate) fn add_buffer(&self, name: &str, value: &Tensor) -> Result<Buffer> {
        let mut entries = self.write();
        entries.reserve(name)?;
        let buffer = Buffer::new(name.to_string(), value.detach());
        let place = Place::Buffer(entries.buffers.len());
        entries.buffers.push(buffer.clone());
        entries.by_name.insert(name.to_string(), place);
        Ok(buffer)
    }

    /// Whether a parameter or buffer may still take this name.
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        self.read().reserve(name)
    }

    /// Every parameter, in the order of their making.
    #[must_use]
    pub fn all(&self) -> Vec<Param> {
        self.read().params.clone()
    }

    /// Every buffer, in the order of their making.
    #[must_use]
    pub fn buffers(&self) -> Vec<Buffer> {
        self.read().buffers.clone()
    }

    /// Parameters and buffers as `(name, value)`, parameters first: what a model file holds.
    #[must_use]
    pub fn named_tensors(&self) -> Vec<(String, Tensor)> {
        let entries = self.read();
        let params = entries
            .params
            .iter()
            .map(|p| (p.name().to_string(), p.tensor().clone()));
        let buffers = entries
            .buffers
            .iter()
            .map(|b| (b.name().to_string(), b.tensor()));
        params.chain(buffers).collect()
    }

    /// The parameter of this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`], with the most similar name.
    pub fn get(&self, name: &str) -> Result<Param> {
        let entries = self.read();
        match entries.by_name.get(name) {
            Some(Place::Param(i)) => Ok(entries.params[*i].clone()),
            _ => Err(entries.unknown(name)),
        }
    }

    /// The buffer of this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`], with the most similar name.
    pub fn buffer(&self, name: &str) -> Result<Buffer> {
        let entries = self.read();
        match entries.by_name.get(name) {
            Some(Place::Buffer(i)) => Ok(entries.buffers[*i].clone()),
            _ => Err(entries.unknown(name)),
        }
    }

    /// Replaces the value of the parameter or buffer of this name.
    ///
    /// # Errors
    /// [`Error::UnknownName`], [`Error::ValueShape`], [`Error::ValueDType`].
    pub fn set(&self, name: &str, value: &Tensor) -> Result<()> {
        let place = self.read().by_name.get(name).copied();
        match place {
            Some(Place::Param(_)) => self.get(name)?.set(value),
            Some(Place::Buffer(_)) => self.buffer(name)?.set(value),
            None => Err(self.read().unknown(name)),
        }
    }

    /// How many elements all parameters have together: what "7B" counts. Buffers do not count.
    #[must_use]
    pub fn count(&self) -> usize {
        self.read().count
    }

    fn read(&self) -> RwLockReadGuard<'_, Entries> {
        self.0
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entries> {
        self.0
            .entries
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn reserve(&self, name: &str) -> Result<()> {
        match self.by_name.contains_key(name) {
            true => Err(Error::NameTaken {
                name: name.to_string(),
            }),
            false => Ok(()),
        }
    }

    fn unknown(&self, name: &str) -> Error {
        let nearest = self
            .by_name
            .keys()
            .map(|known| (strsim::levenshtein(known, name), known))
            .min()
            .filter(|(distance, _)| *distance <= 1 + name.len() / 3)
            .map(|(_, known)| known.clone());
        Error::UnknownName {
            name: name.to_string(),
            nearest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Init;

    /// Two parameters that can follow one another.
    pub(super) fn two() -> (Params, Param, Param) {
        let params = Params::new(&Device::Cpu, Seed(1));
        let a = params
            .at("a")
            .param("weight", &[2, 2], Init::KAIMING_UNIFORM)
            .unwrap();
        let b = params
            .at("b")
            .param("weight", &[1, 2], Init::KAIMING_UNIFORM)
            .unwrap();
        (params, a, b)
    }

    #[test]
    fn names_are_unique_ordered_and_looked_up_with_help() {
        let (params, ..) = two();
        assert!(matches!(
            params.at("a").param("weight", &[1], Init::ZEROS),
            Err(Error::NameTaken { .. })
        ));
        let names: Vec<String> = params
            .named_tensors()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["a.weight", "b.weight"]);
        let error = params.get("a.wieght").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no parameter or buffer \"a.wieght\"; did you mean \"a.weight\"?"
        );
        assert_eq!(params.count(), 6);
    }

    #[test]
    fn impossible_sizes_are_refused_before_memory_is_asked_for() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let error = params
            .at("x")
            .param("w", &[1 << 33, 1 << 33], Init::ZEROS)
            .unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }));
    }

    #[test]
    fn values_of_another_shape_or_dtype_are_refused() {
        let (params, ..) = two();
        let wrong = Tensor::zeros(3, DType::F32, &Device::Cpu).unwrap();
        assert!(matches!(
            params.set("a.weight", &wrong),
            Err(Error::ValueShape { .. })
        ));
        let wrong = Tensor::zeros((2, 2), DType::F64, &Device::Cpu).unwrap();
        assert!(matches!(
            params.set("a.weight", &wrong),
            Err(Error::ValueDType { .. })
        ));
    }

    #[test]
    fn one_seed_makes_one_model() {
        let values = |p: &Param| p.tensor().to_vec2::<f32>().unwrap();
        let ((_, a, _), (_, b, _)) = (two(), two());
        assert_eq!(values(&a), values(&b));
    }
}
