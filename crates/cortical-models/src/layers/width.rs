//! Which neurons a network has, and which tensors are as wide as there are neurons: what has to change together when
//! some of them are removed.
//!
//! Each kind of layer says it of itself ([`LayerKind::widths`](super::LayerKind::widths)): which tensor its neurons are
//! in, which tensors read those before it, what it only passes on, and which widths have to stay equal. A kind that
//! says nothing keeps everything around it as it is.

use std::collections::BTreeMap;

use super::Site;

/// Where neurons lie in a sample: along one of its axes, so many positions behind each other for each neuron.
///
/// A convolution's channels lie along axis 0, one position each; behind `flatten` they lie along the only axis, with as
/// many positions each as a channel has pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Width {
    group: usize,
    axis: usize,
    each: usize,
}

impl Width {
    /// The axis of a sample, counted without the batch.
    #[must_use]
    pub fn axis(&self) -> usize {
        self.axis
    }

    /// Positions of each neuron.
    #[must_use]
    pub fn each(&self) -> usize {
        self.each
    }

    /// The same neurons along another axis.
    #[must_use]
    pub fn along(&self, axis: usize) -> Self {
        Self {
            axis,
            ..self.clone()
        }
    }

    /// The same neurons, each of which is now so many times as long.
    #[must_use]
    pub fn times(&self, positions: usize) -> Self {
        Self {
            each: self.each.saturating_mul(positions),
            ..self.clone()
        }
    }
}

/// What a tensor is to neurons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Each slice makes a neuron: its weights, its bias.
    Makes,
    /// Each slice belongs to a neuron on its way: the scale of a norm.
    Follows,
    /// Each slice reads a neuron.
    Reads,
}

/// The positions along an axis of a tensor that belong to the neurons of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// The tensor, by its full name.
    pub tensor: String,
    /// The axis.
    pub axis: usize,
    /// The position of the first neuron: not 0 where a tensor holds several groups behind each other.
    pub from: usize,
    /// How many positions behind each other belong to each neuron.
    pub each: usize,
    /// What the tensor is to the neurons.
    pub role: Role,
}

/// Neurons that are there or gone together: the same ones are gone in every slice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeuronGroup {
    /// How many there are.
    pub count: usize,
    /// Whether all of them have to stay: inputs, scores of classes, what a layer reads of which it is not known how.
    pub fixed: bool,
    /// The tensors that are as wide.
    pub slices: Vec<Slice>,
}

impl NeuronGroup {
    /// The layers that make the neurons, by the names of their tensors.
    #[must_use]
    pub fn makers(&self) -> Vec<&str> {
        let makes = self.slices.iter().filter(|slice| slice.role == Role::Makes);
        let layers =
            makes.map(|slice| slice.tensor.rsplit_once('.').map_or("", |(layer, _)| layer));
        let mut layers: Vec<&str> = layers.collect();
        layers.dedup();
        layers
    }
}

/// The groups of neurons of a network, while its layers tell of them.
#[derive(Clone, Debug, Default)]
pub struct Widths {
    pub(super) groups: Vec<NeuronGroup>,
    /// Which group a joined one is part of now.
    joined: Vec<usize>,
}

impl Widths {
    /// So many new neurons, which lie along axis 0 of a sample, one position each.
    pub fn neurons(&mut self, count: usize) -> Width {
        let group = self.groups.len();
        self.joined.push(group);
        self.groups.push(NeuronGroup {
            count,
            ..NeuronGroup::default()
        });
        Width {
            group,
            axis: 0,
            each: 1,
        }
    }

    /// New positions of which nothing is known: all have to stay.
    pub fn unknown(&mut self) -> Width {
        let width = self.neurons(0);
        self.fix(&width);
        width
    }

    /// All of these neurons have to stay.
    pub fn fix(&mut self, width: &Width) {
        let group = self.root(width.group);
        self.groups[group].fixed = true;
    }

    /// The same neurons behind a layer that needs all of them.
    pub fn kept(&mut self, width: &Width) -> Width {
        self.fix(width);
        width.clone()
    }

    /// The same neurons behind a layer that treats each channel by itself, along axis 0; others have to stay.
    pub fn channels(&mut self, width: &Width) -> Width {
        match width.axis {
            0 => width.clone(),
            _ => {
                self.fix(width);
                self.unknown()
            }
        }
    }

    /// Tensors of the layer at `site`, such as `weight` and `bias`, whose slices along `axis` make these neurons.
    pub fn makes(&mut self, site: &Site<'_>, tensors: &[&str], axis: usize, width: &Width) {
        self.slices(site, tensors, axis, width, Role::Makes);
    }

    /// Tensors whose slices along `axis` belong to these neurons on their way.
    pub fn follows(&mut self, site: &Site<'_>, tensors: &[&str], axis: usize, width: &Width) {
        self.slices(site, tensors, axis, width, Role::Follows);
    }

    /// Tensors whose slices along `axis` read these neurons.
    pub fn reads(&mut self, site: &Site<'_>, tensors: &[&str], axis: usize, width: &Width) {
        self.slices(site, tensors, axis, width, Role::Reads);
    }

    fn slices(
        &mut self,
        site: &Site<'_>,
        tensors: &[&str],
        axis: usize,
        width: &Width,
        role: Role,
    ) {
        let group = self.root(width.group);
        let slice = |tensor: &&str| Slice {
            tensor: site.scope().name_of(tensor),
            axis,
            from: 0,
            each: width.each,
            role,
        };
        self.groups[group].slices.extend(tensors.iter().map(slice));
    }

    /// Two widths that have to stay equal, position by position, as they are added: one group from now on. Where they
    /// do not lie alike, both stay as they are.
    pub fn join(&mut self, a: &Width, b: &Width) -> Width {
        let (first, second) = (self.root(a.group), self.root(b.group));
        let alike = (a.axis, a.each) == (b.axis, b.each);
        if !alike || self.groups[first].count != self.groups[second].count {
            self.fix(a);
            self.fix(b);
        }
        if alike && first != second {
            let other = std::mem::take(&mut self.groups[second]);
            let group = &mut self.groups[first];
            group.fixed |= other.fixed;
            group.slices.extend(other.slices);
            self.joined[second] = first;
        }
        a.clone()
    }

    fn root(&self, mut group: usize) -> usize {
        while self.joined[group] != group {
            group = self.joined[group];
        }
        group
    }
}

/// The shapes of a network's tensors, as they are or are to be.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'a> {
    all: &'a BTreeMap<String, Vec<usize>>,
}

impl<'a> Shapes<'a> {
    pub(crate) fn new(all: &'a BTreeMap<String, Vec<usize>>) -> Self {
        Self { all }
    }

    /// How long an axis of a layer's tensor is, if there is such a tensor.
    #[must_use]
    pub fn length(&self, layer: &str, tensor: &str, axis: usize) -> Option<usize> {
        let name = match layer {
            "" => tensor.to_owned(),
            layer => format!("{layer}.{tensor}"),
        };
        self.all.get(&name)?.get(axis).copied()
    }
}
