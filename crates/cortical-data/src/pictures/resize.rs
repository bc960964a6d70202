//! Pictures of another size and another number of channels.

use super::Pixels;

/// The bytes of a picture in the shape `[channels, height, width]`.
///
/// A coloured picture becomes grey by the luma of ITU-R BT.601, a grey one has its channel three times.
pub(super) fn fit(picture: Pixels, [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let picture = match (picture.channels, channels) {
        (3, 1) => grey(picture),
        _ => picture,
    };
    let size = picture.height * picture.width;
    let plane = |bytes: &[u8]| {
        if (picture.height, picture.width) == (height, width) {
            return bytes.to_vec();
        }
        let rows = scale(bytes, picture.height, picture.width, width);
        // The same for columns: turned, scaled, turned back.
        let turned = turn(&rows, picture.height, width);
        let scaled = scale_f32(&turned, width, picture.height, height);
        let back = turn(&scaled, width, height);
        back.into_iter()
            .map(|x| x.round().clamp(0.0, 255.0) as u8)
            .collect()
    };
    let planes: Vec<Vec<u8>> = picture.bytes.chunks_exact(size).map(plane).collect();
    (0..channels)
        .flat_map(|c| planes[c.min(planes.len() - 1)].clone())
        .collect()
}

fn grey(picture: Pixels) -> Pixels {
    let size = picture.height * picture.width;
    let (r, rest) = picture.bytes.split_at(size);
    let (g, b) = rest.split_at(size);
    let luma = |i: usize| {
        let sum = 0.299 * f32::from(r[i]) + 0.587 * f32::from(g[i]) + 0.114 * f32::from(b[i]);
        sum.round() as u8
    };
    Pixels {
        channels: 1,
        bytes: (0..size).map(luma).collect(),
        ..picture
    }
}

fn scale(rows: &[u8], height: usize, from: usize, to: usize) -> Vec<f32> {
    let rows: Vec<f32> = rows.iter().map(|&x| f32::from(x)).collect();
    scale_f32(&rows, height, from, to)
}

/// Each of `height` rows of `from` numbers as a row of `to`: a mean with weights that fall off as a triangle, as wide
/// as a new pixel where the row becomes shorter, so that nothing is skipped.
fn scale_f32(rows: &[f32], height: usize, from: usize, to: usize) -> Vec<f32> {
    let step = from as f32 / to as f32;
    let reach = step.max(1.0);
    let mut weights: Vec<(usize, Vec<f32>)> = Vec::with_capacity(to);
    for i in 0..to {
        let middle = (i as f32 + 0.5) * step;
        let first = (middle - reach).floor().max(0.0) as usize;
        let last = ((middle + reach).ceil() as usize).min(from);
        let weight = |x: usize| (1.0 - ((x as f32 + 0.5 - middle) / reach).abs()).max(0.0);
        let row: Vec<f32> = (first..last).map(weight).collect();
        let sum: f32 = row.iter().sum();
        weights.push((first, row.into_iter().map(|w| w / sum).collect()));
    }
    let mut out = Vec::with_capacity(height * to);
    for row in rows.chunks_exact(from) {
        for (first, weights) in &weights {
            let products = row[*first..].iter().zip(weights).map(|(x, w)| x * w);
            out.push(products.sum());
        }
    }
    out
}

/// Rows become columns.
fn turn(rows: &[f32], height: usize, width: usize) -> Vec<f32> {
    (0..width)
        .flat_map(|x| (0..height).map(move |y| rows[y * width + x]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(channels: usize, height: usize, width: usize, bytes: &[u8]) -> Pixels {
        Pixels {
            channels,
            height,
            width,
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn a_picture_of_the_right_shape_stays_as_it_is() {
        let bytes: Vec<u8> = (0..24).collect();
        assert_eq!(fit(picture(3, 2, 4, &bytes), [3, 2, 4]), bytes);
    }

    #[test]
    fn half_the_size_is_a_mean_with_the_neighbours() {
        // Pillow's `resize((2, 1), BILINEAR)` of the row 0 0 255 255.
        assert_eq!(
            fit(picture(1, 1, 4, &[0, 0, 255, 255]), [1, 1, 2]),
            [36, 219]
        );
        let flat = vec![77; 30 * 20];
        assert!(
            fit(picture(1, 30, 20, &flat), [1, 7, 5])
                .iter()
                .all(|x| *x == 77)
        );
        assert_eq!(
            fit(picture(1, 1, 2, &[0, 100]), [1, 2, 4]),
            [0, 25, 75, 100, 0, 25, 75, 100]
        );
    }

    #[test]
    fn colours_become_grey_and_grey_becomes_three_channels() {
        assert_eq!(fit(picture(3, 1, 1, &[255, 0, 0]), [1, 1, 1]), [76]);
        assert_eq!(
            fit(picture(1, 1, 2, &[1, 2]), [3, 1, 2]),
            [1, 2, 1, 2, 1, 2]
        );
    }
}
