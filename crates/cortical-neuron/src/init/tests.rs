//! Mean, variance and structure of what is drawn.

use super::*;
use cortical_tensor::Seed;

fn draw(init: Init, shape: &[usize]) -> Vec<f32> {
    init.draw(shape, &mut Rng::new(Seed(1), "init")).unwrap()
}

fn spread(init: Init, shape: &[usize]) -> (f64, f64) {
    let values = draw(init, shape);
    let n = values.len() as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let square = |v: &f32| (f64::from(*v) - mean).powi(2);
    (mean, (values.iter().map(square).sum::<f64>() / n).sqrt())
}

#[test]
fn each_initialiser_has_the_spread_that_its_equation_says() {
    let shape = [64, 32, 3, 3];
    let (fan_in, fan_out) = (288.0_f64, 576.0_f64);
    let gain = Init::gain(Activation::Relu);
    let glorot = (2.0 / (fan_in + fan_out)).sqrt();
    let (low, high) = (-1.0, 1.0);
    let cases = [
        (Init::KAIMING_UNIFORM, 1.0 / (3.0 * fan_in).sqrt()),
        (
            Init::KaimingUniform {
                gain,
                fan: Fan::Out,
            },
            (2.0 / fan_out).sqrt(),
        ),
        (
            Init::KaimingNormal { gain, fan: Fan::In },
            (2.0 / fan_in).sqrt(),
        ),
        (
            Init::KaimingNormal {
                gain,
                fan: Fan::Out,
            },
            (2.0 / fan_out).sqrt(),
        ),
        (Init::XavierUniform { gain: 1.0 }, glorot),
        (Init::XavierNormal { gain: 2.0 }, 2.0 * glorot),
        (Init::Uniform { low, high }, 1.0 / 3.0_f64.sqrt()),
        (
            Init::Normal {
                mean: 0.0,
                std: 0.5,
            },
            0.5,
        ),
        (
            Init::TruncatedNormal {
                mean: 0.0,
                std: 1.0,
                low: -2.0,
                high: 2.0,
            },
            0.879_626,
        ),
        (Init::Orthogonal { gain: 1.0 }, 1.0 / fan_in.sqrt()),
    ];
    for (init, want) in cases {
        let (mean, std) = spread(init, &shape);
        assert!(
            mean.abs() < 0.02 * want && (std / want - 1.0).abs() < 0.02,
            "{init:?}: {mean} {std} {want}"
        );
    }
    assert_eq!(spread(Init::Constant(3.0), &[4]), (3.0, 0.0));
}

#[test]
fn a_cut_normal_has_the_mean_of_what_is_left_of_it() {
    // N(0, 1) above 1 has mean φ(1) / (1 − Φ(1)) = 1.525135 and standard deviation 0.446203.
    let init = Init::TruncatedNormal {
        mean: 0.0,
        std: 1.0,
        low: 1.0,
        high: f64::INFINITY,
    };
    let (mean, std) = spread(init, &[200, 200]);
    assert!(
        (mean - 1.525_135).abs() < 0.01 && (std - 0.446_203).abs() < 0.01,
        "{mean} {std}"
    );
    assert!(draw(init, &[50, 50]).iter().all(|v| *v >= 1.0));
    // So far out that drawing again and again would not end.
    let far = Init::TruncatedNormal {
        mean: 0.0,
        std: 1.0,
        low: -9.0,
        high: -8.0,
    };
    assert!(draw(far, &[9, 9]).iter().all(|v| (-9.0..=-8.0).contains(v)));
    let none = Init::TruncatedNormal {
        mean: 0.0,
        std: 1.0,
        low: 2.0,
        high: 2.0,
    };
    assert!(none.draw(&[2, 2], &mut Rng::new(Seed(1), "x")).is_err());
}

#[test]
fn gains_are_pytorchs() {
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
    close(Init::gain(Activation::Tanh), 5.0 / 3.0);
    close(
        Init::gain(Activation::LeakyRelu { slope: 0.01 }),
        (2.0_f64 / 1.0001).sqrt(),
    );
    close(Init::gain(Activation::Selu), 0.75);
    close(Init::gain(Activation::Sigmoid), 1.0);
}

#[test]
fn pytorch_bounds() {
    let values = draw(Init::KAIMING_UNIFORM, &[10, 25]);
    assert!(values.iter().all(|v| v.abs() <= 0.2));
    assert!(values.iter().any(|v| v.abs() > 0.19));
    let (low, high) = (-0.2, 0.2);
    assert_eq!(Init::bias(25), Init::Uniform { low, high });
}

#[test]
fn orthogonal_vectors_are_orthonormal_to_1e_5() {
    for shape in [&[20, 50][..], &[50, 20], &[16, 4, 3, 3], &[1, 7], &[7, 1]] {
        let gain = 1.5;
        let values = draw(Init::Orthogonal { gain }, shape);
        let (rows, columns) = (shape[0], values.len() / shape[0]);
        let (vectors, along) = if rows <= columns {
            (rows, columns)
        } else {
            (columns, rows)
        };
        let at = |v: usize, i: usize| {
            f64::from(if rows <= columns {
                values[v * columns + i]
            } else {
                values[i * columns + v]
            })
        };
        for a in 0..vectors {
            for b in 0..vectors {
                let product: f64 = (0..along).map(|i| at(a, i) * at(b, i)).sum();
                let want = if a == b { gain * gain } else { 0.0 };
                assert!(
                    (product - want).abs() < 1e-5,
                    "{shape:?}: {a} {b} {product}"
                );
            }
        }
    }
}

#[test]
fn each_column_of_a_sparse_matrix_has_its_share_of_zeros() {
    let (sparsity, std) = (0.25, 0.01);
    let values = draw(Init::Sparse { sparsity, std }, &[10, 300]);
    for column in 0..300 {
        let zeros = (0..10)
            .filter(|row| values[row * 300 + column] == 0.0)
            .count();
        assert_eq!(zeros, 3, "a quarter of ten, rounded up");
    }
    let rest: Vec<f64> = values
        .iter()
        .filter(|v| **v != 0.0)
        .map(|v| f64::from(*v))
        .collect();
    let variance = rest.iter().map(|v| v * v).sum::<f64>() / rest.len() as f64;
    assert!((variance.sqrt() / std - 1.0).abs() < 0.05);
    let all = draw(Init::Sparse { sparsity: 1.0, std }, &[3, 4]);
    assert_eq!(all, [0.0; 12]);
}

#[test]
fn identities_have_ones_where_inputs_go_on() {
    assert_eq!(
        draw(Init::Identity, &[2, 3]),
        [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    );
    let dirac = draw(Init::Dirac { groups: 1 }, &[2, 2, 3]);
    let (on, off) = ([0.0, 1.0, 0.0], [0.0; 3]);
    assert_eq!(dirac, [on, off, off, on].concat());
    let grouped = draw(Init::Dirac { groups: 2 }, &[4, 2, 1]);
    assert_eq!(grouped, [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn shapes_that_an_initialiser_is_not_made_for_are_refused() {
    let refused = |init: Init, shape: &[usize]| {
        let drawn = init.draw(shape, &mut Rng::new(Seed(1), "x"));
        drawn.unwrap_err().to_string()
    };
    assert_eq!(
        refused(Init::Identity, &[2, 2, 2]),
        "identity must be used for a matrix, but is [2, 2, 2]"
    );
    assert!(
        refused(Init::Orthogonal { gain: 1.0 }, &[3])
            .starts_with("orthogonal must be used for two")
    );
    assert!(refused(Init::Dirac { groups: 3 }, &[4, 4, 3]).starts_with("groups must be a divisor"));
    assert!(
        refused(
            Init::Sparse {
                sparsity: 1.5,
                std: 1.0
            },
            &[4, 4]
        )
        .contains("from 0 to 1")
    );
}
