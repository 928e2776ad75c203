//! Machine code of a module as text, function by function, with traps and origins between its lines.
//!
//! Invariant: a function is written before the next one is disassembled, so a large module takes no more
//! memory than its largest function.

use crate::choose::shorten;
use crate::code::{CodeLine, listing_in, origin_at, trap_at};
use std::io::Write;
use wardian::{ExploredFunction, ModuleCode, Result, TierCode, ensure};

/// Most characters of a function's name.
const NAME_CHARS: usize = 400;
/// Bytes of code beside an instruction; more stand on lines of their own.
const LINE_BYTES: usize = 9;
/// Columns of an address.
const ADDRESS_WIDTH: usize = 10;

/// Which functions of a module are shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Functions {
    /// All that it defines.
    #[default]
    All,
    /// Those that it exports.
    Exported,
}

/// What is shown of a module's code.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObjdumpOptions {
    /// Which functions.
    pub functions: Functions,
    /// Only functions whose title contains this: `wasm[0]::function[3]::name`.
    pub filter: Option<String>,
    /// Where code lies, counted from the start of the module's code.
    pub addresses: bool,
    /// The bytes of instructions.
    pub bytes: bool,
    /// Under an instruction, how it may trap.
    pub traps: bool,
    /// Above the code of an instruction of the module, its offset in the module's bytes.
    pub address_map: bool,
}

/// Writes the code of a module's functions.
///
/// # Errors
///
/// When no function is chosen by the options; those of `out`.
pub fn objdump(code: &ModuleCode, options: &ObjdumpOptions, out: &mut dyn Write) -> Result<()> {
    let functions = code.functions();
    ensure!(!functions.is_empty(), "the module defines no functions");
    let exported = |function: &ExploredFunction| {
        options.functions == Functions::All || !function.exports.is_empty()
    };
    let mut any = false;
    for function in functions.iter().filter(|function| exported(function)) {
        let title = title(function);
        if options.filter.as_ref().is_some_and(|part| !title.contains(part.as_str())) {
            continue;
        }
        let Some((start, function)) = code.code(function.index) else { continue };
        if any {
            writeln!(out)?;
        }
        any = true;
        if options.addresses {
            write!(out, "{start:08x} ")?;
        }
        writeln!(out, "{title}:")?;
        write_function(code, start, &function, options, out)?;
    }
    match &options.filter {
        Some(part) => ensure!(
            any,
            "no function has `{}` in its title, such as `{}`",
            shorten(part, NAME_CHARS),
            title(&functions[0])
        ),
        None => ensure!(any, "the module exports no function that it defines"),
    }
    Ok(())
}

/// How a function is called above its code.
fn title(function: &ExploredFunction) -> String {
    let name = function.name.as_ref().or(function.exports.first());
    let name = name.map_or(String::new(), |name| format!("::{}", shorten(name, NAME_CHARS)));
    format!("wasm[0]::function[{}]{name}", function.index)
}

fn write_function(
    module: &ModuleCode,
    start: usize,
    code: &TierCode,
    options: &ObjdumpOptions,
    out: &mut dyn Write,
) -> Result<()> {
    let lines = listing_in(module, start, code);
    let mut last_origin = None;
    for (position, line) in lines.iter().enumerate() {
        let end = lines.get(position + 1).map_or(code.bytes.len(), |next| next.offset);
        if options.address_map {
            let origin = origin_at(code, line.offset);
            if origin != last_origin
                && let Some(origin) = origin
                && let Some(wasm) = origin.wasm
            {
                let inlined = origin.inlined.iter().map(|func| format!(", inlined func {func}"));
                let text = format!("addrmap: {wasm:#x}{}", inlined.collect::<String>());
                write_note(&text, options, out)?;
            }
            last_origin = origin;
        }
        write_line(line, start, &code.bytes[line.offset..end], options, out)?;
        if options.traps
            && let Some(trap) = trap_at(code, line.offset)
        {
            write_note(&format!("trap: {trap}"), options, out)?;
        }
    }
    Ok(())
}

fn write_line(
    line: &CodeLine,
    start: usize,
    bytes: &[u8],
    options: &ObjdumpOptions,
    out: &mut dyn Write,
) -> Result<()> {
    let (width, address) = (ADDRESS_WIDTH, start + line.offset);
    match options.addresses {
        true => write!(out, "{address:>width$x}: ")?,
        false => write!(out, "{:width$}  ", "")?,
    }
    // What is data shows its bytes as its text.
    let mut rows = bytes.chunks(LINE_BYTES).filter(|_| options.bytes && line.is_code);
    if options.bytes {
        write_bytes(rows.next().unwrap_or_default(), LINE_BYTES, out)?;
    }
    writeln!(out, "{}", line.text)?;
    for row in rows {
        write!(out, "{:width$}  ", "")?;
        write_bytes(row, row.len(), out)?;
        writeln!(out)?;
    }
    Ok(())
}

/// Bytes, and room for as many as `columns`.
fn write_bytes(bytes: &[u8], columns: usize, out: &mut dyn Write) -> Result<()> {
    for byte in bytes {
        write!(out, "{byte:02x} ")?;
    }
    if columns > bytes.len() || columns == LINE_BYTES {
        write!(out, "{:1$} ", "", 3 * (columns - bytes.len()))?;
    }
    Ok(())
}

fn write_note(text: &str, options: &ObjdumpOptions, out: &mut dyn Write) -> Result<()> {
    let width = ADDRESS_WIDTH + 2 + if options.bytes { 3 * LINE_BYTES + 1 } else { 0 };
    Ok(writeln!(out, "{:width$}╰─╼ {text}", "")?)
}
