//! The example of the vertical edge: a network learns edges in four directions, one of its first filters prefers
//! vertical ones, and without it exactly they are no longer recognised.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use candle_core::Device;
use cortical_explain::{Shown, State, SurveyOptions, page, survey_network};
use cortical_train::{Outcome, Recipe, RunFolder, RunPaths, train};

#[test]
fn a_first_filter_is_vertical_and_without_it_exactly_vertical_edges_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("edges");
    let recipe = Recipe::preset("edges").unwrap();
    let run = RunFolder::create(&root, &recipe).unwrap();
    let Outcome::Finished(report) = train(run, &recipe, &(), &mut ()).unwrap() else {
        panic!("nobody asked it to stop");
    };
    assert!(report.test.unwrap().accuracy > 0.98);
    let model = RunPaths::new(&root).load_model(&Device::Cpu).unwrap();
    let test = recipe.open_samples(&[]).unwrap().test;
    let test = test.preprocessed(model.preprocess()).unwrap();
    let survey = survey_network(&model, &test, &SurveyOptions::default()).unwrap();
    assert_eq!(
        survey.silenced_on,
        test.len(),
        "a small network is measured on all"
    );
    let conv1 = &survey.layers[0];
    assert_eq!((&conv1.name[..], conv1.units.len()), ("conv1", 8));
    let vertical = survey
        .classes
        .iter()
        .position(|class| class == "vertical")
        .unwrap();
    let told = |unit: &cortical_explain::Unit| {
        let effect = unit.silenced.as_ref().unwrap();
        format!(
            "{}: {:?} {:?} {:?}",
            unit.index, unit.orientation, unit.class, effect.recall
        )
    };
    let all: Vec<String> = conv1.units.iter().map(told).collect();
    let exact = conv1.units.iter().find(|unit| {
        let recall = &unit.silenced.as_ref().unwrap().recall;
        let others = recall
            .iter()
            .enumerate()
            .filter(|(class, _)| *class != vertical);
        recall[vertical].unwrap() < -0.5
            && others
                .into_iter()
                .all(|(_, change)| change.unwrap() > -0.03)
    });
    let unit = exact.unwrap_or_else(|| panic!("{all:#?}"));
    assert_eq!(unit.orientation.unwrap().name(), "vertical", "{all:#?}");
    assert_eq!(unit.silenced.as_ref().unwrap().hurt().unwrap().0, vertical);
    assert_eq!(unit.class.unwrap().0, vertical, "{all:#?}");
    assert_eq!(unit.state, State::Alive);
    // The pictures that excite it most are vertical edges.
    assert!(
        unit.top
            .iter()
            .all(|top| test.labels()[top.input] as usize == vertical)
    );
    let html = page("Edges", &survey, test.labels(), &|row| {
        Shown::of(&test, row)
    })
    .unwrap();
    assert!(
        html.contains("data:image/png") && html.contains("vertical"),
        "{}",
        html.len()
    );
}
