//! Rotation, scale, shear and translation of a picture about its centre, with bilinear interpolation.

/// An affine map; angles in radians, ways in pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Warp {
    pub(super) turn: f64,
    pub(super) scale: f64,
    pub(super) shear: f64,
    pub(super) down: f64,
    pub(super) right: f64,
}

impl Warp {
    fn is_identity(&self) -> bool {
        self.turn == 0.0
            && self.scale == 1.0
            && self.shear == 0.0
            && self.down == 0.0
            && self.right == 0.0
    }

    /// Warps a channel. Each new pixel is looked up where the inverse map says: `p = R · S · H (q − t)`.
    pub(super) fn apply(&self, channel: &mut [f32], (height, width): (usize, usize)) {
        if self.is_identity() {
            return;
        }
        let old = channel.to_vec();
        let (sin, cos) = self.turn.sin_cos();
        let (size, shear) = (1.0 / self.scale, self.shear.tan());
        let centre = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
        for row in 0..height {
            for column in 0..width {
                let y = row as f64 - centre.0 - self.down;
                let x = column as f64 - centre.1 - self.right;
                let x = x + shear * y;
                let from_y = size * (cos * y - sin * x) + centre.0;
                let from_x = size * (sin * y + cos * x) + centre.1;
                channel[row * width + column] = between(&old, (height, width), from_y, from_x);
            }
        }
    }
}

/// The value at a place between pixels; 0 outside.
fn between(channel: &[f32], (height, width): (usize, usize), y: f64, x: f64) -> f32 {
    let (top, left) = (y.floor(), x.floor());
    let (share_y, share_x) = ((y - top) as f32, (x - left) as f32);
    let at = |y: f64, x: f64| {
        let inside = y >= 0.0 && x >= 0.0 && y < height as f64 && x < width as f64;
        if inside {
            channel[y as usize * width + x as usize]
        } else {
            0.0
        }
    };
    let upper = at(top, left) * (1.0 - share_x) + at(top, left + 1.0) * share_x;
    let lower = at(top + 1.0, left) * (1.0 - share_x) + at(top + 1.0, left + 1.0) * share_x;
    upper * (1.0 - share_y) + lower * share_y
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Warp = Warp {
        turn: 0.0,
        scale: 1.0,
        shear: 0.0,
        down: 0.0,
        right: 0.0,
    };

    fn warped(warp: Warp, picture: [f32; 9]) -> [f32; 9] {
        let mut picture = picture;
        warp.apply(&mut picture, (3, 3));
        picture.map(|x| (x * 1e3).round() / 1e3)
    }

    const PICTURE: [f32; 9] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];

    #[test]
    fn a_quarter_turn_and_a_half_turn_move_corners() {
        let turned = |degrees: f64| {
            let turn = degrees.to_radians();
            warped(Warp { turn, ..NONE }, PICTURE)
        };
        assert_eq!(turned(180.0), [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]);
        let quarter = turned(90.0);
        assert!(
            quarter == [3.0, 6.0, 9.0, 2.0, 5.0, 8.0, 1.0, 4.0, 7.0]
                || quarter == [7.0, 4.0, 1.0, 8.0, 5.0, 2.0, 9.0, 6.0, 3.0],
            "{quarter:?}"
        );
    }

    #[test]
    fn translation_scale_and_shear_interpolate() {
        let moved = warped(Warp { right: 0.5, ..NONE }, PICTURE);
        assert_eq!(moved, [0.5, 1.5, 2.5, 2.0, 4.5, 5.5, 3.5, 7.5, 8.5]);
        let larger = warped(Warp { scale: 2.0, ..NONE }, PICTURE);
        assert_eq!(larger, [3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0]);
        let shear = std::f64::consts::FRAC_PI_4;
        let sheared = warped(Warp { shear, ..NONE }, PICTURE);
        assert_eq!(sheared, [0.0, 1.0, 2.0, 4.0, 5.0, 6.0, 8.0, 9.0, 0.0]);
    }
}
