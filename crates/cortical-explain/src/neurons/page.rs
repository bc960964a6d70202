//! What neurons do, as a page with pictures.

use super::subject::Shown;
use super::unit::{LayerSurvey, Unit};
use super::{LanguageSurvey, Survey};
use crate::error::Result;
use cortical_report::{Page, Picture, number};

/// Neurons of a layer, pictures of them, inputs of one and heads that are shown at most.
const ROWS: usize = 64;
const MOSAICS: usize = 48;
const TEXTS: usize = 3;
/// Pictures beside each other in one, and the room between them.
const SIDE: usize = 3;
const GAP: usize = 1;

/// The page of a network's or a classifier's neurons; `show` gives an input, `labels` are the classes of all inputs.
///
/// # Errors
/// Those of `show`.
pub fn page(
    title: &str,
    survey: &Survey,
    labels: &[u32],
    show: &dyn Fn(usize) -> Result<Shown>,
) -> Result<String> {
    let [units, dead, saturated] = survey.counts();
    let summary = format!(
        "what each of {units} neurons does over {} inputs",
        survey.inputs
    );
    let mut page = Page::new(title, &summary);
    page.figures(&[
        ("accuracy".to_owned(), percent(survey.accuracy)),
        ("loss".to_owned(), number(survey.loss)),
        ("layers".to_owned(), survey.layers.len().to_string()),
        ("neurons".to_owned(), units.to_string()),
        ("dead".to_owned(), dead.to_string()),
        ("saturated".to_owned(), saturated.to_string()),
    ]);
    page.text(&how(survey.silenced_on, "inputs"));
    for remark in &survey.remarks {
        page.text(remark);
    }
    for layer in &survey.layers {
        page.section(&layer.name).text(&about(layer));
        filters(&mut page, layer);
        let shown = layer.by_weight();
        let mut mosaics = Vec::new();
        for unit in shown.iter().take(MOSAICS) {
            if let Some(mosaic) = mosaic(unit, show)? {
                let words = unit.class.map_or_else(String::new, |(class, selectivity)| {
                    let class = survey.classes.get(class).map(String::as_str);
                    format!("{} {}", class.unwrap_or_default(), number(selectivity))
                });
                mosaics.push((mosaic, unit.index.to_string(), words));
            }
        }
        if !mosaics.is_empty() {
            page.text("The inputs that excite each neuron most, the strongest first; below them the class that it answers to and its selectivity.");
            page.pictures(&mosaics, false);
        }
        table(
            &mut page,
            survey,
            layer,
            &shown,
            labels,
            mosaics.is_empty().then_some(show),
        )?;
    }
    Ok(page.to_html())
}

/// What the columns mean.
fn how(silenced_on: usize, what: &str) -> String {
    let mut text = "Mean and spread are over all outputs of a neuron; it fires for an input if any of its outputs is above 0. Selectivity is (a − b) / (a + b), with a its mean positive output for the class that it answers to most and b that for all others.".to_owned();
    if silenced_on > 0 {
        text += &format!(
            " Behind “without it” stands what changes when its output is 0, over {silenced_on} {what}."
        );
    }
    text
}

fn about(layer: &LayerSurvey) -> String {
    let shape: Vec<String> = layer.shape.iter().map(usize::to_string).collect();
    let what = if layer.channels_first {
        "channels"
    } else {
        "neurons"
    };
    let [dead, saturated] = [super::State::Dead, super::State::Saturated].map(|s| layer.count(s));
    format!(
        "{} {what}, output {}; {dead} dead, {saturated} saturated.",
        layer.units.len(),
        shape.join("×")
    )
}

fn percent(share: f64) -> String {
    format!("{:.2}\u{a0}%", 100.0 * share)
}

/// A change of a share in points.
fn points(change: f64) -> String {
    format!("{:+.2}", 100.0 * change)
}

/// The weights of filters as pictures.
fn filters(page: &mut Page, layer: &LayerSurvey) {
    let Some(filters) = &layer.filters else {
        return;
    };
    let [channels, height, width] = filters.shape;
    let picture = |unit: &Unit| {
        let weights = filters.of(unit.index);
        let picture = Picture::from_numbers(channels, height, width, weights)?;
        let edges = unit
            .orientation
            .map_or("", |orientation| orientation.name());
        Some((picture, unit.index.to_string(), edges.to_owned()))
    };
    let pictures: Vec<_> = layer.units.iter().take(ROWS).filter_map(picture).collect();
    if !pictures.is_empty() {
        page.text("Each filter from its lowest weight, black, to its highest, white, and the edges that it prefers.");
        page.pictures(&pictures, true);
    }
}

/// The inputs that excite a neuron as one picture; `None` where they are none, or it never answers.
fn mosaic(unit: &Unit, show: &dyn Fn(usize) -> Result<Shown>) -> Result<Option<Picture>> {
    let mut tiles = Vec::new();
    for top in unit
        .top
        .iter()
        .filter(|top| top.output > 0.0)
        .take(SIDE * SIDE)
    {
        match show(top.input)? {
            Shown::Picture(shape, values) => tiles.push((shape, values)),
            Shown::Text(_) => return Ok(None),
        }
    }
    let Some(&([channels, height, width], _)) = tiles.first() else {
        return Ok(None);
    };
    let planes = if channels == 3 { 3 } else { 1 };
    let (wide, high) = (SIDE * (width + GAP) - GAP, SIDE * (height + GAP) - GAP);
    let mut bytes = vec![64_u8; planes * wide * high];
    for (at, (shape, values)) in tiles.iter().enumerate() {
        if *shape != [channels, height, width] {
            continue;
        }
        let shown = &values[..planes * height * width];
        let low = shown.iter().copied().fold(f32::INFINITY, f32::min);
        let most = shown.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = if most > low {
            255.0 / (most - low)
        } else {
            0.0
        };
        let (left, top) = (at % SIDE * (width + GAP), at / SIDE * (height + GAP));
        for (i, value) in shown.iter().enumerate() {
            let (plane, y, x) = (i / (height * width), i / width % height, i % width);
            let place = (plane * high + top + y) * wide + left + x;
            bytes[place] = ((value - low) * scale) as u8;
        }
    }
    Ok(match planes {
        3 => Picture::planes(wide, high, &bytes),
        _ => Picture::grey(wide, high, &bytes),
    })
}

fn table(
    page: &mut Page,
    survey: &Survey,
    layer: &LayerSurvey,
    shown: &[&Unit],
    labels: &[u32],
    show: Option<&dyn Fn(usize) -> Result<Shown>>,
) -> Result<()> {
    let class = |class: usize| survey.classes.get(class).cloned().unwrap_or_default();
    let mut head = vec![
        "#neuron",
        "#mean",
        "#spread",
        "#fires",
        "state",
        "class",
        "#selectivity",
    ];
    let measured = survey.silenced_on > 0;
    if measured {
        head.extend(["#without it: loss", "#accuracy, points", "hurts most"]);
    }
    if layer.filters.is_some() {
        head.extend(["edges", "#how clearly"]);
    }
    head.push("excited by");
    let mut rows = Vec::new();
    for unit in shown.iter().take(ROWS) {
        let (name, selectivity) = unit.class.map_or_else(
            || (String::new(), String::new()),
            |(at, selectivity)| (class(at), number(selectivity)),
        );
        let mut row = vec![
            unit.index.to_string(),
            number(unit.mean),
            number(unit.spread),
            percent(unit.fires),
            unit.state.name().to_owned(),
            name,
            selectivity,
        ];
        if measured {
            let effect = unit.silenced.as_ref();
            row.push(effect.map_or_else(String::new, |e| number(e.loss)));
            let change = effect.and_then(|e| e.accuracy);
            row.push(change.map_or_else(String::new, points));
            let hurt = effect.and_then(super::Effect::hurt);
            row.push(hurt.map_or_else(String::new, |(at, change)| {
                format!("{} {}", class(at), points(change))
            }));
        }
        if layer.filters.is_some() {
            row.push(
                unit.orientation
                    .map_or_else(String::new, |o| o.name().to_owned()),
            );
            row.push(
                unit.orientation
                    .map_or_else(String::new, |o| number(o.strength)),
            );
        }
        let mut excited = Vec::new();
        for top in unit.top.iter().take(TEXTS) {
            let label = labels.get(top.input).map(|label| class(*label as usize));
            let mut text = format!("{} ({})", top.input, label.unwrap_or_default());
            if let Some(show) = show
                && let Shown::Text(words) = show(top.input)?
            {
                text += &format!(": {words}");
            }
            excited.push(text);
        }
        row.push(excited.join("; "));
        rows.push(row);
    }
    page.table(&head, &rows);
    if layer.units.len() > ROWS {
        page.text(&format!(
            "{} more neurons are not shown.",
            layer.units.len() - ROWS
        ));
    }
    Ok(())
}

/// The page of a language model's heads and neurons.
#[must_use]
pub fn language_page(title: &str, survey: &LanguageSurvey) -> String {
    let [units, dead, saturated] = survey.counts();
    let heads: usize = survey.attention.iter().map(|layer| layer.heads.len()).sum();
    let tokens = survey.text.ids.len();
    let summary = format!(
        "{heads} heads over a prompt, {units} neurons of feed-forward layers over {tokens} tokens"
    );
    let mut page = Page::new(title, &summary);
    let mut figures = vec![
        ("neurons".to_owned(), units.to_string()),
        ("dead".to_owned(), dead.to_string()),
        ("saturated".to_owned(), saturated.to_string()),
        ("heads".to_owned(), heads.to_string()),
    ];
    if let Some(loss) = survey.loss {
        figures.insert(0, ("loss, nats a token".to_owned(), number(loss)));
    }
    page.figures(&figures);
    for remark in &survey.remarks {
        page.text(remark);
    }
    page.section("Attention").text("Each picture is a head over the prompt: a row for each token that looks, a column for each that is looked at, black for nothing and white for everything (by the root, so that little is seen too).");
    page.code(&survey.prompt.words.concat());
    for layer in &survey.attention {
        page.text(&layer.name);
        let [queries, keys] = layer.size;
        let picture = |(at, head): (usize, &super::AttentionHead)| {
            let bytes: Vec<u8> = head
                .weights
                .iter()
                .map(|w| (w.clamp(0.0, 1.0).sqrt() * 255.0) as u8)
                .collect();
            let picture = Picture::grey(keys, queries, &bytes)?;
            Some((picture, at.to_string(), head.habit().to_owned()))
        };
        let pictures: Vec<_> = layer.heads.iter().enumerate().filter_map(picture).collect();
        page.pictures(&pictures, false);
    }
    page.section("Neurons")
        .text(&how(survey.silenced_on, "tokens"));
    for layer in &survey.layers {
        let measured = survey.silenced_on > 0;
        let mut head = vec!["#neuron", "#mean", "#spread", "#fires", "#highest", "state"];
        if measured {
            head.push("#without it: loss");
        }
        head.push("the tokens that excite it most");
        let row = |unit: &&Unit| {
            let mut row = vec![
                unit.index.to_string(),
                number(unit.mean),
                number(unit.spread),
                percent(unit.fires),
                number(f64::from(unit.range[1])),
                unit.state.name().to_owned(),
            ];
            if measured {
                let effect = unit.silenced.as_ref();
                row.push(effect.map_or_else(String::new, |e| number(e.loss)));
            }
            let tops = unit.top.iter().take(TEXTS);
            let words: Vec<String> = tops.map(|top| survey.text.context(top.input)).collect();
            row.push(words.join(" · "));
            row
        };
        let rows: Vec<Vec<String>> = layer
            .by_weight()
            .iter()
            .take(SHOWN_UNITS)
            .map(row)
            .collect();
        page.text(&format!("{}: {}", layer.name, about(layer)));
        page.table(&head, &rows);
    }
    page.to_html()
}

/// Neurons of each layer of a language model on its page.
const SHOWN_UNITS: usize = 16;
