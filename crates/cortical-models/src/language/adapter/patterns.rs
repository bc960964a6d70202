//! How PEFT names layers: by the ends of their names, by regular expressions as Python has them, by their numbers.

use crate::error::{Error, Result};
use crate::language::json::{JsonFields, short};
use cortical_io::printable;
use fancy_regex::Regex;
use serde_json::Value;

/// The most bytes that a regular expression may have.
const LONGEST: usize = 16 << 10;

/// A regular expression that a whole name has to fit.
#[derive(Debug)]
pub(super) struct Pattern {
    field: &'static str,
    shown: String,
    regex: Regex,
}

impl Pattern {
    /// `field` has the expression, `shown` is what it says.
    pub(super) fn new(field: &'static str, expression: &str, shown: &str) -> Result<Self> {
        let shown = printable(shown, 200);
        let wrong = |expected: String| Error::Config {
            field: field.to_owned(),
            expected,
            got: format!("{shown:?}"),
        };
        if expression.len() > LONGEST {
            return Err(wrong(format!(
                "a regular expression of at most {LONGEST} bytes"
            )));
        }
        // By itself first, as brackets that do not belong together might fit those around it.
        let regex =
            Regex::new(expression).and_then(|_| Regex::new(&format!(r"\A(?:{expression})\z")));
        let regex = regex.map_err(|why| {
            let why = printable(&why.to_string(), 200);
            wrong(format!("a regular expression ({why})"))
        })?;
        Ok(Self {
            field,
            shown,
            regex,
        })
    }

    pub(super) fn fits(&self, name: &str) -> Result<bool> {
        self.regex.is_match(name).map_err(|_| self.too_slow())
    }

    fn too_slow(&self) -> Error {
        Error::Config {
            field: self.field.to_owned(),
            expected: "a regular expression that takes fewer steps".to_owned(),
            got: format!("{:?}", self.shown),
        }
    }
}

/// Which layers a field names.
#[derive(Debug)]
pub(super) enum Targets {
    /// Those whose names are these or end with them.
    Names(Vec<String>),
    /// Those whose whole names fit.
    Pattern(Pattern),
    /// All linear layers but the head over tokens.
    AllLinear,
}

impl Targets {
    pub(super) fn read(field: &'static str, value: Value) -> Result<Self> {
        let names = |value: &Value| -> Option<Vec<String>> {
            let list = value.as_array()?.iter();
            list.map(|name| name.as_str().map(str::to_owned)).collect()
        };
        match &value {
            Value::String(text) if text == "all-linear" && field == "target_modules" => {
                Ok(Self::AllLinear)
            }
            Value::String(text) => Pattern::new(field, text, text).map(Self::Pattern),
            value => names(value).map(Self::Names).ok_or_else(|| Error::Config {
                field: field.to_owned(),
                expected: "a list of names or a regular expression".to_owned(),
                got: short(value),
            }),
        }
    }

    /// Whether it names a layer.
    pub(super) fn name(&self, module: &str) -> Result<bool> {
        match self {
            Self::Names(names) => Ok(names.iter().any(|name| {
                let rest = module.strip_suffix(name.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            })),
            Self::Pattern(pattern) => pattern.fits(module),
            Self::AllLinear => Ok(module != "lm_head"),
        }
    }

    /// The ends of names, where they are no whole names.
    pub(super) fn ends(&self) -> Option<&[String]> {
        match self {
            Self::Names(names) if !names.iter().any(|name| name.contains('.')) => Some(names),
            _ => None,
        }
    }
}

/// Layers by the number of their block.
#[derive(Debug)]
pub(super) struct Layers {
    numbers: Vec<usize>,
    /// How a name goes on to its number.
    patterns: Vec<Pattern>,
}

impl Layers {
    /// `layers_to_transform` and `layers_pattern`.
    pub(super) fn read(fields: &mut JsonFields, targets: &Targets) -> Result<Option<Self>> {
        const NUMBERS: &str = "layers_to_transform";
        const PATTERN: &str = "layers_pattern";
        let wrong = |field: &str, expected: &str, value: &Value| Error::Config {
            field: field.to_owned(),
            expected: expected.to_owned(),
            got: short(value),
        };
        let Some(value) = fields.take(NUMBERS) else {
            return Ok(None);
        };
        let number = |value: &Value| usize::try_from(value.as_u64()?).ok();
        let numbers: Option<Vec<usize>> = match &value {
            Value::Array(list) => list.iter().map(number).collect(),
            one => number(one).map(|number| vec![number]),
        };
        let expected = "the numbers of layers";
        let numbers = numbers.ok_or_else(|| wrong(NUMBERS, expected, &value))?;
        let patterns = match fields.take(PATTERN) {
            None => Vec::new(),
            Some(Value::String(one)) if one.is_empty() => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(value) => {
                let names = value.as_array().map(|list| list.iter().map(Value::as_str));
                let names = names.and_then(|all| all.map(|name| Some(name?.to_owned())).collect());
                names.ok_or_else(|| wrong(PATTERN, "the names of lists of layers", &value))?
            }
        };
        if numbers.is_empty() {
            return Ok(None);
        }
        if !matches!(targets, Targets::Names(_)) {
            let expected = "left out where target_modules is no list of names";
            return Err(wrong(NUMBERS, expected, &value));
        }
        let pattern = |shown: &String| {
            let expression = format!(r"(?:|.*?\.){shown}\.(?<idx>\d+)\..*");
            Pattern::new(PATTERN, &expression, shown)
        };
        let patterns = match patterns.is_empty() {
            // The first number in a name.
            true => vec![Pattern::new(PATTERN, r".*?\.[^.]*\.(?<idx>\d+)\..*", "")?],
            false => patterns.iter().map(pattern).collect::<Result<_>>()?,
        };
        Ok(Some(Self { numbers, patterns }))
    }

    /// Whether a layer is in one of the blocks.
    pub(super) fn hold(&self, module: &str) -> Result<bool> {
        for pattern in &self.patterns {
            let found = pattern.regex.captures(module);
            let found = found.map_err(|_| pattern.too_slow())?;
            if let Some(number) =
                found.and_then(|found| Some(found.name("idx")?.as_str().to_owned()))
            {
                let number = number.parse().ok();
                return Ok(number.is_some_and(|number: usize| self.numbers.contains(&number)));
            }
        }
        Ok(false)
    }
}
