//! Arguments of PyTorch's constructors, read so that none goes unnoticed.

use crate::Stop;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The arguments of a case. Every one that is read is noted, so that [`Config::finish`] can name one that nobody read.
pub(crate) struct Config<'a> {
    value: &'a Value,
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Config<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        Self {
            value,
            read: RefCell::default(),
        }
    }

    /// The argument, unless it is absent or null.
    fn get(&self, key: &'static str) -> Option<&'a Value> {
        self.read.borrow_mut().insert(key);
        self.value.get(key).filter(|value| !value.is_null())
    }

    /// Whether the argument is there, `null` included.
    pub(crate) fn is_null(&self, key: &'static str) -> bool {
        self.read.borrow_mut().insert(key);
        self.value.get(key).is_some_and(Value::is_null)
    }

    fn unknown(&self, key: &str) -> Stop {
        Stop::UnknownOption {
            option: key.to_string(),
            value: self.value[key].to_string(),
        }
    }

    /// A number, also one written as a string (JSON has no infinity).
    pub(crate) fn f64_opt(&self, key: &'static str) -> Result<Option<f64>, Stop> {
        self.get(key)
            .map(|value| match value {
                Value::String(text) => text.parse().map_err(|_| self.unknown(key)),
                value => value.as_f64().ok_or_else(|| self.unknown(key)),
            })
            .transpose()
    }

    pub(crate) fn f64(&self, key: &'static str, default: f64) -> Result<f64, Stop> {
        Ok(self.f64_opt(key)?.unwrap_or(default))
    }

    pub(crate) fn bool(&self, key: &'static str, default: bool) -> Result<bool, Stop> {
        self.get(key).map_or(Ok(default), |value| {
            value.as_bool().ok_or_else(|| self.unknown(key))
        })
    }

    pub(crate) fn i64(&self, key: &'static str, default: i64) -> Result<i64, Stop> {
        self.get(key).map_or(Ok(default), |value| {
            value.as_i64().ok_or_else(|| self.unknown(key))
        })
    }

    pub(crate) fn usize_opt(&self, key: &'static str) -> Result<Option<usize>, Stop> {
        self.get(key)
            .map(|value| {
                let number = value.as_u64().and_then(|n| usize::try_from(n).ok());
                number.ok_or_else(|| self.unknown(key))
            })
            .transpose()
    }

    pub(crate) fn usize(&self, key: &'static str, default: usize) -> Result<usize, Stop> {
        Ok(self.usize_opt(key)?.unwrap_or(default))
    }

    /// A size without which the subject cannot be made.
    pub(crate) fn size(&self, key: &'static str) -> Result<usize, Stop> {
        self.usize_opt(key)?.ok_or_else(|| Stop::Malformed {
            what: format!("config.{key}"),
        })
    }

    pub(crate) fn text(&self, key: &'static str, default: &'static str) -> Result<&'a str, Stop> {
        self.get(key).map_or(Ok(default), |value| {
            value.as_str().ok_or_else(|| self.unknown(key))
        })
    }

    /// A list of sizes; one number is a list of one.
    pub(crate) fn sizes(&self, key: &'static str) -> Result<Option<Vec<usize>>, Stop> {
        let size = |value: &Value| value.as_u64().and_then(|n| usize::try_from(n).ok());
        self.get(key)
            .map(|value| {
                let sizes = match value {
                    Value::Array(values) => values.iter().map(size).collect(),
                    value => size(value).map(|size| vec![size]),
                };
                sizes.ok_or_else(|| self.unknown(key))
            })
            .transpose()
    }

    /// One size for each of `N` axes; one number counts for all of them.
    pub(crate) fn axes<const N: usize>(
        &self,
        key: &'static str,
    ) -> Result<Option<[usize; N]>, Stop> {
        let Some(sizes) = self.sizes(key)? else {
            return Ok(None);
        };
        match sizes[..] {
            [one] => Ok(Some([one; N])),
            _ => sizes.try_into().map(Some).map_err(|_| self.unknown(key)),
        }
    }

    /// A list of whole numbers of either sign, which must be there.
    pub(crate) fn whole_numbers(&self, key: &'static str) -> Result<Vec<i64>, Stop> {
        let numbers = match self.get(key) {
            Some(Value::Array(values)) => values.iter().map(Value::as_i64).collect(),
            Some(value) => value.as_i64().map(|n| vec![n]),
            None => None,
        };
        numbers.ok_or_else(|| Stop::Malformed {
            what: format!("config.{key}"),
        })
    }

    /// A list of numbers.
    pub(crate) fn numbers(&self, key: &'static str) -> Result<Option<Vec<f64>>, Stop> {
        self.get(key)
            .map(|value| {
                let numbers = value
                    .as_array()
                    .and_then(|values| values.iter().map(Value::as_f64).collect());
                numbers.ok_or_else(|| self.unknown(key))
            })
            .transpose()
    }

    /// A list of sizes some of which may be `null`; one size is a list of one.
    pub(crate) fn sizes_or_null(&self, key: &'static str) -> Result<Vec<Option<usize>>, Stop> {
        let size = |value: &Value| match value {
            Value::Null => Some(None),
            value => value
                .as_u64()
                .and_then(|n| usize::try_from(n).ok())
                .map(Some),
        };
        let sizes = match self.get(key) {
            Some(Value::Array(values)) => values.iter().map(size).collect(),
            Some(value) => size(value).map(|size| vec![size]),
            None => None,
        };
        sizes.ok_or_else(|| self.unknown(key))
    }

    /// Refuses any value but PyTorch's default of an option that we do not have.
    pub(crate) fn only(&self, key: &'static str, default: Value) -> Result<(), Stop> {
        match self.get(key) {
            Some(value) if *value != default => Err(self.unknown(key)),
            _ => Ok(()),
        }
    }

    /// Says that an option cannot change a result (`inplace`, `foreach`).
    pub(crate) fn no_matter(&self, key: &'static str) {
        self.read.borrow_mut().insert(key);
    }

    /// An option whose value we do not know.
    pub(crate) fn refuse<T>(&self, key: &'static str) -> Result<T, Stop> {
        Err(self.unknown(key))
    }

    /// Refuses a case with an argument that nobody has read.
    pub(crate) fn finish(&self) -> Result<(), Stop> {
        let read = self.read.borrow();
        let keys = self
            .value
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys());
        // `train` is the mode of the call and no argument of a constructor.
        match keys
            .filter(|key| *key != "train")
            .find(|key| !read.contains(key.as_str()))
        {
            Some(key) => Err(self.unknown(key)),
            None => Ok(()),
        }
    }
}
