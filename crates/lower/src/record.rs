//! A tier that makes no code: it writes down every operation as a line of text, with the instruction it
//! stems from.
//!
//! It exists to show what an instruction expands to (golden tests, `explore`) and that [`Emit`] admits
//! a tier that tracks its own operands. It asserts what a tier may rely on: every value is used exactly
//! once, operands are there when they are popped, blocks are balanced.

use crate::emit::*;
use smallvec::SmallVec;
use wardian_module::layout::{Field, FuncRefField, Region, Repr};
use wardian_module::{
    Builtin, DataIndex, DefinedFuncIndex, FuncIndex, HeapTop, MemoryIndex, Module, TableIndex,
    Trap, TypeIndex, ValType,
};
use wasmparser::Operator;

/// A value of the recorder: its number. Not `Clone`, so that a second use does not compile.
#[derive(Debug)]
pub struct Recorded(u32);

/// One operation, as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordedLine {
    /// Offset of its instruction in the module's bytes; `None` before the first.
    pub wasm: Option<u32>,
    /// What it is, indented by its depth.
    pub text: String,
}

/// Records the operations of one function.
pub struct Recorder<'a> {
    module: &'a Module,
    lines: Vec<RecordedLine>,
    location: Option<u32>,
    next: u32,
    /// Numbers of the operands; operands that an instruction pushed as a whole get numbers too.
    stack: Vec<u32>,
    frames: Vec<RecordedFrame>,
    locals: u32,
}

struct RecordedFrame {
    kind: BlockKind,
    /// Operands below the block's.
    height: usize,
    params: usize,
    results: usize,
}

impl<'a> Recorder<'a> {
    /// A recorder for a function of `module`.
    pub fn new(module: &'a Module, func: DefinedFuncIndex) -> Recorder<'a> {
        let ty = module.func_type(module.func_index(func)).func_type();
        let frame = RecordedFrame {
            kind: BlockKind::Block,
            height: 0,
            params: 0,
            results: ty.results().len(),
        };
        Recorder {
            module,
            lines: Vec::new(),
            location: None,
            next: 0,
            stack: Vec::new(),
            frames: vec![frame],
            locals: ty.params().len() as u32,
        }
    }

    /// What was recorded, in order.
    pub fn into_lines(self) -> Vec<RecordedLine> {
        assert!(self.frames.is_empty(), "every block was ended");
        self.lines
    }

    /// What was recorded, as one text.
    pub fn finish(self) -> String {
        self.into_lines().into_iter().map(|line| line.text + "\n").collect()
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        let indent = 2 * self.frames.len();
        let text = format!("{:indent$}{text}", "");
        self.lines.push(RecordedLine { wasm: self.location, text });
    }

    fn result(&mut self, text: std::fmt::Arguments<'_>) -> Recorded {
        let number = self.next;
        self.next += 1;
        self.line(format_args!("v{number} = {text}"));
        Recorded(number)
    }

    fn pop_numbers(&mut self, count: usize) -> String {
        let base = self.frames.last().map_or(0, |f| f.height);
        let from = self.stack.len().checked_sub(count).expect("operands are there");
        assert!(from >= base, "operands belong to the block");
        let numbers: Vec<_> = self.stack.drain(from..).map(|n| format!("v{n}")).collect();
        numbers.join(", ")
    }

    fn push_numbers(&mut self, count: usize) -> String {
        let from = self.next;
        self.next += count as u32;
        self.stack.extend(from..self.next);
        let numbers: Vec<_> = (from..self.next).map(|n| format!("v{n}")).collect();
        numbers.join(", ")
    }

    /// Records an instruction that was forwarded whole.
    fn forwarded(&mut self, text: std::fmt::Arguments<'_>, pops: usize, pushes: usize) {
        let args = self.pop_numbers(pops);
        let results = self.push_numbers(pushes);
        let equals = if pushes > 0 { " = " } else { "" };
        let space = if pops > 0 { " " } else { "" };
        self.line(format_args!("{results}{equals}{text}{space}{args}"));
    }

    fn label_arity(&self, depth: u32) -> usize {
        let frame = &self.frames[self.frames.len() - 1 - depth as usize];
        if frame.kind == BlockKind::Loop { frame.params } else { frame.results }
    }

    fn peek(&self, count: usize) -> String {
        let from = self.stack.len().checked_sub(count).expect("operands are there");
        let numbers: Vec<_> = self.stack[from..].iter().map(|n| format!("v{n}")).collect();
        numbers.join(", ")
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

fn values(values: &[Recorded]) -> String {
    values.iter().map(|v| format!("v{}", v.0)).collect::<Vec<_>>().join(", ")
}

fn told(RefTest { null, i31, object }: RefTest) -> String {
    let mut text = match object {
        ObjectTest::Never => "no object".to_string(),
        ObjectTest::Kind { kind, or_below: false } => format!("kind {kind}"),
        ObjectTest::Kind { kind, or_below: true } => format!("kind at most {kind}"),
        ObjectTest::Exactly(ty) => format!("type {}", ty.0),
        ObjectTest::Below { ty, depth, has_depth } => {
            let compared = if has_depth { " if so deep" } else { "" };
            format!("type {} at {depth}{compared}", ty.0)
        }
    };
    for (name, result) in [("null", null), ("i31", i31)] {
        if let Some(result) = result {
            text += &format!(", {name} {result}");
        }
    }
    text
}

fn in_scope(scope: Option<Scope>) -> String {
    scope.map_or(String::new(), |scope| format!(" in scope {}", scope.0))
}

/// Operands and results of a numeric instruction.
fn arity(op: &Operator<'_>) -> (usize, usize) {
    /// Numeric instructions all have fixed arities: the stack is never asked.
    struct NoContext;
    impl wasmparser::ModuleArity for NoContext {
        fn sub_type_at(&self, _: u32) -> Option<&wasmparser::SubType> {
            None
        }
        fn tag_type_arity(&self, _: u32) -> Option<(u32, u32)> {
            None
        }
        fn type_index_of_function(&self, _: u32) -> Option<u32> {
            None
        }
        fn func_type_of_cont_type(
            &self,
            _: &wasmparser::ContType,
        ) -> Option<&wasmparser::FuncType> {
            None
        }
        fn sub_type_of_ref_type(&self, _: &wasmparser::RefType) -> Option<&wasmparser::SubType> {
            None
        }
        fn control_stack_height(&self) -> u32 {
            0
        }
        fn label_block(&self, _: u32) -> Option<(wasmparser::BlockType, wasmparser::FrameKind)> {
            None
        }
    }
    let (pops, pushes) = op.operator_arity(&NoContext).expect("numeric instructions are fixed");
    (pops as usize, pushes as usize)
}

macro_rules! visit_names {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        fn visit_name(op: &Operator<'_>) -> &'static str {
            match op {
                $(Operator::$op { .. } => stringify!($visit),)*
                _ => "visit_unknown",
            }
        }
    };
}
wasmparser::for_each_operator!(visit_names);

/// An instruction as in the text format.
fn name_of(op: &Operator<'_>) -> String {
    let name = visit_name(op).trim_start_matches("visit_").replacen('_', ".", 1);
    let lanes: &[u8] = match op {
        Operator::I8x16Shuffle { lanes } => lanes,
        Operator::I8x16ExtractLaneS { lane }
        | Operator::I8x16ExtractLaneU { lane }
        | Operator::I8x16ReplaceLane { lane }
        | Operator::I16x8ExtractLaneS { lane }
        | Operator::I16x8ExtractLaneU { lane }
        | Operator::I16x8ReplaceLane { lane }
        | Operator::I32x4ExtractLane { lane }
        | Operator::I32x4ReplaceLane { lane }
        | Operator::I64x2ExtractLane { lane }
        | Operator::I64x2ReplaceLane { lane }
        | Operator::F32x4ExtractLane { lane }
        | Operator::F32x4ReplaceLane { lane }
        | Operator::F64x2ExtractLane { lane }
        | Operator::F64x2ReplaceLane { lane } => std::slice::from_ref(lane),
        Operator::V128Const { value } => {
            return format!("v128.const {:#x}", u128::from_le_bytes(*value.bytes()));
        }
        _ => &[],
    };
    lanes.iter().fold(name, |name, lane| format!("{name} {lane}"))
}

impl Emit for Recorder<'_> {
    type Value = Recorded;
    type Addr = Recorded;

    fn start(&mut self, locals: &[(u32, ValType)]) {
        for (count, ty) in locals {
            self.line(format_args!("local {ty} * {count}"));
            self.locals += count;
        }
    }

    fn location(&mut self, wasm_offset: u32) {
        self.location = Some(wasm_offset);
    }

    fn pop(&mut self) -> Recorded {
        Recorded(self.stack.pop().expect("operands are there"))
    }

    fn push(&mut self, value: Recorded) {
        self.stack.push(value.0);
    }

    fn copy(&mut self, value: &Recorded) -> Recorded {
        Recorded(value.0)
    }

    fn drop_top(&mut self) {
        self.pop_numbers(1);
    }

    fn local_get(&mut self, local: u32) {
        assert!(local < self.locals, "the local was declared");
        self.forwarded(format_args!("local.get {local}"), 0, 1);
    }

    fn local_set(&mut self, local: u32) {
        self.forwarded(format_args!("local.set {local}"), 1, 0);
    }

    fn local_tee(&mut self, local: u32) {
        let top = self.peek(1);
        self.line(format_args!("local.set {local} {top}"));
    }

    fn select(&mut self, ty: ValType) {
        self.forwarded(format_args!("select {ty}"), 3, 1);
    }

    fn numeric(&mut self, op: &Operator<'_>) {
        let (pops, pushes) = arity(op);
        let text = match op {
            Operator::I32Const { value } => format!("i32.const {value}"),
            Operator::I64Const { value } => format!("i64.const {value}"),
            Operator::F32Const { value } => format!("f32.const {}", f32::from_bits(value.bits())),
            Operator::F64Const { value } => format!("f64.const {}", f64::from_bits(value.bits())),
            op => name_of(op),
        };
        self.forwarded(format_args!("{text}"), pops, pushes);
    }

    fn enter(&mut self, kind: BlockKind, params: &[ValType], results: &[ValType]) {
        let name = match kind {
            BlockKind::Block => "block",
            BlockKind::Loop => "loop",
            BlockKind::If => "if",
        };
        let condition = match kind {
            BlockKind::If => format!(" {}", self.pop_numbers(1)),
            _ => String::new(),
        };
        let (p, r) = (list(params), list(results));
        self.line(format_args!("{name}{condition} ({p}) -> ({r})"));
        let height = self.stack.len() - params.len();
        let (params, results) = (params.len(), results.len());
        self.frames.push(RecordedFrame { kind, height, params, results });
    }

    fn else_(&mut self, reachable: bool) {
        let frame = self.frames.pop().expect("else lies in an if");
        assert!(frame.kind == BlockKind::If, "else lies in an if");
        let results = if reachable { self.peek(frame.results) } else { "unreachable".into() };
        self.stack.truncate(frame.height);
        self.line(format_args!("else ({results})"));
        let (params, height) = (frame.params, frame.height);
        self.frames.push(RecordedFrame { kind: BlockKind::Block, ..frame });
        let numbers = self.push_numbers(params);
        assert!(self.stack.len() == height + params, "parameters are there again");
        if params > 0 {
            self.line(format_args!("{numbers} = params"));
        }
    }

    fn end(&mut self, reachable: bool, continues: bool) {
        let frame = self.frames.pop().expect("every end has its block");
        let results = if reachable { self.peek(frame.results) } else { "unreachable".into() };
        if reachable {
            assert!(self.stack.len() == frame.height + frame.results, "only results are left");
        }
        self.stack.truncate(frame.height);
        if self.frames.is_empty() {
            self.line(format_args!("  return ({results})"));
        } else {
            let dead = if continues { "" } else { " and nothing follows" };
            self.line(format_args!("end ({results}){dead}"));
            if continues && frame.results > 0 {
                let numbers = self.push_numbers(frame.results);
                self.line(format_args!("{numbers} = results"));
            }
        }
    }

    fn branch(&mut self, depth: u32) {
        let args = self.peek(self.label_arity(depth));
        self.line(format_args!("br {depth} ({args})"));
    }

    fn hint(&mut self, likely: bool) {
        self.line(format_args!("hint {}", if likely { "likely" } else { "unlikely" }));
    }

    fn branch_if(&mut self, depth: u32) {
        let condition = self.pop_numbers(1);
        let args = self.peek(self.label_arity(depth));
        self.line(format_args!("br_if {depth} {condition} ({args})"));
    }

    fn branch_if_value(&mut self, condition: Recorded, depth: u32) {
        let args = self.peek(self.label_arity(depth));
        self.line(format_args!("br_if {depth} v{} ({args})", condition.0));
    }

    fn branch_table(&mut self, targets: &[u32], default: u32) {
        let index = self.pop_numbers(1);
        let args = self.peek(self.label_arity(default));
        self.line(format_args!("br_table {index} [{}] {default} ({args})", list(targets)));
    }

    fn enter_scope(&mut self, scope: Scope, catches: &[Catch], outer: Option<Scope>) {
        let catches: Vec<_> = catches
            .iter()
            .map(|catch| match catch {
                Catch::Tag(tag) => format!("tag {}", tag.0),
                Catch::All => "all".into(),
            })
            .collect();
        let outer = outer.map_or(String::new(), |outer| format!(" in {}", outer.0));
        self.line(format_args!("scope {} [{}]{outer}", scope.0, catches.join(", ")));
    }

    fn landing(&mut self, scope: Scope, catch: usize) {
        let height = self.frames.last().map_or(0, |frame| frame.height);
        self.stack.truncate(height);
        self.line(format_args!("landing {}.{catch}", scope.0));
    }

    fn jump_to_landing(&mut self, scope: Scope, catch: usize) {
        self.line(format_args!("jump_to_landing {}.{catch}", scope.0));
    }

    fn throw(&mut self, tag: Recorded, scope: Option<Scope>) {
        self.line(format_args!("throw v{}{}", tag.0, in_scope(scope)));
    }

    fn store_payload(&mut self, index: u32, repr: Repr, value: Recorded) {
        self.line(format_args!("store_payload {index} {repr:?}, v{}", value.0));
    }

    fn load_payload(&mut self, index: u32, repr: Repr) -> Recorded {
        self.result(format_args!("load_payload {index} {repr:?}"))
    }

    fn check_epoch(&mut self) {
        self.line(format_args!("check_epoch"));
    }

    fn charge(&mut self, fuel: u32) {
        self.line(format_args!("charge {fuel}"));
    }

    fn spent(&mut self) -> Recorded {
        self.result(format_args!("spent"))
    }

    fn set_spent(&mut self, spent: Recorded) {
        self.line(format_args!("set_spent v{}", spent.0));
    }

    fn ret(&mut self) {
        let args = self.peek(self.frames[0].results);
        self.line(format_args!("return ({args})"));
    }

    fn constant(&mut self, value: Const) -> Recorded {
        match value {
            Const::I32(v) => self.result(format_args!("const i32 {v:#x}")),
            Const::I64(v) => self.result(format_args!("const i64 {v:#x}")),
            Const::F32(v) => self.result(format_args!("const f32 {}", f32::from_bits(v))),
            Const::F64(v) => self.result(format_args!("const f64 {}", f64::from_bits(v))),
            Const::V128(v) => self.result(format_args!("const v128 {v:#x}")),
            Const::NullPointer => self.result(format_args!("const null")),
            Const::NullRef => self.result(format_args!("const null ref")),
        }
    }

    fn arith(&mut self, op: Arith, a: Recorded, b: Recorded) -> Recorded {
        self.result(format_args!("{op:?} v{}, v{}", a.0, b.0))
    }

    fn compare(&mut self, op: Compare, a: Recorded, b: Recorded) -> Recorded {
        self.result(format_args!("compare {op:?} v{}, v{}", a.0, b.0))
    }

    fn zero_extend(&mut self, value: Recorded) -> Recorded {
        self.result(format_args!("zero_extend v{}", value.0))
    }

    fn wrap(&mut self, value: Recorded) -> Recorded {
        self.result(format_args!("wrap v{}", value.0))
    }

    fn is_null(&mut self, top: HeapTop, value: Recorded) -> Recorded {
        self.result(format_args!("is_null {top:?} v{}", value.0))
    }

    fn load_field(&mut self, field: Field) -> Recorded {
        self.result(format_args!("load_field {field:?}"))
    }

    fn store_field(&mut self, field: Field, value: Recorded) {
        self.line(format_args!("store_field {field:?}, v{}", value.0));
    }

    fn func_ref(&mut self, func: FuncIndex) -> Recorded {
        self.result(format_args!("func_ref {}", func.0))
    }

    fn load_func_ref(
        &mut self,
        reference: Recorded,
        field: FuncRefField,
        null_trap: Option<Trap>,
    ) -> Recorded {
        let trap = null_trap.map_or(String::new(), |trap| format!(" or {trap:?}"));
        self.result(format_args!("load_func_ref {field:?} v{}{trap}", reference.0))
    }

    fn memory_addr(
        &mut self,
        memory: MemoryIndex,
        index: Index<Recorded>,
        offset: u64,
    ) -> Recorded {
        self.result(format_args!(
            "memory_addr {} v{} + {offset:#x}",
            memory.0,
            index.into_value().0
        ))
    }

    fn table_addr(&mut self, table: TableIndex, index: Index<Recorded>) -> Recorded {
        self.result(format_args!("table_addr {} v{}", table.0, index.into_value().0))
    }

    fn guard_addr(&mut self, out_of_bounds: Recorded, addr: Recorded) -> Recorded {
        self.result(format_args!("guard_addr v{}, v{}", out_of_bounds.0, addr.0))
    }

    fn memory_load(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Recorded>,
        may_fault: bool,
    ) -> Recorded {
        let fault = if may_fault { " may fault" } else { "" };
        let addr = addr.into_inner().0;
        self.result(format_args!("load {} {access:?} v{addr}{fault}", memory.0))
    }

    fn memory_store(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Recorded>,
        value: Recorded,
        may_fault: bool,
    ) {
        let fault = if may_fault { " may fault" } else { "" };
        let addr = addr.into_inner().0;
        self.line(format_args!("store {} {access:?} v{addr}, v{}{fault}", memory.0, value.0));
    }

    fn atomic_load(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Recorded>,
        may_fault: bool,
    ) -> Recorded {
        let fault = if may_fault { " may fault" } else { "" };
        let addr = addr.into_inner().0;
        self.result(format_args!("atomic_load {} {access:?} v{addr}{fault}", memory.0))
    }

    fn atomic_store(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Recorded>,
        value: Recorded,
        may_fault: bool,
    ) {
        let fault = if may_fault { " may fault" } else { "" };
        let (addr, value) = (addr.into_inner().0, value.0);
        self.line(format_args!("atomic_store {} {access:?} v{addr}, v{value}{fault}", memory.0));
    }

    fn atomic_update(
        &mut self,
        memory: MemoryIndex,
        op: AtomicOp,
        access: Access,
        addr: Addr<Recorded>,
        value: Recorded,
        may_fault: bool,
    ) -> Recorded {
        let fault = if may_fault { " may fault" } else { "" };
        let (addr, value) = (addr.into_inner().0, value.0);
        self.result(format_args!("atomic {op:?} {} {access:?} v{addr}, v{value}{fault}", memory.0))
    }

    fn atomic_compare_exchange(
        &mut self,
        memory: MemoryIndex,
        access: Access,
        addr: Addr<Recorded>,
        values: [Recorded; 2],
        may_fault: bool,
    ) -> Recorded {
        let fault = if may_fault { " may fault" } else { "" };
        let [expected, replacement] = values.map(|value| value.0);
        let addr = addr.into_inner().0;
        self.result(format_args!(
            "atomic CompareExchange {} {access:?} v{addr}, v{expected}, v{replacement}{fault}",
            memory.0
        ))
    }

    fn fence(&mut self) {
        self.line(format_args!("fence"));
    }

    fn copy_bytes(&mut self, target: Addr<Recorded>, source: Addr<Recorded>, length: Recorded) {
        let (target, source) = (target.into_inner().0, source.into_inner().0);
        self.line(format_args!("copy_bytes v{target}, v{source}, v{}", length.0));
    }

    fn fill_bytes(&mut self, target: Addr<Recorded>, byte: Recorded, length: Recorded) {
        let target = target.into_inner().0;
        self.line(format_args!("fill_bytes v{target}, v{}, v{}", byte.0, length.0));
    }

    fn table_load(&mut self, table: TableIndex, addr: Addr<Recorded>) -> Recorded {
        self.result(format_args!("table_load {} v{}", table.0, addr.into_inner().0))
    }

    fn table_store(&mut self, table: TableIndex, addr: Addr<Recorded>, value: Recorded) {
        self.line(format_args!("table_store {} v{}, v{}", table.0, addr.into_inner().0, value.0));
    }

    fn replace_lane(
        &mut self,
        lane_bits: u8,
        lane: u8,
        vector: Recorded,
        scalar: Recorded,
    ) -> Recorded {
        self.result(format_args!("replace_lane{lane_bits} {lane} v{}, v{}", vector.0, scalar.0))
    }

    fn extract_lane(&mut self, lane_bits: u8, lane: u8, vector: Recorded) -> Recorded {
        self.result(format_args!("extract_lane{lane_bits} {lane} v{}", vector.0))
    }

    fn allocate(&mut self, ty: TypeIndex, bytes: u32, length: Option<u32>) -> Recorded {
        match length {
            None => self.result(format_args!("allocate type {} {bytes}", ty.0)),
            Some(length) => self.result(format_args!("allocate type {} {bytes} [{length}]", ty.0)),
        }
    }

    fn allocate_array(&mut self, ty: TypeIndex, element_bytes: u32) -> Recorded {
        let length = self.peek(1);
        self.result(format_args!("allocate type {} [{length}] of {element_bytes} bytes", ty.0))
    }

    fn heap_load(
        &mut self,
        object: Recorded,
        offset: u32,
        region: Region,
        access: Access,
        null_trap: bool,
    ) -> Recorded {
        let null = if null_trap { " or null trap" } else { "" };
        self.result(format_args!("heap_load {region:?} {access:?} v{} + {offset}{null}", object.0))
    }

    fn fill_elements(
        &mut self,
        target: Addr<Recorded>,
        [low, high]: [Recorded; 2],
        length: Recorded,
    ) {
        let target = target.into_inner().0;
        let values = format!("v{}, v{}, v{}", low.0, high.0, length.0);
        self.line(format_args!("fill_elements v{target}, {values}"));
    }

    fn data_addr(&mut self, segment: DataIndex, place: Index<Recorded>) -> Recorded {
        self.result(format_args!("data_addr {} + v{}", segment.0, place.into_value().0))
    }

    fn heap_addr(&mut self, place: Index<Recorded>, offset: u32) -> Recorded {
        self.result(format_args!("heap_addr v{} + {offset}", place.into_value().0))
    }

    fn heap_store(
        &mut self,
        object: Recorded,
        offset: u32,
        region: Region,
        access: Access,
        value: Recorded,
        null_trap: bool,
    ) {
        let null = if null_trap { " or null trap" } else { "" };
        let (object, value) = (object.0, value.0);
        self.line(format_args!(
            "heap_store {region:?} {access:?} v{object} + {offset}, v{value}{null}"
        ));
    }

    fn func_of_id(&mut self, index: Index<Recorded>) -> Recorded {
        self.result(format_args!("func_of_id v{}", index.into_value().0))
    }

    fn slow(
        &mut self,
        condition: Recorded,
        builtin: Builtin,
        first: u32,
        args: SmallVec<[Recorded; 4]>,
        otherwise: Option<Recorded>,
    ) -> Option<Recorded> {
        assert!(args.len() == builtin.params().len(), "every argument is there");
        assert!(!builtin.may_collect(), "references of the expansion stay where they are");
        let (name, args) = (builtin.name(), values(&args));
        let text = format!("slow v{} {name}[{first}] ({args})", condition.0);
        match otherwise {
            Some(otherwise) => Some(self.result(format_args!("{text} else v{}", otherwise.0))),
            None => {
                self.line(format_args!("{text}"));
                None
            }
        }
    }

    fn ref_test(&mut self, value: Recorded, test: RefTest) -> Recorded {
        self.result(format_args!("ref_test v{} {}", value.0, told(test)))
    }

    fn ref_cast(&mut self, value: Recorded, test: RefTest, info: TrapInfo) {
        self.line(format_args!("ref_cast v{} {} or {:?}", value.0, told(test), info.trap));
    }

    fn trap_if(&mut self, condition: Recorded, info: TrapInfo, details: Details<Recorded>) {
        assert!(details.len() <= 2, "a message needs at most two details");
        let details = values(&details);
        let TrapInfo { trap, place } = info;
        self.line(format_args!("trap_if v{} {trap:?} {place} ({details})", condition.0));
    }

    fn trap(&mut self, info: TrapInfo) {
        self.line(format_args!("trap {:?} {}", info.trap, info.place));
    }

    fn builtin(
        &mut self,
        builtin: Builtin,
        first: u32,
        second: u32,
        args: SmallVec<[Recorded; 4]>,
    ) -> Option<Recorded> {
        assert!(args.len() == builtin.params().len(), "every argument is there");
        let (name, args) = (builtin.name(), values(&args));
        if builtin.result().is_some() {
            Some(self.result(format_args!("{name}[{first}, {second}] ({args})")))
        } else {
            self.line(format_args!("{name}[{first}, {second}] ({args})"));
            None
        }
    }

    fn call(&mut self, callee: Callee<Recorded>, ty: TypeIndex, tail: bool, scope: Option<Scope>) {
        let callee = match callee {
            Callee::Direct(func) => format!("func {}", self.module.func_index(func).0),
            Callee::Import(func) => format!("import {}", func.0),
            Callee::Pointer { code, context } => format!("code v{} context v{}", code.0, context.0),
        };
        let ty = self.module.types[ty.index()].func_type();
        let results = if tail { 0 } else { ty.results().len() };
        let name = if tail { "tail_call" } else { "call" };
        let scope = in_scope(scope);
        self.forwarded(format_args!("{name} {callee}{scope}"), ty.params().len(), results);
    }
}
