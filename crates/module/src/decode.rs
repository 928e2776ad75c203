//! From bytes to [`Module`]: one pass that validates every section and keeps what later stages need.
//!
//! Validation is `wasmparser`'s; the object it accepted is the object that is compiled (no second
//! parser, advisory class "validator and consumer disagree"). Bodies come back as [`Body`] values that
//! carry their validator; compiling one validates it.

use crate::composite::*;
use crate::index::*;
use crate::layout::Repr;
use crate::module::*;
use crate::registry::*;
use crate::settings::{Proposal, Proposals};
use crate::types::*;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use wasmparser::{
    CompositeInnerType, DataKind, DataSectionReader, ElementItems, ElementKind, Encoding,
    ExternalKind, FuncToValidate, Operator, Parser, Payload, TypeRef, UnpackedIndex, ValidPayload,
    Validator, ValidatorResources,
};

/// Largest module. Offsets in it leave a bit free (`image::Location`).
const MAX_MODULE_BYTES: usize = 1 << 30;

/// So much of a function's name is in an error.
const SHOWN_NAME: usize = 200;

/// Why bytes are not a module that can be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodeError {
    /// What was expected and found.
    pub message: String,
    /// Offset in the module's bytes.
    pub offset: usize,
    /// The function it lies in, if it lies in a body.
    pub func: Option<FuncIndex>,
    /// That function's name, if it has one.
    pub name: Option<Box<str>>,
    /// The proposal that would have to be on.
    pub missing: Option<Proposal>,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(FuncIndex(index)) = self.func {
            write!(f, "func {index}")?;
            if let Some(name) = &self.name {
                write!(f, " `{}`", name.escape_debug())?;
            }
            f.write_str(", ")?;
        }
        write!(f, "offset {:#x}: {}", self.offset, self.message)?;
        match self.missing {
            Some(p) if !p.built() => {
                write!(f, " (the {} proposal is not supported by this version)", p.flag())
            }
            Some(p) => write!(f, " (switch the proposal on with `-W {}=y`)", p.flag()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DecodeError {}

impl DecodeError {
    /// An error at this offset, of no function and no proposal.
    pub fn new(message: impl Into<String>, offset: usize) -> DecodeError {
        DecodeError { message: message.into(), offset, func: None, name: None, missing: None }
    }

    /// Says which function of the module `wasm` the error lies in.
    #[cold]
    pub fn in_func(mut self, func: FuncIndex, wasm: &[u8]) -> DecodeError {
        self.func = Some(func);
        // The sections behind the code may be unseen yet, and need not be well-formed.
        let name = names_in(wasm).and_then(|section| crate::names::func_name(section, func));
        self.name = name.map(|name| name.chars().take(SHOWN_NAME).collect());
        self
    }
}

impl From<wasmparser::Error> for DecodeError {
    fn from(error: wasmparser::Error) -> DecodeError {
        let missing = error.missing_wasm_feature().and_then(|features| {
            Proposal::ALL.iter().copied().find(|p| p.features().intersects(features))
        });
        let offset = usize::try_from(error.offset()).unwrap_or(usize::MAX);
        DecodeError { missing, ..DecodeError::new(error.message(), offset) }
    }
}

/// Content of the first name section.
fn names_in(wasm: &[u8]) -> Option<&[u8]> {
    Parser::new(0).parse_all(wasm).map_while(Result::ok).find_map(|payload| match payload {
        Payload::CustomSection(section) if section.name() == "name" => Some(section.data()),
        _ => None,
    })
}

/// A function body that is still to be validated, by its validator.
pub struct Body {
    /// Which function.
    pub index: DefinedFuncIndex,
    /// Its bytes, as a range of the module's.
    pub range: Range<usize>,
    /// Its validator.
    pub validator: FuncToValidate<ValidatorResources>,
}

impl Clone for Body {
    fn clone(&self) -> Body {
        let FuncToValidate { resources, index, ty, features } = &self.validator;
        let resources = resources.clone();
        let validator = FuncToValidate { resources, index: *index, ty: *ty, features: *features };
        Body { index: self.index, range: self.range.clone(), validator }
    }
}

/// Decodes and validates all of a module but its function bodies.
pub fn decode(
    wasm: impl Into<Arc<Vec<u8>>>,
    proposals: Proposals,
) -> Result<(Module, Vec<Body>), DecodeError> {
    let mut bodies = Vec::new();
    let module = decode_with(wasm, proposals, |_, found| bodies = found)?;
    Ok((module, bodies))
}

/// As [`decode`]. The bodies are given away, with the module as known by then, when the last was found and
/// nothing behind them was looked at.
pub fn decode_with(
    wasm: impl Into<Arc<Vec<u8>>>,
    proposals: Proposals,
    bodies: impl FnOnce(&Module, Vec<Body>),
) -> Result<Module, DecodeError> {
    let wasm = wasm.into();
    check_size(&wasm)?;
    decode_sections(&wasm, proposals, bodies, false)
        .map(|(module, _)| module)
        .map_err(|error| with_missing(error, &wasm, proposals))
}

/// As [`decode`], but what comes behind the bodies is not validated yet: a module can have tens of thousands of
/// data segments, and may be known to be valid by something that is looked for meanwhile.
pub fn decode_before_rest(
    wasm: &Arc<Vec<u8>>,
    proposals: Proposals,
) -> Result<(Module, Vec<Body>, Rest<'_>), DecodeError> {
    check_size(wasm)?;
    let mut bodies = Vec::new();
    decode_sections(wasm, proposals, |_, found| bodies = found, true)
        .map(|(module, rest)| (module, bodies, rest))
        .map_err(|error| with_missing(error, wasm, proposals))
}

/// What of a module is to be validated still: [`decode_before_rest`].
pub struct Rest<'a> {
    wasm: &'a [u8],
    proposals: Proposals,
    validator: Validator,
    data: Option<DataSectionReader<'a>>,
    end: Option<u64>,
}

impl<'a> Rest<'a> {
    /// Validates it.
    ///
    /// # Errors
    ///
    /// Those of [`decode`].
    pub fn validate(mut self) -> Result<(), DecodeError> {
        self.validate_kept().map_err(|error| with_missing(error, self.wasm, self.proposals))
    }

    fn validate_kept(&mut self) -> Result<(), DecodeError> {
        if let Some(data) = self.data.take() {
            self.validator.data_section(&data)?;
        }
        if let Some(end) = self.end.take() {
            self.validator.end(end)?;
        }
        Ok(())
    }

    /// Validates a part of the module, or keeps it. A second data section is an error, as is anything but
    /// custom sections behind the first, which the validator sees if it has that.
    fn take(
        &mut self,
        payload: &Payload<'a>,
        keeps: bool,
    ) -> Result<ValidPayload<'a>, DecodeError> {
        match payload {
            Payload::DataSection(data) if keeps && self.data.is_none() => {
                self.data = Some(data.clone());
                return Ok(ValidPayload::Ok);
            }
            Payload::End(end) if self.data.is_some() => {
                self.end = Some(*end);
                return Ok(ValidPayload::Ok);
            }
            Payload::CustomSection(_) => {}
            _ => self.validate_kept()?,
        }
        Ok(self.validator.payload(payload)?)
    }
}

/// An error with the proposal that might be missing.
#[cold]
fn with_missing(mut error: DecodeError, wasm: &[u8], proposals: Proposals) -> DecodeError {
    error.missing = error.missing.or_else(|| missing(wasm, proposals, error.offset));
    error
}

/// Decodes what [`decode`] accepted before, under the same proposals: an authentic artifact says so of the
/// module it holds. Nothing is validated again, and no body comes out, so nothing is compiled of it. Of other
/// bytes comes an error or a module that means nothing.
pub fn decode_validated(
    wasm: impl Into<Arc<Vec<u8>>>,
    proposals: Proposals,
) -> Result<Module, DecodeError> {
    let wasm = wasm.into();
    check_size(&wasm)?;
    let mut decoder = Decoder::new(wasm.clone(), proposals);
    let mut parser = Parser::new(0);
    parser.set_features(proposals.features());
    for payload in parser.parse_all(&wasm) {
        match payload? {
            Payload::CodeSectionEntry(body) => decoder.module.bodies.push(range(body.range())),
            payload => decoder.payload(payload)?,
        }
    }
    Ok(decoder.finish())
}

/// Refuses what offsets of 32 bits do not reach.
fn check_size(wasm: &[u8]) -> Result<(), DecodeError> {
    if wasm.len() > MAX_MODULE_BYTES {
        let message = format!("the module has {} bytes, the limit is 1 GiB", wasm.len());
        return Err(DecodeError::new(message, MAX_MODULE_BYTES));
    }
    Ok(())
}

/// What is left to validate is nothing, unless the rest is to be kept.
fn decode_sections<'a>(
    wasm: &'a Arc<Vec<u8>>,
    proposals: Proposals,
    bodies: impl FnOnce(&Module, Vec<Body>),
    keeps_rest: bool,
) -> Result<(Module, Rest<'a>), DecodeError> {
    let mut decoder = Decoder::new(wasm.clone(), proposals);
    let validator = Validator::new_with_features(proposals.features());
    let mut rest = Rest { wasm, proposals, validator, data: None, end: None };
    let mut parser = Parser::new(0);
    parser.set_features(proposals.features());
    let mut bodies = Some(bodies);
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        if let Payload::Version { encoding: Encoding::Component, .. } = payload {
            return Err(DecodeError::new(
                "this is a component, not a core module; components are not supported by this version",
                0,
            ));
        }
        if let ValidPayload::Func(validator, body) = rest.take(&payload, keeps_rest)? {
            decoder.body(validator, body.range());
        } else if decoder.has_all_bodies()
            && let Some(bodies) = bodies.take()
        {
            // A section that comes later is none: what code becomes does not depend on it.
            decoder.module.branch_hints = crate::hints::branch_hints(&decoder.module);
            bodies(&decoder.module, std::mem::take(&mut decoder.bodies));
        }
        if let Err(error) = decoder.payload(payload) {
            // The validator says better what is wrong.
            rest.validate_kept()?;
            return Err(error);
        }
    }
    let found = std::mem::take(&mut decoder.bodies);
    let module = decoder.finish();
    if let Some(bodies) = bodies {
        bodies(&module, found);
    }
    Ok((module, rest))
}

/// The proposal that is off and with which alone validation gets past `offset`. The validator knows
/// by itself for most errors, but not where a proposal lifts a restriction, as in "multiple memories".
#[cold]
fn missing(wasm: &[u8], proposals: Proposals, offset: usize) -> Option<Proposal> {
    let gets_past = |proposal: &Proposal| {
        let features = proposals.features().union(proposal.features());
        let mut validator = Validator::new_with_features(features);
        let mut parser = Parser::new(0);
        parser.set_features(features);
        let error = parser.parse_all(wasm).find_map(|payload| {
            payload.and_then(|payload| validator.payload(&payload).map(|_| ())).err()
        });
        error.is_none_or(|error| error.offset() > offset as u64)
    };
    let off = |proposal: &&Proposal| !proposals.contains(**proposal);
    Proposal::ALL.iter().filter(off).find(|proposal| gets_past(proposal)).copied()
}

struct Decoder {
    module: Module,
    bodies: Vec<Body>,
    /// Functions that something other than a direct call can refer to.
    escaped: Vec<bool>,
}

fn range(range: Range<u64>) -> Range<usize> {
    // Offsets of a slice in memory fit usize.
    range.start as usize..range.end as usize
}

impl Decoder {
    fn new(wasm: Arc<Vec<u8>>, proposals: Proposals) -> Decoder {
        let module = Module {
            wasm,
            proposals,
            types: Vec::new(),
            uses_heap: false,
            counts_data: false,
            imports: Vec::new(),
            exports: Vec::new(),
            export_names: HashMap::new(),
            funcs: Vec::new(),
            imported_funcs: 0,
            tables: Vec::new(),
            imported_tables: 0,
            memories: Vec::new(),
            imported_memories: 0,
            globals: Vec::new(),
            imported_globals: 0,
            tags: Vec::new(),
            imported_tags: 0,
            elements: Vec::new(),
            data: Vec::new(),
            start: None,
            func_refs: Vec::new(),
            func_ref_count: 0,
            bodies: Vec::new(),
            code_section: 0..0,
            customs: Vec::new(),
            branch_hints: Vec::new(),
        };
        Decoder { module, bodies: Vec::new(), escaped: Vec::new() }
    }

    fn body(&mut self, validator: FuncToValidate<ValidatorResources>, body: Range<u64>) {
        let index = DefinedFuncIndex::from(self.module.bodies.len());
        let range = range(body);
        self.module.bodies.push(range.clone());
        self.bodies.push(Body { index, range, validator });
    }

    /// Whether the code section was read to its end, and declares functions.
    fn has_all_bodies(&self) -> bool {
        let declared = self.module.funcs.len() - self.module.imported_funcs;
        !self.bodies.is_empty() && self.bodies.len() == declared
    }

    /// Records a payload that the validator has accepted, or will be asked about.
    fn payload(&mut self, payload: Payload<'_>) -> Result<(), DecodeError> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    self.rec_group(group?)?;
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports_with_offsets() {
                    let (offset, import) = import?;
                    self.import(import, offset as usize)?;
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.module.funcs.push(TypeIndex(ty?));
                }
            }
            Payload::TableSection(section) => {
                for item in section.into_iter_with_offsets() {
                    let (offset, table) = item?;
                    let ty = self.table_type(table.ty, offset as usize)?;
                    let init = match table.init {
                        wasmparser::TableInit::RefNull => None,
                        wasmparser::TableInit::Expr(expr) => Some(self.const_expr(expr)?),
                    };
                    self.module.tables.push(Table { ty, init });
                }
            }
            Payload::MemorySection(section) => {
                for ty in section {
                    self.module.memories.push(memory_type(ty?));
                }
            }
            Payload::TagSection(section) => {
                for ty in section {
                    self.module.tags.push(TypeIndex(ty?.func_type_idx));
                }
            }
            Payload::GlobalSection(section) => {
                for item in section.into_iter_with_offsets() {
                    let (offset, global) = item?;
                    let ty = self.global_type(global.ty, offset as usize)?;
                    let init = Some(self.const_expr(global.init_expr)?);
                    self.module.globals.push(Global { ty, init });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    self.export(export?);
                }
            }
            Payload::StartSection { func, .. } => {
                self.module.start = Some(FuncIndex(func));
                self.escape(FuncIndex(func));
            }
            Payload::ElementSection(section) => {
                for item in section.into_iter_with_offsets() {
                    let (offset, element) = item?;
                    self.element(element, offset as usize)?;
                }
            }
            Payload::DataCountSection { .. } => self.module.counts_data = true,
            Payload::DataSection(section) => {
                // A segment takes two bytes and more.
                let most = section.range().end.saturating_sub(section.range().start) / 2;
                self.module.data.reserve_exact(section.count().min(most as u32) as usize);
                for data in section {
                    self.data(data?)?;
                }
            }
            Payload::CodeSectionStart { unchecked_range, .. } => {
                self.module.code_section = range(unchecked_range);
            }
            Payload::CustomSection(section) => {
                let end = section.range().end as usize;
                let bytes = end - section.data().len()..end;
                self.module.customs.push(CustomSection { name: section.name().into(), bytes });
            }
            _ => {}
        }
        Ok(())
    }

    fn rec_group(&mut self, group: wasmparser::RecGroup) -> Result<(), DecodeError> {
        let first = self.module.types.len();
        let mut builder = GroupBuilder::new();
        // References to types of the group need to know what those are.
        let kinds: Vec<Kind> = group.types().map(|ty| Kind::of(&ty.composite_type.inner)).collect();
        let count = kinds.len();
        for (offset, ty) in group.into_types_and_offsets() {
            let mut reader = TypeReader {
                types: &self.module.types,
                builder: &mut builder,
                first,
                kinds: &kinds,
            };
            let ty = reader.sub_type(&ty, offset as usize)?;
            builder.push(ty);
        }
        let group = builder.finish();
        for position in 0..count as u32 {
            self.module.types.push(RegisteredType::new(group.clone(), position));
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>, offset: usize) -> Result<(), DecodeError> {
        let index = match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.module.funcs.push(TypeIndex(ty));
                self.module.imported_funcs += 1;
                ExternIndex::Func(FuncIndex::from(self.module.funcs.len() - 1))
            }
            TypeRef::Table(ty) => {
                let ty = self.table_type(ty, offset)?;
                self.module.tables.push(Table { ty, init: None });
                self.module.imported_tables += 1;
                ExternIndex::Table(TableIndex::from(self.module.tables.len() - 1))
            }
            TypeRef::Memory(ty) => {
                self.module.memories.push(memory_type(ty));
                self.module.imported_memories += 1;
                ExternIndex::Memory(MemoryIndex::from(self.module.memories.len() - 1))
            }
            TypeRef::Global(ty) => {
                let ty = self.global_type(ty, offset)?;
                self.module.globals.push(Global { ty, init: None });
                self.module.imported_globals += 1;
                ExternIndex::Global(GlobalIndex::from(self.module.globals.len() - 1))
            }
            TypeRef::Tag(ty) => {
                self.module.tags.push(TypeIndex(ty.func_type_idx));
                self.module.imported_tags += 1;
                ExternIndex::Tag(TagIndex::from(self.module.tags.len() - 1))
            }
        };
        let (module, field) = (import.module.into(), import.name.into());
        self.module.imports.push(Import { module, field, index });
        Ok(())
    }

    fn export(&mut self, export: wasmparser::Export<'_>) {
        let index = match export.kind {
            ExternalKind::Func | ExternalKind::FuncExact => {
                self.escape(FuncIndex(export.index));
                ExternIndex::Func(FuncIndex(export.index))
            }
            ExternalKind::Table => ExternIndex::Table(TableIndex(export.index)),
            ExternalKind::Memory => ExternIndex::Memory(MemoryIndex(export.index)),
            ExternalKind::Global => ExternIndex::Global(GlobalIndex(export.index)),
            ExternalKind::Tag => ExternIndex::Tag(TagIndex(export.index)),
        };
        let name: Box<str> = export.name.into();
        self.module.export_names.insert(name.clone(), self.module.exports.len());
        self.module.exports.push(Export { name, index });
    }

    fn element(
        &mut self,
        element: wasmparser::Element<'_>,
        offset: usize,
    ) -> Result<(), DecodeError> {
        let mode = match element.kind {
            ElementKind::Passive => SegmentMode::Passive,
            ElementKind::Declared => SegmentMode::Declared,
            ElementKind::Active { table_index, offset_expr } => SegmentMode::Active(
                TableIndex(table_index.unwrap_or(0)),
                self.const_expr(offset_expr)?,
            ),
        };
        let (ty, items) = match element.items {
            ElementItems::Functions(items) => {
                let items: Vec<_> = items
                    .into_iter()
                    .map(|index| index.map(FuncIndex))
                    .collect::<Result<_, _>>()?;
                items.iter().for_each(|&index| self.escape(index));
                let heap = HeapType::Func;
                (RefType { nullable: false, heap }, ElemItems::Funcs(items.into()))
            }
            ElementItems::Expressions(ty, items) => {
                let items: Vec<_> = items
                    .into_iter()
                    .map(|expr| self.const_expr(expr?))
                    .collect::<Result<_, DecodeError>>()?;
                (self.ref_type(ty, offset)?, ElemItems::Exprs(items.into()))
            }
        };
        self.module.elements.push(ElemSegment { mode, ty, items });
        Ok(())
    }

    fn data(&mut self, data: wasmparser::Data<'_>) -> Result<(), DecodeError> {
        let mode = match data.kind {
            DataKind::Passive => SegmentMode::Passive,
            DataKind::Active { memory_index, offset_expr } => {
                SegmentMode::Active(MemoryIndex(memory_index), self.const_expr(offset_expr)?)
            }
        };
        // `MAX_MODULE_BYTES` fits.
        let end = data.range.end as u32;
        let bytes = end - data.data.len() as u32..end;
        self.module.data.push(DataSegment { mode, bytes });
        Ok(())
    }

    fn const_expr(&mut self, expr: wasmparser::ConstExpr<'_>) -> Result<ConstExpr, DecodeError> {
        // As nearly all are: a module may have tens of thousands of data segments.
        const I32_CONST: u8 = 0x41;
        const END: u8 = 0x0b;
        let mut bytes = expr.get_binary_reader();
        if let (Ok(I32_CONST), Ok(value), Ok(END), true) =
            (bytes.read_u8(), bytes.read_var_i32(), bytes.read_u8(), bytes.eof())
        {
            return Ok(ConstExpr::I32(value));
        }
        let mut ops: SmallVec<[ConstOp; 4]> = SmallVec::new();
        let mut reader = expr.get_operators_reader();
        while !reader.eof() {
            let (op, offset) = reader.read_with_offset()?;
            ops.push(match op {
                Operator::I32Const { value } => ConstOp::I32(value),
                Operator::I64Const { value } => ConstOp::I64(value),
                Operator::F32Const { value } => ConstOp::F32(value.bits()),
                Operator::F64Const { value } => ConstOp::F64(value.bits()),
                Operator::V128Const { value } => ConstOp::V128(value.i128() as u128),
                Operator::GlobalGet { global_index } => {
                    ConstOp::GlobalGet(GlobalIndex(global_index))
                }
                Operator::RefFunc { function_index } => {
                    self.escape(FuncIndex(function_index));
                    ConstOp::RefFunc(FuncIndex(function_index))
                }
                Operator::RefNull { hty } => {
                    ConstOp::RefNull(self.heap_type(hty, offset as usize)?.top())
                }
                Operator::I32Add => ConstOp::I32Add,
                Operator::I32Sub => ConstOp::I32Sub,
                Operator::I32Mul => ConstOp::I32Mul,
                Operator::I64Add => ConstOp::I64Add,
                Operator::I64Sub => ConstOp::I64Sub,
                Operator::I64Mul => ConstOp::I64Mul,
                Operator::StructNew { struct_type_index: ty } => ConstOp::StructNew(TypeIndex(ty)),
                Operator::StructNewDefault { struct_type_index: ty } => {
                    ConstOp::StructNewDefault(TypeIndex(ty))
                }
                Operator::ArrayNew { array_type_index: ty } => ConstOp::ArrayNew(TypeIndex(ty)),
                Operator::ArrayNewDefault { array_type_index: ty } => {
                    ConstOp::ArrayNewDefault(TypeIndex(ty))
                }
                Operator::ArrayNewFixed { array_type_index: ty, array_size } => {
                    ConstOp::ArrayNewFixed(TypeIndex(ty), array_size)
                }
                Operator::RefI31 => ConstOp::RefI31,
                Operator::AnyConvertExtern => ConstOp::AnyConvertExtern,
                Operator::ExternConvertAny => ConstOp::ExternConvertAny,
                Operator::End => break,
                other => {
                    let message = format!("constant expression uses {other:?}");
                    return Err(DecodeError {
                        missing: Some(Proposal::Gc),
                        ..DecodeError::new(message, offset as usize)
                    });
                }
            });
        }
        Ok(ConstExpr::new(&ops))
    }

    /// Notes that `func` can be referred to by a reference.
    fn escape(&mut self, func: FuncIndex) {
        // All functions were declared before anything that names one.
        self.escaped.resize(self.module.funcs.len(), false);
        if let Some(escaped) = self.escaped.get_mut(func.index()) {
            *escaped = true;
        }
    }

    fn heap_type(&self, ty: wasmparser::HeapType, offset: usize) -> Result<HeapType, DecodeError> {
        self.module.heap_type(ty, offset)
    }

    fn ref_type(&self, ty: wasmparser::RefType, offset: usize) -> Result<RefType, DecodeError> {
        let heap = self.heap_type(ty.heap_type(), offset)?;
        Ok(RefType { nullable: ty.is_nullable(), heap })
    }

    fn table_type(
        &self,
        ty: wasmparser::TableType,
        offset: usize,
    ) -> Result<TableType, DecodeError> {
        Ok(TableType {
            index: if ty.table64 { IndexType::I64 } else { IndexType::I32 },
            limits: Limits { min: ty.initial, max: ty.maximum },
            element: self.ref_type(ty.element_type, offset)?,
        })
    }

    fn global_type(
        &self,
        ty: wasmparser::GlobalType,
        offset: usize,
    ) -> Result<GlobalType, DecodeError> {
        Ok(GlobalType {
            content: self.module.val_type(ty.content_type, offset)?,
            mutable: ty.mutable,
        })
    }

    fn finish(mut self) -> Module {
        // spec 3.1.2: a function named by `ref.func` in a body must occur outside of bodies, so
        // `escaped` is complete before any body is read.
        self.escaped.resize(self.module.funcs.len(), false);
        let imported = self.module.imported_funcs;
        let mut next = 0;
        self.module.func_refs = self
            .escaped
            .iter()
            .enumerate()
            .map(|(index, escaped)| {
                (*escaped || index < imported).then(|| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        self.module.func_ref_count = next;
        self.module.uses_heap = uses_heap(&self.module);
        self.module
    }
}

/// See [`Module::uses_heap`].
fn uses_heap(module: &Module) -> bool {
    let objects = |ty: ValType| Repr::of(ty) == Repr::Ref;
    let element = |ty: &RefType| Repr::of_ref(ty.heap) == Repr::Ref;
    module.proposals.contains(Proposal::Gc)
        && (module.types.iter().any(|ty| match ty.as_func() {
            Some(ty) => ty.params().iter().chain(ty.results()).any(|ty| objects(*ty)),
            None => true,
        }) || module.tables.iter().any(|table| element(&table.ty.element))
            || module.elements.iter().any(|segment| element(&segment.ty))
            || module.globals.iter().any(|global| objects(global.ty.content)))
}

/// What a type defines.
#[derive(Clone, Copy)]
enum Kind {
    Func,
    Struct,
    Array,
    Other,
}

impl Kind {
    fn of(ty: &CompositeInnerType) -> Kind {
        match ty {
            CompositeInnerType::Func(_) => Kind::Func,
            CompositeInnerType::Struct(_) => Kind::Struct,
            CompositeInnerType::Array(_) => Kind::Array,
            CompositeInnerType::Cont(_) => Kind::Other,
        }
    }
}

/// Reads the types of a recursion group.
struct TypeReader<'a> {
    /// Types of the module, before the group.
    types: &'a [RegisteredType],
    builder: &'a mut GroupBuilder,
    /// Index of the group's first type.
    first: usize,
    /// Of the group's types.
    kinds: &'a [Kind],
}

impl TypeReader<'_> {
    fn sub_type(
        &mut self,
        ty: &wasmparser::SubType,
        offset: usize,
    ) -> Result<SubType, DecodeError> {
        let unsupported = |what| Err(DecodeError::new(format!("{what} are not supported"), offset));
        if ty.composite_type.shared {
            return unsupported("shared types");
        }
        if ty.composite_type.descriptor_idx.is_some() || ty.composite_type.describes_idx.is_some() {
            return unsupported("descriptors of types");
        }
        // spec: the binary format allows several; validation, one.
        if ty.supertype_idxs.len() > 1 {
            return unsupported("types with several supertypes");
        }
        let supertype = match ty.supertype_idxs.first() {
            None => None,
            Some(index) => {
                let index = index.unpack();
                let heap = self.defined(index).map_err(|()| self.unknown(index, offset))?;
                heap.concrete()
            }
        };
        let composite = match &ty.composite_type.inner {
            CompositeInnerType::Func(ty) => CompositeType::Func(FuncType::new(
                self.values(ty.params(), offset)?,
                self.values(ty.results(), offset)?,
            )),
            CompositeInnerType::Struct(ty) => {
                let fields = ty.fields.iter().map(|ty| self.field(ty, offset));
                CompositeType::Struct(StructType::new(fields.collect::<Result<Box<[_]>, _>>()?))
            }
            CompositeInnerType::Array(ty) => {
                CompositeType::Array(ArrayType { element: self.field(&ty.0, offset)? })
            }
            CompositeInnerType::Cont(_) => return unsupported("continuation types"),
        };
        Ok(SubType { is_final: ty.is_final, supertype, composite })
    }

    fn values(
        &mut self,
        types: &[wasmparser::ValType],
        offset: usize,
    ) -> Result<Box<[ValType]>, DecodeError> {
        types.iter().map(|ty| val_type(*ty, offset, &mut |index| self.defined(index))).collect()
    }

    fn field(
        &mut self,
        ty: &wasmparser::FieldType,
        offset: usize,
    ) -> Result<FieldType, DecodeError> {
        let storage = match ty.element_type {
            wasmparser::StorageType::I8 => StorageType::I8,
            wasmparser::StorageType::I16 => StorageType::I16,
            wasmparser::StorageType::Val(ty) => {
                StorageType::Val(val_type(ty, offset, &mut |index| self.defined(index))?)
            }
        };
        Ok(FieldType { storage, mutable: ty.mutable })
    }

    fn defined(&mut self, index: UnpackedIndex) -> Result<HeapType, ()> {
        let position = match index {
            UnpackedIndex::RecGroup(i) => i as usize,
            UnpackedIndex::Module(i) => match (i as usize).checked_sub(self.first) {
                Some(position) => position,
                None => {
                    let ty = self.types.get(i as usize).ok_or(())?;
                    let id = self.builder.id(DefinedRef::Outside(ty));
                    return Ok(ty.composite().heap_type(id));
                }
            },
            UnpackedIndex::Id(_) => return Err(()),
        };
        let kind = *self.kinds.get(position).ok_or(())?;
        let id = self.builder.id(DefinedRef::Inside(position as u32));
        match kind {
            Kind::Func => Ok(HeapType::ConcreteFunc(id)),
            Kind::Struct => Ok(HeapType::ConcreteStruct(id)),
            Kind::Array => Ok(HeapType::ConcreteArray(id)),
            Kind::Other => Err(()),
        }
    }

    fn unknown(&self, index: UnpackedIndex, offset: usize) -> DecodeError {
        DecodeError::new(format!("unsupported supertype {index}"), offset)
    }
}

impl Module {
    /// The heap type that the module's bytes name.
    pub fn heap_type(
        &self,
        ty: wasmparser::HeapType,
        offset: usize,
    ) -> Result<HeapType, DecodeError> {
        heap_type(ty, offset, &mut |index| match index {
            UnpackedIndex::Module(i) => {
                self.types.get(i as usize).map(RegisteredType::heap_type).ok_or(())
            }
            _ => Err(()),
        })
    }

    /// The value type that the module's bytes name.
    pub fn val_type(&self, ty: wasmparser::ValType, offset: usize) -> Result<ValType, DecodeError> {
        val_type(ty, offset, &mut |index| match index {
            UnpackedIndex::Module(i) => {
                self.types.get(i as usize).map(RegisteredType::heap_type).ok_or(())
            }
            _ => Err(()),
        })
    }
}

fn memory_type(ty: wasmparser::MemoryType) -> MemoryType {
    MemoryType {
        index: if ty.memory64 { IndexType::I64 } else { IndexType::I32 },
        limits: Limits { min: ty.initial, max: ty.maximum },
        shared: ty.shared,
        page_size_log2: ty.page_size_log2.unwrap_or(16) as u8,
    }
}

type Resolve<'a> = dyn FnMut(UnpackedIndex) -> Result<HeapType, ()> + 'a;

fn val_type(
    ty: wasmparser::ValType,
    offset: usize,
    resolve: &mut Resolve<'_>,
) -> Result<ValType, DecodeError> {
    Ok(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(ty) => ValType::Ref(RefType {
            nullable: ty.is_nullable(),
            heap: heap_type(ty.heap_type(), offset, resolve)?,
        }),
    })
}

fn heap_type(
    ty: wasmparser::HeapType,
    offset: usize,
    resolve: &mut Resolve<'_>,
) -> Result<HeapType, DecodeError> {
    use wasmparser::AbstractHeapType as A;
    let unsupported = || DecodeError::new(format!("unsupported heap type {ty:?}"), offset);
    Ok(match ty {
        wasmparser::HeapType::Concrete(index) => resolve(index).map_err(|()| unsupported())?,
        wasmparser::HeapType::Abstract { shared: false, ty } => match ty {
            A::Func => HeapType::Func,
            A::NoFunc => HeapType::NoFunc,
            A::Extern => HeapType::Extern,
            A::NoExtern => HeapType::NoExtern,
            A::Any => HeapType::Any,
            A::Eq => HeapType::Eq,
            A::I31 => HeapType::I31,
            A::Struct => HeapType::Struct,
            A::Array => HeapType::Array,
            A::None => HeapType::None,
            A::Exn => HeapType::Exn,
            A::NoExn => HeapType::NoExn,
            _ => return Err(unsupported()),
        },
        _ => return Err(unsupported()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module with something of each section.
    fn sample() -> Vec<u8> {
        let text = r#"(module $sample
            (rec (type $point (struct (field i32) (field (mut i64)))) (type $list (array (ref $point))))
            (type $f (func (param i32) (result i32)))
            (import "a" "f" (func $imported (type $f)))
            (import "a" "g" (global $start i32))
            (table $t 4 8 funcref) (memory 1 2) (memory i64 1)
            (tag $e (param i32))
            (global $g (mut i64) (i64.const 5))
            (global $p (ref $point) (struct.new $point (i32.const 1) (i64.const 2)))
            (export "f" (func $double)) (export "m" (memory 0)) (export "e" (tag $e))
            (start $nothing)
            (elem (table $t) (global.get $start) func $double $imported)
            (elem declare func $nothing)
            (func $nothing)
            (func $double (type $f) (i32.add (local.get 0) (local.get 0)))
            (data (i32.const 3) "abc") (data "passive"))"#;
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn what_was_validated_is_decoded_alike_without() {
        let wasm = sample();
        let (mut expected, bodies) = decode(wasm.clone(), Proposals::all_built()).unwrap();
        let mut found = decode_validated(wasm, Proposals::all_built()).unwrap();
        // They have no order.
        let names = [&mut expected, &mut found].map(|m| std::mem::take(&mut m.export_names));
        assert_eq!(names[1], names[0]);
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        assert_eq!(bodies.len(), found.bodies.len());
    }

    /// Bytes that are nearly `sample`.
    fn damaged() -> impl Iterator<Item = Vec<u8>> {
        let wasm = sample();
        let flipped = |wasm: &[u8], at: usize, flip: u8| {
            let mut wasm = wasm.to_vec();
            wasm[at] ^= flip;
            wasm
        };
        (8..wasm.len()).flat_map(move |at| {
            let flips = [1, 0x7f, 0x80, 0xff].map(|flip| flipped(&wasm, at, flip));
            flips.into_iter().chain([wasm[..at].to_vec()])
        })
    }

    /// What a wrong hand vouches for is no reason to panic.
    #[test]
    fn bytes_that_were_not_validated_end_in_a_module_or_an_error() {
        for wasm in damaged() {
            let _ = decode_validated(wasm, Proposals::all_built());
        }
    }

    /// Whatever is wrong, wherever, it is found, and the same is said of it.
    #[test]
    fn a_rest_that_is_validated_later_is_validated_alike() {
        let in_two = |wasm: Vec<u8>| {
            let wasm = Arc::new(wasm);
            let (module, _, rest) = decode_before_rest(&wasm, Proposals::all_built())?;
            rest.validate()?;
            Ok::<_, DecodeError>(module.data)
        };
        let (mut valid, mut late) = (0, 0);
        let section = |id: u8, content: &[u8]| [&[id, content.len() as u8], content].concat();
        let appended = [section(11, &[0]), section(3, &[0]), section(0, b"\x01x"), vec![13, 1, 0]];
        let more = appended.map(|section| [sample(), section].concat());
        let text = |data: &str| wat::parse_str(format!("(module (memory 1) {data})")).unwrap();
        let wrong = [
            "(data (i64.const 0) \"x\")",
            "(data (memory 1) (i32.const 0) \"x\")",
            "(data (offset (i32.const 0) (i32.const 0)) \"x\")",
            "(data \"x\") (data (offset (global.get 5)) \"x\")",
        ];
        let count = |count: u8| [&b"\0asm\x01\0\0\0\x0c\x01"[..], &[count, 11, 1, 0]].concat();
        let more = more.into_iter().chain(wrong.map(text)).chain([0, 1].map(count));
        for wasm in damaged().chain([sample()]).chain(more) {
            let whole = decode(wasm.clone(), Proposals::all_built()).map(|(module, _)| module.data);
            let first = Arc::new(wasm.clone());
            late += usize::from(
                whole.is_err() && decode_before_rest(&first, Proposals::all_built()).is_ok(),
            );
            valid += usize::from(whole.is_ok());
            assert_eq!(in_two(wasm), whole);
        }
        assert!(valid > 100 && late >= 4, "{valid} {late}");
    }
}
