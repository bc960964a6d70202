//! Models that classify, and the inputs that they are looked at with.

use super::collect::Place;
use super::orientation::Orientation;
use super::unit::{Filters, LayerSurvey};
use super::{Survey, SurveyOptions, survey};
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use cortical_data::Dataset;
use cortical_neuron::{Description, Layer, Params, Pass};
use cortical_train::{TextModel, TrainedModel};

/// Samples that go through a network together.
const BATCH: usize = 256;
/// Values of a row that are written out.
const VALUES: usize = 12;

/// An input as a person sees it.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// Channels, height and width of a picture, and its values, channel by channel.
    Picture([usize; 3], Vec<f32>),
    /// Words or numbers.
    Text(String),
}

impl Shown {
    /// A sample of a data set.
    ///
    /// # Errors
    /// A row that is not there.
    pub fn of(data: &Dataset, row: usize) -> Result<Self> {
        let values = data.inputs().raw_row(row)?;
        Ok(match *data.input_shape() {
            [channels, height, width] if height * width > 1 => {
                Self::Picture([channels, height, width], values)
            }
            _ => {
                let shown = values.iter().take(VALUES).map(f32::to_string);
                let mut text = shown.collect::<Vec<_>>().join(", ");
                if values.len() > VALUES {
                    text += &format!(" and {} more", values.len() - VALUES);
                }
                Self::Text(text)
            }
        })
    }
}

/// A model with labelled inputs.
pub(super) trait Subject {
    fn classes(&self) -> &[String];

    /// The class of every input.
    fn labels(&self) -> &[u32];

    /// The layers that have neurons, and where these stand.
    fn places(&self) -> Result<Vec<(String, Place)>>;

    /// Multiply-adds for one input, roughly.
    fn multiply_adds(&self) -> u64;

    /// Inputs that go through together.
    fn batches(&self, rows: &[usize]) -> Vec<Vec<usize>>;

    /// The scores `[inputs, classes]`.
    fn forward(&self, rows: &[usize], pass: &mut Pass<'_>) -> Result<Tensor>;

    /// The scores from the output of a layer on, where the model can go on from there.
    fn forward_behind(&self, _layer: &str, _output: &Tensor) -> Option<Result<Tensor>> {
        None
    }
}

/// A network and a data set.
struct Samples<'a> {
    model: &'a TrainedModel,
    data: &'a Dataset,
    description: Description,
}

impl Subject for Samples<'_> {
    fn classes(&self) -> &[String] {
        self.model.classes()
    }

    fn labels(&self) -> &[u32] {
        self.data.labels()
    }

    fn places(&self) -> Result<Vec<(String, Place)>> {
        let (mut places, mut channels) = (Vec::new(), self.data.input_shape().len() > 2);
        add_places(&self.description, &mut channels, &mut places);
        Ok(places)
    }

    fn multiply_adds(&self) -> u64 {
        self.description.multiply_adds
    }

    fn batches(&self, rows: &[usize]) -> Vec<Vec<usize>> {
        rows.chunks(BATCH).map(<[usize]>::to_vec).collect()
    }

    fn forward(&self, rows: &[usize], pass: &mut Pass<'_>) -> Result<Tensor> {
        let inputs = self
            .data
            .inputs()
            .tensor(rows.iter().copied(), &Device::Cpu)?;
        Ok(self.model.network().forward(&inputs, pass)?)
    }

    fn forward_behind(&self, layer: &str, output: &Tensor) -> Option<Result<Tensor>> {
        let network = self.model.network();
        let scores = network.forward_behind(layer, output, &mut Pass::eval())?;
        Some(scores.map_err(Error::from))
    }
}

/// The layers with parameters and the activations of a network, from its description: what has no parts. An activation
/// that stands by itself has its neurons where the layer before it has them.
fn add_places(of: &Description, channels: &mut bool, places: &mut Vec<(String, Place)>) {
    for part in &of.parts {
        add_places(part, channels, places);
    }
    if !of.parts.is_empty() {
        return;
    }
    let is_activation = of.kind == "Activation";
    if of.output.len() < 2 {
        *channels = false;
    }
    if of.parameters > 0 {
        *channels = of.channels_first;
    }
    if of.parameters > 0 || is_activation {
        let place = Place {
            channels_first: *channels,
            activation: of.activation,
        };
        places.push((of.name.clone(), place));
    }
}

/// Looks at every neuron of a network over the samples of a data set, which is preprocessed as the network expects.
///
/// # Errors
/// Samples that the network does not take; a store of parameters that cannot be read.
pub fn survey_network(
    model: &TrainedModel,
    data: &Dataset,
    options: &SurveyOptions,
) -> Result<Survey> {
    model.outputs().classes()?;
    let samples = Samples {
        model,
        data,
        description: model.network().describe(data.input_shape())?,
    };
    let mut found = survey(&samples, options)?;
    if let Some((name, filters)) = filters(model.params(), data.input_shape())?
        && let Some(layer) = found.layers.iter_mut().find(|layer| layer.name == name)
    {
        look_at(layer, filters);
    }
    Ok(found)
}

/// The filters that read the pictures themselves: those of the first convolution.
fn filters(params: &Params, sample: &[usize]) -> Result<Option<(String, Filters)>> {
    let &[channels, _, _] = sample else {
        return Ok(None);
    };
    let all = params.all();
    let Some(weight) = all.iter().find(|param| param.dims().len() == 4) else {
        return Ok(None);
    };
    let (Some(name), &[_, read, height, width]) =
        (weight.name().strip_suffix(".weight"), weight.dims())
    else {
        return Ok(None);
    };
    if read > channels || height * width < 2 {
        return Ok(None);
    }
    let values = weight.tensor().to_dtype(DType::F32)?.flatten_all()?;
    let filters = Filters {
        shape: [read, height, width],
        values: values.to_vec1()?,
    };
    Ok(Some((name.to_owned(), filters)))
}

fn look_at(layer: &mut LayerSurvey, filters: Filters) {
    for unit in &mut layer.units {
        unit.orientation = Orientation::of(filters.of(unit.index), filters.shape);
    }
    layer.filters = Some(filters);
}

/// A classifier of texts and its texts.
struct Texts<'a> {
    model: &'a TextModel,
    tokens: Vec<Vec<u32>>,
    labels: &'a [u32],
}

impl Subject for Texts<'_> {
    fn classes(&self) -> &[String] {
        self.model.classes()
    }

    fn labels(&self) -> &[u32] {
        self.labels
    }

    /// None by name: the neurons inside of feed-forward layers are seen without.
    fn places(&self) -> Result<Vec<(String, Place)>> {
        Ok(Vec::new())
    }

    fn multiply_adds(&self) -> u64 {
        let parameters = self.model.classifier().model().config().parameters();
        let tokens: usize = self.tokens.iter().map(Vec::len).sum();
        let each = tokens / self.tokens.len().max(1);
        (parameters.unwrap_or(usize::MAX) as u64).saturating_mul(each as u64)
    }

    /// Each by itself, so that no neuron is asked about the tokens that would fill a shorter text up.
    fn batches(&self, rows: &[usize]) -> Vec<Vec<usize>> {
        rows.iter().map(|row| vec![*row]).collect()
    }

    fn forward(&self, rows: &[usize], pass: &mut Pass<'_>) -> Result<Tensor> {
        let texts: Vec<Vec<u32>> = rows.iter().map(|row| self.tokens[*row].clone()).collect();
        Ok(self.model.classifier().logits(&texts, pass)?)
    }
}

/// Looks at the neurons inside the feed-forward layers of a classifier of texts.
///
/// # Errors
/// A text that the tokenizer makes nothing of.
pub fn survey_texts(
    model: &TextModel,
    texts: &[impl AsRef<str>],
    labels: &[u32],
    options: &SurveyOptions,
) -> Result<Survey> {
    let tokens = texts.iter().map(|text| model.tokens(text.as_ref()));
    let subject = Texts {
        model,
        tokens: tokens.collect::<Result<_, _>>()?,
        labels,
    };
    survey(&subject, options)
}
