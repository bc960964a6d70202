//! `--tui`: a training as curves and figures on the terminal.
//!
//! It redraws some lines at the end of what is there. It takes no input, hides no cursor and switches no screen, so the
//! terminal is in order whenever the process ends: by itself, by a panic, by Ctrl-C once or twice, by a kill.

mod braille;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use braille::plot;
use cortical_train::{Event, Measure, Observer, PhaseMetrics, Setup, StepMetrics};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::escape::escape;
use crate::output::Output;
use crate::speed::Speed;
use crate::style::{Style, count, duration, percent};

/// How often it is drawn at most.
const EVERY: Duration = Duration::from_millis(100);
/// Columns of each of the two plots, and their rows: on the smallest terminal that is drawn for, and on the largest.
const COLUMNS: (usize, usize) = (12, 120);
const ROWS: (usize, usize) = (3, 16);
/// Lines of a frame beside those of the plots, with one for the prompt behind it.
const OTHER_LINES: usize = 9;
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
    speed: Speed,
    remarks: Vec<String>,
}

/// How large a frame may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    /// Characters of a line.
    width: usize,
    /// Columns and rows of each of the two plots.
    columns: usize,
    rows: usize,
}

impl Size {
    fn new(width: usize, height: usize) -> Self {
        // Two characters stand before the first plot, three between the two, and the last one stays free.
        let columns = (width.saturating_sub(6) / 2).clamp(COLUMNS.0, COLUMNS.1);
        Self {
            width: width.saturating_sub(1),
            columns,
            rows: height.saturating_sub(OTHER_LINES).clamp(ROWS.0, ROWS.1),
        }
    }

    /// As large as the terminal is now; it may change while the training runs.
    fn of_terminal() -> Self {
        let size = terminal_size::terminal_size_of(std::io::stderr());
        let (width, height) = size.map_or((80, 24), |(width, height)| (width.0, height.0));
        Self::new(width.into(), height.into())
    }
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
        self.bar.set_message(self.state.frame(Size::of_terminal()));
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
        let frame = self.state.frame(Size::of_terminal());
        self.bar.abandon_with_message(frame);
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
        self.speed.step(Instant::now(), metrics.units);
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
        self.speed.pause();
    }

    /// Everything, as lines that fit the terminal.
    fn frame(&self, size: Size) -> String {
        let cut = |line: String| line.chars().take(size.width).collect::<String>();
        let lines: Vec<String> = self.lines(size).into_iter().map(cut).collect();
        escape(&lines.join("\n"), Style::plain()).into_owned()
    }

    fn lines(&self, size: Size) -> Vec<String> {
        let Size { columns, rows, .. } = size;
        let mut lines = vec![format!("  {}", self.head)];
        let Some(last) = &self.last else {
            return lines;
        };
        let total = self.total_steps.max(1);
        let done = last.step as f64 / total as f64;
        let width = 2 * columns + 3;
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
        let measure = self.measure.unwrap_or(Measure::Accuracy);
        let mut right = measure.title().to_owned();
        if let Some(accuracy) = last.accuracy {
            right += &format!(" {},", measure.format(accuracy));
        }
        if let Some(figure) = valid(&self.figure) {
            right += &format!(" valid {}", measure.format(figure));
        }
        lines.push(format!("  {left:<width$}   {right}", width = columns));
        let end = total as f64;
        let plots = [
            plot(&self.loss, end, columns, rows),
            plot(&self.figure, end, columns, rows),
        ];
        for (left, right) in plots[0].iter().zip(&plots[1]) {
            lines.push(format!("  {left}   {right}"));
        }
        let mut figures = format!("  lr {:.2e}   gradient norm {:.3}", last.lr, last.grad_norm);
        if let Some(rate) = self.speed.rate() {
            let left = duration(rate.time_for(total.saturating_sub(last.step)));
            let (speed, unit) = (count(rate.units_per_second as u64), self.unit);
            figures += &format!("   {speed} {unit}/s   {left} left");
        }
        lines.push(figures);
        let remarks = self.remarks.iter().rev().take(2).rev();
        lines.extend(remarks.map(|remark| format!("  {remark}")));
        lines
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
        assert_eq!(state.frame(Size::new(80, 24)), "  lenet on digits");
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
        for (width, height) in [(80, 24), (40, 10), (200, 60), (20, 5)] {
            let size = Size::new(width, height);
            let frame = state.frame(size);
            let lines: Vec<&str> = frame.lines().collect();
            assert_eq!(lines.len(), 6 + size.rows);
            let longest = lines.iter().map(|line| line.chars().count()).max();
            assert!(longest < Some(width), "{longest:?}\n{frame}");
            if width >= 80 {
                assert!(
                    frame.contains("step 50 of 100") && frame.contains("valid 0.1000"),
                    "{frame}"
                );
                // The plots use the width that there is.
                assert!(
                    longest > Some(width - 8) || size.columns == COLUMNS.1,
                    "{frame}"
                );
            }
        }
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
