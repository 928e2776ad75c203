//! Golden tests: small modules in `tests/golden/` of the repository, each with what it lowers to.
//!
//! A file starts with directives (`;;! key = "value"`) and ends with the expected text as comments.
//! `WARDIAN_BLESS=1` rewrites the end. Directives:
//!
//! - `tier`: `record` (the operations that the lowering emits) or `cranelift`;
//! - `show`: what the `cranelift` tier shows: `clif` (default) or `code` (machine code, for
//!   `cpu = "x86-64"`);
//! - `loop`: the ordinal of a loop; what replaces a frame there is shown (`clif` only);
//! - `inline`: `no` leaves all calls calls;
//! - `signals`, `masks`: `no` switches off signals-based traps or masking against speculation;
//! - `guard`, `reservation`: bytes of the memory's guard region and reservation.

#![forbid(unsafe_code)]

mod common;

use common::{parse, settings};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use wardian_cranelift::{Compiler, Scratch};
use wardian_lower::{Outcome, Recorder, lower};
use wardian_module::layout::VmLayout;
use wardian_module::{Body, Module, Settings};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn directives(text: &str) -> HashMap<&str, &str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(";;!"))
        .map(|line| {
            let (key, value) = line.split_once('=').expect("a directive is `key = \"value\"`");
            (key.trim(), value.trim().trim_matches('"'))
        })
        .collect()
}

fn configure(directives: &HashMap<&str, &str>) -> (Settings, String) {
    let mut settings = settings();
    let mut cpu = "x86-64".to_string();
    for (key, value) in directives {
        let number = || value.parse().expect("a number of bytes");
        match *key {
            "tier" | "show" | "loop" | "inline" => {}
            "signals" => settings.signals_based_traps = *value != "no",
            "masks" => settings.spectre_mitigation = *value != "no",
            "guard" => settings.memory_guard_size = number(),
            "reservation" => settings.memory_reservation = number(),
            "cpu" => cpu = value.to_string(),
            other => panic!("unknown directive `{other}`"),
        }
    }
    (settings, cpu)
}

fn record(module: &Module, settings: &Settings, body: Body) -> String {
    let mut recorder = Recorder::new(module, body.index);
    let mut scratch = wardian_lower::Scratch::default();
    let outcome = lower(module, settings, body, &mut scratch, &mut recorder).unwrap();
    assert_eq!(outcome, Outcome::Complete);
    recorder.finish()
}

fn produce(source: &str) -> String {
    let directives = directives(source);
    let (settings, cpu) = configure(&directives);
    let (module, bodies) = parse(source);
    let layout = VmLayout::new(&module);
    let inlining = directives.get("inline") != Some(&"no");
    let compiler = Compiler::with_cpu(&settings, &cpu).unwrap().with_inlining(inlining);
    let mut text = String::new();
    for body in bodies {
        writeln!(text, "wasm[0]::function[{}]:", module.func_index(body.index).0).unwrap();
        let mut scratch = Scratch::new();
        let tier = directives.get("tier").expect("the tier is named");
        let at_loop = directives.get("loop").map(|ordinal| ordinal.parse().unwrap());
        let show = directives.get("show").copied().unwrap_or("clif");
        text += &match (*tier, show) {
            ("record", _) => record(&module, &settings, body),
            ("cranelift", "clif") => {
                compiler.clif(&module, &layout, body, at_loop, &mut scratch).unwrap()
            }
            ("cranelift", "code") => {
                compiler.disassembly(&module, &layout, body, &mut scratch).unwrap()
            }
            (tier, show) => panic!("no such tier: {tier}, {show}"),
        };
    }
    text
}

/// The text of a file without the expected output, and that output.
fn split(text: &str) -> (&str, &str) {
    let end = match text.rfind("\n)") {
        Some(end) => end + 2,
        None => panic!("a module ends with `)` at the start of a line"),
    };
    let end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
    text.split_at(end)
}

fn as_comments(text: &str) -> String {
    let mut comments = String::new();
    for line in text.lines() {
        comments += format!(";; {line}").trim_end();
        comments.push('\n');
    }
    comments
}

#[test]
fn golden_files() {
    let bless = std::env::var_os("WARDIAN_BLESS").is_some();
    let mut paths: Vec<_> = std::fs::read_dir(folder())
        .expect("the folder of golden files is there")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wat"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are golden files");
    let mut different = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let (source, expected) = split(&text);
        // Those are tests of `wardian-baseline` and `wardian-explore`.
        if matches!(directives(source).get("tier"), Some(&"baseline" | &"objdump")) {
            continue;
        }
        let found = as_comments(&produce(source));
        if found == expected {
            continue;
        }
        if bless {
            std::fs::write(&path, format!("{source}{found}")).unwrap();
        } else {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let line = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
            different.push(format!("{name}: first difference (found, expected): {line:#?}"));
        }
    }
    assert!(different.is_empty(), "{}\nrun with WARDIAN_BLESS=1 to accept", different.join("\n"));
}
