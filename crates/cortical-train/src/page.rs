//! `report.html`: a finished run as one page with pictures.

use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use cortical_data::{Dataset, Loader};
use cortical_kernels::isa;
use cortical_kernels::matmul::Transposes;
use cortical_neuron::{Layer, Pass};
use cortical_report::{Histogram, LineChart, Matrix, Page, Picture, Series, number};
use cortical_tensor::ops::matmul;
use serde_json::Value;

use crate::evaluate::Evaluation;
use crate::folder::RunPaths;
use crate::language;
use crate::metrics::whole_lines;
use crate::model_file::TrainedModel;
use crate::report::Report;
use crate::{Error, Recipe, Result};

/// Pictures of the worst predictions, of filters, and histograms that are shown at most.
const WORST: usize = 24;
const FILTERS: usize = 64;
const HISTOGRAMS: usize = 8;

/// Writes the page of the finished run in `paths`, and returns it. It is made from what lies in the folder and from the data.
///
/// # Errors
/// [`Error::NotFinished`]; files or data that cannot be read, a page that cannot be written.
pub fn write_page(paths: &RunPaths) -> Result<String> {
    let unfinished = || Error::NotFinished {
        path: paths.root().to_owned(),
    };
    let html = match paths.read_language_recipe()? {
        Some(recipe) => {
            let report = paths.read_language_report()?.ok_or_else(unfinished)?;
            language::page(paths, &recipe, &report, &lines(paths)?)
        }
        None => {
            let recipe = paths.read_recipe()?;
            let report = paths.read_report()?.ok_or_else(unfinished)?;
            of_classifier(paths, &recipe, &report)?
        }
    };
    cortical_io::write_atomic(paths.page(), |file| file.write_all(html.as_bytes()))?;
    Ok(html)
}

/// The lines of `metrics.jsonl`.
fn lines(paths: &RunPaths) -> Result<Vec<Value>> {
    let lines = whole_lines(&paths.metrics(), u64::MAX)?.unwrap_or_default();
    Ok(lines.into_iter().map(|line| line.value).collect())
}

fn of_classifier(paths: &RunPaths, recipe: &Recipe, report: &Report) -> Result<String> {
    let model = TrainedModel::load(&paths.model(), &Device::Cpu)?;
    let test = recipe.data.open()?.test.preprocessed(model.preprocess())?;
    let lines = lines(paths)?;

    let name = paths.root().file_name();
    let name = name.map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let summary = format!(
        "{} on {}, {} parameters, {} steps",
        recipe.model.kind(),
        recipe.data.name,
        report.parameters,
        report.steps
    );
    let mut page = Page::new(&name, &summary);
    let mut head = figures(report, &lines);
    head.extend(arithmetic(&model, mean(&lines, "samples_per_second")));
    page.figures(&head);
    curves(&mut page, &lines);
    mistakes(&mut page, report, &model, &test)?;
    weights(&mut page, &model)?;
    page.section("Recipe").code(recipe.to_toml().trim_end());
    page.section("Environment")
        .table(&["", ""], &environment(recipe.hash()));
    Ok(page.to_html())
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.2}\u{a0}%", 100.0 * share)
}

/// The figures at the top.
fn figures(report: &Report, lines: &[Value]) -> Vec<(String, String)> {
    let test = &report.test;
    let mut figures = vec![
        ("test accuracy".to_owned(), percent(test.accuracy)),
        ("test loss".to_owned(), number(test.loss)),
        ("macro F1".to_owned(), number(test.macro_f1)),
    ];
    figures.extend(test.auroc.map(|auroc| ("AUROC".to_owned(), number(auroc))));
    figures.extend(test.top_5.map(|top| ("top 5".to_owned(), percent(top))));
    figures.push((
        "seconds of training".to_owned(),
        number(report.train_seconds),
    ));
    let speed = mean(lines, "samples_per_second");
    figures.extend(speed.map(|speed| ("samples a second".to_owned(), number(speed))));
    figures
}

/// The mean of a figure over the lines about steps.
pub(crate) fn mean(lines: &[Value], figure: &str) -> Option<f64> {
    let all = points(lines, "step", figure);
    let sum: f64 = all.iter().map(|(_, value)| value).sum();
    (!all.is_empty()).then(|| sum / all.len() as f64)
}

/// How much of what the processor's fastest work reaches, a large matrix product, the training has used: a forward pass and, for the two
/// gradients of each product, twice as much again.
fn arithmetic(model: &TrainedModel, samples_per_second: Option<f64>) -> Option<(String, String)> {
    let shape = model.preprocess().input_shape();
    let cost = model.network().describe(shape).ok()?.multiply_adds as f64;
    let gflops = 3.0 * 2.0 * cost * samples_per_second? / 1e9;
    let peak = product_gflops().ok()?;
    let share = percent(gflops / peak);
    Some((
        format!("of a product's {} GFLOP/s", number(peak.round())),
        share,
    ))
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

/// A figure of the lines of one kind, by step.
fn points(lines: &[Value], event: &str, figure: &str) -> Vec<(f64, f64)> {
    let of_kind = lines.iter().filter(|line| line["event"] == event);
    of_kind
        .filter_map(|line| Some((line["step"].as_f64()?, line[figure].as_f64()?)))
        .collect()
}

/// A figure of the steps.
pub(crate) fn steps(lines: &[Value], name: &str, figure: &str) -> Series {
    Series::new(name, points(lines, "step", figure))
}

/// A figure of the tests, of which those at the ends of epochs have lines of another kind.
pub(crate) fn tests(lines: &[Value], name: &str, figure: &str) -> Series {
    let mut all = points(lines, "epoch", figure);
    all.extend(points(lines, "test", figure));
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    Series::new(name, all)
}

/// The norm of the gradients over the steps, where it was noted.
pub(crate) fn norms(page: &mut Page, lines: &[Value]) {
    let norms = steps(lines, "step", "grad_norm");
    if norms.is_empty() {
        return;
    }
    let smooth = norms.smoothed(0.9);
    page.chart(
        &LineChart::new("Norm of the gradients", "step")
            .series(norms.faint())
            .series(smooth)
            .log_y()
            .to_svg(),
    );
}

/// Loss, accuracy, learning rate and gradients over the steps.
fn curves(page: &mut Page, lines: &[Value]) {
    let epoch = |name: &str, figure: &str| Series::new(name, points(lines, "epoch", figure));
    let tests = |name: &str, figure: &str| tests(lines, name, figure);
    let steps = |figure: &str| steps(lines, "step", figure);
    let chart = |title: &str| LineChart::new(title, "step");
    let loss = steps("loss");
    page.section("Curves")
        .chart(
            &chart("Loss")
                .series(loss.faint())
                .series(epoch("train", "train_loss"))
                .series(tests("test", "test_loss"))
                .log_y()
                .to_svg(),
        )
        .chart(
            &chart("Accuracy")
                .series(steps("accuracy").faint())
                .series(epoch("train", "train_accuracy"))
                .series(tests("test", "test_accuracy"))
                .percent()
                .to_svg(),
        )
        .chart(&chart("Learning rate").series(steps("lr")).to_svg());
    norms(page, lines);
}

/// A sample with the loss of its prediction.
struct Mistake {
    row: usize,
    label: usize,
    class: usize,
    probability: f64,
    loss: f64,
}

/// The confusion matrix, and the classes one by one.
pub(crate) fn scores(page: &mut Page, evaluation: &Evaluation) {
    page.section("Confusion")
        .wide(&Matrix::new(&evaluation.classes, &evaluation.confusion).to_svg());
    let share = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    let rows: Vec<Vec<String>> = evaluation
        .per_class()
        .into_iter()
        .map(|class| {
            vec![
                class.name,
                class.samples.to_string(),
                share(class.precision),
                share(class.recall),
            ]
        })
        .collect();
    page.section("Classes")
        .table(&["class", "#samples", "#precision", "#recall"], &rows);
}

/// How well classes are told apart, and the samples that the network is most wrong about.
fn mistakes(page: &mut Page, report: &Report, model: &TrainedModel, test: &Dataset) -> Result<()> {
    scores(page, &report.test);

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
        let row = |mistake: &Mistake| {
            let (title, remark) = caption(mistake);
            vec![mistake.row.to_string(), title, remark, number(mistake.loss)]
        };
        let rows: Vec<Vec<String>> = worst.iter().map(row).collect();
        page.table(&["#sample", "is", "prediction", "#loss"], &rows);
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

/// What the run was made with.
pub(crate) fn environment(hash: String) -> [Vec<String>; 6] {
    [
        ("Cortical", env!("CARGO_PKG_VERSION").to_owned()),
        ("recipe", hash),
        (
            "instruction set of this page's process",
            isa::current().name().to_owned(),
        ),
        (
            "threads of this page's process",
            rayon::current_num_threads().to_string(),
        ),
        ("system", std::env::consts::OS.to_owned()),
        ("processor", std::env::consts::ARCH.to_owned()),
    ]
    .map(|(name, value)| vec![name.to_owned(), value])
}
