//! Raw values of a table in the fewest bytes that hold them exactly.

/// Numbers of one width: single precision while that holds every one of them exactly, else double.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::F32(Vec::new())
    }
}

impl Numbers {
    pub(crate) fn push(&mut self, value: f64) {
        match self {
            Self::F64(values) => values.push(value),
            // What is missing is so in any width.
            Self::F32(values) if value.is_nan() => values.push(f32::NAN),
            Self::F32(values) if f64::from(value as f32) == value => values.push(value as f32),
            Self::F32(values) => {
                // Room for what is to come, as every second push would move the values otherwise.
                let mut wide = Vec::with_capacity(values.capacity().max(4));
                wide.extend(values.iter().map(|&x| f64::from(x)));
                wide.push(value);
                *self = Self::F64(wide);
            }
        }
    }

    /// The first value and every so many after it.
    pub(crate) fn every(&self, step: usize) -> Box<dyn Iterator<Item = f64> + '_> {
        match self {
            Self::F32(values) => Box::new(values.iter().step_by(step).map(|&x| f64::from(x))),
            Self::F64(values) => Box::new(values.iter().step_by(step).copied()),
        }
    }

    /// The last `count` values become the first.
    pub(crate) fn rotate(&mut self, count: usize) {
        match self {
            Self::F32(values) => values.rotate_right(count),
            Self::F64(values) => values.rotate_right(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_the_width_that_holds_them() {
        let mut numbers = Numbers::default();
        numbers.push(0.5);
        numbers.push(f64::from(1 << 24));
        assert_eq!(numbers, Numbers::F32(vec![0.5, 16_777_216.0]));
        numbers.push(f64::from((1 << 24) + 1));
        assert_eq!(numbers, Numbers::F64(vec![0.5, 16_777_216.0, 16_777_217.0]));
        numbers.rotate(1);
        assert_eq!(numbers, Numbers::F64(vec![16_777_217.0, 0.5, 16_777_216.0]));
    }
}
