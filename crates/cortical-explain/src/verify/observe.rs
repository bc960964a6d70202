//! Compares what layers give with a reference, and lets each go on from the reference.

use super::names::Names;
use super::reference::Reference;
use super::{Compared, flat};
use crate::error::Result;
use candle_core::Tensor;
use cortical_neuron::{Observer, View};
use std::collections::BTreeSet;

/// Observes a pass beside a reference.
pub(super) struct Comparer<'a> {
    reference: &'a Reference,
    names: &'a Names,
    /// Whether the reference's outputs go on in the place of the model's.
    forces: bool,
    layers: Vec<Compared>,
    seen: BTreeSet<String>,
    extra: Vec<String>,
    failed: Option<crate::Error>,
}

impl<'a> Comparer<'a> {
    pub(super) fn new(reference: &'a Reference, names: &'a Names, forces: bool) -> Self {
        Self {
            reference,
            names,
            forces,
            layers: Vec::new(),
            seen: BTreeSet::new(),
            extra: Vec::new(),
            failed: None,
        }
    }

    /// The layers that the reference has as well, and the names of those that it does not have.
    ///
    /// # Errors
    /// What went wrong while comparing.
    pub(super) fn finish(self) -> Result<(Vec<Compared>, Vec<String>)> {
        match self.failed {
            Some(failed) => Err(failed),
            None => Ok((self.layers, self.extra)),
        }
    }

    /// Compares a layer's first output; returns the reference's, with the gradient of ours.
    fn compare(&mut self, layer: &str, output: &Tensor) -> Result<Option<Tensor>> {
        // Hooks of PyTorch's keep what a module gave first, too.
        if !self.seen.insert(layer.to_owned()) {
            return Ok(None);
        }
        let Some(theirs) = self.reference.output_of(&self.names.theirs(layer))? else {
            self.extra.push(layer.to_owned());
            return Ok(None);
        };
        let distance = Distance::new(output, &theirs)?;
        self.layers.push(Compared {
            name: layer.to_owned(),
            error: distance.relative(0.0),
            so_far: f64::NAN,
            shapes: distance.shapes,
        });
        if !self.forces || theirs.elem_count() != output.elem_count() {
            return Ok(None);
        }
        let theirs = theirs.reshape(output.shape())?.to_dtype(output.dtype())?;
        // The value is the reference's, the derivative that of our output.
        Ok(Some((output + (theirs - output.detach())?)?))
    }
}

impl Observer for Comparer<'_> {
    fn activation(&mut self, layer: &str, output: &Tensor) {
        if !self.forces
            && self.failed.is_none()
            && let Err(why) = self.compare(layer, output)
        {
            self.failed = Some(why);
        }
    }

    fn wants(&self, view: View) -> bool {
        view == View::Modules || (self.forces && view == View::Replacements)
    }

    fn replacement(
        &mut self,
        layer: &str,
        output: &Tensor,
    ) -> cortical_neuron::Result<Option<Tensor>> {
        if self.failed.is_some() {
            return Ok(None);
        }
        Ok(self.compare(layer, output).unwrap_or_else(|why| {
            self.failed = Some(why);
            None
        }))
    }
}

/// How far two tensors are from each other, in double precision.
#[derive(Clone, Debug)]
pub(super) struct Distance {
    /// `‖ours − theirs‖`; infinite where the shapes differ or only one of both is finite.
    difference: f64,
    /// `‖theirs‖`
    norm: f64,
    elements: usize,
    /// Both shapes, where they differ by more than axes of length 1.
    pub(super) shapes: Option<[Vec<usize>; 2]>,
}

impl Distance {
    pub(super) fn new(ours: &Tensor, theirs: &Tensor) -> Result<Self> {
        let long =
            |t: &Tensor| -> Vec<usize> { t.dims().iter().copied().filter(|n| *n != 1).collect() };
        let mut distance = Self {
            difference: f64::INFINITY,
            norm: 0.0,
            elements: theirs.elem_count(),
            shapes: None,
        };
        if long(ours) != long(theirs) {
            distance.shapes = Some([ours.dims().to_vec(), theirs.dims().to_vec()]);
            return Ok(distance);
        }
        let (mut difference, mut norm) = (0.0, 0.0);
        for (a, b) in flat(ours)?.iter().zip(&flat(theirs)?) {
            // Equal infinities are no difference.
            if a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()) {
                norm += if b.is_finite() { b * b } else { 0.0 };
                continue;
            }
            if !a.is_finite() || !b.is_finite() {
                return Ok(distance);
            }
            difference += (a - b) * (a - b);
            norm += b * b;
        }
        (distance.difference, distance.norm) = (difference.sqrt(), norm.sqrt());
        Ok(distance)
    }

    /// The root of the mean square of the reference.
    pub(super) fn scale(&self) -> f64 {
        self.norm / (self.elements.max(1) as f64).sqrt()
    }

    /// The error relative to the reference, or to elements of this size where its own are smaller; to 1 where all are
    /// 0.
    pub(super) fn relative(&self, floor: f64) -> f64 {
        let floor = floor * (self.elements as f64).sqrt();
        match self.norm.max(floor) {
            norm if norm > 0.0 => self.difference / norm,
            _ => self.difference,
        }
    }
}
