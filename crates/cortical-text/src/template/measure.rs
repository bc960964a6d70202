//! How large and how deep the values are that a template makes.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// The deepest value.
const DEPTH: usize = 48;
/// The most values in a value, each counted as often as it is written.
const PARTS: usize = 200_000;

/// What a value may have at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The bytes of all texts in it.
    pub(super) bytes: usize,
}

pub(super) fn refuse(why: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why.to_owned())
}

impl Limits {
    /// Refuses a value that is too large to be written out; with `inner`, one that has a namespace in it too, which may
    /// come to hold itself.
    pub(super) fn check(
        self,
        state: &State<'_, '_>,
        value: &Value,
        inner: bool,
    ) -> Result<(), Error> {
        let mut left = Left {
            parts: PARTS,
            bytes: self.bytes,
            inner,
        };
        left.take(value, 0)?;
        let parts = (PARTS - left.parts) / 8;
        match parts {
            0 => Ok(()),
            parts => state.consume_fuel(parts as u64),
        }
    }
}

/// What a value may still have.
struct Left {
    parts: usize,
    bytes: usize,
    inner: bool,
}

impl Left {
    fn take(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let too_large = || refuse("a value is too large for the template of a conversation");
        self.parts = self.parts.checked_sub(1).ok_or_else(too_large)?;
        let bytes = value.as_str().map_or(0, str::len);
        let bytes = bytes.max(value.as_bytes().map_or(0, <[u8]>::len));
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(too_large)?;
        if depth > DEPTH {
            return Err(refuse(
                "a value is too deep for the template of a conversation",
            ));
        }
        if self.inner && is_namespace(value) {
            return Err(refuse("a namespace cannot be part of another value here"));
        }
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                for part in value.try_iter()? {
                    self.take(&part, depth + 1)?;
                }
            }
            ValueKind::Map => {
                for key in value.try_iter()? {
                    self.take(&key, depth + 1)?;
                    self.take(&value.get_item(&key)?, depth + 1)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether a value is one whose parts may be set.
pub(super) fn is_namespace(value: &Value) -> bool {
    let name = value.as_object().map(|object| object.type_name());
    name.is_some_and(|name| name.ends_with("::Namespace"))
}
