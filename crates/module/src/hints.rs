//! Branch hints from the custom section `metadata.code.branch_hint`. A broken section gives fewer hints,
//! never an error: the specification makes custom sections optional.

use crate::index::FuncIndex;
use crate::module::Module;
use wasmparser::{BinaryReader, BranchHintSectionReader};

/// The hints of a module whose bodies are known: offsets in its bytes, in order, and whether a condition is
/// likely to hold.
pub(crate) fn branch_hints(module: &Module) -> Vec<(u32, bool)> {
    let mut all = Vec::new();
    let Some(section) = module.custom_section("metadata.code.branch_hint") else { return all };
    let reader = BinaryReader::new(section, 0);
    let Ok(functions) = BranchHintSectionReader::new(reader) else { return all };
    for function in functions.into_iter().map_while(Result::ok) {
        let body = module.defined_func(FuncIndex(function.func));
        let Some(body) = body.and_then(|func| module.bodies.get(func.index())) else { continue };
        for hint in function.hints.into_iter().map_while(Result::ok) {
            let offset = body.start.saturating_add(hint.func_offset as usize);
            // Modules are far smaller than 4 GiB.
            if body.contains(&offset) {
                all.push((offset as u32, hint.taken));
            }
        }
    }
    // Of two for one branch, the first.
    all.sort_by_key(|hint| hint.0);
    all.dedup_by_key(|hint| hint.0);
    all
}

#[cfg(test)]
mod tests {
    use crate::{Proposals, decode};

    fn hints(wasm: Vec<u8>) -> Vec<(u32, bool)> {
        decode(wasm, Proposals::default()).expect("hints make no module invalid").0.branch_hints
    }

    const TEXT: &str = r#"(module
        (import "" "" (func))
        (func (param i32)
            block
                local.get 0 (@metadata.code.branch_hint "\00") br_if 0
                local.get 0 (@metadata.code.branch_hint "\01") if end
            end))"#;

    #[test]
    fn offsets_are_those_of_the_branches() {
        let wasm = wat::parse_str(TEXT).unwrap();
        let found = hints(wasm.clone());
        let opcodes: Vec<_> =
            found.iter().map(|(at, taken)| (wasm[*at as usize], *taken)).collect();
        assert_eq!(opcodes, [(0x0d, false), (0x04, true)]);
    }

    /// Every byte of the section changed, and the section cut short.
    #[test]
    fn broken_sections_make_no_module_invalid() {
        let wasm = wat::parse_str(TEXT).unwrap();
        let name = b"metadata.code.branch_hint";
        let start = wasm.windows(name.len()).position(|bytes| bytes == name).unwrap();
        let content = start + name.len();
        // Behind the id stands one byte of length.
        let end = start - 1 + usize::from(wasm[start - 2]);
        for at in content..end {
            for byte in [0, 1, 2, 0x7f, 0x80, 0xff] {
                let mut broken = wasm.clone();
                broken[at] = byte;
                assert!(hints(broken).len() <= 2);
            }
        }
        for cut in 1..end - content {
            let mut broken = wasm.clone();
            broken.drain(end - cut..end);
            broken[start - 2] -= cut as u8;
            assert!(hints(broken).len() <= 2);
        }
    }
}
