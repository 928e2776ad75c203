//! The chapters of the book, as documentation, so that `cargo test` compiles and runs the code in them.
//! Command lines in them are run or read by `crates/cli/tests/book.rs`. Nothing else is here; it is not
//! published.

#![forbid(unsafe_code)]

#[doc = include_str!("start.md")]
pub mod start {}

#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[doc = include_str!("limits.md")]
pub mod limits {}

#[doc = include_str!("security.md")]
pub mod security {}

#[doc = include_str!("tuning.md")]
pub mod tuning {}

#[doc = include_str!("debugging.md")]
pub mod debugging {}

#[doc = include_str!("wasmtime.md")]
pub mod wasmtime {}
