//! A decoded module: everything about it but its code.
//!
//! Made by [`decode`](crate::decode) only, from bytes whose every section was validated; consumers
//! index its lists without checking again. Function bodies stay ranges of the module's bytes and are
//! validated by whoever compiles them.

use crate::index::*;
use crate::registry::RegisteredType;
use crate::settings::Proposals;
use crate::types::*;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What an import or export is, by index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ExternIndex {
    /// A function.
    Func(FuncIndex),
    /// A table.
    Table(TableIndex),
    /// A memory.
    Memory(MemoryIndex),
    /// A global.
    Global(GlobalIndex),
    /// A tag.
    Tag(TagIndex),
}

/// One import.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// First-level name.
    pub module: Box<str>,
    /// Second-level name.
    pub field: Box<str>,
    /// The index it gets.
    pub index: ExternIndex,
}

/// One export.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// Its name, unique in the module.
    pub name: Box<str>,
    /// What it exports.
    pub index: ExternIndex,
}

/// An instruction of a constant expression.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ConstOp {
    /// `i32.const`
    I32(i32),
    /// `i64.const`
    I64(i64),
    /// `f32.const`, bits
    F32(u32),
    /// `f64.const`, bits
    F64(u64),
    /// `v128.const`
    V128(u128),
    /// `global.get`
    GlobalGet(GlobalIndex),
    /// `ref.func`
    RefFunc(FuncIndex),
    /// `ref.null`
    RefNull(HeapTop),
    /// `i32.add`
    I32Add,
    /// `i32.sub`
    I32Sub,
    /// `i32.mul`
    I32Mul,
    /// `i64.add`
    I64Add,
    /// `i64.sub`
    I64Sub,
    /// `i64.mul`
    I64Mul,
    /// `struct.new`
    StructNew(TypeIndex),
    /// `struct.new_default`
    StructNewDefault(TypeIndex),
    /// `array.new`
    ArrayNew(TypeIndex),
    /// `array.new_default`
    ArrayNewDefault(TypeIndex),
    /// `array.new_fixed`, with the number of elements
    ArrayNewFixed(TypeIndex, u32),
    /// `ref.i31`
    RefI31,
    /// `any.convert_extern`
    AnyConvertExtern,
    /// `extern.convert_any`
    ExternConvertAny,
}

/// A constant expression: a valid sequence of instructions that leaves one value. Modules may have as many
/// of them as data segments, so it is small.
#[derive(Clone, PartialEq, Debug)]
pub enum ConstExpr {
    /// `i32.const`, as nearly all are.
    I32(i32),
    /// Any other.
    Ops(Box<Vec<ConstOp>>),
}

impl ConstExpr {
    /// From its instructions.
    pub fn new(ops: &[ConstOp]) -> ConstExpr {
        match ops {
            [ConstOp::I32(value)] => ConstExpr::I32(*value),
            ops => ConstExpr::Ops(Box::new(ops.to_vec())),
        }
    }
}

/// A table of the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Table {
    /// Its type.
    pub ty: TableType,
    /// Initial value of its elements; null if absent. Always absent for imports.
    pub init: Option<ConstExpr>,
}

/// A global of the module.
#[derive(Clone, PartialEq, Debug)]
pub struct Global {
    /// Its type.
    pub ty: GlobalType,
    /// Its initial value; absent for imports.
    pub init: Option<ConstExpr>,
}

/// When a segment's content is used.
#[derive(Clone, PartialEq, Debug)]
pub enum SegmentMode<I> {
    /// By `memory.init` or `table.init`.
    Passive,
    /// At instantiation, into this memory or table at this offset.
    Active(I, ConstExpr),
    /// Never: it only declares function references.
    Declared,
}

/// Elements of a segment.
#[derive(Clone, PartialEq, Debug)]
pub enum ElemItems {
    /// Functions.
    Funcs(Box<[FuncIndex]>),
    /// Expressions.
    Exprs(Box<[ConstExpr]>),
}

impl ElemItems {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            ElemItems::Funcs(items) => items.len(),
            ElemItems::Exprs(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// An element segment.
#[derive(Clone, PartialEq, Debug)]
pub struct ElemSegment {
    /// When it is used.
    pub mode: SegmentMode<TableIndex>,
    /// Type of its elements.
    pub ty: RefType,
    /// Its elements.
    pub items: ElemItems,
}

/// A data segment.
#[derive(Clone, PartialEq, Debug)]
pub struct DataSegment {
    /// When it is used.
    pub mode: SegmentMode<MemoryIndex>,
    /// Its bytes, as a range of the module's.
    pub bytes: Range<u32>,
}

/// A custom section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustomSection {
    /// Its name.
    pub name: Box<str>,
    /// Its content, as a range of the module's bytes.
    pub bytes: Range<usize>,
}

/// A decoded and, but for its function bodies, validated module.
#[derive(Clone, Debug)]
pub struct Module {
    /// The module's bytes.
    pub wasm: Arc<Vec<u8>>,
    /// Proposals it was validated under.
    pub proposals: Proposals,
    /// Defined types.
    pub types: Vec<RegisteredType>,
    /// Whether its code may look into objects: it defines structs or arrays, or something in it has a type
    /// of objects. Where it is not, no reference that is neither null nor `i31` can reach its code but
    /// through the exceptions of others.
    pub uses_heap: bool,
    /// Whether its code may name data segments: it says how many there are before the code.
    pub counts_data: bool,
    /// Imports in order.
    pub imports: Vec<Import>,
    /// Exports in order.
    pub exports: Vec<Export>,
    /// Position in `exports` by name.
    pub export_names: HashMap<Box<str>, usize>,
    /// Type of each function, imports first.
    pub funcs: Vec<TypeIndex>,
    /// How many of `funcs` are imported.
    pub imported_funcs: usize,
    /// Tables, imports first.
    pub tables: Vec<Table>,
    /// How many of `tables` are imported.
    pub imported_tables: usize,
    /// Memories, imports first.
    pub memories: Vec<MemoryType>,
    /// How many of `memories` are imported.
    pub imported_memories: usize,
    /// Globals, imports first.
    pub globals: Vec<Global>,
    /// How many of `globals` are imported.
    pub imported_globals: usize,
    /// Type of each tag, imports first.
    pub tags: Vec<TypeIndex>,
    /// How many of `tags` are imported.
    pub imported_tags: usize,
    /// Element segments.
    pub elements: Vec<ElemSegment>,
    /// Data segments.
    pub data: Vec<DataSegment>,
    /// The start function.
    pub start: Option<FuncIndex>,
    /// For each function, its position among those that need a `FuncRef` in the VM context: every
    /// import, and each function that can be referred to other than by a direct call.
    pub func_refs: Vec<Option<u32>>,
    /// Number of positions in `func_refs`.
    pub func_ref_count: u32,
    /// Body of each defined function, as a range of `wasm`.
    pub bodies: Vec<Range<usize>>,
    /// Range of the code section's content; code offsets of DWARF count from its start.
    pub code_section: Range<usize>,
    /// Custom sections in order.
    pub customs: Vec<CustomSection>,
    /// Offsets in `wasm` of `br_if` and `if` of which the module says whether their condition is likely to
    /// hold, in order, and what it says. Nothing but the layout of code may depend on it.
    pub branch_hints: Vec<(u32, bool)>,
}

impl Module {
    /// The index of a defined function in the space of all functions.
    pub fn func_index(&self, index: DefinedFuncIndex) -> FuncIndex {
        FuncIndex::from(self.imported_funcs + index.index())
    }

    /// The position of a function among the defined ones; `None` for an import.
    pub fn defined_func(&self, index: FuncIndex) -> Option<DefinedFuncIndex> {
        index.index().checked_sub(self.imported_funcs).map(DefinedFuncIndex::from)
    }

    /// The registered type of a function.
    pub fn func_type(&self, index: FuncIndex) -> &RegisteredType {
        &self.types[self.funcs[index.index()].index()]
    }

    /// The type of an import or export.
    pub fn extern_type(&self, index: ExternIndex) -> ExternType {
        match index {
            ExternIndex::Func(i) => ExternType::Func(self.func_type(i).id()),
            ExternIndex::Table(i) => ExternType::Table(self.tables[i.index()].ty),
            ExternIndex::Memory(i) => ExternType::Memory(self.memories[i.index()]),
            ExternIndex::Global(i) => ExternType::Global(self.globals[i.index()].ty),
            ExternIndex::Tag(i) => ExternType::Tag(self.types[self.tags[i.index()].index()].id()),
        }
    }

    /// Whether the condition of the branch at this offset of `wasm` is likely to hold, if the module says.
    pub fn branch_hint(&self, offset: u32) -> Option<bool> {
        let hints = &self.branch_hints;
        let found = hints.binary_search_by_key(&offset, |hint| hint.0).ok()?;
        Some(hints[found].1)
    }

    /// The export of this name.
    pub fn export(&self, name: &str) -> Option<&Export> {
        self.export_names.get(name).map(|&position| &self.exports[position])
    }

    /// Bytes of a data segment.
    pub fn data_bytes(&self, index: DataIndex) -> &[u8] {
        let Range { start, end } = self.data[index.index()].bytes;
        &self.wasm[start as usize..end as usize]
    }

    /// Content of the first custom section of this name.
    pub fn custom_section(&self, name: &str) -> Option<&[u8]> {
        let section = self.customs.iter().find(|section| &*section.name == name)?;
        Some(&self.wasm[section.bytes.clone()])
    }

    /// The module's own name, from the name section.
    pub fn name(&self) -> Option<&str> {
        crate::names::module_name(self.custom_section("name")?)
    }

    /// Names of functions, from the name section. Reads the whole section at each call.
    pub fn func_names(&self) -> HashMap<FuncIndex, &str> {
        self.custom_section("name").map(crate::names::func_names).unwrap_or_default()
    }
}
