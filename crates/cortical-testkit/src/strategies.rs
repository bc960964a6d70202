//! Proptest strategies for shapes and memory layouts, sizes 0 and 1 included.

use std::ops::RangeInclusive;

use proptest::collection::vec;
use proptest::prelude::*;

/// How a tensor of some shape lies in memory: which base tensor it is a view of, and by which step.
///
/// A description only; a test builds a base of [`Layout::base_shape`] and then takes the view that the variant names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// Row-major, starting at the first element of its storage.
    Contiguous,
    /// The base with dimensions `a` and `b` exchanged.
    Transposed {
        /// One dimension.
        a: usize,
        /// The other.
        b: usize,
    },
    /// A range of the base along `dim`, which has `before` and `after` further elements on its sides.
    Narrowed {
        /// The dimension that was cut.
        dim: usize,
        /// Elements of the base in front of the view: where the view starts.
        before: usize,
        /// Elements of the base behind the view.
        after: usize,
    },
    /// A base of size 1 along `dim`, repeated there by a stride of 0.
    Broadcast {
        /// The repeated dimension.
        dim: usize,
    },
}

impl Layout {
    /// Shape of the base whose view has `shape`.
    ///
    /// # Panics
    /// If the layout names a dimension that `shape` does not have.
    pub fn base_shape(self, shape: &[usize]) -> Vec<usize> {
        let mut base = shape.to_vec();
        match self {
            Self::Contiguous => {}
            Self::Transposed { a, b } => base.swap(a, b),
            Self::Narrowed { dim, before, after } => base[dim] += before + after,
            Self::Broadcast { dim } => base[dim] = 1,
        }
        base
    }
}

/// Shapes of a rank in `rank` whose dimensions are in `dims`, with sizes 0 and 1 drawn more often than their share
/// (where `dims` allows them), because that is where mistakes live.
pub fn shape(
    rank: RangeInclusive<usize>,
    dims: RangeInclusive<usize>,
) -> impl Strategy<Value = Vec<usize>> {
    vec(dim(dims), rank)
}

/// One dimension of [`shape`].
pub fn dim(dims: RangeInclusive<usize>) -> impl Strategy<Value = usize> {
    let mut choices = vec![(6, dims.clone().boxed())];
    for (weight, size) in [(1, 0), (2, 1)] {
        if dims.contains(&size) {
            choices.push((weight, Just(size).boxed()));
        }
    }
    proptest::strategy::Union::new_weighted(choices)
}

/// Layouts that a tensor of `shape` can have. A scalar is always contiguous.
pub fn layout(shape: &[usize]) -> BoxedStrategy<Layout> {
    let rank = shape.len();
    if rank == 0 {
        return Just(Layout::Contiguous).boxed();
    }
    prop_oneof![
        Just(Layout::Contiguous),
        (0..rank, 0..rank).prop_map(|(a, b)| Layout::Transposed { a, b }),
        (0..rank, 0..=3_usize, 0..=3_usize).prop_map(|(dim, before, after)| Layout::Narrowed {
            dim,
            before,
            after
        }),
        (0..rank).prop_map(|dim| Layout::Broadcast { dim }),
    ]
    .boxed()
}

/// A shape as [`shape`] draws it together with a [`layout`] of it.
pub fn shape_and_layout(
    rank: RangeInclusive<usize>,
    dims: RangeInclusive<usize>,
) -> impl Strategy<Value = (Vec<usize>, Layout)> {
    shape(rank, dims).prop_flat_map(|shape| {
        let layout = layout(&shape);
        (Just(shape), layout)
    })
}

/// `len` ordinary numbers: signs, zeros and small fractions, no infinities, none so large that sums lose all digits.
pub fn values(len: usize) -> impl Strategy<Value = Vec<f32>> {
    vec(prop_oneof![1 => Just(0.0_f32), 9 => -3.0_f32..3.0], len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    /// `count` draws from a strategy, the same in each run.
    fn draw<S: Strategy>(strategy: S, count: usize) -> Vec<S::Value> {
        let mut runner = TestRunner::deterministic();
        (0..count)
            .map(|_| strategy.new_tree(&mut runner).unwrap().current())
            .collect()
    }

    #[test]
    fn shapes_stay_in_range_and_reach_empty_and_single_dimensions() {
        let shapes = draw(shape(0..=3, 0..=5), 500);
        assert!(
            shapes
                .iter()
                .all(|shape| shape.len() <= 3 && shape.iter().all(|&dim| dim <= 5))
        );
        for size in 0..=5 {
            assert!(
                shapes.iter().any(|shape| shape.contains(&size)),
                "no dimension of size {size}"
            );
        }
        assert!(shapes.iter().any(Vec::is_empty), "no scalar");
        assert!(
            draw(dim(2..=4), 100)
                .iter()
                .all(|dim| (2..=4).contains(dim))
        );
    }

    #[test]
    fn every_kind_of_layout_is_drawn() {
        let layouts = draw(layout(&[2, 3]), 200);
        assert!(layouts.contains(&Layout::Contiguous));
        assert!(layouts.contains(&Layout::Transposed { a: 0, b: 1 }));
        assert!(layouts.iter().any(|layout| matches!(
            layout,
            Layout::Narrowed {
                dim: 1,
                before: 1..,
                ..
            }
        )));
        assert!(layouts.contains(&Layout::Broadcast { dim: 0 }));
        assert_eq!(draw(layout(&[]), 20), [Layout::Contiguous; 20]);
    }

    #[test]
    fn base_shapes_fit_their_views() {
        assert_eq!(Layout::Contiguous.base_shape(&[2, 3]), [2, 3]);
        assert_eq!(
            Layout::Transposed { a: 0, b: 2 }.base_shape(&[2, 3, 4]),
            [4, 3, 2]
        );
        assert_eq!(
            Layout::Narrowed {
                dim: 1,
                before: 1,
                after: 2
            }
            .base_shape(&[2, 0]),
            [2, 3]
        );
        assert_eq!(Layout::Broadcast { dim: 0 }.base_shape(&[5, 3]), [1, 3]);
    }

    #[test]
    fn values_are_ordinary_and_include_zero() {
        let all = draw(values(50), 4).concat();
        assert_eq!(all.len(), 200);
        assert!(all.iter().all(|value| value.abs() <= 3.0));
        assert!(all.contains(&0.0) && all.iter().any(|&value| value < 0.0));
    }
}
