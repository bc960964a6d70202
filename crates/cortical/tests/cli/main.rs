//! Runs the binary `cortical` as a person would.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod changed_data;
mod command;
mod convert;
mod examples;
mod inputs;
mod interruption;
mod language;
mod look;
mod neurons;
mod numbers;
mod output;
mod prune;
#[cfg(feature = "serve")]
mod serve;
mod support;
mod tables;
