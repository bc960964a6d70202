//! Which weights stay when a share of them is pruned.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use cortical_neuron::{Pattern, kept, largest, largest_of_rows};

#[test]
fn the_largest_stay_and_the_first_of_equals() {
    let check = |scores: &[&[f32]], keep: usize, want: &[&[u8]]| {
        assert_eq!(
            largest(scores.iter().copied(), keep),
            want,
            "{keep} of {scores:?}"
        );
    };
    check(&[&[1.0, 3.0, 2.0]], 2, &[&[0, 1, 1]]);
    check(&[&[1.0, 1.0, 1.0, 1.0]], 3, &[&[1, 1, 1, 0]]);
    check(&[&[0.0, 0.0, 5.0], &[0.0, 7.0]], 3, &[&[1, 0, 1], &[0, 1]]);
    check(&[&[f32::NAN, -3.0]], 1, &[&[0, 1]]);
    check(&[&[2.0]], 0, &[&[0]]);
    check(&[&[2.0]], 9, &[&[1]]);
    check(&[&[], &[1.0]], 1, &[&[], &[1]]);
    check(&[], 0, &[]);
}

#[test]
fn so_many_stay_as_the_share_leaves() {
    for count in [0, 1, 2, 3, 10, 1001] {
        for sparsity in [0.0, 0.1, 0.5, 0.9, 0.999, 1.0] {
            let scores: Vec<f32> = (0..count).map(|i| (i as f32 * 1.7).sin().abs()).collect();
            let keep = kept(count, sparsity);
            let stays = largest([&scores[..]], keep)[0]
                .iter()
                .filter(|m| **m == 1)
                .count();
            assert_eq!(stays, keep);
            assert!((keep as f64 - count as f64 * (1.0 - sparsity)).abs() <= 0.5 + 1e-9);
        }
    }
}

#[test]
fn each_row_loses_the_same_share() {
    let scores = [9.0, 8.0, 7.0, 6.0, 0.4, 0.3, 0.2, 0.1];
    assert_eq!(largest_of_rows(&scores, 4, 0.5), [1, 1, 0, 0, 1, 1, 0, 0]);
}

#[test]
fn groups_do_not_reach_over_rows() {
    let pattern = Pattern::parse("1:2").unwrap();
    let scores = [1.0, 2.0, 9.0, 4.0, 3.0, 9.0];
    assert_eq!(pattern.mask(&scores, 3), [0, 1, 1, 1, 0, 1]);
    assert_eq!(pattern.sparsity(), 0.5);
    for text in ["", "2", "2:2", "0:4", "4:2", "a:b", "2:4:8"] {
        assert_eq!(Pattern::parse(text), None, "{text}");
    }
}
