//! What a server counts, as Prometheus reads it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counters and what is now.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Requests by path and status.
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Tokens of prompts that were read.
    pub(crate) read: AtomicU64,
    /// Tokens of prompts that were known from earlier texts.
    pub(crate) known: AtomicU64,
    /// Tokens that were written.
    pub(crate) written: AtomicU64,
    /// Steps of the model, and microseconds that they took.
    pub(crate) steps: AtomicU64,
    pub(crate) step_us: AtomicU64,
    /// Requests whose client went away.
    pub(crate) abandoned: AtomicU64,
    /// Texts that are being written, that wait, and positions of earlier ones that are kept.
    pub(crate) active: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) kept: AtomicU64,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// Says what is now.
pub(crate) fn set(gauge: &AtomicU64, n: usize) {
    gauge.store(n as u64, Ordering::Relaxed);
}

impl Metrics {
    /// Counts an answer.
    pub(crate) fn answered(&self, path: &'static str, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((path, status)).or_default() += 1;
    }

    /// Counts a step.
    pub(crate) fn stepped(&self, spent: Duration) {
        add(&self.steps, 1);
        add(&self.step_us, spent.as_micros() as u64);
    }

    /// All of it in Prometheus' text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, String)]| {
            let _ = writeln!(text, "# HELP cortical_{name} {help}");
            let _ = writeln!(text, "# TYPE cortical_{name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "cortical_{name}{labels} {value}");
            }
        };
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let rows: Vec<(String, String)> = requests
            .iter()
            .map(|((path, status), n)| {
                (
                    format!("{{path=\"{path}\",status=\"{status}\"}}"),
                    n.to_string(),
                )
            })
            .collect();
        drop(requests);
        family("requests_total", "counter", "Requests answered.", &rows);
        let counters = [
            ("prompt_tokens_total", "Tokens of prompts read.", &self.read),
            (
                "cached_tokens_total",
                "Tokens of prompts known from earlier texts.",
                &self.known,
            ),
            ("generated_tokens_total", "Tokens written.", &self.written),
            ("steps_total", "Steps of the model.", &self.steps),
            (
                "abandoned_total",
                "Requests whose client went away.",
                &self.abandoned,
            ),
        ];
        let now = |value: &AtomicU64| value.load(Ordering::Relaxed).to_string();
        for (name, help, value) in counters {
            family(name, "counter", help, &[(String::new(), now(value))]);
        }
        let seconds = self.step_us.load(Ordering::Relaxed) as f64 / 1e6;
        let rows = [(String::new(), format!("{seconds}"))];
        family("step_seconds_total", "counter", "Time of steps.", &rows);
        let gauges = [
            ("active", "Texts being written.", &self.active),
            ("waiting", "Requests waiting.", &self.waiting),
            (
                "kept_positions",
                "Positions of earlier texts kept.",
                &self.kept,
            ),
        ];
        for (name, help, value) in gauges {
            family(name, "gauge", help, &[(String::new(), now(value))]);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_lines_that_prometheus_reads() {
        let metrics = Metrics::default();
        metrics.answered("/health", 200);
        metrics.answered("/health", 200);
        metrics.stepped(Duration::from_millis(5));
        let text = metrics.text();
        for line in [
            "cortical_requests_total{path=\"/health\",status=\"200\"} 2",
            "# TYPE cortical_steps_total counter",
            "cortical_steps_total 1",
            "cortical_step_seconds_total 0.005",
            "cortical_active 0",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
    }
}
