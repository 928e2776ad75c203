//! [`Explorer`]: a module's functions as operations and as machine code of each tier, for tools that show
//! them. Nothing of it is run.

use crate::backtrace::demangle;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::text::binary_form;
use std::ops::Range;
use wardian_module::image::{FunctionCode, Inlined, Location, RelocTarget, frames_at};
use wardian_module::layout::{Linkage, ModuleTable};
use wardian_module::{DefinedFuncIndex, FuncIndex, Module, TypeIndex};
use wardian_runtime as rt;
use wardian_runtime::CodeShape;

/// A module to look at.
///
/// ```
/// use wardian::{Engine, Explorer};
///
/// let engine = Engine::default();
/// let explorer = Explorer::new(&engine, "(module (func (export \"one\") (result i32) i32.const 1))")?;
/// let function = explorer.functions()[0].clone();
/// assert_eq!(function.exports, ["one"]);
/// let stages = explorer.explore(function.index)?;
/// assert!(stages.operations.iter().any(|line| line.text.contains("i32.const 1")));
/// assert!(!stages.optimized.expect("every tier takes it").bytes.is_empty());
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct Explorer {
    engine: Engine,
    inner: rt::Explorer,
    functions: Vec<ExploredFunction>,
}

/// A function that a module defines.
///
/// ```
/// use wardian::{Engine, Explorer, ExploredFunction};
///
/// let engine = Engine::default();
/// let explorer = Explorer::new(&engine, "(module (func $f (param i32) (i32.load (local.get 0)) drop) (memory 1))")?;
/// let function: &ExploredFunction = &explorer.functions()[0];
/// assert_eq!((function.index, function.name.as_deref()), (0, Some("f")));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ExploredFunction {
    /// Its index, imports counted.
    pub index: u32,
    /// Its name in the name section, demangled.
    pub name: Option<String>,
    /// Names it is exported as.
    pub exports: Vec<String>,
    /// Its body, as a range of the module's bytes.
    pub body: Range<usize>,
}

/// A function at each stage.
///
/// ```
/// use wardian::{Engine, Explorer, Stages};
///
/// let engine = Engine::default();
/// let explorer = Explorer::new(&engine, "(module (func $f (param i32) (i32.load (local.get 0)) drop) (memory 1))")?;
/// let stages: Stages = explorer.explore(0)?;
/// assert!(stages.baseline.is_ok() && stages.optimized.is_ok());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stages {
    /// What its instructions mean to a tier.
    pub operations: Vec<OperationLine>,
    /// Code of the single-pass tier, or why there is none.
    pub baseline: Result<TierCode, String>,
    /// Code of the optimizing tier, or why there is none.
    pub optimized: Result<TierCode, String>,
}

/// One operation.
///
/// ```
/// use wardian::{Engine, Explorer, OperationLine};
///
/// let engine = Engine::default();
/// let explorer = Explorer::new(&engine, "(module (func $f (param i32) (i32.load (local.get 0)) drop) (memory 1))")?;
/// let line: &OperationLine = &explorer.explore(0)?.operations[0];
/// assert!(!line.text.is_empty());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OperationLine {
    /// Offset of its instruction in the module's bytes; `None` for what comes before the first.
    pub wasm: Option<usize>,
    /// What it is, indented by its depth.
    pub text: String,
}

/// Machine code of a function. Offsets count from its start.
///
/// ```
/// use wardian::{Engine, Explorer, TierCode};
///
/// let engine = Engine::default();
/// let explorer = Explorer::new(&engine, "(module (func $f (param i32) (i32.load (local.get 0)) drop) (memory 1))")?;
/// let code: TierCode = explorer.explore(0)?.optimized.expect("every tier takes it");
/// assert!(code.traps.iter().all(|(offset, _)| *offset < code.bytes.len()));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TierCode {
    /// Code and constants.
    pub bytes: Vec<u8>,
    /// Where code stems from, by the offset from which on that holds.
    pub origins: Vec<(usize, CodeOrigin)>,
    /// Instructions that may trap, by their offset, and how.
    pub traps: Vec<(usize, String)>,
    /// Where exceptions go that leave its calls, in order.
    pub landings: Vec<usize>,
    /// Distances that are not filled in yet: four bytes each.
    pub references: Vec<CodeReference>,
    /// What it looks like.
    pub shape: CodeShape,
}

/// Where code stems from.
///
/// ```
/// use wardian::{Engine, Explorer, CodeOrigin};
///
/// let engine = Engine::default();
/// let explorer = Explorer::new(&engine, "(module (func (result i32) (i32.const 1)) (func (drop (call 0))))")?;
/// let code = explorer.explore(0)?.optimized.expect("every tier takes it");
/// let origin: &CodeOrigin = &code.origins[0].1;
/// assert!(origin.inlined.is_empty());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CodeOrigin {
    /// Offset in the module's bytes of the instruction; `None` for code of none (entry, constants).
    pub wasm: Option<usize>,
    /// Functions that were inlined into that instruction, outermost first.
    pub inlined: Vec<u32>,
}

/// Something outside a function's code that it refers to.
///
/// ```
/// use wardian::{Engine, Explorer, CodeReference};
///
/// let engine = Engine::default();
/// let explorer = Explorer::new(&engine, "(module (func (result i32) (i32.const 1)) (func (drop (call 0))))")?;
/// let code = explorer.explore(1)?.optimized.expect("every tier takes it");
/// let references: &[CodeReference] = &code.references;
/// assert!(references.iter().all(|reference| reference.offset < code.bytes.len()));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CodeReference {
    /// Where the distance is put.
    pub offset: usize,
    target: RelocTarget,
    addend: i64,
}

impl Explorer {
    /// Reads a module from its binary or text form. Code is made as `engine` would make it for a run.
    ///
    /// # Errors
    ///
    /// When it is not valid; bodies of functions are only looked at by [`explore`](Explorer::explore).
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Explorer> {
        engine.check_compiler()?;
        let wasm = binary_form(bytes.as_ref(), None)?;
        let (module, bodies) = engine.decode(wasm.into_owned())?;
        let functions = functions(&module);
        let linkage = if engine.config().is_lazy() { Linkage::Slots } else { Linkage::Direct };
        let inner = rt::Explorer::new(module, bodies, linkage);
        Ok(Explorer { engine: engine.clone(), inner, functions })
    }

    /// The module's bytes, in binary form.
    pub fn wasm(&self) -> &[u8] {
        &self.inner.module().wasm
    }

    /// The functions that it defines, in order.
    pub fn functions(&self) -> &[ExploredFunction] {
        &self.functions
    }

    /// Lowers and compiles a function.
    ///
    /// # Errors
    ///
    /// When the module does not define it, or it is not valid.
    pub fn explore(&self, index: u32) -> Result<Stages> {
        let module = self.inner.module();
        let defined = module.defined_func(FuncIndex(index));
        let defined =
            defined.filter(|func| func.index() < module.bodies.len()).ok_or_else(|| {
                let message = format!("the module defines no function {index}");
                Error::tagged(ErrorKind::Misuse, message)
            })?;
        let found = self
            .inner
            .explore(self.engine.compiler(), defined)
            .map_err(crate::engine::compile_error)?;
        let operations = found.operations.into_iter();
        let operations = operations.map(|line| OperationLine {
            wasm: line.wasm.map(|offset| offset as usize),
            text: line.text,
        });
        let code = |made: Result<_, rt::CompileError>| match made {
            Ok((code, shape)) => Ok(tier_code(module, defined, code, CodeShape::from(shape))),
            Err(error) => Err(error.to_string()),
        };
        Ok(Stages {
            operations: operations.collect(),
            baseline: code(found.baseline),
            optimized: code(found.optimized),
        })
    }

    /// What an instruction that ends at offset `end` refers to by `reference`, in a few words.
    pub fn describe(&self, reference: &CodeReference, end: usize) -> String {
        let module = self.inner.module();
        // The processor counts from the end of the instruction.
        let offset = reference.addend + (end as i64 - reference.offset as i64);
        match reference.target {
            RelocTarget::Func(func) => format!("func {}", module.func_index(func).0),
            RelocTarget::ModuleTable => table_entry(module, offset),
        }
    }
}

/// What lies at `offset` of the module table.
pub(crate) fn table_entry(module: &Module, offset: i64) -> String {
    let (types, funcs) = (module.types.len(), module.bodies.len());
    let at = |start: u32, size: i64| (offset - i64::from(start)) / size;
    let func = |position: i64| module.func_index(DefinedFuncIndex(position as u32)).0;
    let types_start = ModuleTable::type_id(TypeIndex(0));
    let slots = ModuleTable::slot(types, DefinedFuncIndex(0));
    let counters = ModuleTable::counter(types, funcs, DefinedFuncIndex(0));
    let end = ModuleTable::counter(types, funcs, DefinedFuncIndex(funcs as u32));
    match offset {
        _ if offset == i64::from(ModuleTable::BUILTIN_SHIM) => "builtin".into(),
        _ if offset == i64::from(ModuleTable::LAZY_SHIM) => "compile".into(),
        _ if offset == i64::from(ModuleTable::COPY_ROUTINE) => "copy".into(),
        _ if offset == i64::from(ModuleTable::FILL_ROUTINE) => "fill".into(),
        _ if offset == i64::from(ModuleTable::FILL_ELEMENTS_ROUTINE) => "fill elements".into(),
        _ if (types_start..types_start + 4 * types as u32).contains(&(offset as u32)) => {
            format!("type {}", at(types_start, 4))
        }
        _ if (slots..counters).contains(&(offset as u32)) => {
            format!("func {}", func(at(slots, 8)))
        }
        _ if (counters..end).contains(&(offset as u32)) => {
            format!("counter of func {}", func(at(counters, 4)))
        }
        _ => format!("module table {offset:+}"),
    }
}

pub(crate) fn functions(module: &Module) -> Vec<ExploredFunction> {
    let names = module.func_names();
    let mut functions: Vec<ExploredFunction> = Vec::with_capacity(module.bodies.len());
    for (position, body) in module.bodies.iter().enumerate() {
        let index = module.func_index(DefinedFuncIndex::from(position));
        functions.push(ExploredFunction {
            index: index.0,
            name: names.get(&index).map(|name| demangle(name)),
            exports: Vec::new(),
            body: body.clone(),
        });
    }
    for export in &module.exports {
        if let wardian_module::ExternIndex::Func(func) = export.index
            && let Some(defined) = module.defined_func(func)
        {
            functions[defined.index()].exports.push(export.name.to_string());
        }
    }
    functions
}

/// Where code of a function at `offset` stems from; `locations` counts from the same start.
pub(crate) fn origin(
    module: &Module,
    func: DefinedFuncIndex,
    locations: &[Location],
    inlined: &[Inlined],
    offset: u32,
) -> CodeOrigin {
    let start = module.bodies[func.index()].start;
    let mut frames: Vec<_> = frames_at(func, locations, inlined, offset).collect();
    // The outermost is the function itself. Code of no instruction counts as that of its start.
    let own = frames.pop().and_then(|(_, wasm)| wasm).map(|wasm| wasm as usize);
    let inlined = frames.iter().rev().map(|(func, _)| module.func_index(*func).0).collect();
    CodeOrigin { wasm: own.filter(|wasm| *wasm != start), inlined }
}

fn tier_code(
    module: &Module,
    func: DefinedFuncIndex,
    code: FunctionCode,
    shape: CodeShape,
) -> TierCode {
    let starts = code.locations.iter().map(|location| location.offset);
    let at = |offset| origin(module, func, &code.locations, &code.inlined, offset);
    let origins = starts.map(|offset| (offset as usize, at(offset))).collect();
    let traps = code.traps.iter().map(|site| (site.offset as usize, site.trap.to_string()));
    let references = code.relocs.iter().map(|reloc| CodeReference {
        offset: reloc.offset as usize,
        target: reloc.target,
        addend: reloc.addend,
    });
    let mut landings: Vec<usize> = code.exceptions.landings().map(|at| at as usize).collect();
    landings.sort_unstable();
    TierCode {
        origins,
        landings,
        traps: traps.collect(),
        references: references.collect(),
        shape,
        bytes: code.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"(module
        (import "" "" (func))
        (func $leaf (param i32) (result i32) local.get 0 i32.const 5 i32.mul)
        (func $outer (export "a") (export "b") (param i32) (result i32)
          local.get 0 call $leaf local.get 0 i32.div_u
          (loop (br_if 0 (i32.const 0)))))"#;

    #[test]
    fn every_instruction_with_code_is_an_origin_in_both_tiers() {
        let explorer = Explorer::new(&Engine::default(), MODULE).unwrap();
        let functions = explorer.functions();
        assert_eq!(functions.len(), 2);
        assert_eq!(functions[1].name.as_deref(), Some("outer"));
        assert_eq!(functions[1].exports, ["a", "b"]);
        let body = functions[1].body.clone();
        let stages = explorer.explore(2).unwrap();
        let division = stages.operations.iter().find(|line| line.text.contains("i32.div_u"));
        let division = division.unwrap().wasm.unwrap();
        assert_eq!(explorer.wasm()[division], 0x6e);
        for code in [stages.baseline.unwrap(), stages.optimized.unwrap()] {
            let mut places = code.origins.iter().filter_map(|(_, origin)| origin.wasm);
            assert!(places.clone().all(|place| body.contains(&place)));
            assert!(places.any(|place| place == division), "{:?}", code.origins);
            assert!(code.origins.is_sorted_by_key(|(offset, _)| *offset));
        }
    }

    #[test]
    fn inlined_code_says_whose_it_is() {
        let explorer = Explorer::new(&Engine::default(), MODULE).unwrap();
        let stages = explorer.explore(2).unwrap();
        let of = |code: &TierCode| -> Vec<Vec<u32>> {
            code.origins.iter().map(|(_, origin)| origin.inlined.clone()).collect()
        };
        assert!(of(&stages.optimized.unwrap()).contains(&vec![1]));
        let baseline = stages.baseline.unwrap();
        assert!(of(&baseline).iter().all(Vec::is_empty));
        let call = baseline.references.iter().map(|reference| {
            // `call` through a slot: the distance is the instruction's end.
            explorer.describe(reference, reference.offset + 4)
        });
        assert!(call.collect::<Vec<_>>().contains(&"func 1".to_string()));
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let explorer = Explorer::new(&Engine::default(), MODULE).unwrap();
        for index in [0, 3, u32::MAX] {
            assert_eq!(explorer.explore(index).unwrap_err().kind(), ErrorKind::Misuse);
        }
        assert!(Explorer::new(&Engine::default(), "(module (func (result i32)))").is_ok());
        let wrong = Explorer::new(&Engine::default(), "(module (func (result i32)))").unwrap();
        assert_eq!(wrong.explore(0).unwrap_err().kind(), ErrorKind::InvalidModule);
    }
}
