//! What a person sees of a training: a bar and a line an epoch on a terminal, plain lines elsewhere.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use cortical_train::{EpochMetrics, Event, Observer, Setup, StepMetrics};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{Output, eprint_line};
use crate::style::{count, duration, percent, shape};

/// How often plain lines about steps appear at most.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// How often the bar is drawn at most.
const BAR_EVERY: Duration = Duration::from_millis(100);
/// Steps that loss, accuracy and speed are averaged over.
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
    /// The last steps, each with the moment at which it was done.
    recent: VecDeque<(Instant, StepMetrics)>,
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
            recent: VecDeque::new(),
            last_line: now,
            has_header: false,
        }
    }

    fn ready(&mut self, setup: &Setup<'_>) {
        self.total_steps = setup.total_steps;
        self.total_epochs = setup.recipe.train.epochs;
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
        self.recent.push_back((Instant::now(), *metrics));
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
        let mean = |f: fn(&StepMetrics) -> f64| {
            self.recent
                .iter()
                .map(|(_, metrics)| f(metrics))
                .sum::<f64>()
                / steps
        };
        let mut text = format!(
            "loss {:.4}  accuracy {}",
            mean(|m| m.loss),
            percent(mean(|m| m.accuracy))
        );
        if let (Some((first, _)), Some((last, _))) = (self.recent.front(), self.recent.back()) {
            let seconds = last.duration_since(*first).as_secs_f64();
            if self.recent.len() > 1 && seconds > 0.0 {
                let samples: usize = self.recent.iter().skip(1).map(|(_, m)| m.samples).sum();
                let left = (self.total_steps - step) as f64 * seconds / (steps - 1.0);
                let speed = count((samples as f64 / seconds) as u64);
                text += &format!("  {speed} samples/s  {} left", duration(left));
            }
        }
        text
    }

    fn epoch(&mut self, metrics: &EpochMetrics) {
        // The next step's speed must not contain the evaluation.
        self.recent.clear();
        let every = self.total_epochs.div_ceil(EPOCH_LINES).max(1);
        let is_shown = metrics.epoch.is_multiple_of(every)
            || metrics.epoch == 1
            || metrics.epoch == self.total_epochs;
        if self.output.is_quiet() || !is_shown {
            return;
        }
        let seconds = metrics.train_seconds;
        self.last_line = Instant::now();
        if !self.has_header {
            self.has_header = true;
            let head = "   epoch  train loss  train acc   test loss   test acc  training";
            self.line(&self.output.err.bold(head));
        }
        self.line(&format!(
            "  {:>6}  {:>10.4}  {:>9}  {:>10.4}  {:>9}  {:>8}",
            format!("{}/{}", metrics.epoch, self.total_epochs),
            metrics.train_loss,
            percent(metrics.train_accuracy),
            metrics.test_loss,
            percent(metrics.test_accuracy),
            duration(seconds),
        ));
    }

    /// A line above the bar.
    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprint_line(text)),
            None => eprint_line(text),
        }
    }
}

impl Observer for Progress<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Ready(setup) => self.ready(&setup),
            Event::Step(metrics) => self.step(metrics),
            Event::Epoch(metrics) => self.epoch(metrics),
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

/// What is about to be trained, in a few lines.
fn describe(setup: &Setup<'_>) -> Vec<String> {
    let recipe = setup.recipe;
    let plan = setup.plan;
    let data = format!(
        "{}: {} samples of {} to learn from, {} to test on, {} classes",
        recipe.data.name,
        count(setup.train_samples),
        shape(plan.input_shape()),
        count(setup.test_samples),
        plan.classes()
    );
    let network = format!(
        "{}, {} parameters",
        recipe.model.kind(),
        count(plan.parameters())
    );
    let optimizer = format!(
        "{}, learning rate {}, {} schedule, {} epochs of batches of {}",
        recipe.optim.kind(),
        recipe.optim.lr(),
        recipe.schedule.kind(),
        recipe.train.epochs,
        recipe.train.batch_size
    );
    let mut lines = vec![
        format!("  run        {}", setup.run.display()),
        format!("  data       {data}"),
        format!("  network    {network}"),
        format!("  optimizer  {optimizer}"),
    ];
    if setup.start_step > 0 {
        let (step, total) = (count(setup.start_step), count(setup.total_steps));
        lines.push(format!("  continues  after step {step} of {total}"));
    }
    lines
}
