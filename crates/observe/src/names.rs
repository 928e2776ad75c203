//! Names of functions, as debuggers and profilers show them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use wardian_module::{DefinedFuncIndex, Module};

/// Longest name that is told, in bytes; what is beyond is cut off.
const LONGEST: usize = 1024;

/// Names of one module's functions.
#[derive(Debug)]
pub(crate) struct Names {
    /// Tells modules of the process apart.
    module: u32,
    imported: usize,
    names: HashMap<u32, Box<str>>,
}

impl Names {
    pub(crate) fn new(module: &Module) -> Names {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let names = module.func_names();
        let names = names
            .into_iter()
            .filter(|(index, name)| index.index() >= module.imported_funcs && !name.is_empty());
        Names {
            module: NEXT.fetch_add(1, Relaxed),
            imported: module.imported_funcs,
            names: names.map(|(index, name)| (index.0, tidy(name))).collect(),
        }
    }

    /// The name of a function: that of the name section, or one made of its number.
    pub(crate) fn of(&self, func: DefinedFuncIndex) -> String {
        let index = (self.imported + func.index()) as u32;
        match self.names.get(&index) {
            Some(name) => name.to_string(),
            None => format!("wasm[{}]::function[{index}]", self.module),
        }
    }
}

/// A name without what ends a line, a string or a terminal's patience. It stems from a guest.
fn tidy(name: &str) -> Box<str> {
    let end = name.floor_char_boundary(LONGEST);
    name[..end].chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_guests_are_made_harmless() {
        assert_eq!(&*tidy("f"), "f");
        assert_eq!(&*tidy("a\n0 ff root\0\x1b[2J"), "a?0 ff root??[2J");
        assert_eq!(tidy(&"é".repeat(LONGEST)).len(), LONGEST);
    }
}
