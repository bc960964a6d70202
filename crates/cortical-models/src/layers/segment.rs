//! Layers in a row, each built for the shape that the one before it gives.

use std::collections::HashMap;

use candle_core::Tensor;
use cortical_neuron::{Description, Layer, Pass, Scope};

use super::{AnyLayer, LayerSpec, Site};
use crate::error::{Error, Result};

/// A built layer and what it says of itself.
struct Link {
    /// Its place in the network, by which errors and accounts call it.
    place: String,
    layer: AnyLayer,
    /// The description for the shape it was built for.
    description: Description,
    /// How many parameters it added to the store.
    parameters: usize,
}

/// Some layers in a row.
pub(crate) struct Segment {
    links: Vec<Link>,
    input: Vec<usize>,
}

impl Segment {
    /// Makes the layers, whose names begin with that of `scope`, for samples of a shape. In a dry store this is how
    /// shapes and sizes are known before anything is allocated.
    ///
    /// # Errors
    /// Two layers of one name; a layer that cannot take what the one before it gives; sizes beyond what can be
    /// addressed or held.
    pub(crate) fn build(
        specs: &[LayerSpec],
        scope: &Scope,
        input: &[usize],
        classes: usize,
    ) -> Result<Self> {
        let names = names(specs)?;
        let mut segment = Self {
            links: Vec::with_capacity(specs.len()),
            input: input.to_vec(),
        };
        for (i, (spec, name)) in specs.iter().zip(&names).enumerate() {
            let site = site(spec, (i, name.as_deref()), scope, segment.output(), classes);
            let before = scope.params().count();
            let layer = spec.build(&site).map_err(|error| site.blame(error))?;
            let described = layer.describe(site.input());
            let mut description = described.map_err(|error| site.blame_layer(error))?;
            site.check_output(&description.output)?;
            let place = site.scope().path().to_owned();
            description.name.clone_from(&place);
            segment.links.push(Link {
                place,
                layer,
                description,
                parameters: scope.params().count() - before,
            });
        }
        Ok(segment)
    }

    /// The shape of a sample after the last layer.
    pub(crate) fn output(&self) -> &[usize] {
        let last = self.links.last();
        last.map_or(&self.input, |link| &link.description.output)
    }

    /// Each layer's description and number of parameters.
    pub(crate) fn into_accounts(self) -> impl Iterator<Item = (Description, usize)> {
        let links = self.links.into_iter();
        links.map(|link| (link.description, link.parameters))
    }

    /// How many layers there are.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// The same layers in segments of so many.
    pub(crate) fn split(mut self, length: usize) -> Vec<Self> {
        let mut parts = Vec::new();
        while self.links.len() > length {
            let rest = Self {
                links: self.links.split_off(length),
                input: self.output().to_vec(),
            };
            parts.push(std::mem::replace(&mut self, rest));
        }
        parts.push(self);
        parts
    }

    /// What the layers behind the one at a place make of its output; `None` where none is called so.
    pub(crate) fn forward_behind(
        &self,
        place: &str,
        output: &Tensor,
        pass: &mut Pass<'_>,
    ) -> Option<cortical_neuron::Result<Tensor>> {
        let at = self.links.iter().position(|link| link.place == place)?;
        Some(run(&self.links[at + 1..], output, pass))
    }

    /// What each layer is made of, and the shape after the last one.
    pub(crate) fn describe_links(
        &self,
        sample: &[usize],
    ) -> cortical_neuron::Result<(Vec<Description>, Vec<usize>)> {
        let (mut parts, mut shape) = (Vec::with_capacity(self.links.len()), sample.to_vec());
        for link in &self.links {
            let part = link.layer.describe(&shape);
            let mut part = part.map_err(|e| e.in_unnamed_layer(&link.place))?;
            part.name.clone_from(&link.place);
            shape.clone_from(&part.output);
            parts.push(part);
        }
        Ok((parts, shape))
    }
}

/// One layer after the other.
fn run(links: &[Link], x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
    let mut x = x.clone();
    for link in links {
        let y = link.layer.forward(&x, pass);
        let y = y.map_err(|e| e.in_unnamed_layer(&link.place))?;
        x = pass.observe_end(&link.place, y)?;
    }
    Ok(x)
}

impl Layer for Segment {
    fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
        run(&self.links, x, pass)
    }

    fn describe(&self, sample: &[usize]) -> cortical_neuron::Result<Description> {
        let (parts, output) = self.describe_links(sample)?;
        Ok(Description::of_parts("Sequential", "", parts, &output))
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let places = self.links.iter().map(|link| &link.place);
        f.debug_list().entries(places).finish()
    }
}

/// Where the layer at a place in a list is built. One without a name is called by its place, and so is its random
/// stream.
pub(super) fn site<'a>(
    spec: &LayerSpec,
    (i, name): (usize, Option<&str>),
    scope: &Scope,
    input: &'a [usize],
    classes: usize,
) -> Site<'a> {
    let (kind, index) = (spec.kind(), i + 1);
    let place = match name {
        Some(name) => scope.at(name),
        None => scope.at(&format!("{kind}{index}")),
    };
    let label = match name {
        Some(_) => format!("{kind} {}", place.path()),
        None => kind.to_owned(),
    };
    Site {
        scope: place,
        input,
        classes,
        index,
        label,
        advice: spec.advice(),
    }
}

/// The layers under the names that they get in a list.
///
/// # Errors
/// Two layers of one name.
pub(crate) fn named(specs: &[LayerSpec]) -> Result<Vec<LayerSpec>> {
    let named = specs
        .iter()
        .zip(names(specs)?)
        .map(|(spec, name)| match name {
            Some(name) => spec.clone().named(&name),
            None => spec.clone(),
        });
    Ok(named.collect())
}

/// The name of each layer: its own, or the prefix of its kind with a number, which counts layers of the same prefix.
/// Layers without parameters need none.
///
/// # Errors
/// Two layers of one name.
pub(crate) fn names(specs: &[LayerSpec]) -> Result<Vec<Option<String>>> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let mut first_of: HashMap<String, usize> = HashMap::new();
    let mut names = Vec::with_capacity(specs.len());
    for (i, spec) in specs.iter().enumerate() {
        let count = counts.entry(spec.prefix()).or_default();
        *count += 1;
        let name = match (spec.name(), spec.prefix()) {
            (Some(name), _) => Some(name.to_owned()),
            (None, "") => None,
            (None, prefix) => Some(format!("{prefix}{count}")),
        };
        if let Some(name) = &name
            && let Some(first) = first_of.insert(name.clone(), i + 1)
        {
            return Err(Error::DuplicateName {
                name: name.clone(),
                first,
                second: i + 1,
            });
        }
        names.push(name);
    }
    Ok(names)
}
