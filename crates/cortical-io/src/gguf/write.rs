//! Writing GGUF files.

use std::io::{self, Write};

use super::{GgufType, GgufValues};
use crate::GgufDefect;

/// Where tensors may begin in the files that are written here.
const ALIGNMENT: u64 = 32;

/// A tensor that is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) name: String,
    pub(crate) kind: GgufType,
    /// Outermost first.
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: u64,
}

/// Checks what is to be written against what is read.
pub(crate) fn check(tensors: &[Written]) -> Result<(), GgufDefect> {
    let mut names = std::collections::HashSet::new();
    for tensor in tensors {
        super::name(tensor.name.clone())?;
        if !names.insert(&tensor.name) {
            let name = tensor.name.clone();
            return Err(GgufDefect::Duplicate { name });
        }
        if tensor.shape.len() > 4 {
            return Err(GgufDefect::Dimensions {
                name: tensor.name.clone(),
                got: tensor.shape.iter().rev().map(|dim| *dim as u64).collect(),
            });
        }
    }
    Ok(())
}

/// Writes a file of version 3 whose tensors `fill` writes, each with as many bytes as it says.
pub(crate) fn write(
    out: &mut dyn Write,
    values: &GgufValues,
    alignment: Option<u64>,
    tensors: &[Written],
    mut fill: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let alignment = alignment.unwrap_or(ALIGNMENT);
    let mut head = b"GGUF".to_vec();
    head.extend(3_u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend(values.len().to_le_bytes());
    head.extend(values.bytes());
    let mut at = 0_u64;
    for tensor in tensors {
        head.extend((tensor.name.len() as u64).to_le_bytes());
        head.extend(tensor.name.as_bytes());
        head.extend((tensor.shape.len() as u32).to_le_bytes());
        head.extend(
            tensor
                .shape
                .iter()
                .rev()
                .flat_map(|dim| (*dim as u64).to_le_bytes()),
        );
        head.extend(tensor.kind.number().to_le_bytes());
        head.extend(at.to_le_bytes());
        at = (at + tensor.bytes).next_multiple_of(alignment);
    }
    let padding = |bytes: u64| vec![0; (bytes.next_multiple_of(alignment) - bytes) as usize];
    head.extend(padding(head.len() as u64));
    out.write_all(&head)?;
    for (i, tensor) in tensors.iter().enumerate() {
        fill(i, out)?;
        out.write_all(&padding(tensor.bytes))?;
    }
    Ok(())
}
