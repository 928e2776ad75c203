//! [`WasmBacktrace`]: where the guest was when something happened.
//!
//! A backtrace is made on every trap, and most are never looked at; so it stores places, and turns
//! them into names and lines when asked. Names come from the name section, lines from DWARF in custom
//! sections. Both are guest data: whatever is broken or missing in them gives fewer details, never an
//! error, and a name is shown up to [`NAME_MAX`] bytes.
//!
//! Invariant: `FrameInfo` number `i` is about `raw[i]`, and the lists of names and symbols, once made,
//! are as long as `raw`.

use crate::store::{AsContext, StoreInner};
use addr2line::{LookupContinuation as _, LookupResult};
use gimli::{EndianSlice, LittleEndian};
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Arc, OnceLock};
use wardian_module::{FuncIndex, Module};
use wardian_vm as vm;

/// Frames of a backtrace that was not limited by the configuration.
pub(crate) const DEFAULT_FRAMES: usize = 20;

/// Longest function name that is shown, in bytes. Demangling can make a name exponentially longer.
const NAME_MAX: usize = 4 << 10;

/// Most inlined frames that one frame is split into; DWARF can claim any number.
const INLINED_MAX: usize = 256;

/// One frame as the runtime finds it.
#[derive(Clone)]
pub(crate) struct RawFrame {
    /// The module whose code it is.
    pub module: Arc<Module>,
    /// The same as users know it; absent in tests of this file.
    pub handle: Option<crate::Module>,
    /// The function.
    pub func: FuncIndex,
    /// The instruction, as an offset in the module's bytes.
    pub wasm_offset: Option<u32>,
}

/// The wasm frames that were active when an error happened, innermost first.
///
/// Errors of calls into wasm carry one:
///
/// ```
/// use wardian::{Error, WasmBacktrace};
///
/// fn report(error: &Error) {
///     if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
///         for frame in backtrace.frames() {
///             println!("{:?} at {:?}", frame.func_name(), frame.module_offset());
///         }
///     }
/// }
/// # report(&Error::msg("no backtrace in it"));
/// ```
pub struct WasmBacktrace {
    shared: Arc<Shared>,
    frames: OnceLock<Box<[FrameInfo]>>,
}

struct Shared {
    raw: Box<[RawFrame]>,
    /// Whether DWARF is read.
    details: bool,
    names: OnceLock<Box<[Option<Box<str>>]>>,
    symbols: OnceLock<Box<[Box<[FrameSymbol]>]>>,
}

impl WasmBacktrace {
    /// Where the guests of a store are now, seen from a host function that they called: as many frames as
    /// [`Config::wasm_backtrace_max_frames`] says. Empty when none is running, or when backtraces are
    /// off.
    ///
    /// ```
    /// use wardian::{Caller, Linker, Module, Store, WasmBacktrace};
    ///
    /// let mut store = Store::<usize>::default();
    /// let mut linker = Linker::new(store.engine());
    /// linker.func_wrap("host", "depth", |mut caller: Caller<'_, usize>| {
    ///     *caller.data_mut() = WasmBacktrace::capture(&caller).frames().len();
    /// })?;
    /// let module = Module::new(store.engine(), r#"(module
    ///     (import "host" "depth" (func $depth))
    ///     (func $inner (call $depth))
    ///     (func (export "outer") (call $inner)))"#)?;
    /// let instance = linker.instantiate(&mut store, &module)?;
    /// instance.get_typed_func::<(), ()>(&mut store, "outer")?.call(&mut store, ())?;
    /// assert_eq!(*store.data(), 2);
    /// # Ok::<(), wardian::Error>(())
    /// ```
    ///
    /// [`Config::wasm_backtrace_max_frames`]: crate::Config::wasm_backtrace_max_frames
    pub fn capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context().0;
        let limit = store.engine.config().backtrace_max_frames;
        WasmBacktrace::of_frames(store, store.rt.kernel.guest_frames(limit.map_or(0, |n| n.get())))
    }

    /// As [`capture`](WasmBacktrace::capture), also when backtraces are off: then at most 20 frames.
    pub fn force_capture(store: impl AsContext) -> WasmBacktrace {
        let store = store.as_context().0;
        let limit = store.engine.config().backtrace_max_frames;
        let limit = limit.map_or(DEFAULT_FRAMES, |n| n.get());
        WasmBacktrace::of_frames(store, store.rt.kernel.guest_frames(limit))
    }

    /// A backtrace of frames that the kernel found in a store.
    pub(crate) fn of_frames<T>(store: &StoreInner<T>, frames: Vec<vm::Frame>) -> WasmBacktrace {
        let mut last: Option<crate::Module> = None;
        let raw = frames.into_iter().map(|vm::Frame { module, func, wasm_offset }| {
            if !last.as_ref().is_some_and(|last| Arc::ptr_eq(last.code().module(), &module)) {
                last = store.module_of(&module).cloned();
            }
            RawFrame { module, handle: last.clone(), func, wasm_offset }
        });
        WasmBacktrace::new(raw.collect::<Box<[_]>>(), store.engine.backtrace_details())
    }

    /// A backtrace of these frames, with file and line if `details`.
    pub(crate) fn new(raw: impl Into<Box<[RawFrame]>>, details: bool) -> WasmBacktrace {
        let (names, symbols) = (OnceLock::new(), OnceLock::new());
        let shared = Arc::new(Shared { raw: raw.into(), details, names, symbols });
        WasmBacktrace { shared, frames: OnceLock::new() }
    }

    /// The same frames.
    pub(crate) fn share(&self) -> WasmBacktrace {
        WasmBacktrace { shared: self.shared.clone(), frames: OnceLock::new() }
    }

    /// The frames, innermost first.
    pub fn frames(&self) -> &[FrameInfo] {
        self.frames.get_or_init(|| {
            let frame = |index| FrameInfo { shared: self.shared.clone(), index };
            (0..self.shared.raw.len()).map(frame).collect()
        })
    }
}

impl fmt::Debug for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmBacktrace").field("frames", &self.frames()).finish()
    }
}

impl fmt::Display for WasmBacktrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error while executing at wasm backtrace:")?;
        for (number, frame) in self.frames().iter().enumerate() {
            write!(f, "\n    {number:>3}: ")?;
            if let Some(offset) = frame.module_offset() {
                write!(f, "{offset:#8x} - ")?;
            }
            write!(f, "{}!", frame.module_name().unwrap_or("<unknown>"))?;
            for (depth, symbol) in frame.symbols().iter().enumerate() {
                if depth > 0 {
                    f.write_str("\n                    ")?;
                }
                match symbol.name() {
                    Some(name) => f.write_str(name)?,
                    None if depth + 1 == frame.symbols().len() => frame.write_name(f)?,
                    None => f.write_str("<inlined function>")?,
                }
                symbol.write_place(f)?;
            }
            if frame.symbols().is_empty() {
                frame.write_name(f)?;
            }
        }
        Ok(())
    }
}

/// One frame of a [`WasmBacktrace`].
///
/// ```
/// use wardian::{Instance, Module, Store, WasmBacktrace};
///
/// let mut store = Store::<()>::default();
/// let module = Module::new(store.engine(), "(module $m (func $f (export \"f\") unreachable))")?;
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let f = instance.get_typed_func::<(), ()>(&mut store, "f")?;
/// let error = f.call(&mut store, ()).unwrap_err();
/// let frame = &error.downcast_ref::<WasmBacktrace>().expect("a trap has one").frames()[0];
/// assert_eq!((frame.module_name(), frame.func_name()), (Some("m"), Some("f")));
/// assert!(Module::same(frame.module(), &module));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone)]
pub struct FrameInfo {
    shared: Arc<Shared>,
    index: usize,
}

impl FrameInfo {
    fn raw(&self) -> &RawFrame {
        &self.shared.raw[self.index]
    }

    /// Index of the function in its module, imports counted first.
    pub fn func_index(&self) -> u32 {
        self.raw().func.0
    }

    /// The module. Whoever keeps a backtrace, or an error with one, keeps it and its code.
    pub fn module(&self) -> &crate::Module {
        self.raw().handle.as_ref().expect("a store keeps the modules of its instances")
    }

    /// Name of the function in the name section, as it stands there.
    pub fn func_name(&self) -> Option<&str> {
        let names = self.shared.names.get_or_init(|| func_names(&self.shared.raw));
        names[self.index].as_deref()
    }

    /// Name of the module, from its name section.
    pub fn module_name(&self) -> Option<&str> {
        self.raw().module.name()
    }

    /// The instruction, as an offset in the module's bytes.
    pub fn module_offset(&self) -> Option<usize> {
        Some(self.raw().wasm_offset? as usize)
    }

    /// The instruction, as an offset in the function's body.
    pub fn func_offset(&self) -> Option<usize> {
        let module = &self.raw().module;
        let body = &module.bodies[module.defined_func(self.raw().func)?.index()];
        self.module_offset()?.checked_sub(body.start)
    }

    /// What the debugging information says, innermost inlined function first. Empty without any.
    pub fn symbols(&self) -> &[FrameSymbol] {
        if !self.shared.details {
            return &[];
        }
        let symbols = self.shared.symbols.get_or_init(|| symbolize(&self.shared.raw));
        &symbols[self.index]
    }

    fn write_name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.func_name() {
            Some(name) => f.write_str(&demangle(name)),
            None => write!(f, "<wasm function {}>", self.func_index()),
        }
    }
}

impl fmt::Debug for FrameInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameInfo")
            .field("module", &self.module_name())
            .field("func_index", &self.func_index())
            .field("func_name", &self.func_name())
            .field("module_offset", &self.module_offset())
            .field("symbols", &self.symbols())
            .finish()
    }
}

/// A function and a place in its source, from debugging information.
///
/// ```
/// fn show(frame: &wardian::FrameInfo) {
///     for symbol in frame.symbols() {
///         println!("{:?} at {:?}:{:?}", symbol.name(), symbol.file(), symbol.line());
///     }
/// }
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameSymbol {
    name: Option<Box<str>>,
    file: Option<Box<str>>,
    line: Option<u32>,
    column: Option<u32>,
}

impl FrameSymbol {
    /// The function's name, demangled.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The source file, as the compiler named it.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line, from 1.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// The column, from 1.
    pub fn column(&self) -> Option<u32> {
        self.column
    }

    fn write_place(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = self.file() {
            write!(f, "\n                    at {file}")?;
            if let Some(line) = self.line {
                write!(f, ":{line}")?;
                self.column.map_or(Ok(()), |column| write!(f, ":{column}"))?;
            }
        }
        Ok(())
    }
}

/// Positions of frames by module, so that each module's sections are read once.
fn by_module(raw: &[RawFrame]) -> HashMap<*const Module, Vec<usize>> {
    let mut modules: HashMap<_, Vec<usize>> = HashMap::new();
    for (position, frame) in raw.iter().enumerate() {
        modules.entry(Arc::as_ptr(&frame.module)).or_default().push(position);
    }
    modules
}

fn func_names(raw: &[RawFrame]) -> Box<[Option<Box<str>>]> {
    let mut found = vec![None; raw.len()];
    for positions in by_module(raw).into_values() {
        let names = raw[positions[0]].module.func_names();
        for position in positions {
            found[position] = names.get(&raw[position].func).map(|name| shorten(name).into());
        }
    }
    found.into()
}

fn symbolize(raw: &[RawFrame]) -> Box<[Box<[FrameSymbol]>]> {
    let mut found: Vec<Box<[FrameSymbol]>> = vec![Box::default(); raw.len()];
    for positions in by_module(raw).into_values() {
        let module = &raw[positions[0]].module;
        let Some(context) = dwarf(module) else { continue };
        let package = dwarf_package(module);
        for position in positions {
            // DWARF for WebAssembly: code addresses count from the start of the code section's content.
            let code = module.code_section.start as u64;
            let address = raw[position].wasm_offset.and_then(|o| u64::from(o).checked_sub(code));
            if let Some(symbols) = address.and_then(|a| symbols_at(&context, package.as_ref(), a)) {
                found[position] = symbols;
            }
        }
    }
    found.into()
}

type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// The module's debugging information, if it has any that can be read.
fn dwarf(module: &Module) -> Option<addr2line::Context<Bytes<'_>>> {
    module.custom_section(".debug_info")?;
    let load = |id: gimli::SectionId| -> Result<Bytes<'_>, gimli::Error> {
        let bytes = module.custom_section(id.name()).unwrap_or_default();
        Ok(EndianSlice::new(bytes, LittleEndian))
    };
    addr2line::Context::from_dwarf(gimli::Dwarf::load(load).ok()?).ok()
}

/// What `CodeBuilder::dwarf_package` added to the module, if it can be read.
fn dwarf_package(module: &Module) -> Option<gimli::DwarfPackage<Bytes<'_>>> {
    module.custom_section(gimli::SectionId::DebugCuIndex.dwo_name()?)?;
    let load = |id: gimli::SectionId| -> Result<Bytes<'_>, gimli::Error> {
        let bytes = id.dwo_name().and_then(|name| module.custom_section(name));
        Ok(EndianSlice::new(bytes.unwrap_or_default(), LittleEndian))
    };
    gimli::DwarfPackage::load(load, EndianSlice::new(&[], LittleEndian)).ok()
}

fn symbols_at<'a>(
    context: &addr2line::Context<Bytes<'a>>,
    package: Option<&gimli::DwarfPackage<Bytes<'a>>>,
    address: u64,
) -> Option<Box<[FrameSymbol]>> {
    let mut lookup = context.find_frames(address);
    let mut frames = loop {
        match lookup {
            LookupResult::Output(frames) => break frames.ok()?,
            // For each unit once.
            LookupResult::Load { load, continuation } => {
                let unit = package.and_then(|p| p.find_cu(load.dwo_id, &load.parent).ok()?);
                lookup = continuation.resume(unit.map(Arc::new));
            }
        }
    };
    let mut symbols = Vec::new();
    while let Ok(Some(frame)) = frames.next() {
        let name = frame.function.as_ref().and_then(|name| Some(demangle(&name.raw_name().ok()?)));
        let location = frame.location;
        symbols.push(FrameSymbol {
            name: name.map(Into::into),
            file: location.as_ref().and_then(|l| Some(l.file?.into())),
            line: location.as_ref().and_then(|l| l.line),
            column: location.as_ref().and_then(|l| l.column),
        });
        if symbols.len() == INLINED_MAX {
            break;
        }
    }
    Some(symbols.into())
}

/// A name as its author wrote it, for the mangling schemes of Rust and C++; otherwise as it is.
pub(crate) fn demangle(name: &str) -> String {
    let mut text = Bounded(String::new());
    if let Ok(symbol) = rustc_demangle::try_demangle(name) {
        // Only the bound makes this fail, and what came before it is worth showing.
        let _ = write!(text, "{symbol:#}");
    } else if name.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(name)
    {
        let options = cpp_demangle::DemangleOptions::new().recursion_limit(128);
        let _ = symbol.structured_demangle(&mut text, &options);
    }
    if text.0.is_empty() { shorten(name).into() } else { text.0 }
}

/// A string that refuses to grow beyond [`NAME_MAX`].
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = NAME_MAX - self.0.len();
        self.0.push_str(&text[..text.floor_char_boundary(room)]);
        if text.len() > room { Err(fmt::Error) } else { Ok(()) }
    }
}

fn shorten(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, ErrorKind, Trap};
    use wardian_module::{DefinedFuncIndex, Proposals};

    fn module(wasm: Vec<u8>) -> Arc<Module> {
        Arc::new(wardian_module::decode(wasm, Proposals::default()).unwrap().0)
    }

    fn text_module(text: &str) -> Arc<Module> {
        module(wat::parse_str(text).unwrap())
    }

    /// The offset of the first `unreachable` of a function.
    fn unreachable_in(module: &Module, func: FuncIndex) -> Option<u32> {
        let range = module.bodies[module.defined_func(func)?.index()].clone();
        let reader = wasmparser::BinaryReader::new(&module.wasm[range.clone()], range.start as u64);
        let body = wasmparser::FunctionBody::new(reader);
        let mut operators = body.get_operators_reader().ok()?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset().ok()?;
            if matches!(operator, wasmparser::Operator::Unreachable) {
                return Some(offset as u32);
            }
        }
        None
    }

    #[test]
    fn names_and_offsets() {
        let module = text_module(
            "(module $m (import \"\" \"\" (func)) (func $fail unreachable) (func call 1) (func))",
        );
        let frame = |func, wasm_offset| {
            let (module, func) = (module.clone(), FuncIndex(func));
            RawFrame { module, handle: None, func, wasm_offset }
        };
        let offset = unreachable_in(&module, FuncIndex(1));
        let backtrace = WasmBacktrace::new([frame(1, offset), frame(2, None)], true);
        assert_eq!(
            backtrace.to_string(),
            format!(
                "error while executing at wasm backtrace:\n      0: {:#8x} - m!fail\n      \
                 1: m!<wasm function 2>",
                offset.unwrap()
            )
        );
        let frames = backtrace.frames();
        assert_eq!((frames[0].func_offset(), frames[1].func_offset()), (Some(1), None));
        assert_eq!(frames[0].func_name(), Some("fail"));
        assert!(frames[0].symbols().is_empty());
    }

    #[test]
    fn lines_and_inlined_frames_from_dwarf() {
        let module = module(include_bytes!("../tests/programs/inlined.wasm").to_vec());
        let (func, offset) = (0..module.bodies.len())
            .map(|index| module.func_index(DefinedFuncIndex::from(index)))
            .filter(|func| module.func_names()[func].contains("work"))
            .find_map(|func| Some((func, unreachable_in(&module, func)?)))
            .expect("`divide` is inlined into `work`");
        let frame = RawFrame { module, handle: None, func, wasm_offset: Some(offset) };
        let backtrace = WasmBacktrace::new([frame.clone()], true);
        let symbols = backtrace.frames()[0].symbols();
        let names: Vec<_> = symbols.iter().map(|symbol| symbol.name().unwrap()).collect();
        assert_eq!(names[names.len() - 2..], ["inlined::divide", "inlined::work"]);
        let work = symbols.last().unwrap();
        assert_eq!((work.file(), work.line()), (Some("/src/inlined.rs"), Some(25)));
        let text = backtrace.to_string();
        assert!(
            text.contains("inlined::divide\n                    at /src/inlined.rs:19:9\n"),
            "{text}"
        );
        assert!(WasmBacktrace::new([frame], false).frames()[0].symbols().is_empty());
    }

    /// DWARF 5, 32-bit: the header of a unit of kind `kind`, with number 7, and its entries.
    fn unit(kind: u8, entries: &[u8]) -> Vec<u8> {
        let header = [&[5, 0, kind, 4, 0, 0, 0, 0][..], &7u64.to_le_bytes()].concat();
        let length = (header.len() + entries.len()) as u32;
        [&length.to_le_bytes()[..], &header, entries].concat()
    }

    /// Custom sections of a module.
    fn sections(list: &[(&str, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, data) in list {
            let section =
                wasm_encoder::CustomSection { name: (*name).into(), data: (*data).into() };
            wasm_encoder::Section::append_to(&section, &mut bytes);
        }
        bytes
    }

    #[test]
    fn names_from_a_dwarf_package() {
        // All code lies in 0..0x100. `DW_AT_low_pc` is 0x11, `DW_AT_high_pc` 0x12, `DW_AT_name` 0x03; forms:
        // `DW_FORM_addr` 0x01, `DW_FORM_data4` 0x06, `DW_FORM_string` 0x08.
        let range = [0, 0, 0, 0, 0, 1, 0, 0];
        let skeleton = unit(4, &[&[1], &range[..]].concat());
        // `DW_TAG_skeleton_unit`
        let abbreviations = [1, 0x4a, 0, 0x11, 0x01, 0x12, 0x06, 0, 0, 0];
        let entries = [&[1, 2][..], b"split\0", &range, &[0]].concat();
        let split = unit(5, &entries);
        // `DW_TAG_compile_unit` with children, `DW_TAG_subprogram`
        let split_abbreviations =
            [1, 0x11, 1, 0, 0, 2, 0x2e, 0, 0x03, 0x08, 0x11, 0x01, 0x12, 0x06, 0, 0, 0];
        // Version, two columns (`DW_SECT_INFO` 1, `DW_SECT_ABBREV` 3), one unit, two slots; signatures, rows,
        // columns, offsets, sizes.
        let mut index = Vec::new();
        let words = [5, 2, 1, 2, 0, 0, 7, 0, 0, 1, 1, 3, 0, 0];
        let sizes = [split.len() as u32, split_abbreviations.len() as u32];
        for word in words.into_iter().chain(sizes) {
            index.extend_from_slice(&word.to_le_bytes());
        }
        let mut wasm = wat::parse_str("(module (func unreachable))").unwrap();
        wasm.extend(sections(&[(".debug_info", &skeleton), (".debug_abbrev", &abbreviations)]));
        let mut package = b"\0asm\x01\0\0\0".to_vec();
        package.extend(sections(&[
            (".debug_info.dwo", &split),
            (".debug_abbrev.dwo", &split_abbreviations),
            (".debug_cu_index", &index),
            ("something else", b"is left out"),
        ]));

        let engine = crate::Engine::new(&crate::Config::new()).unwrap();
        let mut names = Vec::new();
        for with in [false, true] {
            let mut builder = crate::CodeBuilder::new(&engine);
            builder.wasm_binary(&wasm[..], None).unwrap();
            if with {
                builder.dwarf_package(&package).unwrap();
                assert!(builder.dwarf_package(&package).is_err());
            }
            let module = builder.compile_module().unwrap().code().module().clone();
            assert!(module.custom_section("something else").is_none());
            let wasm_offset = unreachable_in(&module, FuncIndex(0));
            let frame = RawFrame { module, handle: None, func: FuncIndex(0), wasm_offset };
            let backtrace = WasmBacktrace::new([frame], true);
            let symbols = backtrace.frames()[0].symbols().iter();
            names.push(symbols.filter_map(|s| Some(s.name()?.to_owned())).collect::<Vec<_>>());
        }
        assert_eq!(names, [vec![], vec!["split".to_owned()]]);
    }

    #[test]
    fn broken_debugging_information_gives_no_symbols() {
        let wasm = include_bytes!("../tests/programs/inlined.wasm");
        let good = module(wasm.to_vec());
        let debug: Vec<_> = good.customs.iter().filter(|s| s.name.starts_with(".debug")).collect();
        let frame = |module| {
            let (handle, func, wasm_offset) = (None, FuncIndex(0), Some(0x80));
            RawFrame { module, handle, func, wasm_offset }
        };
        for section in debug {
            for at in section.bytes.clone().step_by(7) {
                let mut broken = wasm.to_vec();
                broken[at] ^= 0xff;
                let frames = [frame(module(broken))];
                // Whatever is found, it is found in bounded time and without a panic.
                let _ = WasmBacktrace::new(frames, true).to_string();
            }
        }
    }

    #[test]
    fn names_are_demangled_and_bounded() {
        assert_eq!(demangle("_ZN7inlined4work17h426f768f6dfe4e72E"), "inlined::work");
        assert_eq!(demangle("_Z3addii"), "add(int, int)");
        assert_eq!(demangle("plain"), "plain");
        assert_eq!(demangle(&"é".repeat(NAME_MAX)).len(), NAME_MAX);
        // Each substitution doubles what the one before stands for.
        let mut name = String::from("_Z1fI1AE1XIS_S_E");
        for n in 0..60 {
            let digit = |n: u32| char::from_digit(n, 36).unwrap().to_ascii_uppercase();
            name += &format!("1YIS{}_S{}_E", digit(n % 36), digit(n % 36));
        }
        assert!(demangle(&name).len() <= NAME_MAX);
    }

    #[test]
    fn rides_on_an_error() {
        let error = Error::from(Trap::UnreachableCodeReached).context(WasmBacktrace::new([], true));
        assert!(error.downcast_ref::<WasmBacktrace>().unwrap().frames().is_empty());
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::UnreachableCodeReached));
        assert_eq!(error.kind(), ErrorKind::Trap);
    }

    const _: () = {
        const fn shared_between_threads<T: Send + Sync>() {}
        shared_between_threads::<WasmBacktrace>();
    };
}
