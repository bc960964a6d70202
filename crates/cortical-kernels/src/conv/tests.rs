//! The fast convolutions against the naive one, on random shapes and every instruction set.

use super::*;
use crate::activation;
use crate::isa::{InstructionSet, limited_to};
use crate::pool;
use proptest::prelude::*;

fn numbers<T: Real>(n: usize, seed: u32) -> Vec<T> {
    (0..n as u32)
        .map(|i| {
            let bits = crate::philox::block([seed, 7], [i, 0, 0, 0])[0];
            T::from_f64(crate::testing::unit(bits) - 0.5)
        })
        .collect()
}

fn axis() -> impl Strategy<Value = Axis> {
    (
        prop_oneof![1 => Just(0_usize), 20 => 1_usize..28],
        1_usize..5,
        1_usize..4,
        0_usize..4,
        0_usize..4,
        1_usize..4,
    )
        .prop_filter_map(
            "the kernel fits",
            |(input, kernel, stride, before, after, dilation)| {
                let axis = Axis {
                    input,
                    kernel,
                    stride,
                    padding: [before, after],
                    dilation,
                };
                axis.output().is_ok().then_some(axis)
            },
        )
}

/// Random shapes: two axes mostly, three or one sometimes; groups from one to depthwise.
fn geometry() -> impl Strategy<Value = Geometry> {
    let small = || axis().prop_filter("a short axis", |axis| axis.input < 6);
    let axes = prop_oneof![
        4 => (axis(), axis()).prop_map(|(h, w)| [Axis::UNUSED, h, w]),
        1 => axis().prop_map(|w| [Axis::UNUSED, Axis::UNUSED, w]),
        1 => (small(), small(), axis()).prop_map(|(d, h, w)| [d, h, w]),
    ];
    let channels = prop_oneof![
        4 => (1_usize..4, 1_usize..6, 1_usize..20),
        1 => (1_usize..40, Just(1), 1_usize..3),
        1 => (Just(1), 1_usize..10, 30_usize..70),
        1 => (Just(1), 10_usize..40, 1_usize..30),
    ];
    (0_usize..4, channels, axes).prop_map(|(batch, (groups, per_in, per_out), axes)| {
        Geometry::new(batch, groups * per_in, groups * per_out, groups, axes)
            .expect("a small shape")
    })
}

fn assert_near<T: Real>(what: &str, got: &[T], want: &[T], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let (got, want) = (got.to_f64(), want.to_f64());
        assert!(
            (got - want).abs() <= tolerance * (1.0 + want.abs()),
            "{what}[{i}]: {got} {want}"
        );
    }
}

/// Forward and all gradients against the naive kernels, replaced and added.
fn check_against_naive<T: Real>(g: &Geometry, tolerance: f64) {
    let x: Vec<T> = numbers(g.input_len(), 1);
    let weight: Vec<T> = numbers(g.weight_len(), 2);
    let bias: Vec<T> = numbers(g.out_channels(), 3);
    let d_y: Vec<T> = numbers(g.output_len(), 4);
    let zeros = |n| vec![T::ZERO; n];
    let (mut want, mut got) = (zeros(g.output_len()), zeros(g.output_len()));
    for activation in [Activation::Identity, Activation::Relu, Activation::Tanh] {
        for bias in [None, Some(&bias[..])] {
            naive::forward(g, &x, &weight, bias, &mut want);
            let sums = want.clone();
            activation::forward(activation, &sums, &mut want);
            forward(g, &x, &weight, bias, activation, &mut got);
            assert_near("y", &got, &want, tolerance);
        }
    }
    let (mut d_x, mut d_w, mut d_b) = (
        zeros(g.input_len()),
        zeros(g.weight_len()),
        zeros(g.out_channels()),
    );
    naive::backward_input(g, &weight, &d_y, &mut d_x);
    naive::backward_weight(g, &x, &d_y, &mut d_w);
    naive::backward_bias(g, &d_y, &mut d_b);
    let junk = T::from_f64(7.0);
    let (mut got_x, mut got_w, mut got_b) = (
        vec![junk; d_x.len()],
        vec![junk; d_w.len()],
        vec![junk; d_b.len()],
    );
    let upstream = Upstream::Sum { d_z: &d_y };
    backward(
        g,
        &x,
        &weight,
        &upstream,
        Gradients {
            input: Some(&mut got_x),
            weight: Some((&mut got_w, Write::Replace)),
            bias: Some((&mut got_b, Write::Replace)),
        },
    );
    assert_near("d_x", &got_x, &d_x, tolerance);
    assert_near("d_w", &got_w, &d_w, tolerance);
    assert_near("d_b", &got_b, &d_b, tolerance);
    let weight_only = Gradients {
        input: None,
        weight: Some((&mut got_w[..], Write::Add)),
        bias: None,
    };
    backward(g, &x, &weight, &upstream, weight_only);
    let twice: Vec<T> = d_w.iter().map(|d| *d + *d).collect();
    assert_near("d_w, added", &got_w, &twice, tolerance);
}

proptest! {
    #[test]
    fn the_fast_convolution_equals_the_naive_one_in_double_precision(g in geometry()) {
        check_against_naive::<f64>(&g, 1e-11);
    }

    #[test]
    fn the_fast_convolution_equals_the_naive_one_on_every_instruction_set(g in geometry()) {
        for isa in [InstructionSet::Portable, InstructionSet::Avx2, InstructionSet::Avx512] {
            limited_to(isa, || {
                check_against_naive::<f32>(&g, 2e-4);
                check_pooled(&g);
            });
        }
    }
}

/// Shapes whose gradients under a pool are taken from its windows: channels for a vector and more, batches for many
/// tasks and for few.
fn windowed_geometry() -> impl Strategy<Value = Geometry> {
    let axis = (2_usize..13, 1_usize..6, 0_usize..3, 0_usize..3).prop_filter_map(
        "the kernel fits",
        |(input, kernel, before, after)| {
            let axis = Axis {
                input,
                kernel,
                stride: 1,
                padding: [before, after],
                dilation: 1,
            };
            axis.output().is_ok().then_some(axis)
        },
    );
    let channels = prop_oneof![
        3 => (Just(1_usize), 4_usize..90, 1_usize..7),
        1 => (2_usize..4, 4_usize..20, 1_usize..4),
    ];
    (1_usize..11, channels, axis.clone(), axis).prop_map(
        |(batch, (groups, per_in, per_out), height, width)| {
            let axes = [Axis::UNUSED, height, width];
            Geometry::new(batch, groups * per_in, groups * per_out, groups, axes)
                .expect("a small shape")
        },
    )
}

proptest! {
    #[test]
    fn gradients_taken_from_windows_equal_the_naive_ones(g in windowed_geometry()) {
        for isa in [InstructionSet::Avx2, InstructionSet::Avx512] {
            limited_to(isa, || check_pooled(&g));
        }
    }
}

/// A pooled forward pass in single precision against its two steps in double precision, and back.
fn check_pooled(g: &Geometry) {
    let [_, height, width] = g.output();
    if height < 2 || width < 2 || g.output()[0] > 1 {
        return;
    }
    let pool = pool_over(g, 2, 2);
    let x: Vec<f64> = numbers(g.input_len(), 1);
    let (weight, bias) = (
        numbers::<f64>(g.weight_len(), 2),
        numbers::<f64>(g.out_channels(), 3),
    );
    let d_pooled: Vec<f64> = numbers(pool.output_len(), 4);
    let narrow = |x: &[f64]| x.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let (x32, w32, b32, d32) = (
        narrow(&x),
        narrow(&weight),
        narrow(&bias),
        narrow(&d_pooled),
    );
    let relu = Activation::Relu;
    let (mut pooled, mut taps) = (vec![9.0_f32; d32.len()], vec![9_u8; d32.len()]);
    forward_pooled(
        g,
        &x32,
        &w32,
        Some(&b32),
        relu,
        &pool,
        &mut pooled,
        &mut taps,
    );
    let mut y = vec![0.0; g.output_len()];
    naive::forward(g, &x, &weight, Some(&bias), &mut y);
    let mut want = vec![0.0; d_pooled.len()];
    let sums = y.clone();
    activation::forward(relu, &sums, &mut y);
    pool::max_forward(&pool, &y, &mut want, &mut vec![0_u8; d_pooled.len()]);
    let wide: Vec<f64> = pooled.iter().map(|y| f64::from(*y)).collect();
    assert_near("pooled", &wide, &want, 2e-4);
    // The gradient with the winners that were found, as near ties may fall differently.
    let gated: Vec<f64> = wide
        .iter()
        .zip(&d_pooled)
        .map(|(y, d)| if *y > 0.0 { *d } else { 0.0 })
        .collect();
    let mut d_z = vec![0.0; g.output_len()];
    pool::max_backward(&pool, &gated, &taps, &mut d_z);
    let (mut want_x, mut want_w) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    naive::backward_input(g, &weight, &d_z, &mut want_x);
    naive::backward_weight(g, &x, &d_z, &mut want_w);
    let (mut d_x, mut d_w) = (vec![9.0_f32; x.len()], vec![9.0_f32; weight.len()]);
    let upstream = Upstream::Pooled {
        activation: relu,
        pool: &pool,
        pooled: &pooled,
        taps: &taps,
        d_pooled: &d32,
    };
    let gradients = Gradients {
        input: Some(&mut d_x),
        weight: Some((&mut d_w, Write::Replace)),
        bias: None,
    };
    backward(g, &x32, &w32, &upstream, gradients);
    let wide = |x: &[f32]| x.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
    assert_near("d_x", &wide(&d_x), &want_x, 2e-4);
    assert_near("d_w", &wide(&d_w), &want_w, 2e-4);
}

fn square(size: usize, kernel: usize, stride: usize, padding: usize) -> [Axis; 3] {
    let axis = Axis {
        input: size,
        kernel,
        stride,
        padding: [padding, padding],
        dilation: 1,
    };
    [Axis::UNUSED, axis, axis]
}

/// A pool of 2×2 over the output of a convolution.
fn pool_over(g: &Geometry, kernel: usize, stride: usize) -> pool::Geometry {
    let [_, height, width] = g.output();
    let axis = |input| Axis {
        input,
        kernel,
        stride,
        padding: [0, 0],
        dilation: 1,
    };
    pool::Geometry::new(
        g.batch() * g.out_channels(),
        [axis(height), axis(width)],
        false,
    )
    .expect("a pool that fits")
}

/// A transposed convolution is the adjoint of a convolution: ⟨wᵀ ∗ x, u⟩ = ⟨x, w ∗ u⟩, and likewise for its gradients.
fn check_transposed(g: &Geometry) {
    let (x, u): (Vec<f64>, Vec<f64>) = (numbers(g.output_len(), 1), numbers(g.input_len(), 2));
    let (weight, bias): (Vec<f64>, Vec<f64>) =
        (numbers(g.weight_len(), 3), numbers(g.in_channels(), 4));
    let mut want = vec![0.0; g.input_len()];
    naive::backward_input(g, &weight, &x, &mut want);
    for (i, y) in want.iter_mut().enumerate() {
        *y = (*y + bias[i / g.in_pixels() % g.in_channels()]).max(0.0);
    }
    let mut y = vec![3.0; g.input_len()];
    transposed_forward(g, &x, &weight, Some(&bias), Activation::Relu, &mut y);
    assert_near("y", &y, &want, 1e-11);
    let (mut want_x, mut want_w) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
    naive::forward(g, &u, &weight, None, &mut want_x);
    naive::backward_weight(g, &u, &x, &mut want_w);
    let (mut d_x, mut d_w, mut d_b) = (
        vec![3.0; x.len()],
        vec![3.0; weight.len()],
        vec![3.0; bias.len()],
    );
    let gradients = Gradients {
        input: Some(&mut d_x),
        weight: Some((&mut d_w, Write::Replace)),
        bias: Some((&mut d_b, Write::Replace)),
    };
    transposed_backward(g, &x, &weight, &u, gradients);
    assert_near("d_x", &d_x, &want_x, 1e-11);
    assert_near("d_w", &d_w, &want_w, 1e-11);
    let sum: f64 = u.iter().sum();
    assert!((d_b.iter().sum::<f64>() - sum).abs() < 1e-9);
}

#[test]
fn transposed_convolutions_are_adjoint() {
    for (stride, padding, output_padding, dilation, groups) in [
        (1, 0, 0, 1, 1),
        (2, 1, 1, 1, 2),
        (3, 0, 2, 1, 1),
        (1, 1, 2, 3, 2),
        (2, 2, 0, 2, 1),
    ] {
        let axis = |input| TransposedAxis {
            input,
            kernel: 3,
            stride,
            padding,
            output_padding,
            dilation,
        };
        let axes = [TransposedAxis::UNUSED, axis(4), axis(5)];
        let g = Geometry::transposed(2, 4, 6, groups, axes).unwrap();
        assert_eq!(g.output(), [1, 4, 5]);
        let span = 2 * dilation + 1;
        let want = 3 * stride + span + output_padding - 2 * padding;
        assert_eq!(g.axes()[1].input, want);
        check_transposed(&g);
    }
    let axis = TransposedAxis {
        output_padding: 2,
        stride: 2,
        ..TransposedAxis::UNUSED
    };
    let refused = |axis: TransposedAxis| axis.output().unwrap_err().to_string();
    assert!(refused(axis).starts_with("output_padding 2 must be smaller"));
    let axis = TransposedAxis {
        padding: 1,
        ..TransposedAxis::UNUSED
    };
    assert_eq!(
        refused(axis),
        "padding cuts 2 of the 1 output elements; use less padding"
    );
}

#[test]
fn gradients_pass_through_activations_and_pools() {
    for (stride, kernel) in [(2, 2), (1, 3), (3, 2)] {
        let g = Geometry::new(3, 2, 10, 2, square(9, 3, 1, 1)).unwrap();
        let pool = pool_over(&g, kernel, stride);
        let (x, weight): (Vec<f64>, Vec<f64>) =
            (numbers(g.input_len(), 1), numbers(g.weight_len(), 2));
        let mut y = vec![0.0; g.output_len()];
        forward(&g, &x, &weight, None, Activation::Relu, &mut y);
        let (mut pooled, mut taps) = (vec![0.0; pool.output_len()], vec![0_u8; pool.output_len()]);
        pool::max_forward(&pool, &y, &mut pooled, &mut taps);
        let (mut fused, mut fused_taps) = (pooled.clone(), taps.clone());
        fused.fill(9.0);
        let relu = Activation::Relu;
        forward_pooled(
            &g,
            &x,
            &weight,
            None,
            relu,
            &pool,
            &mut fused,
            &mut fused_taps,
        );
        assert_eq!((&fused, &fused_taps), (&pooled, &taps));
        let d_pooled: Vec<f64> = numbers(pool.output_len(), 3);
        // Step by step: through the pool, through the activation, through the convolution.
        let mut d_y = vec![0.0; y.len()];
        pool::max_backward(&pool, &d_pooled, &taps, &mut d_y);
        let mut d_z = vec![0.0; y.len()];
        activation::backward(Activation::Relu, &y, &d_y, &mut d_z);
        let run = |upstream: Upstream<'_, f64>| {
            let (mut d_x, mut d_w) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
            let gradients = Gradients {
                input: Some(&mut d_x),
                weight: Some((&mut d_w, Write::Replace)),
                bias: None,
            };
            backward(&g, &x, &weight, &upstream, gradients);
            (d_x, d_w)
        };
        let want = run(Upstream::Sum { d_z: &d_z });
        let activated = run(Upstream::Activated {
            activation: Activation::Relu,
            saved: &y,
            d_y: &d_y,
        });
        assert!(activated == want);
        let fused = run(Upstream::Pooled {
            activation: Activation::Relu,
            pool: &pool,
            pooled: &pooled,
            taps: &taps,
            d_pooled: &d_pooled,
        });
        assert_near("d_x", &fused.0, &want.0, 1e-12);
        assert_near("d_w", &fused.1, &want.1, 1e-12);
    }
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let shapes = [
        Geometry::new(21, 3, 16, 1, square(13, 3, 2, 1)).unwrap(),
        Geometry::new(5, 32, 40, 1, square(14, 3, 1, 1)).unwrap(),
        Geometry::new(1, 16, 64, 1, square(40, 3, 1, 1)).unwrap(),
        Geometry::new(4, 24, 24, 24, square(17, 3, 1, 1)).unwrap(),
        Geometry::new(9, 64, 32, 1, square(8, 1, 1, 0)).unwrap(),
    ];
    for g in shapes {
        let (x, weight): (Vec<f32>, Vec<f32>) =
            (numbers(g.input_len(), 1), numbers(g.weight_len(), 2));
        let d_y: Vec<f32> = numbers(g.output_len(), 3);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .expect("a pool");
            pool.install(|| {
                let (mut y, mut d_x) = (vec![0.0; d_y.len()], vec![0.0; x.len()]);
                let (mut d_w, mut d_b) = (vec![0.0; weight.len()], vec![0.0; g.out_channels()]);
                forward(&g, &x, &weight, None, Activation::Relu, &mut y);
                let gradients = Gradients {
                    input: Some(&mut d_x),
                    weight: Some((&mut d_w, Write::Replace)),
                    bias: Some((&mut d_b, Write::Replace)),
                };
                backward(&g, &x, &weight, &Upstream::Sum { d_z: &d_y }, gradients);
                [y, d_x, d_w, d_b]
            })
        };
        let one = run(1);
        for threads in [2, 4, 8] {
            assert!(run(threads) == one, "{g:?} at {threads} threads");
        }
    }
}

/// Under a pool the gradients are those of the dense gradient that it spreads, for shapes that the sparse way serves
/// wholly, in part and not at all; what is not a number spreads, the bits are the same for any number of threads.
#[test]
fn the_backward_pass_under_a_pool_equals_the_dense_one() {
    for (channels, out_channels, size, conv, (kernel, stride)) in [
        (32, 20, 13, (3, 1, 0), (2, 2)),
        (40, 7, 14, (3, 1, 1), (3, 2)),
        (3, 6, 17, (5, 2, 2), (2, 2)),
        (19, 33, 12, (1, 1, 0), (4, 4)),
        (6, 5, 12, (5, 1, 0), (1, 3)),
        (1, 4, 11, (3, 1, 1), (2, 2)),
    ] {
        let axes = square(size, conv.0, conv.1, conv.2);
        let g = Geometry::new(9, channels, out_channels, 1, axes).unwrap();
        let pool = pool_over(&g, kernel, stride);
        let (x, weight): (Vec<f32>, Vec<f32>) =
            (numbers(g.input_len(), 1), numbers(g.weight_len(), 2));
        let mut pooled: Vec<f32> = numbers(pool.output_len(), 3);
        let taps: Vec<u8> = (0..pooled.len())
            .map(|i| (i * i % 23 % pool.taps()) as u8)
            .collect();
        let mut d_pooled: Vec<f32> = numbers(pooled.len(), 4);
        let run = |pooled: &[f32], d_pooled: &[f32], threads| {
            let gated: Vec<f32> = (pooled.iter().zip(d_pooled))
                .map(|(y, d)| if *y > 0.0 { *d } else { 0.0 })
                .collect();
            let mut d_z = vec![0.0; g.output_len()];
            pool::max_backward(&pool, &gated, &taps, &mut d_z);
            let sparse = Upstream::Pooled {
                activation: Activation::Relu,
                pool: &pool,
                pooled,
                taps: &taps,
                d_pooled,
            };
            let threads = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            threads.expect("a pool").install(|| {
                [sparse, Upstream::Sum { d_z: &d_z }].map(|upstream| {
                    let (mut d_x, mut d_w) = (vec![9.0; x.len()], vec![9.0; weight.len()]);
                    let mut d_b = vec![9.0; out_channels];
                    let gradients = Gradients {
                        input: Some(&mut d_x),
                        weight: Some((&mut d_w, Write::Replace)),
                        bias: Some((&mut d_b, Write::Replace)),
                    };
                    backward(&g, &x, &weight, &upstream, gradients);
                    [d_x, d_w, d_b]
                })
            })
        };
        let [sparse, dense] = run(&pooled, &d_pooled, 1);
        for (what, (got, want)) in ["d_x", "d_w", "d_b"].iter().zip(sparse.iter().zip(&dense)) {
            assert_near(what, got, want, 2e-4);
        }
        for threads in [2, 4, 8] {
            assert!(run(&pooled, &d_pooled, threads)[0] == sparse);
        }
        let last = pooled.len() - 1;
        (pooled[last], d_pooled[last]) = (1.0, f32::NAN);
        let [sparse, dense] = run(&pooled, &d_pooled, 2);
        for (got, want) in sparse.iter().zip(&dense) {
            assert!(got.iter().any(|d| d.is_nan()));
            assert!(
                got.iter()
                    .zip(want)
                    .all(|(got, want)| !got.is_nan() || want.is_nan())
            );
        }
    }
}
