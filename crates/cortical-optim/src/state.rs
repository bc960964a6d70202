//! Reading a state by name: strictly, with everything that does not fit in one list.

use crate::{Error, Mismatch, Result};
use candle_core::{DType, Tensor};
use std::collections::HashMap;

/// A state that is being loaded: what was not asked for yet, and what did not fit so far.
pub(crate) struct Reader<'a> {
    rest: HashMap<&'a str, &'a Tensor>,
    order: Vec<&'a str>,
    mismatches: Vec<Mismatch>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(state: &'a [(String, Tensor)]) -> Self {
        let mut reader = Self {
            rest: HashMap::new(),
            order: Vec::new(),
            mismatches: Vec::new(),
        };
        for (name, tensor) in state {
            if reader.rest.insert(name, tensor).is_some() {
                let name = name.clone();
                reader.mismatches.push(Mismatch::Twice { name });
            } else {
                reader.order.push(name);
            }
        }
        reader
    }

    /// The entry of this name if it has this shape and dtype.
    pub(crate) fn take(
        &mut self,
        name: String,
        dims: &[usize],
        dtype: DType,
    ) -> Option<&'a Tensor> {
        let mismatch = match self.rest.remove(name.as_str()) {
            None => Mismatch::Missing { name },
            Some(tensor) if tensor.dims() != dims => Mismatch::Shape {
                name,
                expected: dims.to_vec(),
                got: tensor.dims().to_vec(),
            },
            Some(tensor) if tensor.dtype() != dtype => Mismatch::DType {
                name,
                expected: dtype,
                got: tensor.dtype(),
            },
            Some(tensor) => return Some(tensor),
        };
        self.mismatches.push(mismatch);
        None
    }

    /// As [`take`](Self::take), for an entry that may be absent.
    pub(crate) fn take_if_there(
        &mut self,
        name: String,
        dims: &[usize],
        dtype: DType,
    ) -> Option<&'a Tensor> {
        if self.rest.contains_key(name.as_str()) {
            self.take(name, dims, dtype)
        } else {
            None
        }
    }

    /// The entry of this name as a number of steps, if it is one.
    pub(crate) fn count(&mut self, name: String) -> Result<Option<u64>> {
        let Some(tensor) = self.take(name.clone(), &[], DType::I64) else {
            return Ok(None);
        };
        let got = tensor.to_scalar::<i64>()?;
        let count = u64::try_from(got).ok();
        if count.is_none() {
            self.mismatches.push(Mismatch::Steps { name, got });
        }
        Ok(count)
    }

    /// Refuses the state if anything did not fit or was not asked for.
    pub(crate) fn finish(mut self) -> Result<()> {
        let rest = &self.rest;
        let unknown = self.order.iter().filter(|name| rest.contains_key(*name));
        let unknown = unknown.map(|name| Mismatch::Unknown {
            name: (*name).to_string(),
        });
        self.mismatches.extend(unknown);
        if self.mismatches.is_empty() {
            Ok(())
        } else {
            let mismatches = self.mismatches;
            Err(Error::State { mismatches })
        }
    }
}
