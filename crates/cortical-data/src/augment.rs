//! Pictures changed at random, as a function of a seed and of the sample's place in the run.

mod warp;

use cortical_settings::{Rule, Settings, rule, settings};
use cortical_tensor::Rng;

use crate::error::{AugmentDefect, Error, Result};
use warp::Warp;

settings! {
    /// What is changed in a picture, and by how much at most. The default changes nothing.
    ///
    /// All changes happen to raw values, before the preprocessing that is saved with a model; places without a picture
    /// are filled with 0. Their order is: warp (rotation, scale, shear, translation in one go), shift, flips, colours,
    /// cutout.
    ///
    /// ```
    /// use cortical_data::Augment;
    /// use cortical_tensor::{Rng, Seed};
    /// let augment = Augment { flip: 1.0, ..Augment::default() };
    /// let mut picture = [1.0, 2.0, 3.0, 4.0];
    /// augment.apply(&mut Rng::new(Seed(1), "sample"), &mut picture, &[1, 2, 2], None)?;
    /// assert_eq!(picture, [2.0, 1.0, 4.0, 3.0]);
    /// # Ok::<(), cortical_data::Error>(())
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct Augment {
        /// How probably left and right change places, 0 to 1.
        pub flip: f64 = 0.0, "how probably left and right change places", up_to_one();
        /// How probably top and bottom change places, 0 to 1.
        pub flip_vertical: f64 = 0.0, "how probably top and bottom do", up_to_one();
        /// Pixels by which the picture is shifted at most, as a crop from a padded one.
        pub crop_padding: usize = 0, "pixels of shift at most";
        /// Degrees by which it is turned at most, either way.
        pub rotate: f64 = 0.0, "degrees at most",
            rule("from 0 to 180 degrees", |x: &f64| (0.0..=180.0).contains(x));
        /// The share by which it grows or shrinks at most, below 1.
        pub scale: f64 = 0.0, "share of growth or shrinking at most",
            rule("from 0 to below 1", |x: &f64| (0.0..1.0).contains(x));
        /// Degrees by which it is sheared at most, either way, below 90.
        pub shear: f64 = 0.0, "degrees at most",
            rule("from 0 to 80 degrees", |x: &f64| (0.0..=80.0).contains(x));
        /// The share of its size by which it moves at most, either way; between pixels, unlike `crop_padding`.
        pub translate: f64 = 0.0, "share of its size that it moves at most", up_to_one();
        /// The share by which it becomes brighter or darker at most, 0 to 1.
        pub brightness: f64 = 0.0, "share of change at most", up_to_one();
        /// The share by which its contrast changes at most, 0 to 1.
        pub contrast: f64 = 0.0, "share of change at most", up_to_one();
        /// The share by which its colours fade or glow at most, 0 to 1; for three channels.
        pub saturation: f64 = 0.0, "share of change at most, for three channels", up_to_one();
        /// The side of a square that is cut out, in pixels; 0 for none (DeVries and Taylor 2017).
        pub cutout: usize = 0, "side of a square that is cut out, in pixels";
        /// How probably it is cut out, where `cutout` is not 0.
        pub cutout_p: f64 = 1.0, "how probably it is cut out", up_to_one();
    }
}

fn up_to_one() -> Rule<f64> {
    rule("from 0 to 1", |x: &f64| (0.0..=1.0).contains(x))
}

impl Augment {
    /// Whether nothing is changed.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self
            == Self {
                cutout_p: self.cutout_p,
                ..Self::default()
            }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`AugmentDefect::Field`] names the first that is outside its range.
    pub fn validate(&self) -> Result<()> {
        self.broken().map_or(Ok(()), |broken| {
            Err(Error::Augment(AugmentDefect::Field {
                what: broken.field,
                expected: broken.expected,
                found: broken.found,
            }))
        })
    }

    /// Changes one picture; `range` is the largest value that can occur, if that is known.
    ///
    /// # Shapes
    /// `picture`: `[channels, height, width]` in row-major order.
    ///
    /// # Errors
    /// [`AugmentDefect::NotAPicture`] for a sample of another shape.
    pub fn apply(
        &self,
        rng: &mut Rng,
        picture: &mut [f32],
        shape: &[usize],
        range: Option<f32>,
    ) -> Result<()> {
        let &[channels, height, width] = shape else {
            return Err(Error::Augment(AugmentDefect::NotAPicture {
                found: shape.to_vec(),
            }));
        };
        if channels * height * width != picture.len() || picture.is_empty() {
            return Err(Error::Augment(AugmentDefect::NotAPicture {
                found: shape.to_vec(),
            }));
        }
        let size = (height, width);
        // Every number is drawn whether it is used or not, so that one setting does not change what another draws.
        let mut around = |limit: f64| limit * (2.0 * rng.uniform() - 1.0);
        let warp = Warp {
            turn: around(self.rotate).to_radians(),
            scale: 1.0 + around(self.scale),
            shear: around(self.shear).to_radians(),
            down: around(self.translate) * height as f64,
            right: around(self.translate) * width as f64,
        };
        let colours = [self.brightness, self.contrast, self.saturation].map(&mut around);
        let mut shift = || {
            let ways = 2 * self.crop_padding.min(1 << 20) as u64 + 1;
            rng.below(ways) as isize - self.crop_padding.min(1 << 20) as isize
        };
        let shift = (shift(), shift());
        let flips = [self.flip, self.flip_vertical].map(|p| rng.uniform() < p);
        let cut = (
            rng.uniform() < self.cutout_p,
            rng.below(height as u64),
            rng.below(width as u64),
        );

        let planes = || 0..channels;
        let plane = height * width;
        for c in planes() {
            let channel = &mut picture[c * plane..(c + 1) * plane];
            warp.apply(channel, size);
            move_by(channel, size, shift);
            if flips[0] {
                channel.chunks_exact_mut(width).for_each(<[f32]>::reverse);
            }
            if flips[1] {
                flip_rows(channel, size);
            }
        }
        colour(picture, channels, colours, range);
        if self.cutout > 0 && cut.0 {
            let centre = (cut.1 as usize, cut.2 as usize);
            for c in planes() {
                cut_out(
                    &mut picture[c * plane..(c + 1) * plane],
                    size,
                    centre,
                    self.cutout,
                );
            }
        }
        Ok(())
    }
}

/// Shifts a channel by whole pixels, down and right.
fn move_by(channel: &mut [f32], (height, width): (usize, usize), (down, right): (isize, isize)) {
    if (down, right) == (0, 0) {
        return;
    }
    let old = channel.to_vec();
    for y in 0..height {
        for x in 0..width {
            let from = (y.checked_add_signed(-down), x.checked_add_signed(-right));
            channel[y * width + x] = match from {
                (Some(y), Some(x)) if y < height && x < width => old[y * width + x],
                _ => 0.0,
            };
        }
    }
}

fn flip_rows(channel: &mut [f32], (height, width): (usize, usize)) {
    for y in 0..height / 2 {
        for x in 0..width {
            channel.swap(y * width + x, (height - 1 - y) * width + x);
        }
    }
}

/// Brightness is a factor, contrast pulls towards the mean, saturation towards grey.
fn colour(
    picture: &mut [f32],
    channels: usize,
    [brightness, contrast, saturation]: [f64; 3],
    range: Option<f32>,
) {
    if (brightness, contrast, saturation) == (0.0, 0.0, 0.0) {
        return;
    }
    let bright = 1.0 + brightness as f32;
    picture.iter_mut().for_each(|x| *x *= bright);
    if contrast != 0.0 {
        let sum: f64 = picture.iter().map(|x| f64::from(*x)).sum();
        let mean = (sum / picture.len() as f64) as f32;
        let strong = 1.0 + contrast as f32;
        picture
            .iter_mut()
            .for_each(|x| *x = mean + (*x - mean) * strong);
    }
    if saturation != 0.0 && channels == 3 {
        let plane = picture.len() / 3;
        let full = 1.0 + saturation as f32;
        for i in 0..plane {
            // How bright the eye finds red, green and blue (ITU-R BT.601).
            let grey =
                0.299 * picture[i] + 0.587 * picture[plane + i] + 0.114 * picture[2 * plane + i];
            for c in 0..3 {
                let x = &mut picture[c * plane + i];
                *x = grey + (*x - grey) * full;
            }
        }
    }
    if let Some(range) = range {
        picture.iter_mut().for_each(|x| *x = x.clamp(0.0, range));
    }
}

/// Fills a square around `centre` with 0; what would lie outside is left out.
fn cut_out(
    channel: &mut [f32],
    (height, width): (usize, usize),
    (y, x): (usize, usize),
    side: usize,
) {
    let span = |centre: usize, whole: usize| {
        let start = centre.saturating_sub(side / 2);
        start..whole.min(centre.saturating_add(side - side / 2))
    };
    for row in span(y, height) {
        let columns = span(x, width);
        channel[row * width + columns.start..row * width + columns.end].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_tensor::{Rng, Seed};
    use proptest::prelude::*;

    fn ramp(n: usize) -> Vec<f32> {
        (0..n).map(|i| i as f32).collect()
    }

    fn applied(augment: &Augment, shape: &[usize], seed: u64) -> Vec<f32> {
        augment.validate().unwrap();
        let mut picture = ramp(shape.iter().product());
        let mut rng = Rng::new(Seed(seed), "sample");
        augment.apply(&mut rng, &mut picture, shape, None).unwrap();
        picture
    }

    fn all() -> Augment {
        Augment {
            flip: 0.5,
            flip_vertical: 0.5,
            crop_padding: 2,
            rotate: 20.0,
            scale: 0.2,
            shear: 10.0,
            translate: 0.1,
            brightness: 0.2,
            contrast: 0.2,
            saturation: 0.3,
            cutout: 3,
            cutout_p: 0.5,
        }
    }

    #[test]
    fn nothing_changes_nothing() {
        assert!(Augment::default().is_none());
        assert_eq!(applied(&Augment::default(), &[2, 3, 4], 1), ramp(24));
    }

    #[test]
    fn flips_mirror_rows_and_columns() {
        let sideways = Augment {
            flip: 1.0,
            ..Augment::default()
        };
        assert_eq!(
            applied(&sideways, &[1, 2, 3], 1),
            [2.0, 1.0, 0.0, 5.0, 4.0, 3.0]
        );
        let over = Augment {
            flip_vertical: 1.0,
            ..Augment::default()
        };
        assert_eq!(
            applied(&over, &[1, 3, 2], 1),
            [4.0, 5.0, 2.0, 3.0, 0.0, 1.0]
        );
    }

    #[test]
    fn a_crop_shifts_by_whole_pixels_within_its_limit() {
        let crop = Augment {
            crop_padding: 1,
            ..Augment::default()
        };
        let mut seen = std::collections::HashSet::new();
        for seed in 0..200 {
            let picture = applied(&crop, &[1, 3, 3], seed);
            // The centre, 4, moves to one of nine places.
            seen.insert(picture.iter().position(|x| *x == 4.0).unwrap());
        }
        assert_eq!(seen.len(), 9);
    }

    #[test]
    fn a_cut_has_its_size_or_lies_at_an_edge() {
        let cut = Augment {
            cutout: 2,
            cutout_p: 1.0,
            ..Augment::default()
        };
        for seed in 0..50 {
            let mut picture = vec![1.0; 25];
            let mut rng = Rng::new(Seed(seed), "sample");
            cut.apply(&mut rng, &mut picture, &[1, 5, 5], None).unwrap();
            let zeros = picture.iter().filter(|x| **x == 0.0).count();
            assert!((1..=4).contains(&zeros), "{zeros}");
        }
    }

    #[test]
    fn colours_stay_in_their_range() {
        let glow = Augment {
            brightness: 1.0,
            contrast: 1.0,
            saturation: 1.0,
            ..Augment::default()
        };
        for seed in 0..20 {
            let mut picture = ramp(27);
            let mut rng = Rng::new(Seed(seed), "sample");
            glow.apply(&mut rng, &mut picture, &[3, 3, 3], Some(26.0))
                .unwrap();
            assert!(
                picture.iter().all(|x| (0.0..=26.0).contains(x)),
                "{picture:?}"
            );
            assert_ne!(picture, ramp(27));
        }
    }

    #[test]
    fn what_is_no_picture_and_what_is_no_share_is_refused() {
        let mut values = [0.0; 4];
        let mut rng = Rng::new(Seed(1), "sample");
        let error = all().apply(&mut rng, &mut values, &[4], None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected pictures of shape [channels, height, width] to augment, found samples of shape [4]"
        );
        let wrong = Augment {
            flip: 2.0,
            ..Augment::default()
        };
        assert_eq!(
            wrong.validate().unwrap_err().to_string(),
            "augment.flip: expected from 0 to 1, found 2"
        );
    }

    proptest! {
        #[test]
        fn one_seed_is_one_picture_of_finite_values(
            channels in 1usize..4, height in 1usize..7, width in 1usize..7, seed: u64,
        ) {
            let shape = [channels, height, width];
            let once = applied(&all(), &shape, seed);
            prop_assert_eq!(&once, &applied(&all(), &shape, seed));
            prop_assert!(once.iter().all(|x| x.is_finite()));
        }
    }
}
