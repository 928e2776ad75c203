//! Names from the `name` custom section. A broken section gives fewer names, never an error: the
//! specification makes custom sections optional (spec appendix, name section).

use crate::index::FuncIndex;
use std::collections::HashMap;
use wasmparser::{BinaryReader, Name, NameSectionReader};

pub(crate) fn module_name(section: &[u8]) -> Option<&str> {
    NameSectionReader::new(BinaryReader::new(section, 0)).map_while(Result::ok).find_map(|name| {
        match name {
            Name::Module { name, .. } => Some(name),
            _ => None,
        }
    })
}

pub(crate) fn func_names(section: &[u8]) -> HashMap<FuncIndex, &str> {
    named_funcs(section).collect()
}

/// The name of one function.
pub(crate) fn func_name(section: &[u8], func: FuncIndex) -> Option<&str> {
    named_funcs(section).find(|(index, _)| *index == func).map(|(_, name)| name)
}

fn named_funcs(section: &[u8]) -> impl Iterator<Item = (FuncIndex, &str)> {
    let subsections = NameSectionReader::new(BinaryReader::new(section, 0)).map_while(Result::ok);
    let maps = subsections.filter_map(|subsection| match subsection {
        Name::Function(map) => Some(map),
        _ => None,
    });
    let names = maps.flat_map(|map| map.into_iter().map_while(Result::ok));
    names.map(|name| (FuncIndex(name.index), name.name))
}

#[cfg(test)]
mod tests {
    use crate::index::FuncIndex;
    use crate::{Proposals, decode};

    /// Locals, labels, types, memories and the rest have names too (extended name section), and a
    /// subsection may be of a kind that nobody knows.
    #[test]
    fn names_of_other_things_are_no_hindrance() {
        let text = r#"(module $m
            (type $t (func)) (memory $mem 1) (table $tab 1 funcref) (global $g i32 (i32.const 0))
            (data $d "x") (elem $e func)
            (func $f (type $t) (local $x i32) (block $l (loop $again))))"#;
        let wasm = wat::parse_str(text).unwrap();
        let module = decode(wasm.clone(), Proposals::default()).unwrap().0;
        assert_eq!(module.name(), Some("m"));
        assert_eq!(module.func_names()[&FuncIndex(0)], "f");
        let section = module.custom_section("name").unwrap().to_vec();
        for unknown in [&[99, 1, 7][..], &[12, 0], &[99, 5, 7]] {
            let mut longer = section.clone();
            longer.extend(unknown);
            assert_eq!(super::func_names(&longer)[&FuncIndex(0)], "f");
            assert_eq!(super::func_name(&longer, FuncIndex(0)), Some("f"));
            assert_eq!(super::func_name(&longer, FuncIndex(1)), None);
            assert_eq!(super::module_name(&longer), Some("m"));
        }
    }
}
