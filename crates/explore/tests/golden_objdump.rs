//! Golden tests of `objdump`: files in `tests/golden/` of the repository that begin with
//! `;;! tier = "objdump"`, each with the text that its machine code gives, for `cpu = "x86-64"`.
//! `WARDIAN_BLESS=1` rewrites the end. The directive `options` names what is shown.

#![forbid(unsafe_code)]

use std::path::Path;
use wardian::{Config, Engine, ModuleCode, TargetCpu};
use wardian_explore::{Functions, ObjdumpOptions, objdump};

const FIRST_LINE: &str = ";;! tier = \"objdump\"";

fn options(source: &str) -> ObjdumpOptions {
    let line = source.lines().find_map(|line| line.strip_prefix(";;! options = "));
    let mut options = ObjdumpOptions::default();
    for word in line.expect("the options are named").trim_matches('"').split_whitespace() {
        match word {
            "addresses" => options.addresses = true,
            "bytes" => options.bytes = true,
            "traps" => options.traps = true,
            "address-map" => options.address_map = true,
            "exported" => options.functions = Functions::Exported,
            other => panic!("unknown option `{other}`"),
        }
    }
    options
}

fn code(source: &str) -> ModuleCode {
    let mut config = Config::new();
    config.target_cpu(TargetCpu::from_name("x86-64"));
    ModuleCode::compile(&Engine::new(&config).unwrap(), source.as_bytes()).unwrap()
}

fn shown(code: &ModuleCode, options: &ObjdumpOptions) -> String {
    let mut out = Vec::new();
    objdump(code, options, &mut out).unwrap();
    String::from_utf8(out).expect("it is text")
}

/// A file's module and what follows it, from the first comment after its start on.
fn split(text: &str) -> (&str, &str) {
    let at = text.find("\n;; ").map_or(text.len(), |at| at + 1);
    text.split_at(at)
}

#[test]
fn listings_are_as_they_were() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    let entries = std::fs::read_dir(folder).expect("the folder of golden files is there");
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (mut count, mut different) = (0, Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        if text.lines().next() != Some(FIRST_LINE) {
            continue;
        }
        count += 1;
        let (source, expected) = split(&text);
        let found = shown(&code(source), &options(source));
        let found: String =
            found.lines().map(|line| format!(";; {line}").trim_end().to_string() + "\n").collect();
        if found == expected {
            continue;
        }
        if std::env::var_os("WARDIAN_BLESS").is_some() {
            std::fs::write(&path, format!("{source}{found}")).unwrap();
        } else {
            different.push(format!("{}:\n{found}", path.display()));
        }
    }
    assert!(count >= 2, "there are golden files");
    assert!(different.is_empty(), "`cargo xtask bless` accepts:\n{}", different.join("\n"));
}

#[test]
fn every_byte_of_a_function_is_shown_once() {
    let code = code(
        r#"(module (memory 1) (func (export "f") (param i32) (result i32)
             (block (block (block (br_table 0 1 2 0 1 2 0 1 (local.get 0)))
               (return (i32.load (local.get 0)))) (return (i32.const 1 ))) (memory.grow (i32.const 1)))
           (func (param v128) (result v128) (i8x16.add (local.get 0) (v128.const i32x4 1 2 3 4))))"#,
    );
    let options = ObjdumpOptions { addresses: true, bytes: true, ..ObjdumpOptions::default() };
    for function in code.functions() {
        let filter = Some(format!("function[{}]", function.index));
        let text = shown(&code, &ObjdumpOptions { filter, ..options.clone() });
        let (start, own) = code.code(function.index).unwrap();
        let mut seen: Vec<u8> = Vec::new();
        for line in text.lines().skip(1) {
            // Address, bytes, text; or only bytes, which go on from the line before.
            let (address, rest) = line.split_at(12);
            if let Some(address) = address.strip_suffix(": ") {
                let address = usize::from_str_radix(address.trim(), 16).expect("an address");
                assert_eq!(address, start + seen.len(), "{line}");
            }
            let bytes = |text: &str| -> Vec<u8> {
                text.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
            };
            let shown = rest.get(28..).unwrap_or("");
            let next = seen.len();
            if shown.starts_with("case") {
                seen.extend(&own.bytes[next..next + 4]);
            } else if let Some(count) = shown.strip_prefix("padding, ") {
                let count: usize = count.strip_suffix(" bytes").unwrap().parse().unwrap();
                seen.extend(&own.bytes[next..next + count]);
            } else if let Some(data) = shown.strip_prefix("data ") {
                seen.extend(bytes(data));
            } else if let Some(data) = shown.strip_prefix("not reached: ") {
                seen.extend(bytes(data));
            } else {
                seen.extend(bytes(&rest[..rest.len().min(27)]));
            }
        }
        assert_eq!(seen, own.bytes);
    }
}

#[test]
fn choices_that_leave_nothing_say_so() {
    let code = code("(module (func $name))");
    let error = |options: ObjdumpOptions| {
        objdump(&code, &options, &mut Vec::new()).unwrap_err().to_string()
    };
    assert_eq!(
        error(ObjdumpOptions { filter: Some("other".into()), ..ObjdumpOptions::default() }),
        "no function has `other` in its title, such as `wasm[0]::function[0]::name`"
    );
    let functions = Functions::Exported;
    assert_eq!(
        error(ObjdumpOptions { functions, ..ObjdumpOptions::default() }),
        "the module exports no function that it defines"
    );
}
