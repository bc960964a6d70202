//! Settings in TOML, declared once.
//!
//! [`settings!`] declares a table: each field with its type, default, remark and range. From that one place come the
//! struct, its `Default`, the reader with errors that name the field by its full path, and the writer that shows every
//! default with its remark. [`one_of!`] declares a choice between such tables by their `kind`, [`choice!`] one between
//! names.
//!
//! ```
//! use cortical_settings::{Settings, settings, at_least, share};
//! settings! {
//!     /// The table `[train]`.
//!     #[derive(Clone, Debug, PartialEq)]
//!     pub struct Train {
//!         /// How often every sample is seen.
//!         pub epochs: u64 = 1, "how often every sample is seen", at_least(1);
//!         /// The share of each label that is spread over all classes.
//!         pub label_smoothing: f64 = 0.0, "share of a label spread over all classes", share();
//!     }
//! }
//! let table: toml::Table = "epochs = 3".parse()?;
//! let train = Train::read("train", &table, None)?;
//! assert_eq!((train.epochs, train.label_smoothing), (3, 0.0));
//!
//! let table: toml::Table = "epoch = 3".parse()?;
//! let error = Train::read("train", &table, None).unwrap_err();
//! assert_eq!(error.to_string(), "there is no field train.epoch; did you mean train.epochs?");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod choice;
mod error;
mod one_of;
mod rule;
mod setting;
mod settings;
mod write;

pub use choice::{Choice, choose};
pub use error::{FieldError, nearest, show};
pub use one_of::{OneOf, unknown_kind};
pub use rule::{
    Broken, Rule, at_least, at_most, between, not_negative, positive, rule, share, share_below_one,
};
pub use setting::Setting;
pub use settings::{Settings, first_broken, join, only, refuse_unknown, section, take};
pub use write::{Line, values, write_table};

/// TOML's tables and values, in which settings are written.
pub use toml::{Table, Value};
