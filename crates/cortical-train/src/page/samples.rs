//! What the page of pictures and tables shows beside curves: the worst predictions, filters, weights.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use cortical_data::{Dataset, Loader};
use cortical_kernels::matmul::Transposes;
use cortical_neuron::{Layer, Pass};
use cortical_report::{Histogram, Page, Picture, number};
use cortical_tensor::ops::matmul;

use super::values::values;
use super::{Run, percent};
use crate::model_file::TrainedModel;
use crate::outputs::Outputs;
use crate::{Error, Result};

/// Pictures of the worst predictions, of filters, and histograms that are shown at most.
const WORST: usize = 24;
const FILTERS: usize = 64;
const HISTOGRAMS: usize = 8;

/// The trained network with what it was tested on.
pub(super) struct Opened {
    model: TrainedModel,
    /// What it was tested on, or how that is no longer there.
    test: std::result::Result<Dataset, String>,
}

impl Opened {
    pub(super) fn new(run: &Run<'_>) -> Result<Self> {
        let model = run.paths.load_model(&Device::Cpu)?;
        let test = match run.paths.check_data() {
            Err(Error::DataChanged { changes, .. }) => Err(changes),
            checked => {
                checked?;
                let splits = run.recipe.open_samples(model.preprocess().columns())?;
                Ok(model.prepared(&splits.test)?)
            }
        };
        Ok(Self { model, test })
    }

    /// How much of what the processor's fastest work reaches, a large matrix product, the training has used: a forward
    /// pass and, for the two gradients of each product, twice as much again.
    pub(super) fn arithmetic(&self, run: &Run<'_>) -> Option<(String, String)> {
        let shape = self.model.preprocess().input_shape();
        let cost = self.model.network().describe(shape).ok()?.multiply_adds as f64;
        let gflops = 3.0 * 2.0 * cost * run.mean("samples_per_second")? / 1e9;
        let peak = product_gflops().ok()?;
        let share = percent(gflops / peak);
        Some((
            format!("of a product's {} GFLOP/s", number(peak.round())),
            share,
        ))
    }

    pub(super) fn sections(&self, page: &mut Page) -> Result<()> {
        match &self.test {
            Ok(test) => match self.model.outputs() {
                Outputs::Classes(_) => mistakes(page, &self.model, test)?,
                Outputs::Labels(_) => {}
                Outputs::Numbers(numbers) => {
                    super::numbers::sections(page, &self.model, numbers, test)?;
                }
            },
            Err(changes) => {
                let why =
                    format!("Left out, as the data have changed since the training: {changes}.");
                page.section("Worst predictions").text(&why);
            }
        }
        weights(page, &self.model)
    }
}

/// The best rate of some products of two matrices of 512 x 512.
fn product_gflops() -> cortical_tensor::Result<f64> {
    const SIDE: usize = 512;
    let matrix = Tensor::ones((SIDE, SIDE), DType::F32, &Device::Cpu)?;
    let mut best = f64::INFINITY;
    for _ in 0..8 {
        let started = Instant::now();
        matmul(&matrix, &matrix, Transposes::default())?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(2.0 * (SIDE as f64).powi(3) / best / 1e9)
}

/// A sample with the loss of its prediction.
struct Mistake {
    row: usize,
    label: usize,
    class: usize,
    probability: f64,
    loss: f64,
}

/// The samples that the network is most wrong about.
fn mistakes(page: &mut Page, model: &TrainedModel, test: &Dataset) -> Result<()> {
    let classes = model.classes();
    let worst = worst(model, test)?;
    let caption = |mistake: &Mistake| {
        let title = classes[mistake.label].clone();
        let remark = format!(
            "taken for {}, {}",
            classes[mistake.class],
            percent(mistake.probability)
        );
        (title, remark)
    };
    let mut pictures = Vec::new();
    for mistake in &worst {
        let raw = test.inputs().raw_row(mistake.row)?;
        let (title, remark) = caption(mistake);
        let picture = match *test.input_shape() {
            [channels, height, width] => Picture::from_numbers(channels, height, width, &raw),
            _ => None,
        };
        pictures.extend(picture.map(|picture| (picture, title, remark)));
    }
    page.section("Worst predictions")
        .text("The test samples with the highest loss: what they are, and what the network takes them for.");
    if pictures.is_empty() {
        let columns = model.preprocess().columns();
        let row = |mistake: &Mistake| -> Result<Vec<String>> {
            let (title, remark) = caption(mistake);
            let values = values(columns, &test.inputs().raw_row(mistake.row)?);
            let place = mistake.row.to_string();
            Ok(vec![place, title, remark, number(mistake.loss), values])
        };
        let rows: Vec<Vec<String>> = worst.iter().map(row).collect::<Result<_>>()?;
        page.table(&["#sample", "is", "prediction", "#loss", "values"], &rows);
    } else {
        page.pictures(&pictures, false);
    }
    Ok(())
}

/// The samples with the highest losses, the worst first.
fn worst(model: &TrainedModel, test: &Dataset) -> Result<Vec<Mistake>> {
    let mut all = Vec::with_capacity(test.len());
    let mut loader = Loader::config(256).build(test)?;
    for batch in loader.epoch() {
        let batch = batch?;
        let logits = model.network().forward(&batch.inputs, &mut Pass::eval())?;
        let labels = batch.labels.to_vec1::<u32>()?;
        for (logits, label) in logits.to_vec2::<f32>()?.iter().zip(labels) {
            let prediction = crate::model_file::prediction(logits);
            let label = label as usize;
            let own = prediction.probabilities.get(label).copied().unwrap_or(0.0);
            all.push(Mistake {
                row: all.len(),
                label,
                class: prediction.class,
                probability: prediction.probability,
                loss: -own.max(1e-45).ln(),
            });
        }
    }
    all.sort_by(|a, b| b.loss.total_cmp(&a.loss).then(a.row.cmp(&b.row)));
    all.truncate(WORST);
    Ok(all)
}

/// The filters of the first convolution, and how the weights of each matrix are spread.
fn weights(page: &mut Page, model: &TrainedModel) -> Result<()> {
    let tensors = model.params().named_tensors();
    let kernels = tensors.iter().find(|(_, tensor)| tensor.rank() == 4);
    if let Some((name, tensor)) = kernels
        && let &[filters, channels, height, width] = tensor.dims()
        && height * width > 1
    {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        let size = channels * height * width;
        let picture = |i: usize| {
            let values = &values[i * size..(i + 1) * size];
            let picture = Picture::from_numbers(channels, height, width, values)?;
            Some((picture, String::new(), i.to_string()))
        };
        let pictures: Vec<_> = (0..filters.min(FILTERS)).filter_map(picture).collect();
        page.section("First filters")
            .text(&format!(
                "{name}: each filter from its lowest weight, black, to its highest, white."
            ))
            .pictures(&pictures, true);
    }
    page.section("Weights");
    let matrices = tensors.iter().filter(|(_, tensor)| tensor.rank() > 1);
    for (name, tensor) in matrices.take(HISTOGRAMS) {
        let values = tensor.flatten_all()?.to_vec1::<f32>()?;
        page.chart(&Histogram::new(name, &values, 60).to_svg());
    }
    Ok(())
}
