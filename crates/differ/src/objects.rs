//! Modules of our own making, for what generators of arbitrary modules seldom get to run: programs that
//! build structs and arrays, link them, cast them, throw them, call through them and let the host see them.
//!
//! A module is valid by construction, as expressions are made for a type that is wanted. Its programs seldom
//! trap: a reference that must not be null has something in its place, an index is mostly small. They end,
//! since functions and loops take one of the exported global `fuel`, which the host fills before each call, and
//! stop when it is empty. In some modules, what was run is entered in the exported global `seen`, a bit for
//! each of [`SHAPES`].
//!
//! Invariant: bytes of the same choices give the same module, and fewer bytes give a smaller one.

mod body;

use arbitrary::Unstructured;
use body::Body;
use std::borrow::Cow;
use wasm_encoder::*;

/// Name of the global that bounds a call.
pub const FUEL: &str = "fuel";
/// Name of the global with what was run.
pub const SEEN: &str = "seen";

macro_rules! shapes {
    ($($name:ident)*) => {
        /// What a program can be seen to have run.
        #[derive(Clone, Copy)]
        #[allow(non_camel_case_types, reason = "the names are shown")]
        enum Shape {
            $($name),*
        }

        /// Names of the bits of the global that tells what ran.
        pub const SHAPES: &[&str] = &[$(stringify!($name)),*];
    };
}

shapes! {
    struct_new struct_get struct_set array_new array_new_fixed array_new_data array_new_elem array_get
    array_set array_fill array_copy array_init_data array_init_elem ref_i31 i31_get ref_test ref_cast
    br_on_cast br_on_cast_fail br_on_null br_on_non_null ref_eq extern_convert any_convert call_ref
    call_indirect call_import return_call return_call_ref return_call_indirect throw catch catch_ref catch_all
    catch_all_ref throw_ref legacy_catch legacy_rethrow legacy_delegate table_ops global_ref loop_again
    atomic_rmw atomic_wait br_value br_table large_array
}

const _: () = assert!(SHAPES.len() <= 64, "a bit for each");

/// What is chosen, from bytes; nothing but zero when they are used up.
pub struct Choices<'a>(Unstructured<'a>);

impl Choices<'_> {
    fn below(&mut self, end: u32) -> u32 {
        match end {
            0 | 1 => 0,
            _ => self.0.int_in_range(0..=end - 1).unwrap_or(0),
        }
    }

    /// Once in so many times.
    fn once_in(&mut self, times: u32) -> bool {
        self.below(times) == times - 1
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        all.get(self.below(all.len() as u32) as usize).cloned()
    }

    fn bits(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(16).into(),
            1 => (self.below(16) as i32 - 8) as u64,
            2 => self.0.arbitrary::<u16>().unwrap_or(0).into(),
            _ => self.0.arbitrary().unwrap_or(0),
        }
    }
}

/// What makes up a type.
enum Kind {
    Struct(Vec<FieldType>),
    Array(FieldType),
    Func(FuncType),
}

/// Everything that function bodies refer to.
struct Plan {
    kinds: Vec<Kind>,
    supertypes: Vec<Option<u32>>,
    /// Types of functions, imports first.
    funcs: Vec<u32>,
    imports: u32,
    /// Types of their values.
    tags: Vec<u32>,
    globals: Vec<ValType>,
    fuel: u32,
    /// Where this module tells what was run.
    seen: Option<u32>,
    atomics: bool,
}

/// Tables of the module: anything, and its functions.
const ANYTHING: u32 = 0;
const FUNCS: u32 = 1;
const TABLE_LENGTH: u32 = 8;
/// Passive segments: bytes, and references to anything.
const DATA: u32 = 0;
const ELEM: u32 = 0;
const DATA_BYTES: usize = 64;
const ELEM_LENGTH: usize = 6;

const fn abstract_type(ty: AbstractHeapType) -> HeapType {
    HeapType::Abstract { shared: false, ty }
}

fn nullable(heap_type: HeapType) -> RefType {
    RefType { nullable: true, heap_type }
}

/// The heap types at the top of the four hierarchies.
fn top(plan: &Plan, ty: HeapType) -> HeapType {
    let tops =
        [HeapType::ANY, HeapType::FUNC, HeapType::EXTERN, abstract_type(AbstractHeapType::Exn)];
    tops.into_iter().find(|top| plan.is_below(ty, *top)).expect("every type has a top type")
}

impl Plan {
    /// Whether functions may write a global: the first four, and of the others every second.
    fn is_mutable(&self, global: u32) -> bool {
        global < 4 || global.is_multiple_of(2)
    }

    fn is_below(&self, lower: HeapType, upper: HeapType) -> bool {
        use AbstractHeapType::{Any, Array, Eq, Func, I31, Struct};
        match (lower, upper) {
            _ if lower == upper => true,
            (HeapType::Concrete(lower), HeapType::Concrete(_)) => self.supertypes[lower as usize]
                .is_some_and(|lower| self.is_below(HeapType::Concrete(lower), upper)),
            (HeapType::Concrete(lower), HeapType::Abstract { ty, .. }) => {
                match self.kinds[lower as usize] {
                    Kind::Struct(_) => matches!(ty, Struct | Eq | Any),
                    Kind::Array(_) => matches!(ty, Array | Eq | Any),
                    Kind::Func(_) => ty == Func,
                }
            }
            (HeapType::Abstract { ty: lower, .. }, HeapType::Abstract { ty: upper, .. }) => {
                match upper {
                    Any => matches!(lower, Eq | I31 | Struct | Array),
                    Eq => matches!(lower, I31 | Struct | Array),
                    _ => false,
                }
            }
            _ => false,
        }
    }

    fn matches(&self, lower: ValType, upper: ValType) -> bool {
        match (lower, upper) {
            (ValType::Ref(lower), ValType::Ref(upper)) => {
                (upper.nullable || !lower.nullable)
                    && self.is_below(lower.heap_type, upper.heap_type)
            }
            _ => lower == upper,
        }
    }

    fn func_type(&self, ty: u32) -> &FuncType {
        match &self.kinds[ty as usize] {
            Kind::Func(ty) => ty,
            _ => unreachable!("it is used as the type of a function"),
        }
    }

    /// Types whose kind is looked for.
    fn types(&self, wanted: impl Fn(&Kind) -> bool) -> Vec<u32> {
        let all = self.kinds.iter().enumerate();
        all.filter(|(_, kind)| wanted(kind)).map(|(index, _)| index as u32).collect()
    }
}

/// A module of these choices.
pub fn module(bytes: Unstructured<'_>) -> Vec<u8> {
    let mut choices = Choices(bytes);
    let mut plan = plan(&mut choices);
    let mut code = CodeSection::new();
    for func in plan.imports..plan.funcs.len() as u32 {
        code.function(&Body::new(&mut plan, &mut choices, func).finish());
    }
    encode(&plan, &mut choices, &code)
}

fn plan(choices: &mut Choices<'_>) -> Plan {
    let structs = 2 + choices.below(4);
    let arrays = 2 + choices.below(3);
    let signatures = 2 + choices.below(2);
    let count = structs + arrays + signatures;
    let heap = |choices: &mut Choices<'_>| any_heap_type(choices, count);
    let mut kinds: Vec<Kind> = Vec::new();
    let mut supertypes = Vec::new();
    for index in 0..structs {
        let supertype = match index {
            0 => None,
            _ if choices.below(3) == 0 => None,
            _ => Some(choices.below(index)),
        };
        let mut fields = match supertype.map(|index| &kinds[index as usize]) {
            Some(Kind::Struct(fields)) => fields.clone(),
            _ => Vec::new(),
        };
        for _ in 0..1 + choices.below(4) {
            let element_type = storage(choices, heap);
            fields.push(FieldType { element_type, mutable: !choices.once_in(5) });
        }
        kinds.push(Kind::Struct(fields));
        supertypes.push(supertype);
    }
    for index in 0..arrays {
        // The first two always are there for references and for bytes of segments.
        let element_type = match index {
            0 => StorageType::Val(ValType::Ref(RefType::ANYREF)),
            1 => choices.of(&[StorageType::I8, StorageType::I16]).expect("there are two"),
            _ => storage(choices, heap),
        };
        kinds.push(Kind::Array(FieldType { element_type, mutable: true }));
        supertypes.push(None);
    }
    for index in 0..signatures {
        let params: Vec<ValType> = (0..choices.below(5)).map(|_| val_type(choices, heap)).collect();
        let results: Vec<ValType> = match index {
            // One of them always returns a reference, and one a number.
            0 => vec![ValType::Ref(RefType::ANYREF)],
            1 => vec![ValType::I32],
            _ => (0..choices.below(4)).map(|_| val_type(choices, heap)).collect(),
        };
        kinds.push(Kind::Func(FuncType::new(params, results)));
        supertypes.push(None);
    }
    let mut plan = Plan {
        kinds,
        supertypes,
        funcs: Vec::new(),
        imports: 0,
        tags: Vec::new(),
        globals: Vec::new(),
        fuel: 0,
        seen: None,
        atomics: choices.below(2) == 0,
    };
    let any = ValType::Ref(RefType::ANYREF);
    let extern_ = ValType::Ref(RefType::EXTERNREF);
    let first = ValType::Ref(nullable(HeapType::Concrete(0)));
    for (params, results) in [
        (vec![any, ValType::I32], vec![any]),
        (vec![extern_], vec![extern_, ValType::I64]),
        (vec![first], vec![first]),
        (vec![], vec![]),
    ] {
        let ty = plan.signature(params, results);
        plan.funcs.push(ty);
    }
    plan.imports = plan.funcs.len() as u32;
    let first_signature = structs + arrays;
    for index in 0..signatures {
        // A function of each type, so that each has a value.
        plan.funcs.push(first_signature + index);
    }
    for _ in 0..choices.below(2) {
        plan.funcs.push(first_signature + choices.below(signatures));
    }
    for params in [vec![ValType::I32], vec![any], vec![first, ValType::I64], vec![]] {
        let ty = plan.signature(params, vec![]);
        plan.tags.push(ty);
    }
    plan.globals = vec![any, first, extern_, ValType::I64];
    for _ in 0..choices.below(4) {
        let ty = match val_type(choices, heap) {
            ValType::Ref(ty) => ValType::Ref(nullable(ty.heap_type)),
            ty => ty,
        };
        plan.globals.push(ty);
    }
    plan.fuel = plan.globals.len() as u32;
    plan.seen = (choices.below(3) == 0).then_some(plan.fuel + 1);
    plan
}

impl Plan {
    /// The type of a function, perhaps a new one.
    fn signature(&mut self, params: Vec<ValType>, results: Vec<ValType>) -> u32 {
        let ty = FuncType::new(params, results);
        let same = |kind: &Kind| matches!(kind, Kind::Func(other) if *other == ty);
        let known = self.kinds.iter().position(same);
        known.unwrap_or_else(|| {
            self.kinds.push(Kind::Func(ty));
            self.supertypes.push(None);
            self.kinds.len() - 1
        }) as u32
    }
}

fn any_heap_type(choices: &mut Choices<'_>, count: u32) -> HeapType {
    use AbstractHeapType::{Any, Array, Eq, Exn, Extern, Func, I31, Struct};
    match choices.below(8) {
        0..5 => HeapType::Concrete(choices.below(count)),
        5 | 6 => abstract_type(choices.of(&[Any, Eq, I31, Extern]).expect("there are some")),
        _ => abstract_type(choices.of(&[Struct, Array, Func, Exn]).expect("there are some")),
    }
}

fn val_type(choices: &mut Choices<'_>, heap: impl Fn(&mut Choices<'_>) -> HeapType) -> ValType {
    match choices.below(16) {
        0..4 => ValType::I32,
        4 | 5 => ValType::I64,
        6 => choices.of(&[ValType::F32, ValType::F64, ValType::V128]).expect("there are some"),
        other => {
            let heap_type = heap(choices);
            // The host has no exceptions to give.
            let never_null = other == 15 && heap_type != abstract_type(AbstractHeapType::Exn);
            ValType::Ref(RefType { nullable: !never_null, heap_type })
        }
    }
}

/// References in fields may be null, so that every struct can be made.
fn storage(choices: &mut Choices<'_>, heap: impl Fn(&mut Choices<'_>) -> HeapType) -> StorageType {
    match choices.below(8) {
        0 => StorageType::I8,
        1 => StorageType::I16,
        2 => StorageType::Val(val_type(choices, |_| HeapType::I31)),
        _ => StorageType::Val(match val_type(choices, heap) {
            ValType::Ref(ty) => ValType::Ref(nullable(ty.heap_type)),
            ty => ty,
        }),
    }
}

fn encode(plan: &Plan, choices: &mut Choices<'_>, code: &CodeSection) -> Vec<u8> {
    let mut module = Module::new();
    let mut types = TypeSection::new();
    let all = plan.kinds.iter().zip(&plan.supertypes).enumerate();
    types.ty().rec(all.map(|(index, (kind, supertype))| SubType {
        // Casts to a final type are another matter.
        is_final: index % 2 == 1 && !plan.supertypes.contains(&Some(index as u32)),
        supertype_idxs: supertype.iter().copied().collect(),
        composite_type: CompositeType {
            inner: match kind {
                Kind::Struct(fields) => {
                    CompositeInnerType::Struct(StructType { fields: fields.clone().into() })
                }
                Kind::Array(element) => CompositeInnerType::Array(ArrayType(*element)),
                Kind::Func(ty) => CompositeInnerType::Func(ty.clone()),
            },
            shared: false,
            descriptor: None,
            describes: None,
        },
    }));
    module.section(&types);

    let tag = |ty: u32| TagType { kind: TagKind::Exception, func_type_idx: ty };
    let mut imports = ImportSection::new();
    for (index, ty) in plan.funcs[..plan.imports as usize].iter().enumerate() {
        imports.import("host", &format!("f{index}"), EntityType::Function(*ty));
    }
    // The host throws exceptions with the first two.
    for (index, ty) in plan.tags[..2].iter().enumerate() {
        imports.import("host", &format!("t{index}"), EntityType::Tag(tag(*ty)));
    }
    module.section(&imports);

    let mut funcs = FunctionSection::new();
    plan.funcs[plan.imports as usize..].iter().for_each(|ty| {
        funcs.function(*ty);
    });
    module.section(&funcs);

    let table = |element_type, maximum| TableType {
        element_type,
        table64: false,
        minimum: TABLE_LENGTH.into(),
        maximum,
        shared: false,
    };
    let mut tables = TableSection::new();
    tables.table(table(RefType::ANYREF, Some(16)));
    tables.table(table(RefType::FUNCREF, Some(TABLE_LENGTH.into())));
    module.section(&tables);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: Some(1),
        memory64: false,
        shared: plan.atomics,
        page_size_log2: None,
    });
    module.section(&memories);
    let mut tags = TagSection::new();
    plan.tags[2..].iter().for_each(|ty| {
        tags.tag(tag(*ty));
    });
    module.section(&tags);

    let mut globals = GlobalSection::new();
    let mut exports = ExportSection::new();
    for (index, ty) in plan.globals.iter().enumerate() {
        let mutable = plan.is_mutable(index as u32);
        let ty = GlobalType { val_type: *ty, mutable, shared: false };
        globals.global(ty, &initial(plan, choices, ty.val_type));
        exports.export(&format!("g{index}"), ExportKind::Global, index as u32);
    }
    let number = |val_type| GlobalType { val_type, mutable: true, shared: false };
    globals.global(number(ValType::I32), &ConstExpr::i32_const(0));
    exports.export(FUEL, ExportKind::Global, plan.fuel);
    if let Some(seen) = plan.seen {
        globals.global(number(ValType::I64), &ConstExpr::i64_const(0));
        exports.export(SEEN, ExportKind::Global, seen);
    }
    module.section(&globals);
    for index in plan.imports..plan.funcs.len() as u32 {
        exports.export(&format!("f{index}"), ExportKind::Func, index);
    }
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("anything", ExportKind::Table, ANYTHING);
    exports.export("funcs", ExportKind::Table, FUNCS);
    module.section(&exports);

    let elems: Vec<ConstExpr> =
        (0..ELEM_LENGTH).map(|_| initial(plan, choices, ValType::Ref(RefType::ANYREF))).collect();
    let mut elements = ElementSection::new();
    elements.passive(Elements::Expressions(RefType::ANYREF, Cow::Owned(elems)));
    let all: Vec<u32> = (0..plan.funcs.len() as u32).collect();
    let filled: Vec<u32> = all.iter().rev().take(TABLE_LENGTH as usize).copied().collect();
    elements.active(Some(FUNCS), &ConstExpr::i32_const(0), Elements::Functions(Cow::Owned(filled)));
    elements.declared(Elements::Functions(Cow::Owned(all)));
    module.section(&elements);
    module.section(&DataCountSection { count: 1 });
    module.section(code);
    let mut data = DataSection::new();
    data.passive((0..DATA_BYTES as u8).map(|byte| byte.wrapping_mul(37)));
    module.section(&data);
    module.finish()
}

fn is_defaultable(field: &FieldType) -> bool {
    field.element_type.is_defaultable()
}

/// A constant expression.
fn initial(plan: &Plan, choices: &mut Choices<'_>, ty: ValType) -> ConstExpr {
    let bits = choices.bits();
    let ty = match ty {
        ValType::I32 => return ConstExpr::i32_const(bits as i32),
        ValType::I64 => return ConstExpr::i64_const(bits as i64),
        ValType::F32 => return ConstExpr::f32_const((bits as f32).into()),
        ValType::F64 => return ConstExpr::f64_const((bits as f64).into()),
        ValType::V128 => return ConstExpr::v128_const(bits.into()),
        ValType::Ref(ty) => ty,
    };
    let heap = ty.heap_type;
    let objects = plan.types(|kind| matches!(kind, Kind::Struct(_) | Kind::Array(_)));
    let fitting: Vec<u32> =
        objects.into_iter().filter(|ty| plan.is_below(HeapType::Concrete(*ty), heap)).collect();
    let i31 = plan.is_below(HeapType::I31, heap);
    let i31 = [Instruction::I32Const(bits as i32), Instruction::RefI31].into_iter().filter(|_| i31);
    match choices.of(&fitting).map(|ty| (ty, &plan.kinds[ty as usize])) {
        Some((ty, Kind::Array(element))) if bits & 1 == 0 && is_defaultable(element) => {
            ConstExpr::extended([
                Instruction::I32Const(choices.below(8) as i32),
                Instruction::ArrayNewDefault(ty),
            ])
        }
        Some((ty, Kind::Struct(fields))) if bits & 3 != 0 && fields.iter().all(is_defaultable) => {
            ConstExpr::extended([Instruction::StructNewDefault(ty)])
        }
        _ if i31.clone().count() > 0 => ConstExpr::extended(i31),
        _ => ConstExpr::ref_null(heap),
    }
}
