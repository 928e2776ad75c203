//! Calls: direct, through a table, through a reference; tail calls alike.
//!
//! Invariant [typed call]: code reached through a pointer is called with the signature that its
//! function reference was checked to have, by its type id or by the static type of what holds it.

use crate::driver::Lowering;
use crate::emit::*;
use wardian_module::layout::{Field, FuncRefField};
use wardian_module::{Builtin, FuncIndex, HeapTop, TableIndex, Trap, TypeIndex};

impl<E: Emit> Lowering<'_, E> {
    pub(crate) fn call(&mut self, func: FuncIndex, tail: bool) {
        let ty = self.module.funcs[func.index()];
        let callee = match self.module.defined_func(func) {
            Some(defined) => Callee::Direct(defined),
            None => Callee::Import(func),
        };
        self.finish_call(callee, ty, tail);
    }

    pub(crate) fn call_ref(&mut self, ty: TypeIndex, tail: bool) {
        let reference = self.emit.pop();
        match self.settings.signals_based_traps {
            true => self.call_reference(reference, Some(Trap::NullReference), ty, tail),
            false => {
                let reference = self.check_non_null(HeapTop::Func, reference);
                self.call_reference(reference, None, ty, tail);
            }
        }
    }

    pub(crate) fn call_indirect(&mut self, ty: TypeIndex, table: u32, tail: bool) {
        let element = self.module.tables[table as usize].ty.element;
        let expected = &self.module.types[ty.index()];
        let is_final = expected.is_final();
        let index = self.pop_index(self.table_index_type(table));
        let null_detail = element.nullable.then(|| self.copy_index(&index));
        // spec 3.3.3: what is stored in the table has the element's type, or one below it.
        let typed = element.heap.matches(expected.heap_type());
        let type_detail = (!typed).then(|| self.copy_index(&index));
        let table_index = TableIndex(table);
        let addr = self.element_address(table_index, index, Trap::IndirectCallOutOfBounds);
        let reference = self.emit.table_load(table_index, addr);

        // A fault of the loads below could not tell the index.
        if let Some(null_detail) = null_detail {
            let copy = self.emit.copy(&reference);
            let null = self.emit.is_null(HeapTop::Func, copy);
            let info = TrapInfo { trap: Trap::IndirectCallToNull, place: table };
            self.emit.trap_if(null, info, Details::from_iter([null_detail]));
        }
        if let Some(type_detail) = type_detail {
            let copy = self.emit.copy(&reference);
            let found = self.emit.load_func_ref(copy, FuncRefField::TypeId, None);
            let expected = self.emit.load_field(Field::TypeId(ty));
            let differs = match is_final {
                true => self.emit.compare(Compare::Ne, found, expected),
                false => self.is_no_subtype(found, expected, ty),
            };
            let reference_detail = self.emit.copy(&reference);
            let info = TrapInfo { trap: Trap::BadSignature, place: ty.0 };
            let details = Details::from_iter([type_detail, reference_detail]);
            self.emit.trap_if(differs, info, details);
        }
        self.call_reference(reference, None, ty, tail);
    }

    /// Whether a type id is neither the expected one nor that of a type below it, as an `i32`.
    fn is_no_subtype(&mut self, found: E::Value, expected: E::Value, ty: TypeIndex) -> E::Value {
        let copy = self.emit.copy(&found);
        let differs = self.emit.compare(Compare::Ne, copy, expected);
        let same = self.emit.constant(Const::I32(1));
        let args = [found].into_iter().collect();
        let below = self.emit.slow(differs, Builtin::IsSubtype, ty.0, args, Some(same));
        let below = below.expect("it has a result");
        let zero = self.emit.constant(Const::I32(0));
        self.emit.compare(Compare::Eq, below, zero)
    }

    /// Calls a reference of type `ty`. With `null_trap` it may be null, and the first load faults then.
    fn call_reference(
        &mut self,
        reference: E::Value,
        null_trap: Option<Trap>,
        ty: TypeIndex,
        tail: bool,
    ) {
        let copy = self.emit.copy(&reference);
        let code = self.emit.load_func_ref(copy, FuncRefField::Code, null_trap);
        let context = self.emit.load_func_ref(reference, FuncRefField::Context, None);
        self.finish_call(Callee::Pointer { code, context }, ty, tail);
    }

    fn finish_call(&mut self, callee: Callee<E::Value>, ty: TypeIndex, tail: bool) {
        self.scratch.shape.calls += 1;
        // spec (return_call): the frame is gone, and its handlers with it.
        let scope = if tail { None } else { self.scope_of_call() };
        self.emit.call(callee, ty, tail, scope);
        if tail {
            self.stop();
        }
    }
}
