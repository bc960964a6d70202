//! The page `docs/benchmarks.md`, a function of what was measured.

use super::instructions::InstructionSet;
use super::peer::Peer;
use super::records::{Record, Records};
use std::fmt::Write;

const OWN: &str = "cortical";
/// The numbers of threads that the tables have columns for.
const THREADS: [usize; 2] = [1, 2];
/// Workloads whose memory is compared.
const MEMORY: [&str; 2] = ["cnn_train_b64", "llama15m_train_b4_t256"];

const INTRODUCTION: &str = "\
# Benchmarks

How fast Cortical is beside other libraries, on one machine. `cargo xtask bench --peers` makes this page, its chart and
[benchmarks.json](benchmarks.json), from which both can be made again; a run of some workloads replaces their rows and leaves the others as they are.

![Time of PyTorch divided by ours, by workload](benchmarks.svg)

Each workload is the same work in each library: the same shapes, `f32` unless the name says otherwise, random inputs. A training step
is forward, loss, backward, AdamW (fused in PyTorch) and reading the loss. All programs are warm and take turns of some steps, each standing still while it is
another's; a time is the median of the turns' medians, a ratio the median of the rounds' ratios, and ± is half of what lies between the
quartiles of the rounds' ratios. A row whose rounds differ by more is not written. Above 1 Cortical is faster. With one thread a program is kept on one core.

Each table holds both sides to one instruction set. PyTorch multiplies `f32` without tiles everywhere, so its limit to AVX-512 changes only `bf16`.
Names that begin with `odd_` have shapes that nobody's kernels were made for.

*Of the limit* is the least time that the machine allows, divided by ours: the operations of the step at the measured peak of
multiply-adds, and the bytes that it cannot avoid moving at the measured bandwidth of caches or memory. The letter says which of the two is
the larger part: c for computing, m for moving.
";

/// The whole page.
pub(crate) fn render(records: &Records) -> String {
    let mut page = INTRODUCTION.to_owned();
    for isa in InstructionSet::ALL {
        let table = beside_torch(records, isa);
        if table.is_empty() {
            continue;
        }
        line(
            &mut page,
            format_args!("\n## Beside PyTorch, {}\n", isa.title()),
        );
        page.push_str(&table);
        page.push_str(&means(records, isa));
        page.push_str(&machine(records, isa));
    }
    for isa in InstructionSet::ALL {
        let table = beside_others(records, isa);
        if !table.is_empty() {
            line(
                &mut page,
                format_args!("\n## Beside candle-nn and Burn, {}\n", isa.title()),
            );
            page.push_str(&table);
        }
        let table = memory(records, isa);
        if !table.is_empty() {
            line(
                &mut page,
                format_args!(
                    "\n## Memory, {}\n\nThe most resident memory of the whole process, in MB, with one thread.\n",
                    isa.title()
                ),
            );
            page.push_str(&table);
        }
    }
    page
}

/// Where the figures with an instruction set come from.
fn machine(records: &Records, isa: InstructionSet) -> String {
    let mut text = "\n".to_owned();
    for (title, fact) in records.machines.get(&isa).into_iter().flatten() {
        line(&mut text, format_args!("- {title}: {fact}"));
    }
    if let Some((first, last)) = records.dates(isa) {
        let dates = if first == last {
            first.to_owned()
        } else {
            format!("{first} to {last}")
        };
        line(&mut text, format_args!("- Date: {dates}"));
    }
    text
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(page, "{text}").expect("a string takes everything");
}

fn ms(record: Option<&Record>) -> String {
    match record.map(|record| record.ms) {
        None => String::new(),
        Some(ms) if ms < 1.0 => format!("{ms:.3}"),
        Some(ms) if ms < 100.0 => format!("{ms:.2}"),
        Some(ms) => format!("{ms:.0}"),
    }
}

fn ratio(record: Option<&Record>) -> String {
    record.map_or_else(String::new, |record| {
        let spread = record
            .spread
            .map(|spread| format!(" ± {:.2}", record.ratio * spread / 2.0));
        format!("**{:.2}**{}", record.ratio, spread.unwrap_or_default())
    })
}

fn beside_torch(records: &Records, isa: InstructionSet) -> String {
    let mut rows = String::new();
    let head = "\
| workload | ours, 1 thread (ms) | PyTorch (ms) | ratio | of the limit | ours, 2 threads (ms) | PyTorch (ms) | ratio | of the limit | our speed-up | PyTorch's |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
";
    for bench in &records.order {
        let mut cells = vec![format!("`{bench}`")];
        for threads in THREADS {
            let own = records.get(bench, (isa, threads), OWN);
            let torch = records.get(bench, (isa, threads), Peer::Torch.name());
            let share = own.map_or_else(String::new, |own| {
                format!(
                    "{:.0} % {}",
                    own.roofline_share * 100.0,
                    own.bound.get(..1).unwrap_or_default()
                )
            });
            cells.extend([ms(own), ms(torch), ratio(torch), share]);
        }
        if cells[1..].iter().all(String::is_empty) {
            continue;
        }
        for side in [OWN, Peer::Torch.name()] {
            cells.push(
                speed_up(records, bench, isa, side).map_or_else(String::new, |x| format!("{x:.2}")),
            );
        }
        line(&mut rows, format_args!("| {} |", cells.join(" | ")));
    }
    under(head, rows)
}

/// A table with its head, or nothing where it has no rows.
fn under(head: &str, rows: String) -> String {
    match rows.is_empty() {
        true => rows,
        false => head.to_owned() + &rows,
    }
}

/// The time with one thread divided by that with two.
fn speed_up(records: &Records, bench: &str, isa: InstructionSet, side: &str) -> Option<f64> {
    Some(records.get(bench, (isa, 1), side)?.ms / records.get(bench, (isa, 2), side)?.ms)
}

/// Whether a workload is a training step, or one operation forward and backward.
fn learns(bench: &str) -> bool {
    bench.contains("_train_") || bench.ends_with("_fwdbwd")
}

/// Whether its shapes are awkward ones.
fn is_odd(bench: &str) -> bool {
    bench.starts_with("odd_")
}

/// Geometric means of the ratios to PyTorch.
fn means(records: &Records, isa: InstructionSet) -> String {
    let mut text = String::new();
    let groups = [
        (false, "of training and of forward with backward"),
        (true, "of awkward shapes"),
    ];
    for (odd, title) in groups {
        for threads in THREADS {
            let ratios: Vec<f64> = records
                .order
                .iter()
                .filter(|bench| learns(bench) && is_odd(bench) == odd)
                .filter_map(|bench| {
                    Some(
                        records
                            .get(bench, (isa, threads), Peer::Torch.name())?
                            .ratio,
                    )
                })
                .collect();
            if ratios.is_empty() {
                continue;
            }
            let mean = (ratios.iter().map(|x| x.ln()).sum::<f64>() / ratios.len() as f64).exp();
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let count = ratios.len();
            line(
                &mut text,
                format_args!(
                    "\nWith {threads} thread(s), the {count} workloads {title}: \
                     geometric mean **{mean:.2}**, least {least:.2}."
                ),
            );
        }
    }
    text
}

fn beside_others(records: &Records, isa: InstructionSet) -> String {
    let peers = [Peer::Candle, Peer::Burn];
    let mut rows = String::new();
    let head = "\
| workload | candle-nn, 1 thread (ms) | ratio | 2 threads (ms) | ratio | Burn, 1 thread (ms) | ratio | 2 threads (ms) | ratio |
|---|---:|---:|---:|---:|---:|---:|---:|---:|
";
    for bench in &records.order {
        let mut cells = vec![format!("`{bench}`")];
        for peer in peers {
            for threads in THREADS {
                let record = records.get(bench, (isa, threads), peer.name());
                cells.extend([ms(record), ratio(record)]);
            }
        }
        if cells[1..].iter().any(|cell| !cell.is_empty()) {
            line(&mut rows, format_args!("| {} |", cells.join(" | ")));
        }
    }
    under(head, rows)
}

fn memory(records: &Records, isa: InstructionSet) -> String {
    let sides = [
        OWN,
        Peer::Torch.name(),
        Peer::Candle.name(),
        Peer::Burn.name(),
    ];
    let mut rows = String::new();
    let head = "\
| workload | ours | PyTorch | candle-nn | Burn | ours / PyTorch |
|---|---:|---:|---:|---:|---:|
";
    for bench in MEMORY {
        let peaks = sides.map(|side| {
            Some(records.get(bench, (isa, 1), side)?.peak_rss_mb).filter(|mb| *mb > 0.0)
        });
        if peaks[0].is_none() {
            continue;
        }
        let cells = peaks.map(|peak| peak.map_or_else(String::new, |mb| format!("{mb:.0}")));
        let share = match peaks {
            [Some(own), Some(torch), ..] => format!("**{:.2}**", own / torch),
            _ => String::new(),
        };
        line(
            &mut rows,
            format_args!("| `{bench}` | {} | {share} |", cells.join(" | ")),
        );
    }
    under(head, rows)
}

#[cfg(test)]
mod tests {
    use super::super::records::testing::sample;
    use super::*;

    #[track_caller]
    fn assert_has(page: &str, want: &str) {
        assert!(page.contains(want), "{want:?} is not in\n{page}");
    }

    #[test]
    fn rows_hold_times_ratios_shares_and_speed_ups() {
        let page = render(&sample());
        assert_has(
            &page,
            "| `mlp_train_b32` | 1.00 | 2.00 | **2.00** ± 0.02 | 50 % c | 0.500 | 1.00 | **2.00** ± 0.02 | 50 % c | 2.00 | 2.00 |\n",
        );
        assert_has(
            &page,
            "| `adamw_10m` | 7.00 |  |  | 50 % c |  |  |  |  |  |  |\n",
        );
        assert_has(&page, "With 1 thread(s), the 2 workloads");
        assert_has(&page, "geometric mean **1.00**, least 0.50.");
        assert_has(
            &page,
            "| `cnn_train_b64` | 400 | **10.00** ± 0.10 | 200 | **10.00** ± 0.10 |  |  |  |  |\n",
        );
        assert_has(
            &page,
            "| `cnn_train_b64` | 100 | 400 | 400 |  | **0.25** |\n",
        );
        assert_has(
            &page,
            "- Processor: Example 1000, 2 threads\n- Date: 2026-11-25\n",
        );
    }

    #[test]
    fn without_measurements_there_are_no_rows() {
        let page = render(&Records::default());
        assert!(!page.contains("| `"), "{page}");
    }
}
