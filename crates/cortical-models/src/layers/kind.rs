//! What a kind of layer is: a name, settings, and how a layer is built from them.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use cortical_neuron::Layer;
use cortical_settings::{Broken, FieldError, Setting, Settings, join, refuse_unknown, show};
use toml::{Table, Value};

use super::{Kinds, LayerSpec, Shapes, Site, Width, Widths};
use crate::error::Result;

/// A built layer of any type.
pub type AnyLayer = Box<dyn Layer + Send + Sync>;

/// A kind of layer that a recipe can name: `{ KIND = { …settings } }`.
///
/// Everything about a kind stands in its implementation: what may be set, how a layer is built from it, what it is
/// called. The shapes and costs of a layer are those that its [`Layer::describe`] gives. The kinds that are there are
/// [`Kinds::standard`]; further ones are added with [`Kinds::with`].
///
/// A layer of one's own, trained as part of a recipe's list:
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_models::{AnyLayer, Kinds, LayerKind, ModelSpec, Network, Plan, Site};
/// use cortical_neuron::{Description, Init, Layer, Param, Params, Pass, loss::cross_entropy};
/// use cortical_settings::settings;
/// use cortical_tensor::Seed;
///
/// settings! {
///     /// Every number times one learned factor.
///     #[derive(Clone, Debug, PartialEq)]
///     pub struct Scale {
///         /// The factor at first.
///         pub init: f64 = 1.0, "the factor at first";
///     }
/// }
///
/// struct Scaled(Param);
///
/// impl Layer for Scaled {
///     fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> cortical_neuron::Result<Tensor> {
///         Ok(x.broadcast_mul(self.0.tracked(pass))?)
///     }
///
///     fn describe(&self, sample: &[usize]) -> cortical_neuron::Result<Description> {
///         Ok(Description::new("Scaled", "", sample).parameters([&self.0], "one factor"))
///     }
/// }
///
/// impl LayerKind for Scale {
///     const KIND: &'static str = "scale";
///     const SUMMARY: &'static str = "every number times one learned factor";
///     const PREFIX: &'static str = "scale"; // parameters are called scale1.weight, scale2.weight, …
///     const SHORT: &'static str = "init"; // { scale = 0.5 } is { scale = { init = 0.5 } }
///     const EXAMPLE: &'static str = "a factor such as 0.5";
///     type Settings = Self;
///
///     fn build(settings: &Self, site: &Site<'_>) -> cortical_models::Result<AnyLayer> {
///         let weight = site.scope().param("weight", &[1], Init::Constant(settings.init))?;
///         Ok(Box::new(Scaled(weight)))
///     }
/// }
///
/// let kinds = Kinds::standard().with::<Scale>();
/// let recipe: toml::Table = "layers = [{ linear = 8 }, { scale = 0.5 }, { linear = \"classes\" }]".parse()?;
/// let model = ModelSpec::read_with("model", &recipe, &kinds)?;
/// let plan = Plan::new(&model.layers(), &[4], 3)?;
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let network = Network::build(&plan, &params)?;
/// let x = Tensor::ones((2, 4), DType::F32, &Device::Cpu)?;
/// let labels = Tensor::new(&[0_u32, 2], &Device::Cpu)?;
/// let logits = network.forward(&x, &mut Pass::train(&mut params.rng("pass")))?;
/// params.backward(&cross_entropy(&logits, &labels)?)?;
/// assert!(params.get("scale1.weight")?.grad().is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait LayerKind: 'static {
    /// The kind's name in a recipe.
    const KIND: &'static str;

    /// What it does, in a line.
    const SUMMARY: &'static str;

    /// What layers of this kind are called where the recipe does not say: `conv` gives `conv1`, `conv2`, …. Empty for
    /// layers without parameters.
    const PREFIX: &'static str = "";

    /// The setting that a plain value stands for: `{ dropout = 0.25 }` is `{ dropout = { p = 0.25 } }`. Empty where
    /// there is none.
    const SHORT: &'static str = "";

    /// What may stand behind the kind's name, for messages.
    const EXAMPLE: &'static str;

    /// What to do about an input that does not fit, for messages.
    const ADVICE: &'static str = "change its settings or the layers before it";

    /// Settings that older versions did not have: they are not written where they are as by default, so that a
    /// network that does not use them is described by the same bytes as before.
    const LATER: &'static [&'static str] = &[];

    /// What may be set, declared with [`settings!`](cortical_settings::settings!). Every layer can have a `name`
    /// besides.
    type Settings: Settings + Debug + Send + Sync + 'static;

    /// Makes the layer, with its parameters in the site's scope.
    ///
    /// # Errors
    /// An input that the layer cannot take ([`Site::wrong_input`]); an option outside its range.
    fn build(settings: &Self::Settings, site: &Site<'_>) -> Result<AnyLayer>;

    /// Which neurons the layer makes, passes on and reads, for neurons that lie like `input` in the sample that enters;
    /// the result is how they lie in the one that leaves. What is known here can be removed from a network
    /// ([`Plan::groups`](crate::Plan::groups)); a kind that does not say it keeps the layers around it as they are.
    ///
    /// # Errors
    /// Those of layers inside.
    fn widths(
        settings: &Self::Settings,
        site: &Site<'_>,
        input: &Width,
        all: &mut Widths,
    ) -> Result<Width> {
        let _ = (settings, site);
        all.fix(input);
        Ok(all.unknown())
    }

    /// Sets the sizes that follow from the shapes of the tensors of the layer, whose name is `place`.
    ///
    /// # Errors
    /// Those of layers inside.
    fn narrow(settings: &mut Self::Settings, place: &str, shapes: Shapes<'_>) -> Result<()> {
        let _ = (settings, place, shapes);
        Ok(())
    }

    /// Whether a value is the short form.
    #[must_use]
    fn is_short(value: &Value) -> bool {
        !value.is_table()
    }

    /// Reads the settings; layers inside are read with `kinds`.
    ///
    /// # Errors
    /// A field that does not exist, is missing, of the wrong type or outside its range.
    fn read(path: &str, table: &Table, kinds: &Kinds) -> Result<Self::Settings, FieldError> {
        let _ = kinds;
        Self::Settings::read(path, table, None)
    }

    /// Refuses what each setting alone allows.
    #[must_use]
    fn broken(settings: &Self::Settings) -> Option<Broken> {
        let _ = settings;
        None
    }

    /// Fills in what follows from other settings.
    fn complete(settings: &mut Self::Settings) {
        let _ = settings;
    }

    /// Fills in what follows from the number of classes.
    fn resolve(settings: &mut Self::Settings, classes: usize) {
        let _ = (settings, classes);
    }
}

/// A layer's settings, whatever its kind.
pub(super) trait AnySettings: Any + Send + Sync {
    fn kind(&self) -> &'static str;
    fn prefix(&self) -> &'static str;
    fn advice(&self) -> &'static str;
    fn build(&self, site: &Site<'_>) -> Result<AnyLayer>;
    fn resolved(&self, classes: usize) -> Arc<dyn AnySettings>;
    fn widths(&self, site: &Site<'_>, input: &Width, all: &mut Widths) -> Result<Width>;
    fn narrowed(&self, place: &str, shapes: Shapes<'_>) -> Result<Arc<dyn AnySettings>>;
    fn to_value(&self, name: Option<&str>) -> Value;
}

/// The settings of one kind.
pub(super) struct Of<K: LayerKind>(pub(super) K::Settings);

impl<K: LayerKind> AnySettings for Of<K> {
    fn kind(&self) -> &'static str {
        K::KIND
    }

    fn prefix(&self) -> &'static str {
        K::PREFIX
    }

    fn advice(&self) -> &'static str {
        K::ADVICE
    }

    fn build(&self, site: &Site<'_>) -> Result<AnyLayer> {
        K::build(&self.0, site)
    }

    fn resolved(&self, classes: usize) -> Arc<dyn AnySettings> {
        let mut settings = self.0.clone();
        K::resolve(&mut settings, classes);
        Arc::new(Self(settings))
    }

    fn widths(&self, site: &Site<'_>, input: &Width, all: &mut Widths) -> Result<Width> {
        K::widths(&self.0, site, input, all)
    }

    fn narrowed(&self, place: &str, shapes: Shapes<'_>) -> Result<Arc<dyn AnySettings>> {
        let mut settings = self.0.clone();
        K::narrow(&mut settings, place, shapes)?;
        Ok(Arc::new(Self(settings)))
    }

    fn to_value(&self, name: Option<&str>) -> Value {
        let lines = self.0.lines().into_iter();
        let lines = lines.filter(|line| !(line.is_default && K::LATER.contains(&line.name)));
        let mut table: Table = lines
            .filter_map(|line| Some((line.name.to_owned(), line.value?)))
            .collect();
        if let Some(name) = name {
            table.insert("name".to_owned(), Value::from(name));
        }
        if table.is_empty() {
            return Value::from(K::KIND);
        }
        let short = match table.len() {
            1 => table
                .get(K::SHORT)
                .filter(|value| K::is_short(value))
                .cloned(),
            _ => None,
        };
        single(K::KIND, short.unwrap_or(Value::Table(table)))
    }
}

/// A table with one key.
fn single(key: &str, value: Value) -> Value {
    Value::Table(Table::from_iter([(key.to_owned(), value)]))
}

/// Reads a layer of this kind; messages call it `path`.
pub(super) fn read<K: LayerKind>(
    path: &str,
    value: &Value,
    kinds: &Kinds,
) -> Result<LayerSpec, FieldError> {
    let is_short = K::is_short(value);
    let mut table = match value {
        Value::Table(table) if !is_short => table.clone(),
        short if !K::SHORT.is_empty() => Table::from_iter([(K::SHORT.to_owned(), short.clone())]),
        other => return Err(wrong_type(path, K::EXAMPLE, other)),
    };
    // What a person wrote as `{ dropout = 2 }` is not called `dropout.p`.
    let at_short = |error: FieldError| match error {
        FieldError::Type { .. } if is_short && !value.is_table() && !value.is_array() => {
            wrong_type(path, K::EXAMPLE, value)
        }
        error if is_short => renamed(error, &join(path, K::SHORT), path),
        error => error,
    };
    let known = std::iter::once("name").chain(K::Settings::names());
    refuse_unknown(path, &table, known)?;
    let name = match table.remove("name") {
        Some(name) => Some(read_name(&join(path, "name"), &name)?),
        None => None,
    };
    let mut settings = K::read(path, &table, kinds).map_err(at_short)?;
    K::complete(&mut settings);
    if let Some(Broken {
        field,
        expected,
        found,
    }) = K::broken(&settings)
    {
        return Err(at_short(FieldError::Range {
            path: join(path, &field),
            expected,
            found,
        }));
    }
    Ok(LayerSpec::new(name, Arc::new(Of::<K>(settings))))
}

/// The same error about another path.
fn renamed(mut error: FieldError, from: &str, to: &str) -> FieldError {
    match &mut error {
        FieldError::Type { path, .. }
        | FieldError::Range { path, .. }
        | FieldError::Name { path, .. }
        | FieldError::Missing { path, .. } => {
            if let Some(rest) = path.strip_prefix(from) {
                *path = format!("{to}{rest}");
            }
        }
        _ => {}
    }
    error
}

pub(super) fn wrong_type(path: &str, expected: &str, found: &Value) -> FieldError {
    FieldError::Type {
        path: path.to_owned(),
        expected: expected.to_owned(),
        found: show(found),
    }
}

/// The field `name`: what may stand before `.weight`.
fn read_name(path: &str, value: &Value) -> Result<String, FieldError> {
    let name = String::from_value(path, value)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let holds = name.len() <= 100
        && name
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(plain));
    match holds {
        true => Ok(name),
        false => Err(FieldError::Range {
            path: path.to_owned(),
            expected: "letters, digits and _, at most 100, in parts separated by dots".to_owned(),
            found: format!("{name:?}"),
        }),
    }
}
