//! Shapes through a network, known before anything is allocated.

use std::collections::BTreeMap;

use cortical_neuron::{Description, Params};
use toml::Value;

use crate::error::{Error, Result};
use crate::layers::segment::{self, Segment};
use crate::layers::{Kinds, LayerSpec, NeuronGroup, Shapes, Widths};
use crate::model_spec::ModelSpec;

/// A layer whose sizes are known.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedLayer {
    /// What the layer is, with its name and width filled in.
    pub spec: LayerSpec,
    /// The prefix of its parameters' names, if it has parameters.
    pub name: Option<String>,
    /// The shape of a sample that enters.
    pub input_shape: Vec<usize>,
    /// The shape of a sample that leaves.
    pub output_shape: Vec<usize>,
    /// How many parameters it has.
    pub parameters: usize,
    /// What it is made of, and what it costs for one sample.
    pub description: Description,
}

/// A network whose every shape is known: enough to build it, and to say what it is.
///
/// Shapes and numbers of parameters are those of the network itself, built in a store without memory ([`Params::dry`]).
///
/// ```
/// use cortical_models::{ModelSpec, Plan};
/// let lenet: ModelSpec = "lenet".parse()?;
/// let plan = Plan::new(&lenet.layers(), &[1, 28, 28], 10)?;
/// assert_eq!(plan.parameters(), 1_199_882);
/// assert_eq!(plan.layers()[1].output_shape, [64, 12, 12]);
/// # Ok::<(), cortical_models::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    input_shape: Vec<usize>,
    classes: usize,
    layers: Vec<PlannedLayer>,
}

impl Plan {
    /// Follows a sample of `input_shape` through `layers` to one score for each of the `classes`.
    ///
    /// # Errors
    /// A layer that cannot take what the one before it gives; two layers of one name; sizes beyond what can be
    /// addressed, or beyond this machine's memory; an end that is not one score for each class.
    pub fn new(layers: &[LayerSpec], input_shape: &[usize], classes: usize) -> Result<Self> {
        let memory = cortical_io::machine_memory().unwrap_or(u64::MAX);
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        Self::within(layers, input_shape, classes, memory)
    }

    /// As [`new`](Self::new) for a machine with so many bytes of memory.
    fn within(
        layers: &[LayerSpec],
        input_shape: &[usize],
        classes: usize,
        memory: usize,
    ) -> Result<Self> {
        if input_shape.is_empty() || input_shape.contains(&0) {
            return Err(Error::InputShape {
                got: input_shape.to_vec(),
            });
        }
        let specs = segment::named(layers)?.into_iter();
        let specs: Vec<LayerSpec> = specs.map(|spec| spec.resolved(classes)).collect();
        let params = Params::dry(memory / size_of::<f32>());
        let built = Segment::build(&specs, &params.root(), input_shape, classes)?;
        if built.output() != [classes] {
            return Err(Error::Output {
                classes,
                got: built.output().to_vec(),
            });
        }
        let mut input_shape = input_shape.to_vec();
        let mut plan = Self {
            input_shape: input_shape.clone(),
            classes,
            layers: Vec::with_capacity(specs.len()),
        };
        let accounts = built.into_accounts();
        for (spec, (description, parameters)) in specs.into_iter().zip(accounts) {
            let output_shape = description.output.clone();
            plan.layers.push(PlannedLayer {
                name: spec.name().map(str::to_owned),
                spec,
                input_shape: std::mem::replace(&mut input_shape, output_shape.clone()),
                output_shape,
                parameters,
                description,
            });
        }
        Ok(plan)
    }

    /// The shape of one sample.
    #[must_use]
    pub fn input_shape(&self) -> &[usize] {
        &self.input_shape
    }

    /// The shape of a sample after the last layer.
    #[must_use]
    pub fn output_shape(&self) -> &[usize] {
        let last = self.layers.last();
        last.map_or(&self.input_shape, |layer| &layer.output_shape)
    }

    /// The number of classes.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The layers with their shapes.
    #[must_use]
    pub fn layers(&self) -> &[PlannedLayer] {
        &self.layers
    }

    /// How many parameters the network has.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let counts = self.layers.iter().map(|layer| layer.parameters);
        counts.fold(0, usize::saturating_add)
    }

    /// Multiplications, with the addition that follows each, for one sample.
    #[must_use]
    pub fn multiply_adds(&self) -> u64 {
        let costs = self
            .layers
            .iter()
            .map(|layer| layer.description.multiply_adds);
        costs.fold(0, u64::saturating_add)
    }

    /// The network's layers, with everything but their names and sizes as they were given.
    pub(crate) fn specs(&self) -> Vec<LayerSpec> {
        self.layers.iter().map(|layer| layer.spec.clone()).collect()
    }

    /// The neurons of the network in groups that are there or gone together, with every tensor that makes, passes on or
    /// reads them: what each kind of layer says of itself ([`LayerKind::widths`](crate::LayerKind::widths)).
    ///
    /// ```
    /// use cortical_models::{ModelSpec, Plan};
    /// let lenet: ModelSpec = "lenet".parse()?;
    /// let plan = Plan::new(&lenet.layers(), &[1, 28, 28], 10)?;
    /// let groups = plan.groups()?;
    /// let conv2 = groups.iter().find(|group| group.makers() == ["conv2"]).expect("it is there");
    /// let reads = conv2.slices.last().expect("the dense layer");
    /// assert_eq!((conv2.count, reads.tensor.as_str(), reads.each), (64, "fc1.weight", 12 * 12));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A layer that cannot be built, which a plan has none of.
    pub fn groups(&self) -> Result<Vec<NeuronGroup>> {
        Widths::of(&self.specs(), &self.input_shape, self.classes)
    }

    /// The same network in the sizes of these tensors, by their names, of which some neurons were removed.
    ///
    /// # Errors
    /// Those of [`Plan::new`], where shapes do not fit together.
    pub fn narrowed(&self, shapes: &BTreeMap<String, Vec<usize>>) -> Result<Self> {
        let mut specs = self.specs();
        Shapes::new(shapes).narrow(&mut specs, "")?;
        Self::new(&specs, &self.input_shape, self.classes)
    }

    /// The layers, as a recipe lists them.
    #[must_use]
    pub fn to_spec(&self) -> ModelSpec {
        ModelSpec::listed(self.specs())
    }

    /// The layers as one line of JSON with every name and width filled in: what a model file keeps.
    #[must_use]
    pub fn to_json(&self) -> String {
        let layers = self.layers.iter().map(|layer| layer.spec.to_value());
        serde_json::to_string(&layers.collect::<Vec<_>>()).expect("tables with text keys are JSON")
    }

    /// Reads what [`Plan::to_json`] wrote.
    ///
    /// # Errors
    /// Text that is no list of layers; everything that [`Plan::new`] refuses.
    pub fn from_json(json: &str, input_shape: &[usize], classes: usize) -> Result<Self> {
        Self::from_json_with(json, input_shape, classes, Kinds::shared())
    }

    /// As [`from_json`](Self::from_json) for a network with layers of these kinds.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    pub fn from_json_with(
        json: &str,
        input_shape: &[usize],
        classes: usize,
        kinds: &Kinds,
    ) -> Result<Self> {
        let values: Vec<Value> =
            serde_json::from_str(json).map_err(|why| Error::Description { why })?;
        let layers = kinds.read_list("layers", &Value::Array(values))?;
        Self::new(&layers, input_shape, classes)
    }
}
#[cfg(test)]
mod tests;
