//! Reports: charts as SVG, tables, and HTML pages that need nothing but a browser.
//!
//! - [`LineChart`]: curves over steps; [`Scatter`]: one number against another; [`Histogram`]: how values are spread;
//!   [`Matrix`]: a table of counts as colours, such as a confusion matrix;
//! - [`Picture`]: pixels as a PNG inside the page;
//! - [`Page`]: headings, figures, tables and all of the above in one file.
//!
//! Everything is made of plain numbers and texts, without a tensor in sight, and a page is a function of what it is
//! given: no time, no network, no script from elsewhere. Texts may hold anything; they are escaped.
//!
//! ```
//! use cortical_report::{LineChart, Page, Series};
//! let loss = Series::new("train", (0..10).map(|step| (f64::from(step), 1.0 / f64::from(step + 1))));
//! let mut page = Page::new("A run", "digits, LeNet");
//! page.section("Curves").chart(&LineChart::new("Loss", "step").series(loss).to_svg());
//! assert!(page.to_html().starts_with("<!doctype html>"));
//! ```

mod axis;
mod histogram;
mod line;
mod matrix;
mod page;
mod picture;
mod scatter;
mod text;

pub use histogram::Histogram;
pub use line::{LineChart, Series};
pub use matrix::Matrix;
pub use page::Page;
pub use picture::Picture;
pub use scatter::Scatter;
pub use text::{escape, number};
