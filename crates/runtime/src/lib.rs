//! Safe code over the kernel: artifacts so far; store, instances, linking and builtins to come.

#![forbid(unsafe_code)]

pub mod artifact;
