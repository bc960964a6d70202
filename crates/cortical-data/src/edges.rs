//! Pictures of edges, drawn by the program: the smallest task for which filters must tell directions apart.

use std::f64::consts::FRAC_1_SQRT_2;

use cortical_tensor::{Rng, Seed};

use crate::dataset::Dataset;
use crate::error::Result;
use crate::inputs::Inputs;

/// Height and width of a picture.
pub(crate) const SIDE: usize = 12;
/// How many pictures there are.
pub(crate) const SAMPLES: usize = 2000;
/// The direction of the edge.
pub(crate) const CLASSES: [&str; 4] = ["vertical", "horizontal", "diagonal /", "diagonal \\"];
/// For each class, the direction from dark to light: to the right and downwards.
const ACROSS: [[f64; 2]; 4] = [
    [1.0, 0.0],
    [0.0, 1.0],
    [FRAC_1_SQRT_2, FRAC_1_SQRT_2],
    [FRAC_1_SQRT_2, -FRAC_1_SQRT_2],
];
/// How far from the middle an edge stands at most, and the noise of a pixel whose value is 0 to 1.
const SHIFT: f64 = 2.5;
const NOISE: f64 = 0.08;

/// 2,000 pictures of 12×12 pixels with values 0 to 255, each with one edge between dark and light that stands, lies or
/// runs along a diagonal, at a random place and with noise. They are the same every time.
///
/// # Shapes
/// A sample is `[1, 12, 12]`: one channel, height, width.
///
/// # Errors
/// None but candle's own; the data are drawn by the program.
pub fn edges() -> Result<Dataset> {
    let mut rng = Rng::new(Seed(1), "edges");
    let mut bytes = Vec::with_capacity(SAMPLES * SIDE * SIDE);
    let labels: Vec<u32> = (0..SAMPLES).map(|at| (at % CLASSES.len()) as u32).collect();
    let middle = (SIDE as f64 - 1.0) / 2.0;
    for label in &labels {
        let [right, down] = ACROSS[*label as usize];
        let shift = (2.0 * rng.uniform() - 1.0) * SHIFT;
        for at in 0..SIDE * SIDE {
            let (x, y) = ((at % SIDE) as f64 - middle, (at / SIDE) as f64 - middle);
            let light = (x * right + y * down - shift + 0.5).clamp(0.0, 1.0);
            let value = 0.15 + 0.7 * light + NOISE * rng.normal();
            bytes.push((value.clamp(0.0, 1.0) * 255.0).round() as u8);
        }
    }
    let inputs = Inputs::from_bytes(bytes, &[1, SIDE, SIDE])?;
    Dataset::new(inputs, labels, CLASSES.map(str::to_owned).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn light_lies_where_the_class_says() {
        let data = edges().unwrap();
        assert_eq!(
            (data.len(), data.input_shape()),
            (SAMPLES, &[1, SIDE, SIDE][..])
        );
        for (row, label) in data.labels().iter().enumerate().take(40) {
            let picture = data.inputs().raw_row(row).unwrap();
            let [right, down] = ACROSS[*label as usize];
            let middle = (SIDE as f64 - 1.0) / 2.0;
            let sum: f64 = picture
                .iter()
                .enumerate()
                .map(|(at, value)| {
                    let (x, y) = ((at % SIDE) as f64 - middle, (at / SIDE) as f64 - middle);
                    f64::from(*value) * (x * right + y * down)
                })
                .sum();
            let across: f64 = picture
                .iter()
                .enumerate()
                .map(|(at, value)| {
                    let (x, y) = ((at % SIDE) as f64 - middle, (at / SIDE) as f64 - middle);
                    f64::from(*value) * (y * right - x * down)
                })
                .sum();
            assert!(
                sum > 5.0 * across.abs(),
                "row {row}: {sum} against {across}"
            );
        }
    }
}
