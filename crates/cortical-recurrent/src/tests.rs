//! Names, states, directions, lengths, projections, and what is refused.

use crate::{Gru, Lstm, RecurrentConfig, Rnn, State};
use candle_core::{D, DType, Device, Tensor};
use cortical_neuron::{Layer, Params, Pass};
use cortical_tensor::{Rng, Seed};

fn params() -> Params {
    Params::new(&Device::Cpu, Seed(1))
}

fn x(shape: (usize, usize, usize)) -> Tensor {
    let mut rng = Rng::new(Seed(3), "x");
    let n = shape.0 * shape.1 * shape.2;
    Tensor::from_vec(
        (0..n).map(|_| rng.normal() as f32).collect::<Vec<_>>(),
        shape,
        &Device::Cpu,
    )
    .unwrap()
}

fn numbers(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn names_and_shapes_are_pytorchs() {
    let p = params();
    Gru::config(3, 4)
        .num_layers(2)
        .bidirectional(true)
        .build(&p.at("gru"))
        .unwrap();
    let names: Vec<(String, Vec<usize>)> = p
        .named_tensors()
        .into_iter()
        .map(|(n, t)| (n, t.dims().to_vec()))
        .collect();
    assert_eq!(names.len(), 16);
    assert_eq!(names[0], ("gru.weight_ih_l0".to_string(), vec![12, 3]));
    assert_eq!(
        names[5],
        ("gru.weight_hh_l0_reverse".to_string(), vec![12, 4])
    );
    assert_eq!(names[8], ("gru.weight_ih_l1".to_string(), vec![12, 8]));
    assert_eq!(names[15], ("gru.bias_hh_l1_reverse".to_string(), vec![12]));
}

fn kinds() -> [RecurrentConfig; 4] {
    [
        Rnn::config(3, 4),
        Rnn::config(3, 4).relu(),
        Lstm::config(3, 4),
        Gru::config(3, 4),
    ]
}

#[test]
fn a_sequence_in_two_parts_is_the_sequence() {
    for config in kinds() {
        let p = params();
        let layer = config
            .num_layers(2)
            .batch_first(true)
            .build(&p.at("r"))
            .unwrap();
        let x = x((2, 6, 3));
        let whole = layer.run(&x, None, &mut Pass::eval()).unwrap();
        let part = |from, len, state: Option<&State>| {
            layer
                .run(&x.narrow(1, from, len).unwrap(), state, &mut Pass::eval())
                .unwrap()
        };
        let first = part(0, 4, None);
        let second = part(4, 2, Some(&first.state));
        let joined = Tensor::cat(&[first.output, second.output], 1).unwrap();
        for (a, b) in numbers(&joined).iter().zip(numbers(&whole.output)) {
            assert!((a - b).abs() < 1e-6);
        }
        assert_eq!(second.state.h.dims(), [2, 2, 4]);
    }
}

#[test]
fn the_other_direction_reads_from_the_end() {
    let p = params();
    let both = Lstm::config(3, 4)
        .bidirectional(true)
        .build(&p.at("both"))
        .unwrap();
    let q = params();
    let one = Lstm::config(3, 4).build(&q.at("one")).unwrap();
    for name in ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"] {
        let value = p.get(&format!("both.{name}_reverse")).unwrap();
        q.set(&format!("one.{name}"), value.tensor()).unwrap();
    }
    let x = x((5, 2, 3));
    let got = both.forward(&x, &mut Pass::eval()).unwrap();
    assert_eq!(got.dims(), [5, 2, 8]);
    let turned = x.flip(&[0]).unwrap();
    let want = one
        .forward(&turned, &mut Pass::eval())
        .unwrap()
        .flip(&[0])
        .unwrap();
    assert_eq!(
        numbers(&got.narrow(D::Minus1, 4, 4).unwrap()),
        numbers(&want)
    );
}

#[test]
fn gradients_reach_every_parameter_also_through_dropout() {
    for config in kinds() {
        let p = params();
        let layer = config
            .num_layers(2)
            .bidirectional(true)
            .dropout(0.3)
            .build(&p.at("r"))
            .unwrap();
        let mut rng = p.rng("pass");
        let y = layer
            .forward(&x((4, 3, 3)), &mut Pass::train(&mut rng))
            .unwrap();
        p.backward(&y.sqr().unwrap().sum_all().unwrap()).unwrap();
    }
}

#[test]
fn errors_say_what_was_expected() {
    let p = params();
    assert!(Lstm::config(3, 4).num_layers(0).build(&p.at("a")).is_err());
    let lstm = Lstm::config(3, 4).build(&p.at("lstm")).unwrap();
    let text =
        |x: &Tensor, s: Option<&State>| lstm.run(x, s, &mut Pass::eval()).unwrap_err().to_string();
    let wrong = Tensor::zeros((5, 2, 7), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(
        text(&wrong, None),
        "in layer \"lstm\": recurrent: x must have shape [steps, batch, 3], but has [5, 2, 7]"
    );
    let h = Tensor::zeros((1, 3, 4), DType::F32, &Device::Cpu).unwrap();
    let state = State {
        c: Some(h.clone()),
        h,
    };
    assert!(text(&x((5, 2, 3)), Some(&state)).contains("state.h must have shape [1, 2, 4]"));
}

#[test]
fn packed_sequences_are_each_run_alone() {
    for config in kinds().map(|c| c.num_layers(2).bidirectional(true)) {
        for batch_first in [true, false] {
            let p = params();
            let layer = config.batch_first(batch_first).build(&p.at("r")).unwrap();
            let lengths = [2, 5, 1, 5, 3];
            let together = x((5, 6, 3)); // sequences first
            let given = if batch_first {
                together.clone()
            } else {
                together.transpose(0, 1).unwrap()
            };
            let run = layer
                .run_packed(&given, &lengths, None, &mut Pass::eval())
                .unwrap();
            let output = if batch_first {
                run.output
            } else {
                run.output.transpose(0, 1).unwrap()
            };
            assert_eq!(output.dims(), [5, 6, 8]);
            for (i, length) in lengths.into_iter().enumerate() {
                let alone = together.get(i).unwrap().narrow(0, 0, length).unwrap();
                let want = layer.run(&alone, None, &mut Pass::eval()).unwrap();
                let got = output.get(i).unwrap();
                close(&got.narrow(0, 0, length).unwrap(), &want.output);
                let rest = numbers(&got.narrow(0, length, 6 - length).unwrap());
                assert!(rest.iter().all(|v| *v == 0.0));
                let h = run.state.h.narrow(1, i, 1).unwrap().squeeze(1).unwrap();
                close(&h, &want.state.h);
                if let (Some(c), Some(want)) = (&run.state.c, want.state.c) {
                    close(&c.narrow(1, i, 1).unwrap().squeeze(1).unwrap(), &want);
                }
            }
        }
    }
}

fn close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.dims(), b.dims());
    for (a, b) in numbers(a).into_iter().zip(numbers(b)) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn gradients_of_packed_sequences_and_projections_reach_every_parameter() {
    let p = params();
    let config = Lstm::config(3, 4)
        .proj_size(2)
        .num_layers(2)
        .bidirectional(true);
    let layer = config.batch_first(true).build(&p.at("r")).unwrap();
    let mut rng = p.rng("pass");
    let x = x((3, 4, 3));
    let run = layer
        .run_packed(&x, &[4, 1, 2], None, &mut Pass::train(&mut rng))
        .unwrap();
    assert_eq!(run.output.dims(), [3, 4, 4]);
    assert_eq!(run.state.h.dims(), [4, 3, 2]);
    assert_eq!(run.state.c.as_ref().unwrap().dims(), [4, 3, 4]);
    p.backward(&run.output.sqr().unwrap().sum_all().unwrap())
        .unwrap();
    assert_eq!(p.get("r.weight_hr_l1_reverse").unwrap().dims(), [2, 4]);
    let described = layer.describe(&[4, 3]).unwrap();
    assert_eq!(described.parameters, p.count());
}

#[test]
fn impossible_lengths_and_projections_are_refused() {
    let p = params();
    let layer = Gru::config(3, 4)
        .batch_first(true)
        .build(&p.at("gru"))
        .unwrap();
    let text = |lengths: &[usize]| {
        let run = layer.run_packed(&x((2, 5, 3)), lengths, None, &mut Pass::eval());
        run.unwrap_err().to_string()
    };
    assert_eq!(
        text(&[1, 6]),
        "in layer \"gru\": recurrent: lengths must be from 1 to 5 steps, but is 6"
    );
    assert!(text(&[1, 0]).ends_with("but is 0"));
    assert!(text(&[1]).contains("one for each of 2 sequences"));
    let refused = |config: RecurrentConfig| config.build(&p.at("x")).unwrap_err().to_string();
    assert!(refused(Gru::config(3, 4).proj_size(2)).contains("only an LSTM is projected"));
    assert!(refused(Lstm::config(3, 4).proj_size(4)).contains("smaller than hidden_size"));
    let long = Lstm::config(3, 4)
        .proj_size(2)
        .build(&p.at("long"))
        .unwrap();
    let mut rng = p.rng("pass");
    let error = long
        .forward(&x((600, 1, 3)), &mut Pass::train(&mut rng))
        .unwrap_err();
    assert!(error.to_string().contains("hand the state on"), "{error}");
    long.forward(&x((600, 1, 3)), &mut Pass::eval()).unwrap();
}
