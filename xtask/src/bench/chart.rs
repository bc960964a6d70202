//! The chart `docs/benchmarks.svg`: for each workload a bar for each number of threads, as long as PyTorch's time
//! divided by ours, with the instruction set that the most machines have of those that were measured.

use super::instructions::InstructionSet;
use super::peer::Peer;
use super::records::Records;
use std::fmt::Write;

/// Where the bars begin, and how long a ratio of 1 is.
const LEFT: f64 = 210.0;
const WIDTH: f64 = 760.0;
const BAR: f64 = 9.0;
const ROW: f64 = 28.0;
const TOP: f64 = 56.0;
/// Ratios beyond this are cut off, and say so by their number.
const MOST: f64 = 4.0;
/// The first of these that was measured is shown.
const COMMON: [InstructionSet; 3] = [
    InstructionSet::Avx512,
    InstructionSet::Amx,
    InstructionSet::Avx2,
];
/// One colour for each number of threads, told apart by people who see few colours as well.
const COLOURS: [(usize, &str); 2] = [(1, "#7aa6c2"), (2, "#1f4e79")];

/// The whole picture.
pub(crate) fn render(records: &Records) -> String {
    let ratio_with = |isa, bench: &str, threads: usize| {
        let record = records.get(bench, (isa, threads), Peer::Torch.name())?;
        Some(record.ratio)
    };
    let isa = COMMON
        .into_iter()
        .find(|isa| {
            let mut benches = records.order.iter();
            benches.any(|bench| ratio_with(*isa, bench, COLOURS[0].0).is_some())
        })
        .unwrap_or(COMMON[0]);
    let ratio = |bench: &str, threads: usize| ratio_with(isa, bench, threads);
    let rows: Vec<&String> = records
        .order
        .iter()
        .filter(|bench| {
            COLOURS
                .iter()
                .any(|(threads, _)| ratio(bench, *threads).is_some())
        })
        .collect();
    let height = TOP + ROW * rows.len() as f64 + 12.0;
    let scale = (WIDTH - LEFT - 50.0) / MOST;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\">Time of PyTorch divided by ours, {}: beyond the line Cortical is faster</text>\n",
        isa.title()
    );
    let mut add = |text: String| writeln!(svg, "{text}").expect("a string takes everything");
    for (i, (threads, colour)) in COLOURS.iter().enumerate() {
        let x = LEFT + 110.0 * i as f64;
        let label = if *threads == 1 {
            "1 thread".to_owned()
        } else {
            format!("{threads} threads")
        };
        add(format!(
            "<rect x=\"{x}\" y=\"33\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"
        ));
        add(format!("<text x=\"{}\" y=\"43\">{label}</text>", x + 18.0));
    }
    for (row, bench) in rows.iter().enumerate() {
        let top = TOP + ROW * row as f64;
        add(format!(
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{bench}</text>",
            LEFT - 8.0,
            top + 16.0
        ));
        for (i, (threads, colour)) in COLOURS.iter().enumerate() {
            let Some(ratio) = ratio(bench, *threads) else {
                continue;
            };
            let (y, length) = (
                top + 3.0 + (BAR + 1.0) * i as f64,
                scale * ratio.clamp(0.0, MOST),
            );
            add(format!(
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
            ));
            let (x, y) = (LEFT + length + 4.0, y + BAR - 1.0);
            add(format!(
                "<text x=\"{x:.1}\" y=\"{y}\" font-size=\"9\">{ratio:.2}</text>"
            ));
        }
    }
    let (x, end) = (LEFT + scale, height - 8.0);
    add(format!(
        "<line x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{end}\" stroke=\"#b03030\" stroke-dasharray=\"4 3\"/>"
    ));
    svg.push_str("</svg>\n");
    svg
}

#[cfg(test)]
mod tests {
    use super::super::records::testing::sample;
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_ratios_and_only_of_what_was_measured() {
        let svg = render(&sample());
        // A ratio of 2 is half of the longest bar, 125 for each.
        assert!(
            svg.contains("width=\"250.0\" height=\"9\" fill=\"#7aa6c2\""),
            "{svg}"
        );
        assert!(
            svg.contains("width=\"62.5\" height=\"9\" fill=\"#1f4e79\""),
            "{svg}"
        );
        assert!(
            svg.contains(">mlp_train_b32</text>") && !svg.contains("adamw_10m"),
            "{svg}"
        );
        assert_eq!(svg.matches("height=\"9\"").count(), 4);
    }
}
