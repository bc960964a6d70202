//! `--tui`: a training as curves and figures on the terminal.
//!
//! It redraws some lines at the end of what is there. It takes no input, hides no cursor and switches no screen, so the
//! terminal is in order whenever the process ends: by itself, by a panic, by Ctrl-C once or twice, by a kill.

mod braille;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use braille::plot;
use cortical_train::{Event, Measure, Observer, PhaseMetrics, Setup, StepMetrics};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::Output;
use crate::style::{count, duration, percent};

/// How often it is drawn at most.
const EVERY: Duration = Duration::from_millis(100);
/// Columns of each of the two plots, and their rows.
const COLUMNS: usize = 36;
const ROWS: usize = 7;
/// Steps that the speed is averaged over.
const WINDOW: usize = 50;
/// Points of a curve that are remembered; of more, every second is dropped.
const POINTS: usize = 4096;

/// Draws a training on stderr.
#[derive(Debug)]
pub(crate) struct Dashboard {
    bar: ProgressBar,
    state: State,
    drawn: Instant,
}

/// What is known so far.
#[derive(Debug, Default)]
struct State {
    head: String,
    total_steps: u64,
    total_epochs: u64,
    last: Option<StepMetrics>,
    /// What speed is counted in, and what is measured beside the loss.
    unit: &'static str,
    measure: Option<Measure>,
    /// By step, for training and validations.
    loss: [Vec<(f64, f64)>; 2],
    figure: [Vec<(f64, f64)>; 2],
    recent: VecDeque<(Instant, usize)>,
    remarks: Vec<String>,
}

impl Dashboard {
    /// Whether there is a terminal to draw on.
    pub(crate) fn is_possible(output: &Output) -> bool {
        !output.is_quiet() && std::io::stderr().is_terminal()
    }

    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        // A template that is wrong leaves the default bar, which is right.
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        Self {
            bar,
            state: State::default(),
            drawn: Instant::now(),
        }
    }

    fn draw(&mut self) {
        self.drawn = Instant::now();
        self.bar.set_message(self.state.frame());
        self.bar.tick();
    }
}

impl Observer for Dashboard {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Ready(setup) => self.state.ready(&setup),
            Event::Step(metrics) => {
                self.state.step(metrics);
                if self.drawn.elapsed() < EVERY {
                    return;
                }
            }
            Event::Phase(metrics) => self.state.phase(metrics),
            Event::Warning(warning) => self.state.remarks.push(format!("warning: {warning}")),
            Event::Checkpoint { step, .. } => {
                self.state
                    .remarks
                    .retain(|remark| !remark.starts_with("checkpoint"));
                self.state
                    .remarks
                    .push(format!("checkpoint of step {step} is on the disk"));
            }
            Event::EarlyEnd(end) => self.state.remarks.push(end.to_string()),
            _ => return,
        }
        self.draw();
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        // The last frame stays.
        self.bar.abandon_with_message(self.state.frame());
    }
}

impl State {
    fn ready(&mut self, setup: &Setup<'_>) {
        let recipe = setup.recipe;
        self.head = format!(
            "{} on {}, {} parameters, {}",
            setup.model,
            recipe.data.name,
            count(setup.parameters),
            recipe.optim.kind()
        );
        self.unit = setup.data.unit.name();
        self.measure = Some(setup.measure);
        self.total_steps = setup.total_steps;
        self.total_epochs = recipe.train.epochs;
    }

    fn step(&mut self, metrics: &StepMetrics) {
        let at = metrics.step as f64;
        push(&mut self.loss[0], (at, metrics.loss));
        if let Some(accuracy) = metrics.accuracy {
            push(&mut self.figure[0], (at, accuracy));
        }
        self.recent.push_back((Instant::now(), metrics.units));
        if self.recent.len() > WINDOW {
            self.recent.pop_front();
        }
        self.last = Some(*metrics);
    }

    fn phase(&mut self, metrics: &PhaseMetrics) {
        let at = metrics.step as f64;
        if let Some(valid) = &metrics.valid {
            if let Some(loss) = valid.loss {
                push(&mut self.loss[1], (at, loss));
            }
            if let Some(figure) = valid.figure {
                push(&mut self.figure[1], (at, figure));
            }
        }
        // The next step's speed must not contain the validation.
        self.recent.clear();
    }

    /// A figure beside the loss as it is read.
    fn shown(&self, figure: f64) -> String {
        match self.measure {
            Some(measure) if !measure.is_share() => format!("{figure:.2}"),
            _ => percent(figure),
        }
    }

    /// Samples or tokens a second, over the last steps.
    fn speed(&self) -> Option<f64> {
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let seconds = last.0.duration_since(first.0).as_secs_f64();
        let samples: usize = self.recent.iter().skip(1).map(|(_, samples)| samples).sum();
        (seconds > 0.0).then(|| samples as f64 / seconds)
    }

    /// Everything, as lines of 78 columns at most.
    fn frame(&self) -> String {
        let mut lines = vec![format!("  {}", self.head)];
        let Some(last) = &self.last else {
            return lines.join("\n");
        };
        let total = self.total_steps.max(1);
        let done = last.step as f64 / total as f64;
        let width = 2 * COLUMNS + 3;
        let full = ((done * width as f64) as usize).min(width);
        lines.push(format!(
            "  epoch {}{}   step {} of {}   {}",
            last.epoch,
            match self.total_epochs {
                0 => String::new(),
                epochs => format!("/{epochs}"),
            },
            count(last.step),
            count(total),
            percent(done)
        ));
        lines.push(format!(
            "  {}{}",
            "━".repeat(full),
            "─".repeat(width - full)
        ));
        let valid = |curves: &[Vec<(f64, f64)>; 2]| curves[1].last().map(|(_, figure)| *figure);
        let loss = valid(&self.loss).map_or(String::new(), |x| format!(", valid {x:.4}"));
        let left = format!("loss {:.4}{loss}", last.loss);
        let mut right = self.measure.map_or("accuracy", Measure::name).to_owned();
        if let Some(accuracy) = last.accuracy {
            right += &format!(" {},", self.shown(accuracy));
        }
        if let Some(figure) = valid(&self.figure) {
            right += &format!(" valid {}", self.shown(figure));
        }
        lines.push(format!("  {left:<width$}   {right}", width = COLUMNS));
        let end = total as f64;
        let plots = [
            plot(&self.loss, end, COLUMNS, ROWS),
            plot(&self.figure, end, COLUMNS, ROWS),
        ];
        for (left, right) in plots[0].iter().zip(&plots[1]) {
            lines.push(format!("  {left}   {right}"));
        }
        let mut figures = format!("  lr {:.2e}   gradient norm {:.3}", last.lr, last.grad_norm);
        if let Some(speed) = self.speed() {
            let steps = (total - last.step.min(total)) as f64;
            let left = duration(steps * last.units as f64 / speed.max(1e-9));
            let unit = self.unit;
            figures += &format!("   {} {unit}/s   {left} left", count(speed as u64));
        }
        lines.push(figures);
        let remarks = self.remarks.iter().rev().take(2).rev();
        lines.extend(
            remarks.map(|remark| format!("  {}", remark.chars().take(76).collect::<String>())),
        );
        lines.join("\n")
    }
}

fn push(curve: &mut Vec<(f64, f64)>, point: (f64, f64)) {
    if curve.len() >= POINTS {
        let mut keep = false;
        curve.retain(|_| {
            keep = !keep;
            keep
        });
    }
    curve.push(point);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_curves_and_figures_and_is_never_too_wide() {
        let mut state = State {
            head: "lenet on digits".to_owned(),
            total_steps: 100,
            total_epochs: 4,
            ..State::default()
        };
        assert_eq!(state.frame(), "  lenet on digits");
        for step in 1..=50_u64 {
            let json = serde_json::json!({
                "step": step, "epoch": 1, "loss": 2.0 / step as f64, "accuracy": 0.5,
                "lr": 1e-3, "units": 64, "grad_norm": 1.5,
            });
            state.step(&serde_json::from_value(json).unwrap());
        }
        let json = serde_json::json!({
            "step": 50, "epoch": null, "train_loss": 0.2, "train_accuracy": 0.8,
            "valid": { "loss": 0.1, "figure": 0.9, "sample": "" }, "train_seconds": 1.0,
        });
        state.phase(&serde_json::from_value(json).unwrap());
        state
            .remarks
            .push("warning: ".to_owned() + &"x".repeat(200));
        let frame = state.frame();
        assert!(
            frame.contains("step 50 of 100") && frame.contains("valid 0.1000"),
            "{frame}"
        );
        assert_eq!(frame.lines().count(), 6 + ROWS);
        assert!(
            frame.lines().all(|line| line.chars().count() <= 78),
            "{frame}"
        );
    }

    #[test]
    fn long_curves_are_thinned() {
        let mut curve = Vec::new();
        for i in 0..20_000 {
            push(&mut curve, (f64::from(i), 0.0));
        }
        assert!(curve.len() <= POINTS && curve.is_sorted_by(|a, b| a.0 < b.0));
    }
}
