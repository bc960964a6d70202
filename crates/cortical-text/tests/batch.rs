//! Many texts at once: what each becomes alone, whatever stands beside it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use cortical_kernels::quantized::Format;
use cortical_models::language::{LanguageModel, LoadOptions, Weights, open};
use cortical_text::{Batch, Error, Request, Sampler, Sampling, Stop, TextId, Written};
use std::collections::BTreeMap;
use std::path::Path;

fn fixture(name: &str, weights: Weights) -> LanguageModel {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cortical-models/fixtures");
    let options = LoadOptions {
        weights,
        ..Default::default()
    };
    open(folder.join(name), &options).unwrap().model
}

/// Sixteen prompts of 3 tokens up to `longest`.
fn prompts(model: &LanguageModel, longest: usize) -> Vec<Vec<u32>> {
    let vocabulary = model.config().vocab_size();
    (0..16)
        .map(|i| {
            let len = 3 + i * (longest - 3) / 15;
            let token = |at: usize| ((at * 7919 + i * 31 + at * at) % vocabulary) as u32;
            (0..len).map(token).collect()
        })
        .collect()
}

fn request(model: &LanguageModel, prompt: &[u32], temperature: f64) -> Request {
    let sampler = Sampler::new(Sampling::with_temperature(temperature), 5).unwrap();
    Request {
        limit: 6,
        // One of the models was made for eight positions, from where on its angles change with the length.
        beyond_context: true,
        alternatives: Some(3),
        ..Request::new(model, prompt, sampler)
    }
}

/// What every text of `requests` becomes; text `i` joins before step `when(i)`.
fn run(
    model: &LanguageModel,
    requests: Vec<Request>,
    when: impl Fn(usize) -> usize,
) -> Vec<(Vec<Written>, Stop)> {
    let mut batch = Batch::new(model);
    let mut waiting: Vec<(usize, Request)> = requests.into_iter().enumerate().collect();
    let mut ids: BTreeMap<TextId, usize> = BTreeMap::new();
    let mut done: BTreeMap<usize, (Vec<Written>, Stop)> = BTreeMap::new();
    let mut written: BTreeMap<TextId, Vec<Written>> = BTreeMap::new();
    let mut step = 0;
    while !waiting.is_empty() || !batch.is_empty() {
        for (i, request) in std::mem::take(&mut waiting) {
            match when(i) <= step {
                true => {
                    ids.insert(batch.join(request).unwrap(), i);
                }
                false => waiting.push((i, request)),
            }
        }
        for progress in batch.step().unwrap() {
            let all = written.entry(progress.text).or_default();
            all.extend(progress.written);
            if let Some(end) = progress.end {
                let all = std::mem::take(all);
                done.insert(ids[&progress.text], (all, end.unwrap()));
                batch.leave(progress.text).unwrap();
            }
        }
        step += 1;
        assert!(step < 1000, "the batch comes to an end");
    }
    done.into_values().collect()
}

#[test]
fn sixteen_texts_are_what_each_is_alone() {
    let single = [Weights::Stored, Weights::Quantized(Format::Bf16)];
    for (name, longest) in [
        ("llama", 300),
        ("qwen3", 300),
        ("gpt2", 24),
        ("mistral-window", 60),
        ("llama-dynamic-rope", 200),
    ] {
        for weights in single {
            let model = fixture(name, weights);
            let prompts = prompts(&model, longest);
            for temperature in [0.0, 1.0] {
                let all = |()| -> Vec<Request> {
                    let requests = prompts.iter().map(|p| request(&model, p, temperature));
                    requests.collect()
                };
                let together = run(&model, all(()), |_| 0);
                let joining = run(&model, all(()), |i| i * 2);
                assert_eq!(together.len(), 16);
                for (i, prompt) in prompts.iter().enumerate() {
                    let alone = run(&model, vec![request(&model, prompt, temperature)], |_| 0);
                    for got in [&together[i], &joining[i]] {
                        assert_eq!(got.1, Stop::Length);
                        let exact = weights != Weights::Stored;
                        compare(&got.0, &alone[0].0, exact, &format!("{name} {i}"));
                    }
                }
            }
        }
    }
}

fn compare(got: &[Written], want: &[Written], exact: bool, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (got, want) in got.iter().zip(want) {
        assert_eq!(got.token, want.token, "{what}");
        if exact {
            assert_eq!(got, want, "{what}");
            continue;
        }
        let pairs = got.alternatives.iter().zip(&want.alternatives);
        for ((_, got), (_, want)) in pairs {
            assert!((got - want).abs() < 1e-5, "{what}: {got}, not {want}");
        }
    }
}

#[test]
fn what_cannot_join_says_why_and_the_others_go_on() {
    let model = fixture("gpt2", Weights::Stored);
    let mut batch = Batch::new(&model);
    let sampler = || Sampler::new(Sampling::greedy(), 0).unwrap();
    let error = batch
        .join(Request::new(&model, &[], sampler()))
        .unwrap_err();
    assert!(matches!(error, Error::EmptyPrompt), "{error}");
    let long = vec![1; 33];
    let error = batch
        .join(Request::new(&model, &long, sampler()))
        .unwrap_err();
    assert!(matches!(error, Error::LongText { got: 33, .. }), "{error}");
    // One has no room for more than a token, the other for none of its own wish.
    let full = batch
        .join(Request::new(&model, &[1; 31], sampler()))
        .unwrap();
    let none = Request {
        limit: 0,
        ..Request::new(&model, &[1, 2], sampler())
    };
    let none = batch.join(none).unwrap();
    let mut ends = BTreeMap::new();
    for _ in 0..9 {
        for progress in batch.step().unwrap() {
            if let Some(end) = progress.end {
                ends.insert(progress.text, end.unwrap());
            }
        }
    }
    assert_eq!(ends[&none], Stop::Length);
    assert_eq!(ends[&full], Stop::Positions);
    assert_eq!(batch.tokens(full).unwrap().0.len(), 33);
    assert_eq!(batch.len(), 2);
    assert!(batch.leave(none).is_some() && batch.leave(none).is_none());
}

#[test]
fn a_text_that_begins_like_another_goes_on_from_there() {
    let model = fixture("llama", Weights::Quantized(Format::Bf16));
    let prompt: Vec<u32> = (0..60).map(|i| i * 7 % 40).collect();
    let mut batch = Batch::new(&model);
    batch.join(request(&model, &prompt, 0.0)).unwrap();
    batch.step().unwrap();
    let other: Vec<u32> = prompt[..50].iter().copied().chain([1, 2, 3]).collect();
    assert!(batch.fork(&other, 51, 64).unwrap().is_none());
    let cache = batch.fork(&other, 10, 64).unwrap().unwrap();
    assert_eq!(cache.len(), 50);
    let forked = Request {
        cache,
        ..request(&model, &other, 0.0)
    };
    let got = run(&model, vec![forked], |_| 0);
    let want = run(&model, vec![request(&model, &other, 0.0)], |_| 0);
    let tokens = |all: &[(Vec<Written>, Stop)]| -> Vec<u32> {
        all[0].0.iter().map(|written| written.token).collect()
    };
    assert_eq!(tokens(&got), tokens(&want));
    // The same text again reads its last token only.
    assert_eq!(batch.fork(&prompt, 10, 64).unwrap().unwrap().len(), 59);
}
