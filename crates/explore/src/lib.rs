//! One page of HTML that shows functions of a module side by side: their WebAssembly text, the operations
//! that they are lowered to, and the machine code of each tier.
//!
//! [`objdump`] writes a module's whole machine code as text.
//!
//! [`page`] chooses functions (`choose`), disassembles what the tiers made of them (`code`) and writes the
//! page (`write`), which holds everything it needs and loads nothing.
//!
//! Invariants:
//! - The same engine, module and choice give the same page.
//! - Nothing that comes from the module reaches the page as markup or script, or a terminal as anything but
//!   text: it is data, and the page's
//!   script shows it as text. Characters that would change how text around them is shown are escaped.

#![forbid(unsafe_code)]

mod choose;
mod code;
mod objdump;
mod write;

pub use objdump::{Functions, ObjdumpOptions, objdump};

use wardian::error::Context as _;
use wardian::{Engine, Explorer, Result};

/// A page about a module, in binary or text form, that is called `file`. It shows the functions that
/// `wanted` names, by name, export or index; if it is empty, the first ones.
///
/// # Errors
///
/// When the module or one of the functions to show is not valid; when a function is not known, with
/// those that come close; when too much is wanted.
pub fn page(engine: &Engine, bytes: &[u8], file: &str, wanted: &[String]) -> Result<String> {
    let explorer = Explorer::new(engine, bytes)?;
    let chosen = choose::choose(&explorer, wanted)?;
    let mut text = String::new();
    let lines = wasmprinter::Config::new()
        .indent_text(" ")
        .offsets_and_lines(explorer.wasm(), &mut text)
        .map_err(|error| wardian::Error::msg(format!("{error:#}")))
        .context("the module cannot be shown as text")?;
    let lines: Vec<(Option<u64>, &str)> = lines.collect();
    let mut functions = Vec::with_capacity(chosen.len());
    for function in &chosen {
        functions.push(write::function(&explorer, function, &lines)?);
    }
    Ok(write::page(file, explorer.functions().len(), !wanted.is_empty(), functions))
}
