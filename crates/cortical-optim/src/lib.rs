//! Optimizers whose state can be read, saved and loaded, with parameter groups, schedules, clipping and averaging.
//!
//! - [`AdamW`], [`Adam`], [`Sgd`], [`RmsProp`], [`Adagrad`], [`Adadelta`], [`Adamax`], [`NAdam`], [`RAdam`], [`Lion`],
//!   [`Muon`], [`Lamb`], [`Asgd`]: one page each, with its
//!   equation and PyTorch's defaults. All of them are [`Engine`]s, which differ in their [`Algorithm`];
//! - [`Lbfgs`]: for small problems without noise, where a step may ask for the loss more than once;
//! - [`Optimizer`]: what a training loop needs to know of any of them, and [`OptimizerConfig`], the choice as data;
//! - [`Group`]: parameters with a learning rate or weight decay of their own;
//! - [`Schedule`]: the learning rate as a function of the step;
//! - [`clip_grad_norm`], [`clip_grad_value`]: limits on gradients;
//! - [`ModelEma`]: averages of weights; [`LossScaler`]: gradients in half precision.
//!
//! Parameters are those of a [`cortical_neuron::Params`]; variables of a candle program get in by
//! [`adopt`](cortical_neuron::Params::adopt). State is keyed by the parameter's name and has PyTorch's names. On the
//! CPU a step is one fused pass over each parameter, in place; elsewhere it falls back to candle's operations.
//!
//! What this crate does not know: layers, files, the training loop.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use cortical_neuron::Params;
//! use cortical_optim::{AdamW, AdamWConfig, Optimizer};
//! use cortical_tensor::Seed;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A variable of any candle program.
//! let weight = Var::new(&[3.0_f32, -2.0], &Device::Cpu)?;
//! let params = Params::new(&Device::Cpu, Seed(0));
//! params.adopt("weight", weight.clone())?;
//!
//! let mut optimizer = AdamW::new(&params, AdamWConfig { lr: 0.1, ..Default::default() })?;
//! for _ in 0..100 {
//!     let loss = weight.sqr()?.sum_all()?;
//!     params.backward(&loss)?;
//!     optimizer.step()?;
//! }
//! assert!(weight.abs()?.max_all()?.to_scalar::<f32>()? < 0.1);
//!
//! let names: Vec<String> = optimizer.state()?.into_iter().map(|(name, _)| name).collect();
//! assert_eq!(names, ["weight.step", "weight.exp_avg", "weight.exp_avg_sq"]);
//! # Ok(())
//! # }
//! ```

mod adadelta;
mod adagrad;
mod adam;
mod adamax;
mod adamw;
mod algorithm;
mod asgd;
mod buffer;
mod clip;
mod config;
mod ema;
mod engine;
mod error;
mod group;
mod lamb;
mod lbfgs;
mod lion;
mod loss_scale;
mod muon;
mod nadam;
mod optimizer;
mod plateau;
mod radam;
mod rmsprop;
mod schedule;
mod sgd;
mod state;
mod update;

pub use adadelta::{Adadelta, AdadeltaConfig};
pub use adagrad::{Adagrad, AdagradConfig};
pub use adam::{Adam, AdamConfig};
pub use adamax::{Adamax, AdamaxConfig};
pub use adamw::{AdamW, AdamWConfig};
pub use algorithm::{Algorithm, Rates, Step, Tensors};
pub use asgd::{Asgd, AsgdConfig};
pub use clip::{Norm, clip_grad_norm, clip_grad_value, grad_norm};
pub use config::OptimizerConfig;
pub use ema::{Averaging, ModelEma};
pub use engine::Engine;
pub use error::{Error, Mismatch, Result};
pub use group::{Group, fits};
pub use lamb::{Lamb, LambConfig};
pub use lbfgs::{Lbfgs, LbfgsConfig, LineSearch};
pub use lion::{Lion, LionConfig};
pub use loss_scale::LossScaler;
pub use muon::{AdjustLr, Muon, MuonConfig, MuonOthers};
pub use nadam::{NAdam, NAdamConfig};
pub use optimizer::{MissingGradient, Optimizer};
pub use plateau::{Mode, Plateau, PlateauConfig, PlateauState, Threshold};
pub use radam::{RAdam, RAdamConfig};
pub use rmsprop::{RmsProp, RmsPropConfig};
pub use schedule::{Anneal, Cycle, Schedule};
pub use sgd::{Sgd, SgdConfig};
