//! What differs between parameters and from step to step, and recipes that say so.

use super::*;

#[test]
fn groups_have_rates_of_their_own() {
    let config = AdamWConfig {
        lr: 0.1,
        weight_decay: 0.5,
        ..Default::default()
    };
    let params = store(&[&[2, 2], &[2], &[3]], DType::F64);
    let groups = vec![
        Group::matching("slow", |p| p.name() == "p2").lr_scale(0.1),
        Group::without_decay(),
    ];
    let mut optimizer = AdamW::with_groups(&params, config, groups).unwrap();
    optimizer.set_lr(0.2).unwrap();
    assert_eq!(optimizer.lr(), 0.2);
    run(&mut optimizer, &params, 0..3);
    let alone = |lr, weight_decay, part: std::ops::Range<usize>| {
        let params = store(&[&[2, 2], &[2], &[3]], DType::F64);
        let config = AdamWConfig {
            lr,
            weight_decay,
            ..config
        };
        run(&mut AdamW::new(&params, config).unwrap(), &params, 0..3);
        weights(&params)[part].to_vec()
    };
    let got = weights(&params);
    assert_eq!(got[..4], alone(0.2, 0.5, 0..4));
    assert_eq!(got[4..6], alone(0.2, 0.0, 4..6));
    assert_close("slow", &got[6..], &alone(0.02, 0.5, 6..9), 1e-15);
}

#[test]
fn a_momentum_moves_by_schedule_where_there_is_one() {
    let params = || store(&[&[3]], DType::F64);
    let with = |momentum| {
        let config = SgdConfig {
            momentum,
            ..Default::default()
        };
        let params = params();
        (Sgd::new(&params, config).unwrap(), params)
    };
    let ((mut moved, a), (mut fixed, b)) = (with(0.9), with(0.5));
    moved.set_momentum(0.5).unwrap();
    run(&mut moved, &a, 0..3);
    run(&mut fixed, &b, 0..3);
    assert_eq!(weights(&a), weights(&b));
    let error = with(0.0).0.set_momentum(0.5).unwrap_err().to_string();
    assert_eq!(
        error,
        "SGD: momentum must be above 0 where a schedule moves it, but is 0"
    );
    let config = OptimizerConfig::Adagrad(AdagradConfig::default());
    let error = config.build(&params(), vec![]).unwrap().set_momentum(0.5);
    assert_eq!(
        error.unwrap_err().to_string(),
        "Adagrad has no momentum that a schedule could move"
    );
}

#[test]
fn groups_go_by_patterns_of_names() {
    let config = SgdConfig {
        lr: 0.5,
        ..Default::default()
    };
    let params = store(&[&[2], &[2], &[2]], DType::F64);
    let groups = vec![Group::named("*1").lr_scale(0.0)];
    let before = weights(&params);
    run(
        &mut Sgd::with_groups(&params, config, groups).unwrap(),
        &params,
        0..1,
    );
    let moved: Vec<bool> = before
        .iter()
        .zip(weights(&params))
        .map(|(a, b)| *a != b)
        .collect();
    assert_eq!(moved, [true, true, false, false, true, true]);
    let none = vec![Group::named("fc.*")];
    let error = Sgd::with_groups(&params, config, none).unwrap_err();
    assert!(
        error.to_string().contains("group \"fc.*\" matches none"),
        "{error}"
    );
}

#[test]
fn muon_refuses_what_is_no_matrix() {
    let params = store(&[&[2, 2], &[3]], DType::F32);
    let error = Muon::new(&params, MuonConfig::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "p1: Muon moves matrices only, and the shape is [3]; say how AdamW is to move the others (`others`), or freeze it"
    );
    params.get("p1").unwrap().set_trainable(false);
    Muon::new(&params, MuonConfig::default()).unwrap();
}

#[test]
fn a_recipe_names_an_optimizer_and_a_wrong_field_is_refused() {
    let from = |text: &str| toml::from_str::<OptimizerConfig>(text);
    let config = from("name = \"sgd\"\nlr = 0.1\nmomentum = 0.9").unwrap();
    assert_eq!(
        config,
        OptimizerConfig::Sgd(SgdConfig {
            lr: 0.1,
            momentum: 0.9,
            ..Default::default()
        })
    );
    for config in configs() {
        let text = toml::to_string(&config).unwrap();
        assert_eq!(from(&text).unwrap(), config);
    }
    let error = from("name = \"adamw\"\nmomentum = 0.9").unwrap_err();
    assert!(error.to_string().contains("momentum"), "{error}");
    assert!(from("name = \"adamx\"").is_err());
    assert_eq!(
        from("name = \"SGD\"").unwrap(),
        from("name = \"sgd\"").unwrap()
    );
    let params = store(&[&[1]], DType::F32);
    let names = configs()
        .into_iter()
        .map(|c| c.build(&params, vec![]).unwrap().name());
    let names: Vec<&str> = names.collect();
    assert_eq!(names[..4], ["AdamW", "AdamW", "Adam", "SGD"]);
}
