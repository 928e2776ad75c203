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
    let mut names = HashMap::new();
    for subsection in NameSectionReader::new(BinaryReader::new(section, 0)).map_while(Result::ok) {
        if let Name::Function(map) = subsection {
            names.extend(
                map.into_iter().map_while(Result::ok).map(|n| (FuncIndex(n.index), n.name)),
            );
        }
    }
    names
}
