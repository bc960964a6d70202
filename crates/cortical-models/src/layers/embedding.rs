//! `embedding`

use candle_core::{DType, Tensor};
use cortical_neuron::{Description, Embedding as EmbeddingLayer, Error, Layer, Pass};
use cortical_settings::{at_least, settings};

use super::{AnyLayer, LayerKind, Shapes, Site, Width, Widths};
use crate::error::Result;

settings! {
    /// The settings of a table of vectors.
    #[derive(Clone, Debug, PartialEq)]
    pub(super) struct EmbeddingSettings {
        num_embeddings: usize, "rows of the table: inputs are whole numbers below it", at_least(1);
        embedding_dim: usize, "length of each row", at_least(1);
        padding_idx: Option<u32>, "the row that stands for padding";
    }
}

/// A table of learned vectors.
pub(super) struct Embedding;

impl LayerKind for Embedding {
    const KIND: &'static str = "embedding";
    const SUMMARY: &'static str =
        "a learned vector for each whole number: [steps] becomes [steps, features]";
    const PREFIX: &'static str = "embedding";
    const EXAMPLE: &'static str = "settings such as { num_embeddings = 100, embedding_dim = 16 }";
    type Settings = EmbeddingSettings;

    fn build(settings: &EmbeddingSettings, site: &Site<'_>) -> Result<AnyLayer> {
        let mut config = EmbeddingLayer::config(settings.num_embeddings, settings.embedding_dim);
        if let Some(row) = settings.padding_idx {
            config = config.padding_idx(row);
        }
        Ok(Box::new(Lookup(config.build(site.scope())?)))
    }

    fn widths(
        settings: &EmbeddingSettings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        all.fix(input);
        let features = all.neurons(settings.embedding_dim);
        all.makes(site, &["weight"], 1, &features);
        Ok(features.along(site.input().len()))
    }

    fn narrow(settings: &mut EmbeddingSettings, place: &str, shapes: Shapes<'_>) -> Result<()> {
        let features = shapes.length(place, "weight", 1);
        settings.embedding_dim = features.unwrap_or(settings.embedding_dim);
        Ok(())
    }
}

/// A table whose rows are picked by numbers of any type, as data come in floating point.
struct Lookup(EmbeddingLayer);

impl Layer for Lookup {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        if x.dtype().is_int() {
            return self.0.forward(x, pass);
        }
        let rows = x.to_dtype(DType::U32)?;
        let whole = rows.to_dtype(x.dtype())?.eq(x)?.to_dtype(DType::F32)?;
        if whole.min_all()?.to_scalar::<f32>()? == 0.0 {
            return Err(Error::Option {
                option: "the input of an embedding",
                expected: "whole numbers that are not negative (check data.normalize)",
                got: "others among them".to_owned(),
            });
        }
        self.0.forward(&rows, pass)
    }

    fn describe(&self, sample: &[usize]) -> cortical_neuron::Result<Description> {
        self.0.describe(sample)
    }
}
