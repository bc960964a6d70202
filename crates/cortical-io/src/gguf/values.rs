//! Values that are to be written into a GGUF file, with the kinds that llama.cpp expects.

use super::reader::{Failure, Reader};
use crate::{GgufDefect, GgufValue};

/// The values of a file that is to be written, in the order in which they are added.
///
/// ```
/// let mut values = cortical_io::GgufValues::new();
/// values.text("general.architecture", "llama").u32("llama.block_count", 2);
/// assert_eq!(values.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GgufValues {
    bytes: Vec<u8>,
    count: u64,
}

fn text_bytes(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

impl GgufValues {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Values as a file has them, checked.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Result<Self, GgufDefect> {
        let mut reader = Reader::new(&bytes[..], bytes.len() as u64);
        let mut count = 0;
        while reader.at() < bytes.len() as u64 {
            let read = (|| {
                let key = reader.text("a key")?;
                reader.value(&key).map(drop)
            })();
            match read {
                Ok(()) => count += 1,
                Err(Failure::Defect(defect)) => return Err(defect),
                Err(Failure::Io(_)) => unreachable!("bytes in memory are always read"),
            }
        }
        Ok(Self { bytes, count })
    }

    /// The values as a file has them.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value of a key.
    pub(crate) fn find(&self, key: &str) -> Option<GgufValue> {
        let mut reader = Reader::new(&self.bytes[..], self.bytes.len() as u64);
        while reader.at() < self.bytes.len() as u64 {
            let found = reader.text("a key").ok()?;
            let value = reader.value(&found).ok()?;
            if found == key {
                return Some(value);
            }
        }
        None
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn add(&mut self, key: &str, kind: u32, value: &[u8]) -> &mut Self {
        self.bytes.extend(text_bytes(key));
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(value);
        self.count += 1;
        self
    }

    fn list(&mut self, key: &str, kind: u32, count: usize, values: &[u8]) -> &mut Self {
        let head = [&kind.to_le_bytes()[..], &(count as u64).to_le_bytes()].concat();
        self.add(key, 9, &[&head, values].concat())
    }

    /// A text.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.add(key, 8, &text_bytes(value))
    }

    /// A whole number of 32 bits that is not negative.
    pub fn u32(&mut self, key: &str, value: u32) -> &mut Self {
        self.add(key, 4, &value.to_le_bytes())
    }

    /// A number of single precision.
    pub fn f32(&mut self, key: &str, value: f32) -> &mut Self {
        self.add(key, 6, &value.to_le_bytes())
    }

    /// Yes or no.
    pub fn bool(&mut self, key: &str, value: bool) -> &mut Self {
        self.add(key, 7, &[u8::from(value)])
    }

    /// A list of texts.
    pub fn texts<T: AsRef<str>>(&mut self, key: &str, values: &[T]) -> &mut Self {
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|text| text_bytes(text.as_ref()))
            .collect();
        self.list(key, 8, values.len(), &bytes)
    }

    /// A list of whole numbers of 32 bits.
    pub fn i32s(&mut self, key: &str, values: &[i32]) -> &mut Self {
        let bytes: Vec<u8> = values.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.list(key, 5, values.len(), &bytes)
    }

    /// A list of numbers of single precision.
    pub fn f32s(&mut self, key: &str, values: &[f32]) -> &mut Self {
        let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.list(key, 6, values.len(), &bytes)
    }
}
