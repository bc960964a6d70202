//! The table `[augment]`: what is changed in pictures at random.

use cortical_data::{Augment, AugmentDefect};

use super::section::Section;

impl Section for Augment {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("flip", "how probably left and right change places"),
        ("flip_vertical", "how probably top and bottom do"),
        ("crop_padding", "pixels of shift at most"),
        ("rotate", "degrees at most"),
        ("scale", "share of growth or shrinking at most"),
        ("shear", "degrees at most"),
        ("translate", "share of its size that it moves at most"),
        ("brightness", "share of change at most"),
        ("contrast", "share of change at most"),
        ("saturation", "share of change at most, for three channels"),
        ("cutout", "side of a square that is cut out, in pixels"),
        ("cutout_p", "how probably it is cut out"),
    ];

    fn broken(&self) -> Option<(&'static str, &'static str, String)> {
        match self.validate() {
            Err(cortical_data::Error::Augment(AugmentDefect::Field {
                what,
                expected,
                found,
            })) => Some((what, expected, found.to_string())),
            _ => None,
        }
    }
}
