//! What ranks tell each other, at every small number of ranks.

use std::thread::scope;

use super::{CommunicationDefect, Communicator, Shares, SingleProcess};
use super::{thread_communicators, tree_sum};
use crate::{Error, Result};

/// Does the same on each of so many ranks.
fn on_ranks<R: Send>(size: usize, work: impl Fn(&dyn Communicator) -> R + Sync) -> Vec<R> {
    scope(|scope| {
        let work = &work;
        let ranks = thread_communicators(size).into_iter();
        let ranks: Vec<_> = ranks.map(|rank| scope.spawn(move || work(&rank))).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// Values of such different sizes that every order of adding them has other bits.
fn leaf(micro_batch: usize) -> Vec<f32> {
    let value = |i: usize| ((micro_batch * 7 + i) as f32).sin() * 10_f32.powi((i % 4) as i32);
    (micro_batch..micro_batch + 50).map(value).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

/// The tree as it is defined.
fn naive(start: usize, end: usize) -> Vec<f32> {
    if end - start == 1 {
        return leaf(start);
    }
    let middle = start + (end - start).div_ceil(2);
    let (first, second) = (naive(start, middle), naive(middle, end));
    first.iter().zip(&second).map(|(a, b)| a + b).collect()
}

#[test]
fn sums_have_the_same_bits_at_any_number_of_ranks() {
    for micro_batches in 1..=9 {
        let expected = bits(&naive(0, micro_batches));
        let alone = tree_sum(&SingleProcess, micro_batches, |m| Ok(leaf(m))).unwrap();
        assert_eq!(bits(&alone), expected, "{micro_batches} alone");
        for size in 1..=micro_batches {
            let sums = on_ranks(size, |ranks| {
                let mut asked = Vec::new();
                let sum = tree_sum(ranks, micro_batches, |m| {
                    asked.push(m);
                    Ok(leaf(m))
                });
                (sum.unwrap(), asked)
            });
            for (sum, _) in &sums {
                assert_eq!(bits(sum), expected, "{micro_batches} on {size}");
            }
            // Nobody does what another one does, and the work is even.
            let asked = sums.iter().flat_map(|(_, asked)| asked.clone());
            assert!(asked.eq(0..micro_batches), "{micro_batches} on {size}");
            let most = micro_batches.div_ceil(size);
            assert!(
                sums.iter()
                    .all(|(_, asked)| asked.len().abs_diff(most) <= 1)
            );
        }
    }
}

#[test]
fn the_order_of_adding_shows_in_these_values() {
    let in_a_row = (1..8).fold(leaf(0), |sum, m| {
        sum.iter().zip(leaf(m)).map(|(a, b)| a + b).collect()
    });
    assert_ne!(bits(&in_a_row), bits(&naive(0, 8)));
}

#[test]
fn everybody_hears_everybody() {
    for size in 1..=6 {
        let heard = on_ranks(size, |ranks| {
            let rank = ranks.rank() as f64;
            ranks.barrier()?;
            let all = ranks.all_gather(&[rank, -rank])?;
            let mut sums = [rank, 0.5];
            ranks.all_reduce(&mut sums)?;
            let mut word = [ranks.rank() as u8 + 7; 3];
            ranks.broadcast(&mut word)?;
            Ok::<_, Error>((all, sums, word))
        });
        let all: Vec<f64> = (0..size).flat_map(|r| [r as f64, -(r as f64)]).collect();
        let sums = [(size * (size - 1) / 2) as f64, size as f64 / 2.0];
        for heard in heard {
            assert_eq!(heard.unwrap(), (all.clone(), sums, [7; 3]), "{size}");
        }
    }
}

fn defect<T: std::fmt::Debug>(result: Result<T>) -> CommunicationDefect {
    match result {
        Err(Error::Communication(defect)) => defect,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rank_that_is_gone_is_named() {
    let ranks = on_ranks(3, |ranks| match ranks.rank() {
        2 => Ok(Vec::new()),
        _ => tree_sum(ranks, 3, |m| Ok(leaf(m))),
    });
    let gone = CommunicationDefect::RankGone { rank: 2 };
    let [first, _, _] = <[_; 3]>::try_from(ranks).unwrap();
    assert_eq!(
        gone.to_string(),
        "rank 2 has ended while others still needed it; its own output says why, resume from the checkpoint"
    );
    assert_eq!(defect(first), gone);
}

#[test]
fn what_does_not_fit_is_refused() {
    let long = |rank: usize| {
        on_ranks(2, move |ranks| {
            let length = if ranks.rank() == rank { 51 } else { 50 };
            tree_sum(ranks, 2, |_| Ok(vec![0.0; length]))
        })
    };
    let (from, expected, got) = (1, 200, 204);
    let length = CommunicationDefect::Length {
        from,
        expected,
        got,
    };
    assert_eq!(defect(long(1).swap_remove(0)), length);
    let uneven = tree_sum(&SingleProcess, 2, |m| Ok(vec![0.0; m + 1]));
    let (from, expected, got) = (0, 4, 8);
    let length = CommunicationDefect::Length {
        from,
        expected,
        got,
    };
    assert_eq!(defect(uneven), length);

    for (micro_batches, ranks) in [(3, 4), (0, 1), (4, 0)] {
        let refused = defect(Shares::new(micro_batches, ranks));
        let expected = CommunicationDefect::TooManyRanks {
            micro_batches,
            ranks,
        };
        assert_eq!(refused, expected);
    }
    let none = |rank| CommunicationDefect::NoSuchRank { rank, size: 1 };
    assert_eq!(defect(SingleProcess.send(0, &[])), none(0));
    assert_eq!(defect(SingleProcess.receive(3, &mut [])), none(3));
    let alone = &thread_communicators(1)[0];
    assert_eq!(defect(alone.send(0, &[])), none(0));
    assert_eq!(defect(alone.receive(1, &mut [])), none(1));
}
