//! [`ModuleCode`]: the whole machine code of a module or artifact, for tools that show it.
//!
//! Invariant: nothing of it is published, so nothing of it can run. That is why an artifact that nobody
//! authenticated may be looked at.

use crate::engine::{Engine, Loaded};
use crate::error::{Error, ErrorKind, Result};
use crate::explore::{ExploredFunction, TierCode, functions, origin, table_entry};
use crate::text::binary_form;
use wardian_module::image::CodeImage;
use wardian_module::layout::{Linkage, ModuleTable};
use wardian_module::{DefinedFuncIndex, FuncIndex, Module};
use wardian_runtime::CodeShape;

/// Code of a module as an artifact holds it, to look at.
///
/// ```
/// use wardian::{Engine, ModuleCode};
///
/// let engine = Engine::default();
/// let code = ModuleCode::compile(&engine, b"(module (func (export \"f\") (result i32) i32.const 7))")?;
/// let function = &code.functions()[0];
/// let (offset, code) = code.code(function.index).expect("the module defines it");
/// assert!(function.exports == ["f"] && offset == 0 && !code.bytes.is_empty());
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct ModuleCode {
    module: Module,
    image: CodeImage,
    /// Where exceptions go, in order.
    landings: Vec<u32>,
    functions: Vec<ExploredFunction>,
}

impl ModuleCode {
    /// Compiles a module in binary or text form as [`Engine::precompile_module`] would.
    ///
    /// # Errors
    ///
    /// As [`Module::new`](crate::Module::new).
    pub fn compile(engine: &Engine, bytes: &[u8]) -> Result<ModuleCode> {
        let (module, image) = engine.compile(binary_form(bytes, None)?.into_owned(), None)?;
        ModuleCode::new(module, image)
    }

    /// The code of an artifact.
    ///
    /// # Errors
    ///
    /// As [`Module::deserialize`](crate::Module::deserialize).
    pub fn of_artifact(engine: &Engine, bytes: &[u8]) -> Result<ModuleCode> {
        ModuleCode::of_loaded(engine.decode_artifact(bytes)?)
    }

    /// The code of an artifact of which nobody knows who made it. What is seen may be a lie: the code need
    /// not be that of the WebAssembly beside it.
    ///
    /// # Errors
    ///
    /// When it was made for other settings or another processor, or is malformed.
    pub fn of_unauthenticated_artifact(engine: &Engine, bytes: &[u8]) -> Result<ModuleCode> {
        ModuleCode::of_loaded(engine.decode_unauthenticated(bytes)?)
    }

    fn of_loaded(loaded: Loaded<'_>) -> Result<ModuleCode> {
        let Loaded { module, image, text } = loaded;
        ModuleCode::new(module, CodeImage { text: text.into_owned(), ..image })
    }

    fn new(module: Module, image: CodeImage) -> Result<ModuleCode> {
        let (found, expected) = (image.funcs.len(), module.bodies.len());
        if found != expected {
            let text = format!("code of {found} functions for a module of {expected}");
            return Err(Error::tagged(ErrorKind::InvalidModule, text));
        }
        let functions = functions(&module);
        let mut landings: Vec<u32> = image.exceptions.landings().collect();
        landings.sort_unstable();
        Ok(ModuleCode { module, image, landings, functions })
    }

    /// The functions that the module defines, in order.
    pub fn functions(&self) -> &[ExploredFunction] {
        &self.functions
    }

    /// Bytes of all code.
    pub fn text_size(&self) -> usize {
        self.image.text.len()
    }

    /// The code of a function and where it begins. It has no references: they are filled in, and
    /// [`describe`](ModuleCode::describe) says what they lead to. `None` for a function that the module
    /// does not define.
    pub fn code(&self, index: u32) -> Option<(usize, TierCode)> {
        let func = self.module.defined_func(FuncIndex(index))?;
        let range = *self.image.funcs.get(func.index())?;
        let CodeImage { text, traps, locations, inlined, .. } = &self.image;
        let inside = |offset: u32| (range.start..range.end).contains(&offset);
        let first = locations.partition_point(|location| location.offset < range.start);
        let own = &locations[first..];
        let relative = |offset: u32| (offset - range.start) as usize;
        let places = own.iter().map(|location| location.offset).take_while(|at| inside(*at));
        let origins =
            places.map(|at| (relative(at), origin(&self.module, func, own, inlined, at))).collect();
        let first = traps.partition_point(|site| site.offset < range.start);
        let sites = traps[first..].iter().take_while(|site| inside(site.offset));
        let first = self.landings.partition_point(|at| *at < range.start);
        let landings = self.landings[first..].iter().take_while(|at| inside(**at));
        let code = TierCode {
            bytes: text[range.start as usize..range.end as usize].to_vec(),
            origins,
            traps: sites.map(|site| (relative(site.offset), site.trap.to_string())).collect(),
            landings: landings.map(|at| relative(*at)).collect(),
            references: Vec::new(),
            shape: CodeShape::default(),
        };
        Some((range.start as usize, code))
    }

    /// What lies at a distance from the start of all code, in a few words: a function or, before the start,
    /// something in the module table.
    pub fn describe(&self, offset: i64) -> Option<String> {
        let func = |func: DefinedFuncIndex| self.module.func_index(func).0;
        if offset >= 0 {
            let offset = u32::try_from(offset).ok()?;
            let found = self.image.func_at(offset)?;
            let into = offset - self.image.funcs[found.index()].start;
            return Some(match into {
                0 => format!("func {}", func(found)),
                _ => format!("func {} + {into:#x}", func(found)),
            });
        }
        let (types, funcs) = (self.module.types.len(), self.module.bodies.len());
        let table = ModuleTable::size(types, funcs, Linkage::Direct) as i64;
        (offset >= -table).then(|| table_entry(&self.module, offset + table))
    }
}

impl std::fmt::Debug for ModuleCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModuleCode").field("text_size", &self.text_size()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    const TEXT: &[u8] = br#"(module (memory 1) (func) (func $f (param i32) (result i32)
        (i32.load (i32.div_u (i32.const 8) (local.get 0)))))"#;

    #[test]
    fn an_artifact_shows_what_its_module_is_compiled_to() {
        let engine = Engine::new(Config::new().artifact_key([7; 32])).unwrap();
        let other = Engine::new(Config::new().artifact_key([8; 32])).unwrap();
        let artifact = engine.precompile_module(TEXT).unwrap();
        let compiled = ModuleCode::compile(&engine, TEXT).unwrap();
        assert_eq!(compiled.functions()[1].name.as_deref(), Some("f"));
        let (offset, code) = compiled.code(1).unwrap();
        assert!(
            !code.traps.is_empty() && code.origins.iter().any(|(_, origin)| origin.wasm.is_some())
        );
        assert!(code.traps.iter().all(|(at, _)| *at < code.bytes.len()));
        assert_eq!(compiled.describe(offset as i64).unwrap(), "func 1");
        assert_eq!(compiled.describe(offset as i64 + 1).unwrap(), "func 1 + 0x1");
        assert!(compiled.describe(1 << 40).is_none() && compiled.describe(-(1 << 40)).is_none());
        assert!(compiled.code(2).is_none());
        for shown in [
            ModuleCode::of_artifact(&engine, &artifact),
            ModuleCode::of_unauthenticated_artifact(&other, &artifact),
        ] {
            assert_eq!(shown.unwrap().code(1), Some((offset, code.clone())));
        }
        let error = ModuleCode::of_artifact(&other, &artifact).unwrap_err();
        assert!(error.to_string().contains("not authentic"), "{error}");
    }

    #[test]
    fn whatever_an_unauthenticated_artifact_holds_is_shown_or_an_error() {
        let engine = Engine::new(Config::new().artifact_key([7; 32])).unwrap();
        let artifact = engine.precompile_module(TEXT).unwrap();
        let mut random = 1u64;
        for position in 0..artifact.len() {
            let mut bytes = artifact.clone();
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes[position] = (random >> 56) as u8;
            let Ok(shown) = ModuleCode::of_unauthenticated_artifact(&engine, &bytes) else {
                continue;
            };
            for function in shown.functions() {
                shown.code(function.index);
            }
        }
    }
}
