//! What attention reads, in one order of dimensions.

use candle_core::Tensor;
use cortical_neuron::Result;
use cortical_tensor::Error;

/// What attention looks at besides the queries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attend<'a> {
    /// Where keys come from; from the queries' input by default (self-attention).
    pub memory: Option<&'a Tensor>,
    /// Where values come from; from the keys' input by default.
    pub values: Option<&'a Tensor>,
    /// `[rows, keys]`, `[batch · heads, rows, keys]` or `[batch or 1, heads or 1, rows or 1, keys]`: of u8, not 0 where
    /// a query may attend (PyTorch's boolean masks say the opposite here); of floats, added to the scores.
    pub mask: Option<&'a Tensor>,
    /// `[batch, keys]`: of u8, not 0 where a key is no padding (PyTorch's boolean `key_padding_mask` says the
    /// opposite); of floats, added to the scores.
    pub key_mask: Option<&'a Tensor>,
}

/// Queries, and keys with values where they are others, each `[batch, rows, width]`.
pub(super) struct Inputs {
    pub(super) queries: Tensor,
    pub(super) memory: Option<(Tensor, Tensor)>,
}

/// Checks widths and batches, and brings everything into one order.
pub(super) fn read(
    x: &Tensor,
    attend: &Attend<'_>,
    batch_first: bool,
    [width, kdim, vdim]: [usize; 3],
) -> Result<Inputs> {
    let single = x.rank() == 2;
    let put = |argument: &'static str, t: &Tensor, width: usize| -> Result<Tensor> {
        let fits = t.rank() == x.rank() && (2..=3).contains(&t.rank());
        if !fits || t.dims().last() != Some(&width) {
            let leading = match (single, batch_first) {
                (true, _) => "[rows",
                (false, true) => "[batch, rows",
                (false, false) => "[rows, batch",
            };
            return Err(Error::Shape {
                op: "attention",
                argument,
                expected: format!("{leading}, {width}]"),
                got: t.dims().to_vec(),
            }
            .into());
        }
        Ok(if single {
            t.unsqueeze(0)?
        } else if batch_first {
            t.clone()
        } else {
            t.transpose(0, 1)?
        })
    };
    let queries = put("x", x, width)?;
    let alone =
        attend.memory.is_none() && attend.values.is_none() && (kdim, vdim) == (width, width);
    if alone {
        return Ok(Inputs {
            queries,
            memory: None,
        });
    }
    let memory = attend.memory.unwrap_or(x);
    let keys = put("memory", memory, kdim)?;
    let values = put("values", attend.values.unwrap_or(memory), vdim)?;
    if keys.dim(0)? != queries.dim(0)? || keys.dims()[..2] != values.dims()[..2] {
        let (argument, wrong) = if keys.dim(0)? == queries.dim(0)? {
            ("values", &values)
        } else {
            ("memory", &keys)
        };
        return Err(Error::Shape {
            op: "attention",
            argument,
            expected: format!(
                "batch {} and as many rows as there are keys",
                queries.dim(0)?
            ),
            got: wrong.dims().to_vec(),
        }
        .into());
    }
    Ok(Inputs {
        queries,
        memory: Some((keys, values)),
    })
}
