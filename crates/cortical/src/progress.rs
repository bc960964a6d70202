//! What a person sees of a training: a bar and a line an epoch on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use cortical_train::{Event, Measure, Observer, PhaseMetrics, Setup, StepMetrics, TaskKind};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;
use crate::speed::Speed;
use crate::style::{bytes, count, duration, percent, shape};

/// How often plain lines about steps appear at most.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// How often the bar is drawn at most.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// Steps that loss and accuracy are averaged over.
const WINDOW: usize = 50;
/// A long run shows about so many epochs.
const EPOCH_LINES: u64 = 30;

/// Draws a training on stderr.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    output: &'a Output,
    bar: Option<ProgressBar>,
    total_steps: u64,
    total_epochs: u64,
    /// What speed is counted in, and what is measured beside the loss.
    unit: &'static str,
    measure: Measure,
    /// The last steps.
    recent: VecDeque<StepMetrics>,
    speed: Speed,
    last_line: Instant,
    has_header: bool,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(output: &'a Output) -> Self {
        let now = Instant::now();
        Self {
            output,
            bar: None,
            total_steps: 0,
            total_epochs: 0,
            unit: "samples",
            measure: Measure::Accuracy,
            recent: VecDeque::new(),
            speed: Speed::default(),
            last_line: now,
            has_header: false,
        }
    }

    fn ready(&mut self, setup: &Setup<'_>) {
        self.total_steps = setup.total_steps;
        self.total_epochs = setup.recipe.train.epochs;
        (self.unit, self.measure) = (setup.data.unit.name(), setup.measure);
        self.last_line = Instant::now();
        if self.output.is_quiet() {
            return;
        }
        for line in describe(setup) {
            self.line(&line);
        }
        if std::io::stderr().is_terminal() {
            let target = ProgressDrawTarget::stderr_with_hz(10);
            let bar = ProgressBar::with_draw_target(Some(setup.total_steps), target);
            let template = "  {bar:24} {percent:>3} %  {wide_msg}";
            // A template that is wrong leaves the default bar, which is right.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_position(setup.start_step);
            self.bar = Some(bar);
        }
    }

    fn step(&mut self, metrics: &StepMetrics) {
        if self.output.is_quiet() {
            return;
        }
        self.speed.step(Instant::now(), metrics.units);
        self.recent.push_back(*metrics);
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        let every = if self.bar.is_some() {
            BAR_EVERY
        } else {
            PLAIN_EVERY
        };
        if self.last_line.elapsed() < every {
            return;
        }
        self.last_line = Instant::now();
        if let Some(bar) = &self.bar {
            // The position draws; the message alone would draw once more.
            bar.set_message(self.figures(metrics.step));
            bar.set_position(metrics.step);
        } else {
            let (step, total) = (count(metrics.step), count(self.total_steps));
            let figures = self.figures(metrics.step);
            self.line(&format!("  step {step} of {total}  {figures}"));
        }
    }

    /// Loss, accuracy, speed and time left, over the last steps.
    fn figures(&self, step: u64) -> String {
        let steps = self.recent.len().max(1) as f64;
        let mean = |f: fn(&StepMetrics) -> f64| self.recent.iter().map(f).sum::<f64>() / steps;
        let mut text = format!("loss {:.4}", mean(|m| m.loss));
        if self.measure.is_share() {
            let accuracy = mean(|m| m.accuracy.unwrap_or(0.0));
            let measure = self.measure;
            text += &format!("  {} {}", measure.name(), measure.format(accuracy));
        }
        if let Some(rate) = self.speed.rate() {
            let left = duration(rate.time_for(self.total_steps.saturating_sub(step)));
            let (speed, unit) = (count(rate.units_per_second as u64), self.unit);
            text += &format!("  {speed} {unit}/s  {left} left");
        }
        text
    }

    /// A row about an epoch, or about a validation between two.
    fn phase(&mut self, metrics: &PhaseMetrics) {
        self.recent.clear();
        self.speed.pause();
        let every = self.total_epochs.div_ceil(EPOCH_LINES).max(1);
        let is_shown = match metrics.epoch {
            Some(epoch) => epoch.is_multiple_of(every) || epoch == 1 || epoch == self.total_epochs,
            None => true,
        };
        if self.output.is_quiet() || !is_shown {
            return;
        }
        self.last_line = Instant::now();
        let measure = self.measure;
        let shown = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| measure.format(x));
        let number = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.4}"));
        let valid = metrics.valid.as_ref();
        let epoch = match (metrics.epoch, self.total_epochs) {
            (Some(epoch), 0) => epoch.to_string(),
            (Some(epoch), all) => format!("{epoch}/{all}"),
            (None, _) => String::new(),
        };
        let mut cells = vec![
            ("step".to_owned(), count(metrics.step)),
            ("epoch".to_owned(), epoch),
            ("train loss".to_owned(), number(Some(metrics.train_loss))),
        ];
        let name = measure.title();
        if measure.is_share() {
            cells.push((format!("train {name}"), shown(metrics.train_accuracy)));
        }
        let figure = valid.and_then(|valid| valid.figure);
        cells.extend([
            (
                "valid loss".to_owned(),
                number(valid.and_then(|valid| valid.loss)),
            ),
            (format!("valid {name}"), shown(figure)),
            ("training".to_owned(), duration(metrics.train_seconds)),
        ]);
        if !self.has_header {
            self.has_header = true;
            let head = columns(&cells, |(head, _)| head);
            self.line(&self.output.err.bold(&head));
        }
        self.line(&columns(&cells, |(_, cell)| cell));
        if let Some(valid) = valid.filter(|valid| !valid.sample.is_empty()) {
            let sample = valid.sample.replace('\n', " ");
            self.line(&format!("    {}", self.output.err.dim(&sample)));
        }
    }

    /// A line above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.output.line(text)),
            None => self.output.line(text),
        }
    }
}

impl Observer for Progress<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Ready(setup) => self.ready(&setup),
            Event::Step(metrics) => self.step(metrics),
            Event::Phase(metrics) => self.phase(metrics),
            Event::Warning(warning) => match &self.bar {
                Some(bar) => bar.suspend(|| self.output.warning(&warning.to_string())),
                None => self.output.warning(&warning.to_string()),
            },
            Event::EarlyEnd(end) if !self.output.is_quiet() => self.line(&format!("  {end}")),
            _ => {}
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The heads or the cells, in columns.
fn columns(cells: &[(String, String)], which: fn(&(String, String)) -> &String) -> String {
    let column = |cell| {
        let (head, _): &(String, String) = cell;
        format!(
            "{:>width$}",
            which(cell),
            width = head.chars().count().max(10)
        )
    };
    cells.iter().map(column).collect::<Vec<_>>().join("  ")
}

/// What is about to be trained, in a few lines.
fn describe(setup: &Setup<'_>) -> Vec<String> {
    let (recipe, data) = (setup.recipe, &setup.data);
    let what = recipe.kind().samples();
    let of = match data.shape.is_empty() {
        true => String::new(),
        false => format!(" of {}", shape(&data.shape)),
    };
    let classes = match (data.classes, data.targets) {
        (Some(classes), _) => format!(", {} classes", count(classes)),
        (None, 0) => String::new(),
        (None, targets) if recipe.kind() == TaskKind::MultiLabel => {
            format!(", {} labels", count(targets))
        }
        (None, 1) => ", a number to predict".to_owned(),
        (None, targets) => format!(", {} numbers to predict", count(targets)),
    };
    let source = format!(
        "{}: {} {what}{of} to learn from, {} to validate on, {} to test on{classes}",
        recipe.data.name,
        count(data.train),
        count(data.valid),
        count(data.test),
    );
    let mut network = format!("{}, {} parameters", setup.model, count(setup.parameters));
    if setup.trainable < setup.parameters {
        let share = setup.trainable as f64 / setup.parameters.max(1) as f64;
        let trained = count(setup.trainable);
        network += &format!(", {trained} of them trained ({})", percent(share));
    }
    network += &format!(", {} with gradients and optimizer", bytes(setup.bytes));
    let length = match (recipe.train.epochs, recipe.train.max_steps) {
        (0, steps) => format!("{} steps", count(steps)),
        (epochs, _) => format!("{} epochs", count(epochs)),
    };
    let optimizer = format!(
        "{}, learning rate {}, {} schedule, {length} of batches of {}",
        recipe.optim.kind(),
        recipe.optim.lr(),
        recipe.schedule.kind(),
        recipe.train.batch_size
    );
    let mut lines = vec![
        format!("  run        {}", setup.run.display()),
        format!("  data       {source}"),
    ];
    let remarks = data.understood.iter();
    lines.extend(remarks.map(|remark| format!("             {remark}")));
    lines.extend([
        format!("  network    {network}"),
        format!("  optimizer  {optimizer}"),
    ]);
    if setup.start_step > 0 {
        let (step, total) = (count(setup.start_step), count(setup.total_steps));
        lines.push(format!("  continues  after step {step} of {total}"));
    }
    lines
}
