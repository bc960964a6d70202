//! The example of a layer of one's own, run as it is: trained, stopped, continued and read again.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "its `main` asks for a folder")]
#[path = "../examples/own_layer.rs"]
mod example;

use candle_core::Device;
use cortical_models::Kinds;
use cortical_train::{Recipe, RunFolder, RunPaths, TrainedModel, train, write_page};

#[test]
fn a_layer_of_ones_own_is_trained_resumed_and_read() {
    let temporary = tempfile::tempdir().unwrap();
    let kinds = Kinds::standard().with::<example::Scale>();
    let recipe = Recipe::from_toml_with(example::RECIPE, None, &[], &kinds).unwrap();
    let run = |name: &str, stop: Option<u64>| {
        let root = temporary.path().join(name);
        let folder = RunFolder::create(&root, &recipe).unwrap();
        let paths = RunPaths::new(&root).with_kinds(&kinds);
        match stop {
            None => train(folder, &recipe, &(), &mut ()).unwrap(),
            Some(steps) => {
                let stop = example::After(steps.into());
                train(folder, &recipe, &stop, &mut ()).unwrap();
                let (folder, recipe) = paths.open().unwrap();
                train(folder, &recipe, &(), &mut ()).unwrap()
            }
        };
        paths
    };
    let (whole, stopped) = (run("whole", None), run("stopped", Some(10)));
    let bytes = |run: &RunPaths| std::fs::read(run.model()).unwrap();
    assert!(bytes(&whole) == bytes(&stopped), "the models differ");
    let model = stopped.load_model(&Device::Cpu).unwrap();
    let factors = model.params().get("scale1.weight").unwrap();
    let factors: Vec<f32> = factors.tensor().to_vec1().unwrap();
    assert!(
        factors.iter().any(|x| (x - 0.5).abs() > 1e-4),
        "{factors:?}"
    );
    assert!(write_page(&stopped).unwrap().contains("scale = 0.5"));

    // Without its kind, the message says what is missing.
    let error = TrainedModel::load(&stopped.model(), &Device::Cpu).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("there is no kind of layer \"scale\""),
        "{error}"
    );
    let error = RunFolder::open(stopped.root()).unwrap_err().to_string();
    assert!(
        error.contains("there is no kind of layer \"scale\""),
        "{error}"
    );
}
