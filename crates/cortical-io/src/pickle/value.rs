//! What a pickle holds once it has been read: plain data.

use super::globals::Global;

/// A value: small ones themselves, others by their number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// A number in [`Pickle::nodes`].
    Node(u32),
}

/// A value that has parts or an identity.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Text(Box<str>),
    /// Bytes; nothing that is read needs them.
    Bytes,
    /// A whole number of more than 64 bits, little-endian.
    Long(Box<[u8]>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<[Value; 2]>),
    Global(Global),
    /// Something outside the pickle, by what names it.
    Persistent(Value),
    /// What was called, and a tuple of arguments.
    Call(Global, Value),
}

/// A pickle as plain data.
#[derive(Debug)]
pub(crate) struct Pickle {
    pub(super) nodes: Vec<Node>,
    pub(super) root: Value,
}

impl Pickle {
    pub(crate) fn root(&self) -> Value {
        self.root
    }

    /// Number of values with parts.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// What names each thing outside the pickle.
    pub(crate) fn persistent(&self) -> impl Iterator<Item = Value> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Persistent(id) => Some(*id),
            _ => None,
        })
    }

    /// The parts of a value that has some.
    pub(crate) fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(at) => self.nodes.get(at as usize),
            _ => None,
        }
    }

    pub(crate) fn text(&self, value: Value) -> Option<&str> {
        match self.node(value)? {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The values of a tuple or a list.
    pub(crate) fn items(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Tuple(items) | Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// A list or tuple of numbers that are not negative, such as a shape.
    pub(crate) fn sizes(&self, value: Value) -> Option<Vec<u64>> {
        let size = |value: &Value| match value {
            Value::Int(n) => u64::try_from(*n).ok(),
            _ => None,
        };
        self.items(value)?.iter().map(size).collect()
    }

    pub(crate) fn global(&self, value: Value) -> Option<Global> {
        match self.node(value)? {
            Node::Global(global) => Some(*global),
            _ => None,
        }
    }
}
