//! The chapters of the book, as documentation, so that `cargo test` compiles and runs the code in them.
//! Nothing else is here; it is not published.

#![forbid(unsafe_code)]

#[doc = include_str!("limits.md")]
pub mod limits {}

#[doc = include_str!("debugging.md")]
pub mod debugging {}
