//! A table of learned vectors.

use crate::{Description, Error, Init, Layer, Param, Pass, Place, Result};
use candle_core::Tensor;
use cortical_tensor::ops;

/// The options of an [`Embedding`].
#[derive(Clone, Copy, Debug)]
pub struct EmbeddingConfig {
    rows: usize,
    dim: usize,
    padding: Option<u32>,
    /// Whether the row of the padding begins with zeros.
    clears: bool,
    init: Init,
}

impl EmbeddingConfig {
    /// The row that stands for padding: zeros at first, and it gets no gradient.
    #[must_use]
    pub fn padding_idx(mut self, row: u32) -> Self {
        (self.padding, self.clears) = (Some(row), true);
        self
    }

    /// The row that stands for padding and gets no gradient, but begins as the others do: that of a model whose file
    /// has a value for it.
    #[must_use]
    pub fn stored_padding_idx(mut self, row: u32) -> Self {
        (self.padding, self.clears) = (Some(row), false);
        self
    }

    /// How the table begins; N(0, 1) by default.
    #[must_use]
    pub fn init(mut self, init: Init) -> Self {
        self.init = init;
        self
    }

    /// Makes the layer at a place of a model.
    ///
    /// # Errors
    /// [`Error::Option`] when the padding is no row, [`Error::NameTaken`], [`Error::TooLarge`].
    pub fn build(self, scope: &impl Place) -> Result<Embedding> {
        let scope = &scope.place();
        let weight = scope.param("weight", &[self.rows, self.dim], self.init)?;
        if let Some(row) = self.padding {
            if row as usize >= self.rows {
                let (expected, got) = ("a row of the table", row.to_string());
                return Err(Error::Option {
                    option: "padding_idx",
                    expected,
                    got,
                });
            }
            if self.clears && !scope.params().is_dry() {
                let zeros = Tensor::zeros((1, self.dim), weight.dtype(), weight.tensor().device())?;
                let table = weight
                    .tensor()
                    .slice_assign(&[row as usize..row as usize + 1, 0..self.dim], &zeros)?;
                weight.set(&table)?;
            }
        }
        Ok(Embedding {
            weight,
            padding: self.padding,
            name: scope.path().to_string(),
        })
    }
}

/// `y = weight[x]`: each index picks a row of a table, PyTorch's `nn.Embedding`.
///
/// # Shapes
/// - input: any, of u32, i64 or u8
/// - `weight`: `[num_embeddings, embedding_dim]`, from N(0, 1): `num_embeddings · embedding_dim` parameters
/// - output: `[…, embedding_dim]`
///
/// One weight can serve as the table and as the last layer of a language model: build that with `Linear`'s `build_tied`
/// and this layer's [`weight`](Embedding::weight), or give the parameter its second name with
/// [`Scope::tie`](crate::Scope::tie).
///
/// ```
/// use candle_core::{Device, Tensor};
/// use cortical_neuron::{Embedding, Layer, Params, Pass};
/// use cortical_tensor::Seed;
/// # fn main() -> cortical_neuron::Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let tokens = Embedding::config(100, 8).build(&params.at("tokens"))?;
/// let x = Tensor::new(&[[1_u32, 5, 99]], &Device::Cpu)?;
/// assert_eq!(tokens.forward(&x, &mut Pass::eval())?.dims(), [1, 3, 8]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Embedding {
    weight: Param,
    padding: Option<u32>,
    name: String,
}

impl Embedding {
    /// The options of a table of so many rows of so many elements.
    #[must_use]
    pub fn config(num_embeddings: usize, embedding_dim: usize) -> EmbeddingConfig {
        let init = Init::Normal {
            mean: 0.0,
            std: 1.0,
        };
        EmbeddingConfig {
            rows: num_embeddings,
            dim: embedding_dim,
            padding: None,
            clears: false,
            init,
        }
    }

    /// The table.
    #[must_use]
    pub fn weight(&self) -> &Param {
        &self.weight
    }
}

impl Layer for Embedding {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
        let y = ops::embedding(x, self.weight.input(pass), self.padding)
            .map_err(|e| Error::from(e).in_layer(&self.name))?;
        pass.observe(&self.name, y)
    }

    fn describe(&self, sample: &[usize]) -> Result<Description> {
        let (rows, dim) = (self.weight.dims()[0], self.weight.dims()[1]);
        let output: Vec<usize> = sample.iter().copied().chain([dim]).collect();
        Ok(Description::new("Embedding", &self.name, &output)
            .reads("each output is an element of the row that the index picks")
            .parameters([&self.weight], format!("num·dim = {rows}·{dim}"))
            .costs(crate::description::product(&output), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Params;
    use candle_core::Device;
    use cortical_tensor::Seed;

    #[test]
    fn padding_begins_at_zero_and_stays_there() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let table = Embedding::config(4, 3)
            .padding_idx(2)
            .build(&params.at("e"))
            .unwrap();
        let x = Tensor::new(&[2_u32, 0, 2], &Device::Cpu).unwrap();
        let mut rng = params.rng("pass");
        let y = table.forward(&x, &mut Pass::train(&mut rng)).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap()[0], [0.0; 3]);
        params.backward(&y.sum_all().unwrap()).unwrap();
        let grad = table.weight().grad().unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(grad, [[1.0; 3], [0.0; 3], [0.0; 3], [0.0; 3]]);
        let params = Params::new(&Device::Cpu, Seed(1));
        let stored = Embedding::config(4, 3)
            .stored_padding_idx(2)
            .build(&params.at("e"))
            .unwrap();
        let y = stored.forward(&x, &mut Pass::train(&mut rng)).unwrap();
        assert_ne!(y.to_vec2::<f32>().unwrap()[0], [0.0; 3]);
        params.backward(&y.sum_all().unwrap()).unwrap();
        let grad = stored.weight().grad().unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(grad, [[1.0; 3], [0.0; 3], [0.0; 3], [0.0; 3]]);
        let error = Embedding::config(4, 3)
            .padding_idx(4)
            .build(&params.at("f"))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "padding_idx must be a row of the table, but is 4"
        );
    }

    #[test]
    fn an_index_that_is_no_row_is_refused() {
        let params = Params::new(&Device::Cpu, Seed(1));
        let table = Embedding::config(4, 3).build(&params.at("e")).unwrap();
        let x = Tensor::new(&[4_u32], &Device::Cpu).unwrap();
        let error = table
            .forward(&x, &mut Pass::eval())
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "in layer \"e\": embedding: indices[0] is 4, but must be below 4"
        );
    }
}
