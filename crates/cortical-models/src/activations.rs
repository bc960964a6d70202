//! Activations by the names that recipes use.

use cortical_kernels::activation::Activation;
use cortical_settings::{FieldError, Setting, choose};
use toml::{Table, Value};

/// The names, PyTorch's in lower case, and what they stand for.
const ACTIVATIONS: &[(&str, Activation)] = &[
    ("identity", Activation::Identity),
    ("relu", Activation::Relu),
    ("relu2", Activation::Relu2),
    ("relu6", Activation::Relu6),
    ("leaky_relu", Activation::LEAKY_RELU),
    ("elu", Activation::ELU),
    ("selu", Activation::Selu),
    ("celu", Activation::CELU),
    ("gelu", Activation::Gelu),
    ("gelu_tanh", Activation::GeluTanh),
    ("silu", Activation::Silu),
    ("mish", Activation::Mish),
    ("sigmoid", Activation::Sigmoid),
    ("tanh", Activation::Tanh),
    ("softplus", Activation::SOFTPLUS),
    ("softsign", Activation::Softsign),
    ("hardswish", Activation::Hardswish),
    ("hardsigmoid", Activation::Hardsigmoid),
    ("hardtanh", Activation::HARDTANH),
    ("log_sigmoid", Activation::LogSigmoid),
    ("tanhshrink", Activation::Tanhshrink),
    ("hardshrink", Activation::HARDSHRINK),
    ("softshrink", Activation::SOFTSHRINK),
];

/// An activation from its numbers.
type FromNumbers = fn(&[f64]) -> Activation;

/// Those that have numbers of their own, and how many.
const WITH_NUMBERS: &[(&str, (usize, FromNumbers))] = &[
    ("leaky_relu", (1, |n| Activation::LeakyRelu { slope: n[0] })),
    ("elu", (1, |n| Activation::Elu { alpha: n[0] })),
    ("celu", (1, |n| Activation::Celu { alpha: n[0] })),
    (
        "hardshrink",
        (1, |n| Activation::Hardshrink { lambda: n[0] }),
    ),
    (
        "softshrink",
        (1, |n| Activation::Softshrink { lambda: n[0] }),
    ),
    (
        "softplus",
        (2, |n| Activation::Softplus {
            beta: n[0],
            threshold: n[1],
        }),
    ),
    (
        "hardtanh",
        (2, |n| Activation::Hardtanh {
            low: n[0],
            high: n[1],
        }),
    ),
    (
        "threshold",
        (2, |n| Activation::Threshold {
            threshold: n[0],
            value: n[1],
        }),
    ),
];

/// The numbers of an activation that has some.
fn numbers(activation: Activation) -> Option<(&'static str, Vec<f64>)> {
    Some(match activation {
        Activation::LeakyRelu { slope } => ("leaky_relu", vec![slope]),
        Activation::Elu { alpha } => ("elu", vec![alpha]),
        Activation::Celu { alpha } => ("celu", vec![alpha]),
        Activation::Hardshrink { lambda } => ("hardshrink", vec![lambda]),
        Activation::Softshrink { lambda } => ("softshrink", vec![lambda]),
        Activation::Softplus { beta, threshold } => ("softplus", vec![beta, threshold]),
        Activation::Hardtanh { low, high } => ("hardtanh", vec![low, high]),
        Activation::Threshold { threshold, value } => ("threshold", vec![threshold, value]),
        _ => return None,
    })
}

/// An activation as a setting: its name, or a table with its name and its numbers, such as `{ leaky_relu = 0.2 }` or
/// `{ hardtanh = [-2, 2] }`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ActivationSetting(pub Activation);

impl Setting for ActivationSetting {
    fn expected() -> String {
        "text in quotes".to_owned()
    }

    fn from_value(path: &str, value: &Value) -> Result<Self, FieldError> {
        const WHAT: &str = "activation";
        let (name, numbers) = match value {
            Value::String(name) => return Ok(Self(choose(path, WHAT, name, ACTIVATIONS)?)),
            Value::Table(table) if table.len() == 1 => match table.iter().next() {
                Some(one) => one,
                None => return Err(Self::wrong_type(path, value)),
            },
            other => return Err(Self::wrong_type(path, other)),
        };
        let (count, make) = choose(path, WHAT, name, WITH_NUMBERS)?;
        let path = format!("{path}.{name}");
        let given: Vec<f64> = match numbers {
            Value::Array(_) => Setting::from_value(&path, numbers)?,
            one => vec![Setting::from_value(&path, one)?],
        };
        let expected = match count {
            1 => "one number",
            _ => "a list of two numbers",
        };
        let refused = |expected: &str| FieldError::Range {
            path: path.clone(),
            expected: expected.to_owned(),
            found: numbers.to_string(),
        };
        if given.len() != count {
            return Err(refused(expected));
        }
        let activation = make(&given);
        match activation {
            Activation::Celu { alpha: 0.0 } | Activation::Softplus { beta: 0.0, .. } => {
                Err(refused("a number that is not 0"))
            }
            Activation::Hardshrink { lambda } | Activation::Softshrink { lambda }
                if lambda < 0.0 =>
            {
                Err(refused("a number of at least 0"))
            }
            activation => Ok(Self(activation)),
        }
    }

    fn to_value(&self) -> Option<Value> {
        let named = ACTIVATIONS.iter().find(|(_, known)| *known == self.0);
        if let Some((name, _)) = named {
            return Some(Value::from(*name));
        }
        let (name, numbers) = numbers(self.0)?;
        let numbers = match numbers[..] {
            [one] => Value::from(one),
            _ => Value::from(numbers),
        };
        Some(Value::Table(Table::from_iter([(name.to_owned(), numbers)])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ActivationSetting, String> {
        let table: Table = format!("x = {text}").parse().unwrap();
        ActivationSetting::from_value("x", &table["x"]).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_numbers_lead_back_and_differ() {
        for (name, activation) in ACTIVATIONS {
            let setting = ActivationSetting(*activation);
            assert_eq!(setting.to_value(), Some(Value::from(*name)));
            assert_eq!(read(&format!("{name:?}")).unwrap(), setting);
        }
        for (name, (count, make)) in WITH_NUMBERS {
            let setting = ActivationSetting(make(&[0.25, 0.75]));
            let value = setting.to_value().unwrap();
            assert_eq!(ActivationSetting::from_value("x", &value).unwrap(), setting);
            assert_eq!(numbers(setting.0).unwrap().1.len(), *count, "{name}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        let check = |text: &str, want: &str| assert_eq!(read(text).unwrap_err(), want);
        check(
            "\"rellu\"",
            "x: there is no activation \"rellu\"; did you mean \"relu\"?",
        );
        check("1", "x: expected text in quotes, found the number 1");
        check(
            "{ elu = \"a\" }",
            "x.elu: expected a finite number, found the text \"a\"",
        );
        check(
            "{ hardtanh = 1 }",
            "x.hardtanh: expected a list of two numbers, found 1",
        );
        check(
            "{ celu = 0 }",
            "x.celu: expected a number that is not 0, found 0",
        );
        check(
            "{ softshrink = -1 }",
            "x.softshrink: expected a number of at least 0, found -1",
        );
        check(
            "{ relu = 1 }",
            "x: there is no activation \"relu\"; did you mean \"elu\"?",
        );
    }
}
