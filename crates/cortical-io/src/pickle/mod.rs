//! Pickles without Python: a machine that makes plain data of a pickle and executes nothing.
//!
//! A pickle is a program for a stack machine of Python's that can call any function by its name. This one knows the
//! instructions of protocols 2 to 5 and a short list of names ([`globals`]); what it reads becomes numbers, texts,
//! lists and tables, and a call becomes a note of what was called. Whatever else a pickle says is refused by its
//! name. The memory that all of it takes is counted, so that a few bytes cannot ask for much.

mod defect;
mod globals;
mod machine;
mod reader;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use defect::Failure;
pub use defect::PickleDefect;
pub(crate) use globals::{Global, Stored};
pub(crate) use machine::{Budget, read};
pub(crate) use reader::Reader;
pub(crate) use value::{Node, Pickle, Value};
