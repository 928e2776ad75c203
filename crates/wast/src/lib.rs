//! Runs WebAssembly test scripts (`.wast`) on wardian, over its public API alone.
//!
//! A script is a list of directives; each is counted as passed or failed, and no failure ends the
//! run. [`run_script`] makes a [`Report`]; failures that are known stand in a file that [`Expected`]
//! reads and [`Expected::judge`] compares with reports: a known failure that no longer fails is wrong
//! as well.
//!
//! `wast` knows nothing of files and folders; callers read scripts and name them.

#![forbid(unsafe_code)]

mod expected;
mod report;
mod script;
mod spectest;
mod values;

pub use expected::{Expected, Verdict};
pub use report::{Failure, Report};
pub use script::run_script;
