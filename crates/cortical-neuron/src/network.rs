//! A struct of layers without boilerplate.

/// Declares a struct of layers and its `build`, which makes each one at the place of its field's name: `conv1` gets
/// `conv1.weight`.
///
/// Each field is `name: Type = expression`, where the expression has a method `build(&Scope) -> Result<Type>`: the
/// options of every layer have one. What stands in parentheses behind the struct's name are arguments
/// that the expressions may use. Fields with `name: Type => expression` are taken as they are, for layers without
/// parameters. What the layers do with an input stays to be written by hand, in `forward`.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use cortical_kernels::activation::Activation;
/// use cortical_neuron::{Layer, LayerNorm, Params, Pass, Result, network};
/// use cortical_tensor::Seed;
///
/// network! {
///     /// Two norms with an activation between them.
///     pub struct Twice(width: usize) {
///         first: LayerNorm = LayerNorm::config(&[width]),
///         relu: Activation => Activation::Relu,
///         second: LayerNorm = LayerNorm::config(&[width]).bias(false),
///     }
/// }
///
/// impl Layer for Twice {
///     fn forward(&self, x: &Tensor, pass: &mut Pass<'_>) -> Result<Tensor> {
///         let x = self.relu.forward(&self.first.forward(x, pass)?, pass)?;
///         self.second.forward(&x, pass)
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let params = Params::new(&Device::Cpu, Seed(1));
/// let net = Twice::build(4, &params.root())?;
/// let names: Vec<String> = params.all().iter().map(|p| p.name().to_string()).collect();
/// assert_eq!(names, ["first.weight", "first.bias", "second.weight"]);
/// let x = Tensor::ones((1, 4), DType::F32, &Device::Cpu)?;
/// assert_eq!(net.forward(&x, &mut Pass::eval())?.dims(), [1, 4]);
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! network {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident $(( $($arg:ident : $arg_type:ty),* $(,)? ))? {
            $( $(#[$field_meta:meta])* $field:ident : $type:ty $(= $built:expr)? $(=> $taken:expr)? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        $vis struct $name {
            $( $(#[$field_meta])* $field: $type, )*
        }

        impl $name {
            /// Makes every layer at the place of its field's name.
            ///
            /// # Errors
            /// Those of the layers: an option outside its range, a name that is taken.
            $vis fn build(
                $($($arg: $arg_type,)*)?
                scope: &$crate::Scope,
            ) -> $crate::Result<Self> {
                Ok(Self {
                    $( $field: {
                        $( $built.build(&scope.at(stringify!($field)))? )?
                        $( $taken )?
                    }, )*
                })
            }
        }
    };
}
