//! Layers of local neurons: each reads a window of its input, and the neurons of a channel share their weights.
//!
//! - [`Conv1d`], [`Conv2d`], [`Conv3d`]: convolutions, grouped and depthwise too, with activation and max pool fused;
//! - [`ConvTranspose1d`], [`ConvTranspose2d`], [`ConvTranspose3d`]: their transposes, which make inputs larger;
//! - [`MaxPool1d`], [`AvgPool1d`] and their kin over two and three axes, [`AdaptiveAvgPool1d`], [`AdaptiveMaxPool1d`]
//!   and theirs: windows without weights;
//! - [`Upsample`], [`PixelShuffle`], [`PixelUnshuffle`]: planes of another size.
//!
//! An option with a value for each axis takes one number for all of them or an array.
//!
//! What this crate does not know: other wirings (`cortical-dense`, `cortical-recurrent`, `cortical-attention`).
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use cortical_conv::Conv2d;
//! use cortical_kernels::activation::Activation::Relu;
//! use cortical_neuron::{Layer, Params, Pass};
//! use cortical_tensor::Seed;
//!
//! # fn main() -> cortical_neuron::Result<()> {
//! let params = Params::new(&Device::Cpu, Seed(1));
//! let layer = Conv2d::config(1, 32, 3).activation(Relu).max_pool(2).build(&params.at("conv1"))?;
//! let x = Tensor::zeros((4, 1, 28, 28), DType::F32, &Device::Cpu)?;
//! assert_eq!(layer.forward(&x, &mut Pass::eval())?.dims(), [4, 32, 13, 13]);
//! assert_eq!(params.get("conv1.weight")?.dims(), [32, 1, 3, 3]);
//! # Ok(())
//! # }
//! ```

mod adaptive;
mod axes;
mod conv;
mod conv_transpose;
mod pool;
mod upsample;

pub use adaptive::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
};
pub use axes::{Axes, Padding, PaddingMode};
pub use conv::{Conv, Conv1d, Conv2d, Conv3d, ConvConfig};
pub use conv_transpose::{
    ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, ConvTransposeConfig,
};
pub use pool::{
    AvgPool, AvgPool1d, AvgPool2d, AvgPool3d, AvgPoolConfig, MaxPool, MaxPool1d, MaxPool2d,
    MaxPool3d, MaxPoolConfig,
};
pub use upsample::{PixelShuffle, PixelUnshuffle, Upsample, UpsampleConfig};
