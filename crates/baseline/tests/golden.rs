//! Golden tests of machine code: the files in `tests/golden/` of the repository with
//! `tier = "baseline"`, each with the code that the single-pass tier makes of it, for plain x86-64.
//!
//! A file starts with directives (`;;! key = "value"`) and ends with the expected text as comments.
//! `WARDIAN_BLESS=1` rewrites the end. Directives:
//!
//! - `signals`: `no` switches off signals-based traps, guards and the reservation;
//! - `linkage`: `slots` for code that is called through slots and counts.

#![forbid(unsafe_code)]

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use std::fmt::Write;
use std::path::Path;
use wardian_baseline::{Compiler, Features, Scratch};
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{Proposal, Proposals, Settings, decode};

fn proposals() -> Proposals {
    let mut proposals = Proposals::all_built();
    proposals.set(Proposal::Gc, true);
    proposals
}

fn produce(source: &str) -> String {
    let directive = |text: &str| source.lines().any(|line| line == format!(";;! {text}"));
    let mut settings = Settings { proposals: proposals(), ..Settings::default() };
    if directive("signals = \"no\"") {
        settings.signals_based_traps = false;
        settings.memory_guard_size = 0;
        settings.memory_reservation = 0;
    }
    let slots = directive("linkage = \"slots\"");
    let linkage = if slots { Linkage::Slots } else { Linkage::Direct };
    let wasm = wat::parse_str(source).unwrap_or_else(|error| panic!("{error}"));
    let (module, bodies) = decode(wasm, proposals()).expect("the module is valid");
    let layout = VmLayout::new(&module);
    let compiler = Compiler::new(&settings, Features::default());
    let mut text = String::new();
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_space_after_operand_separator(true);
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.options_mut().set_rip_relative_addresses(true);
    for body in bodies {
        writeln!(text, "wasm[0]::function[{}]:", module.func_index(body.index).0).unwrap();
        let mut scratch = Scratch::new();
        let code = compiler.compile(&module, &layout, body, linkage, &mut scratch).unwrap();
        for instruction in Decoder::with_ip(64, &code.bytes, 0, DecoderOptions::NONE) {
            let at = instruction.ip() as u32;
            let mut shown = String::new();
            formatter.format(&instruction, &mut shown);
            write!(text, "{at:>8x}  {shown}").unwrap();
            for reloc in &code.relocs {
                if (at..instruction.next_ip() as u32).contains(&reloc.offset) {
                    write!(text, "  ; {:?} {:+}", reloc.target, reloc.addend).unwrap();
                }
            }
            for trap in code.traps.iter().filter(|trap| trap.offset == at) {
                write!(text, "  ; may trap: {}", trap.trap).unwrap();
            }
            text.push('\n');
        }
    }
    text
}

/// The text of a file without the expected output, and that output.
fn split(text: &str) -> (&str, &str) {
    let end = text.rfind("\n)").expect("a module ends with `)` at the start of a line") + 2;
    let end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
    text.split_at(end)
}

fn as_comments(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", format!(";; {line}").trim_end())).collect()
}

#[test]
fn golden_machine_code() {
    let bless = std::env::var_os("WARDIAN_BLESS").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let entries = std::fs::read_dir(folder).expect("the folder of golden files is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (mut count, mut different) = (0, Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        if !text.starts_with(";;! tier = \"baseline\"\n") {
            continue;
        }
        count += 1;
        let (source, expected) = split(&text);
        let found = as_comments(&produce(source));
        if found == expected {
            continue;
        }
        if bless {
            std::fs::write(&path, format!("{source}{found}")).unwrap();
        } else {
            let line = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
            different
                .push(format!("{}: first difference (found, expected): {line:#?}", path.display()));
        }
    }
    assert!(count >= 12, "there are {count} golden files");
    assert!(different.is_empty(), "{}\nrun with WARDIAN_BLESS=1 to accept", different.join("\n"));
}
