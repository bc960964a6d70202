//! Neurons and attention of a language model over a text.

use super::collect::Collector;
use super::silence::Silencer;
use super::unit::{Effect, LayerSurvey};
use super::{BUDGET, SurveyOptions, counts};
use crate::error::{Error, Result};
use candle_core::{DType, Device, Tensor};
use cortical_models::language::LanguageModel;
use cortical_neuron::{Observer, Pass, View};
use cortical_text::Tokenizer;

/// Tokens that are read together, and tokens on which the loss without a neuron is measured, at most and at least.
const BLOCK: usize = 256;
const SILENCED_ON: usize = 512;
const SILENCED_AT_LEAST: usize = 32;
/// Tokens that are shown before the one that excites a neuron.
const CONTEXT: usize = 6;
/// The end of the name of a layer's attention weights.
const WEIGHTS: &str = ".weights";

/// A text as tokens.
#[derive(Clone, Debug)]
pub struct TextTokens {
    /// The tokens by number.
    pub ids: Vec<u32>,
    /// What each says.
    pub words: Vec<String>,
}

impl TextTokens {
    /// The words of some tokens.
    ///
    /// # Errors
    /// A token that the tokenizer does not know.
    pub fn new(tokenizer: &Tokenizer, ids: &[u32]) -> Result<Self> {
        let word = |id: &u32| {
            Ok(match tokenizer.decode(&[*id])? {
                empty if empty.is_empty() => tokenizer.piece(*id).unwrap_or_default(),
                word => word,
            })
        };
        Ok(Self {
            words: ids.iter().map(word).collect::<Result<_>>()?,
            ids: ids.to_vec(),
        })
    }

    /// A token between brackets behind those before it.
    #[must_use]
    pub fn context(&self, at: usize) -> String {
        let before = self
            .words
            .get(at.saturating_sub(CONTEXT)..at)
            .unwrap_or_default();
        let word = self.words.get(at).map(String::as_str).unwrap_or_default();
        format!("{}[{word}]", before.concat())
    }
}

/// A head of attention over the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionHead {
    /// How much each query looks at each key, query by query.
    pub weights: Vec<f32>,
    /// How many tokens it looks at, on average: `exp` of the entropy of a query's weights.
    pub breadth: f64,
    /// How many tokens back it looks, on average.
    pub distance: f64,
    /// How much of it goes to the first token, to the token before, and to the token itself, on average over the
    /// queries that have all three.
    pub shares: [f64; 3],
}

impl AttentionHead {
    fn new(weights: Vec<f32>, [queries, keys]: [usize; 2]) -> Self {
        let (mut breadth, mut distance, mut shares) = (0.0, 0.0, [0.0; 3]);
        for (query, row) in weights.chunks_exact(keys.max(1)).enumerate() {
            // With fewer keys than queries the first ones have left a window.
            let own = query + keys - queries.min(keys + query);
            let mut entropy = 0.0;
            for (key, weight) in row.iter().enumerate() {
                let weight = f64::from(*weight);
                if weight > 0.0 {
                    entropy -= weight * weight.ln();
                }
                distance += weight * (own as f64 - key as f64).abs();
            }
            breadth += entropy.exp();
            if own >= 2 && own < keys {
                for (share, at) in shares.iter_mut().zip([0, own - 1, own]) {
                    *share += f64::from(row[at]);
                }
            }
        }
        let queries_with_all = queries.saturating_sub(2).max(1) as f64;
        Self {
            weights,
            breadth: breadth / queries.max(1) as f64,
            distance: distance / queries.max(1) as f64,
            shares: shares.map(|share| share / queries_with_all),
        }
    }

    /// What it does mostly, in a few words.
    #[must_use]
    pub fn habit(&self) -> &'static str {
        match self.shares {
            [first, _, _] if first >= 0.5 => "first token",
            [_, before, _] if before >= 0.5 => "token before",
            [_, _, own] if own >= 0.5 => "itself",
            _ => "several tokens",
        }
    }
}

/// The heads of a layer over the prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionLayer {
    /// The layer.
    pub name: String,
    /// Queries and keys.
    pub size: [usize; 2],
    /// Its heads of queries.
    pub heads: Vec<AttentionHead>,
}

/// What neurons and heads of a language model do.
#[derive(Clone, Debug)]
pub struct LanguageSurvey {
    /// The text over which neurons were looked at.
    pub text: TextTokens,
    /// The text over which attention was.
    pub prompt: TextTokens,
    /// The mean loss over the text in nats a token; `None` for a model that scores no tokens, or a single one.
    pub loss: Option<f64>,
    /// Tokens on which the effect of each neuron was measured; 0 where it was not.
    pub silenced_on: usize,
    /// The neurons inside of feed-forward layers.
    pub layers: Vec<LayerSurvey>,
    /// The heads of attention, layer by layer.
    pub attention: Vec<AttentionLayer>,
    /// What a reader should know.
    pub remarks: Vec<String>,
}

impl LanguageSurvey {
    /// How many neurons there are in all layers, how many of them are dead and how many saturated.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        counts(&self.layers)
    }
}

/// Keeps the weights of attention.
#[derive(Default)]
struct Heads {
    layers: Vec<AttentionLayer>,
    failed: Option<candle_core::Error>,
}

impl Heads {
    fn add(&mut self, name: &str, weights: &Tensor) -> candle_core::Result<()> {
        let (_, _, queries, keys) = weights.dims4()?;
        let each = weights
            .get(0)?
            .to_dtype(DType::F32)?
            .flatten_from(1)?
            .to_vec2::<f32>()?;
        let heads = each
            .into_iter()
            .map(|weights| AttentionHead::new(weights, [queries, keys]));
        self.layers.push(AttentionLayer {
            name: name.to_owned(),
            size: [queries, keys],
            heads: heads.collect(),
        });
        Ok(())
    }
}

impl Observer for Heads {
    fn activation(&mut self, layer: &str, output: &Tensor) {
        if let Some(name) = layer.strip_suffix(WEIGHTS)
            && output.rank() == 4
            && self.failed.is_none()
            && let Err(why) = self.add(name, output)
        {
            self.failed = Some(why);
        }
    }

    fn wants(&self, view: View) -> bool {
        view == View::Attention
    }
}

fn tensor(ids: &[u32]) -> Result<Tensor> {
    Ok(Tensor::from_slice(ids, (1, ids.len()), &Device::Cpu)?)
}

/// Looks at the neurons inside the feed-forward layers of a language model over a text, and at its heads over a prompt.
///
/// # Errors
/// [`Error::NoText`] without a token; tokens that the model does not know, or more than it can read.
pub fn survey_language(
    model: &LanguageModel,
    text: TextTokens,
    prompt: TextTokens,
    options: &SurveyOptions,
) -> Result<LanguageSurvey> {
    if text.ids.is_empty() || prompt.ids.is_empty() {
        return Err(Error::NoText);
    }
    let block = BLOCK.min(model.config().max_positions().max(1));
    let mut heads = Heads::default();
    model.hidden(
        &tensor(&prompt.ids)?,
        None,
        &mut Pass::eval().observed_by(&mut heads),
    )?;
    if let Some(failed) = heads.failed {
        return Err(failed.into());
    }
    let mut collector = Collector::new(Vec::new(), 0, |name| options.names(name)).by_row();
    for (at, ids) in text.ids.chunks(block).enumerate() {
        let rows: Vec<usize> = (at * block..at * block + ids.len()).collect();
        collector.begin(&rows, &[]);
        model.hidden(
            &tensor(ids)?,
            None,
            &mut Pass::eval().observed_by(&mut collector),
        )?;
    }
    let mut found = LanguageSurvey {
        loss: None,
        silenced_on: 0,
        layers: collector.finish()?,
        attention: heads.layers,
        remarks: Vec::new(),
        text,
        prompt,
    };
    if !model.has_head() || found.text.ids.len() < 2 {
        return Ok(found);
    }
    let whole = loss(model, &found.text.ids, block, &mut Silencer::none())?;
    found.loss = Some(whole);
    let units: usize = found.layers.iter().map(|layer| layer.units.len()).sum();
    let parameters = model.config().parameters().unwrap_or(usize::MAX) as u64;
    let affordable = options.silence.unwrap_or_else(|| {
        let each = parameters.saturating_mul(units as u64).max(1);
        usize::try_from(BUDGET / each).map_or(SILENCED_ON, |tokens| tokens.min(SILENCED_ON))
    });
    let tokens = affordable.min(found.text.ids.len());
    if options.silence.is_none() && tokens < SILENCED_AT_LEAST.min(found.text.ids.len()) {
        found.remarks.push(format!(
            "{units} neurons are too many to take each away within a minute or so; name layers (--layer) or a number of tokens (--silence)"
        ));
    } else if tokens > 1 {
        found.silenced_on = tokens;
        let ids = &found.text.ids[..tokens];
        let before = loss(model, ids, block, &mut Silencer::none())?;
        for layer in &mut found.layers {
            for unit in &mut layer.units {
                let at = unit.index..unit.index + 1;
                let mut silencer = Silencer::new(&layer.name, at, false);
                unit.silenced = Some(Effect {
                    loss: loss(model, ids, block, &mut silencer)? - before,
                    accuracy: None,
                    recall: Vec::new(),
                });
            }
        }
    }
    Ok(found)
}

/// The mean loss of a text in nats a token, with an observer.
fn loss(model: &LanguageModel, ids: &[u32], block: usize, observer: &mut Silencer) -> Result<f64> {
    let (mut sum, mut count) = (0.0, 0);
    let last = ids.len() - 1;
    for start in (0..last).step_by(block) {
        let end = last.min(start + block);
        let labels = tensor(&ids[start + 1..=end])?;
        let mut pass = Pass::eval().observed_by(observer);
        let mean = model.loss(&tensor(&ids[start..end])?, &labels, &mut pass)?;
        let mean = mean.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        sum += mean * (end - start) as f64;
        count += end - start;
    }
    Ok(sum / count.max(1) as f64)
}
