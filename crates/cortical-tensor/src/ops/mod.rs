//! The differentiable operations.
//!
//! Every operation checks its arguments first and allocates afterwards. Arguments that may be parameters are
//! `impl Into<`[`Input`](crate::Input)`>`: a tensor, a variable, or a parameter with its slot. `f32` and `f64` run in
//! kernels; `f16` and `bf16` are computed in `f32` and rounded once at the end, products of `bf16` from pairs of them
//! where the processor has instructions for that.

mod activation;
pub(crate) mod attention;
mod batch_norm;
mod bilinear;
mod constant;
mod conv;
mod cross_entropy;
mod dropout;
mod embedding;
mod fused;
mod gated;
mod linear;
mod loss;
mod matmul;
mod norm;
mod pad;
mod pairs;
mod pixel;
mod pool;
mod prelu;
mod prepare;
mod recurrent;
mod reduction;
mod residual;
mod rotary;
mod rrelu;
mod softmax;
mod split;
#[cfg(test)]
mod testing;
mod upsample;
mod window;

pub use activation::activate;
pub use attention::{Attention, SeenKeys, attention, attention_dropout, attention_rows};
pub use batch_norm::{
    BatchNormOptions, BatchNormed, batch_norm, batch_norm_eval, batch_norm_eval_with,
    batch_norm_with,
};
pub use bilinear::bilinear;
pub use constant::constant_linear;
pub use conv::{
    ConvOptions, ConvTransposeOptions, conv, conv_transpose, conv_transpose1d, conv_transpose2d,
    conv_transpose3d, conv1d, conv2d, conv2d_max_pool, conv3d,
};
pub use cross_entropy::{CrossEntropy, Reduction, cross_entropy};
pub use dropout::dropout;
pub use embedding::embedding;
pub use fused::{
    AttentionSublayer, FeedForward, Sublayer, SublayerRotary, attention_sublayer, feed_forward,
    linear_cross_entropy,
};
pub use gated::{gated, gated_packed};
use linear::check as linear_dims;
pub use linear::linear;
pub use loss::{
    BceWithLogits, Ctc, GaussianNll, KlDiv, Nll, PoissonNll, TripletMargin,
    TripletMarginWithDistance, binary_cross_entropy, binary_cross_entropy_with_logits,
    cosine_embedding_loss, ctc_loss, gaussian_nll_loss, hinge_embedding_loss, huber_loss, kl_div,
    l1_loss, margin_ranking_loss, mse_loss, multi_label_margin_loss, multi_label_soft_margin_loss,
    multi_margin_loss, nll_loss, poisson_nll_loss, smooth_l1_loss, soft_margin_loss,
    triplet_margin_loss, triplet_margin_with_distance_loss,
};
pub use matmul::matmul;
pub use norm::{group_norm, layer_norm, rms_norm};
pub use pad::{PadMode, pad};
pub use pixel::{pixel_shuffle, pixel_unshuffle};
pub use pool::{
    AvgPoolOptions, MaxPoolOptions, adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d,
    adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d, avg_pool, avg_pool1d,
    avg_pool2d, avg_pool3d, max_pool, max_pool1d, max_pool2d, max_pool3d,
};
pub use prelu::prelu;
pub use recurrent::{Recurrent, RecurrentWeights, Time, recurrent};
pub use reduction::{argmax, argmin, log_sum_exp, max, mean, min, norm, sum, variance};
pub use residual::residual;
pub use rotary::{HeadOrder, rotary, rotary_angles};
pub use rrelu::rrelu;
pub use softmax::{log_softmax, softmax};
pub use split::split;
pub use upsample::{Interpolation, Resize, interpolate, upsample_bilinear2d, upsample_nearest2d};
