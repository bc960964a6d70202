//! Neurons cut out of tensors.

use std::collections::BTreeMap;

use candle_core::Tensor;
use cortical_models::{NeuronGroup, Slice};

use crate::{Error, Result};

/// The tensors without the neurons that go: `kept` are those of each group that stay.
///
/// # Errors
/// [`Error::Slice`] for a tensor that is not there, or not as wide as a group says.
pub fn remove(
    tensors: &BTreeMap<String, Tensor>,
    groups: &[NeuronGroup],
    kept: &[Vec<usize>],
) -> Result<BTreeMap<String, Tensor>> {
    let mut cut = tensors.clone();
    for (group, kept) in groups.iter().zip(kept) {
        if kept.len() == group.count {
            continue;
        }
        for slice in &group.slices {
            let tensor = check(slice, group.count, &cut)?;
            let (from, each) = (slice.from as u32, slice.each as u32);
            let positions = kept.iter().flat_map(|neuron| {
                let first = from + *neuron as u32 * each;
                first..first + each
            });
            // What lies around the group stays.
            let end = from + group.count as u32 * each;
            let around = (0..from)
                .chain(positions)
                .chain(end..tensor.dims()[slice.axis] as u32);
            let positions: Vec<u32> = around.collect();
            let positions = Tensor::new(&positions[..], tensor.device())?;
            let smaller = tensor.contiguous()?.index_select(&positions, slice.axis)?;
            cut.insert(slice.tensor.clone(), smaller);
        }
    }
    Ok(cut)
}

/// The shape of each tensor.
#[must_use]
pub fn shapes(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Vec<usize>> {
    let shape = |(name, tensor): (&String, &Tensor)| (name.clone(), tensor.dims().to_vec());
    tensors.iter().map(shape).collect()
}

/// The tensor of a slice, if it is wide enough for so many neurons.
pub(crate) fn check<'t>(
    slice: &Slice,
    neurons: usize,
    tensors: &'t BTreeMap<String, Tensor>,
) -> Result<&'t Tensor> {
    let expected = neurons
        .saturating_mul(slice.each)
        .saturating_add(slice.from);
    let tensor = tensors.get(&slice.tensor);
    let length = tensor.and_then(|tensor| tensor.dims().get(slice.axis).copied());
    match (tensor, length) {
        (Some(tensor), Some(length)) if length >= expected && u32::try_from(length).is_ok() => {
            Ok(tensor)
        }
        (tensor, _) => Err(Error::Slice {
            tensor: slice.tensor.clone(),
            axis: slice.axis,
            expected,
            found: tensor.map_or("no such tensor".to_owned(), |t| format!("{:?}", t.dims())),
        }),
    }
}
