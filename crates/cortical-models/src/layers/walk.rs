//! Neurons followed through layers in a row, and layers in a row made narrower.

use cortical_neuron::{Layer, Params};

use super::width::{NeuronGroup, Shapes, Width, Widths};
use super::{LayerSpec, Site, segment};
use crate::error::Result;

impl Widths {
    /// Follows the neurons through layers in a row, whose names begin with that of `site`'s place.
    pub(super) fn through(
        &mut self,
        specs: &[LayerSpec],
        site: &Site<'_>,
        place: &str,
        width: &Width,
    ) -> Result<Width> {
        self.follow(specs, (place, site.classes), site.input(), width)
    }

    fn follow(
        &mut self,
        specs: &[LayerSpec],
        (place, classes): (&str, usize),
        input: &[usize],
        width: &Width,
    ) -> Result<Width> {
        let (mut shape, mut width) = (input.to_vec(), width.clone());
        for (i, (spec, name)) in specs.iter().zip(segment::names(specs)?).enumerate() {
            // A store of its own for each, as layers inside layers are built more than once.
            let scope = Params::dry(usize::MAX).at(place);
            let site = segment::site(spec, (i, name.as_deref()), &scope, &shape, classes);
            let layer = spec.build(&site).map_err(|error| site.blame(error))?;
            let described = layer.describe(&shape);
            let output = described.map_err(|error| site.blame_layer(error))?.output;
            width = spec.widths(&site, &width, self)?;
            shape = output;
        }
        Ok(width)
    }

    /// The groups of a network for samples of a shape: what it reads and what it says in the end stay as they are.
    pub(crate) fn of(
        specs: &[LayerSpec],
        input: &[usize],
        classes: usize,
    ) -> Result<Vec<NeuronGroup>> {
        let mut all = Self::default();
        let first = all.neurons(input[0]);
        all.fix(&first);
        let last = all.follow(specs, ("", classes), input, &first)?;
        all.fix(&last);
        let groups = all.groups.into_iter();
        Ok(groups.filter(|group| !group.slices.is_empty()).collect())
    }
}

impl Shapes<'_> {
    /// Layers in a row, whose names begin with `place`, with the sizes of these tensors.
    ///
    /// # Errors
    /// Two layers of one name.
    pub fn narrow(&self, layers: &mut [LayerSpec], place: &str) -> Result<()> {
        let names = segment::names(layers)?;
        for (spec, name) in layers.iter_mut().zip(names) {
            // A layer without a name has no tensors.
            if let Some(name) = name {
                let place = match place {
                    "" => name,
                    place => format!("{place}.{name}"),
                };
                *spec = spec.narrowed(&place, *self)?;
            }
        }
        Ok(())
    }
}
