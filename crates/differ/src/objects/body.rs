//! The body of one function: statements that leave the operand stack as it was, and expressions that leave one
//! value of the type that is wanted.
//!
//! Invariant: `labels` are the blocks around the next instruction, each with the types that a branch to it
//! takes; what is emitted between two calls of [`Body::open`] and [`Body::close`] keeps to its own part of the
//! stack. Work ends: each nested expression has less depth, and none but the simplest are made once a budget
//! of instructions is used up.

use super::*;
use Instruction as I;

/// Instructions of a function, nearly.
const BUDGET: i32 = 90;
/// How deep expressions and statements are nested.
const DEPTH: u32 = 4;

pub(super) struct Body<'a, 'b, 'c> {
    plan: &'a mut Plan,
    choices: &'b mut Choices<'c>,
    func: u32,
    /// Of parameters and locals.
    locals: Vec<ValType>,
    params: usize,
    /// Locals that expressions may read; those of loops' counters are not among them.
    readable: usize,
    code: Vec<Instruction<'static>>,
    labels: Vec<Vec<ValType>>,
    budget: i32,
}

/// What an array is reached by: 0, 1 and 2 are within most.
const SMALL: u32 = 3;

impl<'a, 'b, 'c> Body<'a, 'b, 'c> {
    pub(super) fn new(
        plan: &'a mut Plan,
        choices: &'b mut Choices<'c>,
        func: u32,
    ) -> Body<'a, 'b, 'c> {
        let ty = plan.func_type(plan.funcs[func as usize]).clone();
        let mut locals = ty.params().to_vec();
        let params = locals.len();
        let structs = plan.types(|kind| matches!(kind, Kind::Struct(_)));
        let arrays = plan.types(|kind| matches!(kind, Kind::Array(_)));
        let concrete = |ty: u32| ValType::Ref(nullable(HeapType::Concrete(ty)));
        let exception = abstract_type(AbstractHeapType::Exn);
        locals.extend([
            ValType::I32,
            ValType::I64,
            ValType::F64,
            ValType::Ref(RefType::ANYREF),
            ValType::Ref(RefType::EXTERNREF),
            ValType::Ref(nullable(exception)),
            concrete(choices.of(&structs).expect("there are some")),
            concrete(choices.of(&structs).expect("there are some")),
            concrete(choices.of(&arrays).expect("there are some")),
        ]);
        for _ in 0..choices.below(4) {
            locals.push(choices.of(&plan.globals).expect("there are some"));
        }
        let readable = locals.len();
        let labels = vec![ty.results().to_vec()];
        let budget = BUDGET >> choices.below(3);
        Body { plan, choices, func, locals, params, readable, code: Vec::new(), labels, budget }
    }

    pub(super) fn finish(mut self) -> Function {
        let results = self.labels[0].clone();
        // No fuel, no work.
        self.fuel();
        self.code.push(I::I32Eqz);
        self.open(I::If(BlockType::Empty), vec![]);
        results.iter().for_each(|ty| self.simple(*ty));
        self.code.push(I::Return);
        self.close();
        self.burn();
        for _ in 0..2 + self.choices.below(5) {
            self.statement(DEPTH);
        }
        // What comes out shall depend on what was done.
        self.budget = self.budget.max(8 * results.len() as i32);
        results.iter().for_each(|ty| self.value(*ty, DEPTH));
        self.code.push(I::End);
        let mut function = Function::new_with_locals_types(self.locals[self.params..].to_vec());
        for instruction in &self.code {
            function.instruction(instruction);
        }
        function
    }

    // ---- parts ----

    fn open(&mut self, instruction: Instruction<'static>, label: Vec<ValType>) {
        self.code.push(instruction);
        self.labels.push(label);
    }

    fn close(&mut self) {
        self.code.push(I::End);
        self.labels.pop();
    }

    /// A block's type without parameters.
    fn block_type(&mut self, results: &[ValType]) -> BlockType {
        match results {
            [] => BlockType::Empty,
            [result] => BlockType::Result(*result),
            _ => BlockType::FunctionType(self.plan.signature(vec![], results.to_vec())),
        }
    }

    fn burn(&mut self) {
        let fuel = self.plan.fuel;
        self.code.extend([I::GlobalGet(fuel), I::I32Const(1), I::I32Sub, I::GlobalSet(fuel)]);
    }

    /// Whether there is fuel.
    fn fuel(&mut self) {
        self.code.extend([I::GlobalGet(self.plan.fuel), I::I32Const(0), I::I32GtS]);
    }

    fn seen(&mut self, shape: Shape) {
        if let Some(seen) = self.plan.seen {
            let bit = 1_u64 << shape as u32;
            self.code.extend([
                I::GlobalGet(seen),
                I::I64Const(bit as i64),
                I::I64Or,
                I::GlobalSet(seen),
            ]);
        }
    }

    /// A new local that no expression reads by chance.
    fn counter(&mut self) -> u32 {
        self.locals.push(ValType::I32);
        self.locals.len() as u32 - 1
    }

    /// A local that can be set to values of a type; counters are none.
    fn settable(&mut self, ty: ValType) -> Option<u32> {
        let fitting: Vec<u32> = (0..self.readable)
            .filter(|local| self.plan.matches(ty, self.locals[*local]))
            .map(|local| local as u32)
            .collect();
        self.choices.of(&fitting)
    }

    /// Takes values of these types from the stack.
    fn take(&mut self, types: &[ValType]) {
        for ty in types.iter().rev() {
            let local = self.settable(*ty).filter(|_| self.choices.below(3) > 0);
            self.code.push(local.map_or(I::Drop, I::LocalSet));
        }
    }

    fn values(&mut self, types: &[ValType], depth: u32) {
        types.iter().for_each(|ty| self.value(*ty, depth));
    }

    fn params(&self, func: u32) -> Vec<ValType> {
        self.plan.func_type(self.plan.funcs[func as usize]).params().to_vec()
    }

    fn results(&self, func: u32) -> Vec<ValType> {
        self.plan.func_type(self.plan.funcs[func as usize]).results().to_vec()
    }

    fn tag_types(&self, tag: u32) -> Vec<ValType> {
        self.plan.func_type(self.plan.tags[tag as usize]).params().to_vec()
    }

    // ---- statements ----

    fn statement(&mut self, depth: u32) {
        if depth == 0 || self.budget <= 0 {
            return;
        }
        self.budget -= 4;
        let depth = depth - 1;
        match self.choices.below(24) {
            0 | 1 => {
                let local = self.choices.below(self.readable as u32);
                self.value(self.locals[local as usize], depth);
                self.code.push(I::LocalSet(local));
            }
            2 | 3 => {
                let global = self.choices.below(self.plan.globals.len() as u32);
                let global = if self.plan.is_mutable(global) { global } else { global - 1 };
                let ty = self.plan.globals[global as usize];
                self.value(ty, depth);
                self.code.push(I::GlobalSet(global));
                if matches!(ty, ValType::Ref(_)) {
                    self.seen(Shape::global_ref);
                }
            }
            4..7 => self.set_field(depth),
            7 | 8 => self.set_element(depth),
            9 | 10 => self.bulk(depth),
            11 => self.table(depth),
            12 => {
                self.value(ValType::I32, depth);
                self.open(I::If(BlockType::Empty), vec![]);
                self.statement(depth);
                if self.choices.below(2) == 0 {
                    self.code.push(I::Else);
                    self.statement(depth);
                }
                self.close();
            }
            13..16 => self.repeat(depth),
            16 => {
                self.open(I::Block(BlockType::Empty), vec![]);
                self.statement(depth);
                self.branch(depth);
                self.statement(depth);
                self.close();
            }
            17 => self.call_statement(depth),
            18 if self.choices.once_in(6) => self.throw(None, depth),
            18..21 => self.catching(&[], depth),
            21 => self.tail_call(depth),
            22 => self.memory(depth),
            _ => {
                // Whatever: references to anything, dropped.
                self.value(ValType::Ref(RefType::ANYREF), depth);
                self.code.push(I::Drop);
            }
        }
    }

    fn set_field(&mut self, depth: u32) {
        let all: Vec<(u32, u32, ValType)> = self
            .fields(|_| true)
            .into_iter()
            .filter(|(ty, field, _)| self.field(*ty, *field).mutable)
            .collect();
        let Some((struct_type_index, field_index, ty)) = self.choices.of(&all) else { return };
        self.object(struct_type_index, depth);
        self.value(ty, depth);
        self.code.push(I::StructSet { struct_type_index, field_index });
        self.seen(Shape::struct_set);
    }

    fn set_element(&mut self, depth: u32) {
        let arrays = self.plan.types(|kind| matches!(kind, Kind::Array(_)));
        let array = self.choices.of(&arrays).expect("there are some");
        self.object(array, depth);
        self.index(depth);
        self.value(self.element(array).element_type.unpack(), depth);
        self.code.push(I::ArraySet(array));
        self.seen(Shape::array_set);
    }

    fn element(&self, array: u32) -> FieldType {
        match &self.plan.kinds[array as usize] {
            Kind::Array(element) => *element,
            _ => unreachable!("it is the type of an array"),
        }
    }

    fn field(&self, ty: u32, field: u32) -> FieldType {
        match &self.plan.kinds[ty as usize] {
            Kind::Struct(fields) => fields[field as usize],
            _ => unreachable!("it is the type of a struct"),
        }
    }

    fn index(&mut self, depth: u32) {
        if self.choices.once_in(24) {
            self.value(ValType::I32, depth);
        } else {
            let index = self.choices.below(SMALL);
            self.code.push(I::I32Const(index as i32));
        }
    }

    fn bulk(&mut self, depth: u32) {
        let arrays = self.plan.types(|kind| matches!(kind, Kind::Array(_)));
        let array = self.choices.of(&arrays).expect("there are some");
        let element = self.element(array).element_type;
        let count = I::I32Const(self.choices.below(SMALL + 1) as i32);
        match self.choices.below(4) {
            0 => {
                self.object(array, depth);
                self.code.push(I::I32Const(0));
                self.value(element.unpack(), depth);
                self.code.extend([count, I::ArrayFill(array)]);
                self.seen(Shape::array_fill);
            }
            1 => {
                let from: Vec<u32> = arrays
                    .into_iter()
                    .filter(|from| match (self.element(*from).element_type, element) {
                        (StorageType::Val(from), StorageType::Val(to)) => {
                            self.plan.matches(from, to)
                        }
                        (from, to) => from == to,
                    })
                    .collect();
                let source = self.choices.of(&from).expect("the same is among them");
                self.object(array, depth);
                self.index(depth);
                self.object(source, depth);
                self.index(depth);
                let count = I::I32Const(self.choices.below(3) as i32);
                let copy =
                    I::ArrayCopy { array_type_index_dst: array, array_type_index_src: source };
                self.code.extend([count, copy]);
                self.seen(Shape::array_copy);
            }
            _ => {
                self.object(array, depth);
                self.code.push(I::I32Const(0));
                self.index(depth);
                self.code.push(count);
                if let StorageType::Val(ValType::Ref(ty)) = element {
                    if self.plan.matches(ValType::Ref(RefType::ANYREF), ValType::Ref(ty)) {
                        let array_elem_index = ELEM;
                        self.code
                            .push(I::ArrayInitElem { array_type_index: array, array_elem_index });
                        self.seen(Shape::array_init_elem);
                    } else {
                        self.code.extend([I::Drop, I::Drop, I::Drop, I::Drop]);
                    }
                } else {
                    let array_data_index = DATA;
                    self.code.push(I::ArrayInitData { array_type_index: array, array_data_index });
                    self.seen(Shape::array_init_data);
                }
            }
        }
    }

    fn table(&mut self, depth: u32) {
        let any = ValType::Ref(RefType::ANYREF);
        let index = I::I32Const(self.choices.below(TABLE_LENGTH) as i32);
        match self.choices.below(5) {
            0 | 1 => {
                self.code.push(index);
                self.value(any, depth);
                self.code.push(I::TableSet(ANYTHING));
            }
            2 => {
                self.value(any, depth);
                self.code.extend([I::I32Const(1), I::TableGrow(ANYTHING), I::Drop]);
            }
            3 => {
                self.code.push(I::I32Const(2));
                self.value(any, depth);
                self.code.extend([I::I32Const(3), I::TableFill(ANYTHING)]);
            }
            _ => {
                let count = self.choices.below(ELEM_LENGTH as u32 + 1) as i32;
                let init = I::TableInit { elem_index: ELEM, table: ANYTHING };
                self.code.extend([I::I32Const(1), I::I32Const(0), I::I32Const(count), init]);
            }
        }
        self.seen(Shape::table_ops);
    }

    fn repeat(&mut self, depth: u32) {
        let counter = self.counter();
        let turns = match self.choices.below(8) {
            0..6 => 2 + self.choices.below(6),
            6 => 20,
            _ => 200,
        };
        self.code.extend([I::I32Const(turns as i32), I::LocalSet(counter)]);
        self.open(I::Loop(BlockType::Empty), vec![]);
        self.burn();
        for _ in 0..1 + self.choices.below(3) {
            self.statement(depth);
        }
        self.seen(Shape::loop_again);
        self.code.extend([I::LocalGet(counter), I::I32Const(1), I::I32Sub]);
        self.code.extend([I::LocalTee(counter), I::I32Const(0), I::I32GtS]);
        self.fuel();
        self.code.extend([I::I32And, I::BrIf(0)]);
        self.close();
    }

    /// A branch to a block around that takes nothing, or to one of several. It may be a loop: that takes fuel.
    fn branch(&mut self, depth: u32) {
        let targets: Vec<u32> = (0..self.labels.len() as u32)
            .filter(|depth| self.labels[self.labels.len() - 1 - *depth as usize].is_empty())
            .collect();
        let Some(target) = self.choices.of(&targets) else { return };
        self.burn();
        self.value(ValType::I32, depth);
        if self.choices.once_in(3) {
            self.fuel();
            self.code.push(I::I32And);
            self.open(I::If(BlockType::Empty), vec![]);
            let several: Vec<u32> =
                (0..2).filter_map(|_| self.choices.of(&targets)).map(|target| target + 1).collect();
            self.seen(Shape::br_table);
            self.value(ValType::I32, depth);
            self.code.push(I::BrTable(several.into(), target + 1));
            self.close();
        } else {
            self.fuel();
            self.code.extend([I::I32And, I::BrIf(target)]);
        }
    }

    fn call_statement(&mut self, depth: u32) {
        let func = self.choices.below(self.plan.funcs.len() as u32);
        self.values(&self.params(func), depth);
        self.call(func);
        self.take(&self.results(func));
    }

    /// Where the table of functions has a function, if that is below its length.
    fn slot(&self, func: u32) -> u32 {
        self.plan.funcs.len() as u32 - 1 - func
    }

    /// A call whose arguments are on the stack.
    fn call(&mut self, func: u32) {
        let imported = func < self.plan.imports;
        let type_index = self.plan.funcs[func as usize];
        match self.choices.below(4) {
            0 => {
                self.code.extend([I::RefFunc(func), I::CallRef(type_index)]);
                self.seen(Shape::call_ref);
            }
            1 if self.slot(func) < TABLE_LENGTH => {
                self.seen(Shape::call_indirect);
                self.code.push(I::I32Const(self.slot(func) as i32));
                self.code.push(I::CallIndirect { type_index, table_index: FUNCS });
            }
            _ => self.code.push(I::Call(func)),
        }
        if imported {
            self.seen(Shape::call_import);
        }
    }

    fn tail_call(&mut self, depth: u32) {
        let own = &self.labels[0];
        let fitting: Vec<u32> = (0..self.plan.funcs.len() as u32)
            .filter(|func| {
                let results = self.results(*func);
                let pairs = || results.iter().zip(own);
                results.len() == own.len()
                    && pairs().all(|(result, own)| self.plan.matches(*result, *own))
            })
            .collect();
        let func = self.choices.of(&fitting).unwrap_or(self.func);
        self.value(ValType::I32, depth);
        self.open(I::If(BlockType::Empty), vec![]);
        self.values(&self.params(func), depth);
        let type_index = self.plan.funcs[func as usize];
        match self.choices.below(3) {
            0 => {
                self.seen(Shape::return_call_ref);
                self.code.extend([I::RefFunc(func), I::ReturnCallRef(type_index)]);
            }
            1 if self.slot(func) < TABLE_LENGTH => {
                self.seen(Shape::return_call_indirect);
                self.code.push(I::I32Const(self.slot(func) as i32));
                self.code.push(I::ReturnCallIndirect { type_index, table_index: FUNCS });
            }
            _ => {
                self.seen(Shape::return_call);
                self.code.push(I::ReturnCall(func));
            }
        }
        self.close();
    }

    /// An exception under a condition, with a tag that is likely this one.
    fn throw(&mut self, likely: Option<u32>, depth: u32) {
        self.value(ValType::I32, depth);
        self.open(I::If(BlockType::Empty), vec![]);
        let exception = ValType::Ref(nullable(abstract_type(AbstractHeapType::Exn)));
        if self.choices.once_in(4) {
            let local = (0..self.readable).find(|local| self.locals[*local] == exception);
            let local = local.expect("every function has one") as u32;
            // Null throws nothing.
            self.open(I::Block(BlockType::Empty), vec![]);
            self.code.extend([I::LocalGet(local), I::BrOnNull(0)]);
            self.seen(Shape::throw_ref);
            self.code.push(I::ThrowRef);
            self.close();
        } else {
            let any = self.choices.below(self.plan.tags.len() as u32);
            let tag = likely.filter(|_| !self.choices.once_in(8)).unwrap_or(any);
            self.values(&self.tag_types(tag), depth);
            self.seen(Shape::throw);
            self.code.push(I::Throw(tag));
        }
        self.close();
    }

    fn memory(&mut self, depth: u32) {
        let at =
            |align| MemArg { offset: 8, align, target: MemArgTarget::Memory(0), ordering: None };
        self.value(ValType::I32, depth);
        // Within the page and aligned, but seldom.
        let mask = if self.choices.once_in(16) { -1 } else { 0xfff0 };
        self.code.extend([I::I32Const(mask), I::I32And]);
        match self.choices.below(if self.plan.atomics { 8 } else { 2 }) {
            0 => {
                self.value(ValType::I64, depth);
                self.code.push(I::I64Store(at(3)));
            }
            1 => {
                self.code.push(I::I32Load(at(2)));
                self.take(&[ValType::I32]);
            }
            2 => {
                self.value(ValType::I32, depth);
                self.code.push(I::I32AtomicRmwAdd(at(2)));
                self.seen(Shape::atomic_rmw);
                self.take(&[ValType::I32]);
            }
            3 => {
                self.value(ValType::I64, depth);
                self.code.push(I::I64AtomicRmwXchg(at(3)));
                self.seen(Shape::atomic_rmw);
                self.take(&[ValType::I64]);
            }
            4 => {
                self.value(ValType::I32, depth);
                self.value(ValType::I32, depth);
                self.code.push(I::I32AtomicRmw16CmpxchgU(at(1)));
                self.seen(Shape::atomic_rmw);
                self.take(&[ValType::I32]);
            }
            5 => {
                self.value(ValType::I32, depth);
                self.code.extend([I::I32AtomicRmw8XorU(at(0)), I::Drop]);
                self.code.push(I::AtomicFence(Ordering::SeqCst));
                self.seen(Shape::atomic_rmw);
            }
            6 => {
                self.value(ValType::I32, depth);
                self.code.push(I::MemoryAtomicNotify(at(2)));
                self.take(&[ValType::I32]);
            }
            _ => {
                // Nobody notifies, so no time is waited.
                self.value(ValType::I64, depth);
                self.code.extend([I::I64Const(0), I::MemoryAtomicWait64(at(3))]);
                self.seen(Shape::atomic_wait);
                self.take(&[ValType::I32]);
            }
        }
    }

    /// What may throw, inside something that catches it, with values of these types (one or none) in the
    /// end.
    fn catching(&mut self, results: &[ValType], depth: u32) {
        let tag = self.choices.below(self.plan.tags.len() as u32);
        let values = self.tag_types(tag);
        let ty = self.block_type(results);
        if self.choices.once_in(3) {
            return self.catching_legacy(ty, tag, &values, results, depth);
        }
        let exception = ValType::Ref(nullable(abstract_type(AbstractHeapType::Exn)));
        let with_reference: Vec<ValType> = values.iter().copied().chain([exception]).collect();
        let (handled, clause, shape) = match self.choices.below(4) {
            0 => (values, Catch::One { tag, label: 0 }, Shape::catch),
            1 => (with_reference, Catch::OneRef { tag, label: 0 }, Shape::catch_ref),
            2 => (vec![], Catch::All { label: 0 }, Shape::catch_all),
            _ => (vec![exception], Catch::AllRef { label: 0 }, Shape::catch_all_ref),
        };
        self.open(I::Block(ty), results.to_vec());
        let handler = self.block_type(&handled);
        self.open(I::Block(handler), handled.clone());
        self.open(I::TryTable(ty, Cow::Owned(vec![clause])), results.to_vec());
        self.statement(depth);
        self.throw(Some(tag), depth);
        self.values(results, depth);
        self.close();
        self.code.push(I::Br(1));
        self.close();
        self.seen(shape);
        self.take(&handled);
        self.values(results, depth);
        self.close();
    }

    fn catching_legacy(
        &mut self,
        ty: BlockType,
        tag: u32,
        values: &[ValType],
        results: &[ValType],
        depth: u32,
    ) {
        self.open(I::Try(ty), results.to_vec());
        if self.choices.once_in(3) {
            // To the same handler, through another that has none.
            self.open(I::Try(BlockType::Empty), vec![]);
            self.seen(Shape::legacy_delegate);
            self.throw(Some(tag), depth);
            self.code.push(I::Delegate(0));
            self.labels.pop();
        }
        self.statement(depth);
        self.throw(Some(tag), depth);
        self.values(results, depth);
        self.code.push(I::Catch(tag));
        self.seen(Shape::legacy_catch);
        self.take(values);
        self.values(results, depth);
        if self.choices.below(2) == 0 {
            self.code.push(I::CatchAll);
            if self.choices.below(2) == 0 {
                self.seen(Shape::legacy_rethrow);
                self.code.push(I::Rethrow(0));
            } else {
                self.values(results, depth);
            }
        }
        self.close();
    }

    // ---- expressions ----

    /// A value of any type.
    fn value(&mut self, ty: ValType, depth: u32) {
        self.budget -= 1;
        if depth == 0 || self.budget <= 0 {
            return self.simple(ty);
        }
        let depth = depth - 1;
        match self.choices.below(16) {
            0..7 => self.own(ty, depth),
            7 | 8 => self.local(ty, depth),
            9 => self.global(ty, depth),
            10 => {
                self.value(ValType::I32, depth);
                self.open(I::If(BlockType::Result(ty)), vec![ty]);
                self.value(ty, depth);
                self.code.push(I::Else);
                self.value(ty, depth);
                self.close();
            }
            11 => {
                self.value(ty, depth);
                self.value(ty, depth);
                self.value(ValType::I32, depth);
                self.code.push(I::TypedSelect(ty));
            }
            12 => {
                let fitting: Vec<u32> = (0..self.plan.funcs.len() as u32)
                    .filter(|func| match self.results(*func)[..] {
                        [result] => self.plan.matches(result, ty),
                        _ => false,
                    })
                    .collect();
                let Some(func) = self.choices.of(&fitting) else { return self.own(ty, depth) };
                self.values(&self.params(func), depth);
                self.call(func);
            }
            13 => self.catching(&[ty], depth),
            14 => {
                self.open(I::Block(BlockType::Result(ty)), vec![ty]);
                self.value(ty, depth);
                self.value(ValType::I32, depth);
                self.seen(Shape::br_value);
                self.code.extend([I::BrIf(0), I::Drop]);
                self.statement(depth);
                self.value(ty, depth);
                self.close();
            }
            _ => self.load(ty, depth),
        }
    }

    /// A value of a type by what is particular to it.
    fn own(&mut self, ty: ValType, depth: u32) {
        match ty {
            ValType::Ref(ty) if ty.nullable => self.nullable(ty, depth),
            ValType::Ref(ty) => self.never_null(ty.heap_type, depth),
            ValType::I32 => self.int(depth),
            ValType::I64 => match self.choices.below(4) {
                0 => self.simple(ty),
                1 => {
                    self.value(ValType::I32, depth);
                    self.code.push(I::I64ExtendI32S);
                }
                2 => self.load(ty, depth),
                _ => {
                    self.value(ty, depth);
                    self.value(ty, depth);
                    let all = [I::I64Add, I::I64Xor, I::I64Mul];
                    self.code.push(self.choices.of(&all).expect("there are some"));
                }
            },
            ValType::F64 => {
                self.value(ValType::I64, depth);
                self.code.push(I::F64ConvertI64S);
            }
            ValType::F32 => {
                self.value(ValType::I32, depth);
                self.code.push(I::F32ConvertI32S);
            }
            ValType::V128 => {
                self.value(ValType::I32, depth);
                self.code.push(I::I32x4Splat);
            }
        }
    }

    /// The shortest expression of a type.
    fn simple(&mut self, ty: ValType) {
        let fits = |local: &usize| self.plan.matches(self.locals[*local], ty);
        let locals: Vec<usize> = (0..self.readable).filter(fits).collect();
        let bits = self.choices.bits();
        let code = match (self.choices.of(&locals), ty) {
            (Some(local), _) if self.choices.below(3) > 0 => I::LocalGet(local as u32),
            (_, ValType::I32) => I::I32Const(bits as i32),
            (_, ValType::I64) => I::I64Const(bits as i64),
            (_, ValType::F32) => I::F32Const((bits as f32).into()),
            (_, ValType::F64) => I::F64Const((bits as f64).into()),
            (_, ValType::V128) => I::V128Const(bits.into()),
            (_, ValType::Ref(ty)) if ty.nullable => I::RefNull(ty.heap_type),
            (_, ValType::Ref(ty)) => return self.new_simple(ty.heap_type),
        };
        self.code.push(code);
    }

    /// The shortest expression that is not null.
    fn new_simple(&mut self, heap: HeapType) {
        use AbstractHeapType::{Any, Array, Eq, Exn, Extern, Func, I31, Struct};
        match heap {
            HeapType::Concrete(ty) => match &self.plan.kinds[ty as usize] {
                Kind::Struct(fields) => {
                    let fields: Vec<ValType> =
                        fields.iter().map(|field| field.element_type.unpack()).collect();
                    if fields.iter().all(ValType::is_defaultable) {
                        self.code.push(I::StructNewDefault(ty));
                    } else {
                        fields.iter().for_each(|field| self.simple(*field));
                        self.code.push(I::StructNew(ty));
                    }
                }
                Kind::Array(_) => {
                    self.simple(self.element(ty).element_type.unpack());
                    let length = 3 + self.choices.below(3);
                    self.code.extend([I::I32Const(length as i32), I::ArrayNew(ty)]);
                }
                Kind::Func(_) => {
                    let all: Vec<u32> = (0..self.plan.funcs.len() as u32)
                        .filter(|func| self.plan.funcs[*func as usize] == ty)
                        .collect();
                    // Types of blocks have no functions, and no expression wants them.
                    let func = self.choices.of(&all).expect("every type in use has one");
                    self.code.push(I::RefFunc(func));
                }
            },
            HeapType::Abstract { ty: Any | Eq | I31, .. } => {
                let bits = self.choices.bits();
                self.code.extend([I::I32Const(bits as i32), I::RefI31]);
                self.seen(Shape::ref_i31);
            }
            HeapType::Abstract { ty: Struct, .. } => self.new_simple(HeapType::Concrete(0)),
            HeapType::Abstract { ty: Array, .. } => {
                let arrays = self.plan.types(|kind| matches!(kind, Kind::Array(_)));
                self.new_simple(HeapType::Concrete(arrays[0]));
            }
            HeapType::Abstract { ty: Extern, .. } => {
                self.new_simple(HeapType::ANY);
                self.code.push(I::ExternConvertAny);
                self.seen(Shape::extern_convert);
            }
            HeapType::Abstract { ty: Func, .. } => self.code.push(I::RefFunc(self.func)),
            HeapType::Abstract { ty: Exn, .. } => {
                let result = ValType::Ref(nullable(heap));
                self.open(I::Block(BlockType::Result(result)), vec![result]);
                let catch = Cow::Owned(vec![Catch::AllRef { label: 0 }]);
                self.open(I::TryTable(BlockType::Empty, catch), vec![]);
                let tag = self.plan.tags.len() as u32 - 1;
                self.code.push(I::Throw(tag));
                self.close();
                self.code.push(I::Unreachable);
                self.close();
                self.code.push(I::RefAsNonNull);
            }
            _ => unreachable!("no other type is used"),
        }
    }

    fn int(&mut self, depth: u32) {
        match self.choices.below(14) {
            0 | 1 => self.simple(ValType::I32),
            2 | 3 => {
                self.value(ValType::I32, depth);
                self.value(ValType::I32, depth);
                let all = [I::I32Add, I::I32Sub, I::I32Xor, I::I32LtS, I::I32Mul];
                self.code.push(self.choices.of(&all).expect("there are some"));
            }
            4 => {
                self.value(ValType::Ref(RefType::EQREF), depth);
                self.value(ValType::Ref(RefType::EQREF), depth);
                self.code.push(I::RefEq);
                self.seen(Shape::ref_eq);
            }
            5 => {
                let ty = self.locals[self.choices.below(self.readable as u32) as usize];
                self.value(ty, depth);
                match ty {
                    ValType::Ref(_) => self.code.push(I::RefIsNull),
                    _ => self.code.extend([I::Drop, I::I32Const(1)]),
                }
            }
            6 | 7 => {
                let heap = self.internal_type();
                self.value(ValType::Ref(RefType::ANYREF), depth);
                let nullable = self.choices.below(2) == 0;
                let test = if nullable { I::RefTestNullable } else { I::RefTestNonNull };
                self.code.push(test(heap));
                self.seen(Shape::ref_test);
            }
            8 => {
                self.never_null(HeapType::I31, depth);
                let signed = self.choices.below(2) == 0;
                self.code.push(if signed { I::I31GetS } else { I::I31GetU });
                self.seen(Shape::i31_get);
            }
            9 => {
                let arrays = self.plan.types(|kind| matches!(kind, Kind::Array(_)));
                let array = self.choices.of(&arrays).expect("there are some");
                self.object(array, depth);
                self.code.push(I::ArrayLen);
            }
            10 => self.code.push(I::TableSize(ANYTHING)),
            11 => {
                self.value(ValType::I64, depth);
                self.code.push(I::I32WrapI64);
            }
            _ => self.load(ValType::I32, depth),
        }
    }

    /// A type of what `anyref` refers to.
    fn internal_type(&mut self) -> HeapType {
        use AbstractHeapType::{Array, Eq, I31, Struct};
        let objects = self.plan.types(|kind| matches!(kind, Kind::Struct(_) | Kind::Array(_)));
        match self.choices.below(3) {
            0 => abstract_type(self.choices.of(&[Eq, I31, Struct, Array]).expect("some")),
            _ => HeapType::Concrete(self.choices.of(&objects).expect("there are some")),
        }
    }

    /// From a local, if one has the type.
    fn local(&mut self, ty: ValType, depth: u32) {
        let fits = |local: &usize| match (self.locals[*local], ty) {
            (ValType::Ref(local), ValType::Ref(ty)) => {
                self.plan.is_below(local.heap_type, ty.heap_type)
            }
            (local, ty) => local == ty,
        };
        let fitting: Vec<usize> = (0..self.readable).filter(fits).collect();
        let Some(local) = self.choices.of(&fitting) else { return self.own(ty, depth) };
        let found = self.locals[local];
        let get = I::LocalGet(local as u32);
        self.perhaps_null(found, ty, depth, |body| body.code.push(get));
    }

    fn global(&mut self, ty: ValType, depth: u32) {
        let fits = |global: &usize| match (self.plan.globals[*global], ty) {
            (ValType::Ref(global), ValType::Ref(ty)) => {
                self.plan.is_below(global.heap_type, ty.heap_type)
            }
            (global, ty) => global == ty,
        };
        let fitting: Vec<usize> = (0..self.plan.globals.len()).filter(fits).collect();
        let Some(global) = self.choices.of(&fitting) else { return self.own(ty, depth) };
        let found = self.plan.globals[global];
        let get = I::GlobalGet(global as u32);
        self.perhaps_null(found, ty, depth, |body| body.code.push(get));
    }

    /// Emits a value of type `found`, and what makes one of type `ty` of it.
    fn perhaps_null(
        &mut self,
        found: ValType,
        ty: ValType,
        depth: u32,
        emit: impl FnOnce(&mut Self),
    ) {
        if self.plan.matches(found, ty) {
            return emit(self);
        }
        let ValType::Ref(wanted) = ty else { unreachable!("numbers match or do not") };
        if self.choices.once_in(40) {
            emit(self);
            return self.code.push(I::RefAsNonNull);
        }
        self.open(I::Block(BlockType::Result(ty)), vec![ty]);
        emit(self);
        self.code.push(I::BrOnNonNull(0));
        self.seen(Shape::br_on_non_null);
        self.never_null(wanted.heap_type, depth);
        self.close();
    }

    fn nullable(&mut self, ty: RefType, depth: u32) {
        match self.choices.below(8) {
            0 => self.simple(ValType::Ref(ty)),
            1 | 2 => self.load(ValType::Ref(ty), depth),
            3 => self.cast(ty, depth),
            4 => {
                // Null goes one way, all else the other.
                let result = ValType::Ref(ty);
                self.open(I::Block(BlockType::Result(result)), vec![result]);
                self.open(I::Block(BlockType::Empty), vec![]);
                self.value(result, depth);
                self.code.push(I::BrOnNull(0));
                self.code.push(I::Br(1));
                self.close();
                self.seen(Shape::br_on_null);
                self.value(result, depth);
                self.close();
            }
            _ => self.never_null(ty.heap_type, depth),
        }
    }

    fn never_null(&mut self, heap: HeapType, depth: u32) {
        self.budget -= 1;
        if depth == 0 || self.budget <= 0 {
            return self.new_simple(heap);
        }
        let ty = RefType { nullable: false, heap_type: heap };
        let depth = depth - 1;
        match self.choices.below(8) {
            0 => self.local(ValType::Ref(ty), depth),
            1 => self.load(ValType::Ref(ty), depth),
            2 => self.cast(ty, depth),
            _ => self.new_object(heap, depth),
        }
    }

    /// A reference to an object of a type, that is seldom null.
    fn object(&mut self, ty: u32, depth: u32) {
        let heap_type = HeapType::Concrete(ty);
        let nullable = self.choices.once_in(40);
        self.value(ValType::Ref(RefType { nullable, heap_type }), depth);
    }

    /// A new object, with values in it that are not the simplest.
    fn new_object(&mut self, heap: HeapType, depth: u32) {
        let objects = self.plan.types(|kind| matches!(kind, Kind::Struct(_) | Kind::Array(_)));
        let fitting: Vec<u32> = objects
            .into_iter()
            .filter(|ty| self.plan.is_below(HeapType::Concrete(*ty), heap))
            .collect();
        let Some(ty) = self.choices.of(&fitting) else { return self.new_simple(heap) };
        if let Kind::Struct(fields) = &self.plan.kinds[ty as usize] {
            let fields: Vec<ValType> =
                fields.iter().map(|field| field.element_type.unpack()).collect();
            self.values(&fields, depth);
            self.code.push(I::StructNew(ty));
            return self.seen(Shape::struct_new);
        }
        let storage = self.element(ty).element_type;
        let element = storage.unpack();
        match self.choices.below(5) {
            0 => {
                let array_size = 2 + self.choices.below(3);
                (0..array_size).for_each(|_| self.value(element, depth));
                self.code.push(I::ArrayNewFixed { array_type_index: ty, array_size });
                self.seen(Shape::array_new_fixed);
            }
            1 if storage == StorageType::Val(ValType::Ref(RefType::ANYREF)) => {
                let count = self.choices.below(ELEM_LENGTH as u32) as i32;
                let new = I::ArrayNewElem { array_type_index: ty, array_elem_index: ELEM };
                self.code.extend([I::I32Const(1), I::I32Const(count), new]);
                self.seen(Shape::array_new_elem);
            }
            1 if !matches!(element, ValType::Ref(_)) => {
                let count = self.choices.below(4) as i32;
                let new = I::ArrayNewData { array_type_index: ty, array_data_index: DATA };
                self.code.extend([I::I32Const(3), I::I32Const(count), new]);
                self.seen(Shape::array_new_data);
            }
            2 if self.choices.once_in(4) => {
                // Enough of them fill the nursery, or are too large for it.
                let length = 1 << (8 + self.choices.below(4));
                self.value(element, depth);
                self.code.extend([I::I32Const(length), I::ArrayNew(ty)]);
                self.seen(Shape::large_array);
            }
            _ => {
                self.value(element, depth);
                let length = 3 + self.choices.below(5);
                self.code.extend([I::I32Const(length as i32), I::ArrayNew(ty)]);
                self.seen(Shape::array_new);
            }
        }
    }

    /// A reference by way of a cast of a wider one.
    fn cast(&mut self, ty: RefType, depth: u32) {
        let wide = top(self.plan, ty.heap_type);
        let result = ValType::Ref(ty);
        if wide == HeapType::EXTERN {
            self.value(ValType::Ref(RefType { nullable: ty.nullable, ..RefType::ANYREF }), depth);
            self.code.push(I::ExternConvertAny);
            return self.seen(Shape::extern_convert);
        }
        if wide == abstract_type(AbstractHeapType::Exn) {
            return self.simple(result);
        }
        if wide == HeapType::ANY && self.choices.once_in(5) {
            self.value(ValType::Ref(RefType::EXTERNREF), depth);
            self.code.push(I::AnyConvertExtern);
            self.seen(Shape::any_convert);
        } else {
            self.value(ValType::Ref(nullable(wide)), depth);
        }
        let from_ref_type = nullable(wide);
        match self.choices.below(5) {
            0 if self.choices.once_in(4) => {
                let cast = if ty.nullable { I::RefCastNullable } else { I::RefCastNonNull };
                self.code.push(cast(ty.heap_type));
                self.seen(Shape::ref_cast);
            }
            0..3 => {
                // The value goes into the block, and a branch takes it out if it fits.
                let source = ValType::Ref(from_ref_type);
                let block = self.plan.signature(vec![source], vec![result]);
                self.open(I::Block(BlockType::FunctionType(block)), vec![result]);
                self.code.push(I::BrOnCast { relative_depth: 0, from_ref_type, to_ref_type: ty });
                self.code.push(I::Drop);
                self.seen(Shape::br_on_cast);
                self.value(result, depth);
                self.close();
            }
            _ => {
                let source = ValType::Ref(from_ref_type);
                let outer = self.plan.signature(vec![source], vec![result]);
                self.open(I::Block(BlockType::FunctionType(outer)), vec![result]);
                let inner = self.plan.signature(vec![source], vec![source]);
                self.open(I::Block(BlockType::FunctionType(inner)), vec![source]);
                let (relative_depth, to_ref_type) = (0, ty);
                self.code.push(I::BrOnCastFail { relative_depth, from_ref_type, to_ref_type });
                self.code.push(I::Br(1));
                self.close();
                self.code.push(I::Drop);
                self.seen(Shape::br_on_cast_fail);
                self.value(result, depth);
                self.close();
            }
        }
    }

    /// Fields whose values are of a type.
    fn fields(&self, wanted: impl Fn(ValType) -> bool) -> Vec<(u32, u32, ValType)> {
        let mut all = Vec::new();
        for (ty, kind) in self.plan.kinds.iter().enumerate() {
            let Kind::Struct(fields) = kind else { continue };
            for (index, field) in fields.iter().enumerate() {
                let value = field.element_type.unpack();
                if wanted(value) {
                    all.push((ty as u32, index as u32, value));
                }
            }
        }
        all
    }

    /// From a field, an element or the table.
    fn load(&mut self, ty: ValType, depth: u32) {
        let fits = |found: ValType| match (found, ty) {
            (ValType::Ref(found), ValType::Ref(ty)) => {
                self.plan.is_below(found.heap_type, ty.heap_type)
            }
            _ => found == ty,
        };
        let signed = self.choices.below(2) == 0;
        match self.choices.below(5) {
            0..3 => {
                let fields = self.fields(fits);
                let Some((struct_type_index, field_index, found)) = self.choices.of(&fields) else {
                    return self.simple(ty);
                };
                let storage = self.field(struct_type_index, field_index).element_type;
                let get = match storage {
                    StorageType::Val(_) => I::StructGet { struct_type_index, field_index },
                    _ if signed => I::StructGetS { struct_type_index, field_index },
                    _ => I::StructGetU { struct_type_index, field_index },
                };
                self.perhaps_null(found, ty, depth, |body| {
                    body.object(struct_type_index, depth);
                    body.code.push(get);
                    body.seen(Shape::struct_get);
                });
            }
            3 => {
                let arrays = self.plan.types(|kind| match kind {
                    Kind::Array(element) => fits(element.element_type.unpack()),
                    _ => false,
                });
                let Some(array) = self.choices.of(&arrays) else { return self.simple(ty) };
                let storage = self.element(array).element_type;
                let get = match storage {
                    StorageType::Val(_) => I::ArrayGet(array),
                    _ if signed => I::ArrayGetS(array),
                    _ => I::ArrayGetU(array),
                };
                self.perhaps_null(storage.unpack(), ty, depth, |body| {
                    body.object(array, depth);
                    body.index(depth);
                    body.code.push(get);
                    body.seen(Shape::array_get);
                });
            }
            _ if self.plan.matches(ValType::Ref(RefType::ANYREF), ty) => {
                let index = self.choices.below(TABLE_LENGTH);
                self.code.extend([I::I32Const(index as i32), I::TableGet(ANYTHING)]);
                self.seen(Shape::table_ops);
            }
            _ => self.simple(ty),
        }
    }
}
