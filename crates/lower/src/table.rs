//! Tables: element access with its bounds check, size, growth, bulk operations.
//!
//! Invariant [checked element]: the address given to a table load or store is that of an element whose
//! index was compared with the table's length. Whoever adds a way to access elements goes through
//! `element_address`.

use crate::driver::Lowering;
use crate::emit::*;
use crate::memory::shorter;
use wardian_module::layout::Field;
use wardian_module::{Builtin, HeapTop, IndexType, TableIndex, Trap};
use wasmparser::Operator;

impl<E: Emit> Lowering<'_, E> {
    /// Lowers an instruction on tables; `false` if it is none.
    pub(crate) fn table_op(&mut self, op: &Operator<'_>) -> bool {
        match *op {
            Operator::TableGet { table } => {
                let index = self.pop_index(self.table_index_type(table));
                let table = TableIndex(table);
                let addr = self.element_address(table, index, Trap::TableOutOfBounds);
                let value = self.emit.table_load(table, addr);
                self.emit.push(value);
            }
            Operator::TableSet { table } => {
                let value = self.emit.pop();
                let index = self.pop_index(self.table_index_type(table));
                let table = TableIndex(table);
                let addr = self.element_address(table, index, Trap::TableOutOfBounds);
                self.emit.table_store(table, addr, value);
            }
            Operator::TableSize { table } => {
                let length = self.emit.load_field(Field::TableLength(TableIndex(table)));
                self.push_index(self.table_index_type(table), length);
            }
            Operator::TableGrow { table } => {
                let ty = self.table_index_type(table);
                let count = self.pop_index(ty).into_value();
                let value = self.emit.pop();
                let builtin =
                    self.by_hierarchy(table, Builtin::TableGrowFunc, Builtin::TableGrowRef);
                let old = self.builtin(builtin, table, 0, [value, count]);
                self.push_index(ty, old.expect("table.grow has a result"));
            }
            Operator::TableFill { table } => {
                let ty = self.table_index_type(table);
                let count = self.pop_index(ty).into_value();
                let value = self.emit.pop();
                let target = self.pop_index(ty).into_value();
                let builtin =
                    self.by_hierarchy(table, Builtin::TableFillFunc, Builtin::TableFillRef);
                self.builtin(builtin, table, 0, [target, value, count]);
            }
            Operator::TableCopy { dst_table, src_table } => {
                let (target_ty, source_ty) =
                    (self.table_index_type(dst_table), self.table_index_type(src_table));
                let length = self.pop_index(shorter(target_ty, source_ty)).into_value();
                let source = self.pop_index(source_ty).into_value();
                let target = self.pop_index(target_ty).into_value();
                self.builtin(Builtin::TableCopy, dst_table, src_table, [target, source, length]);
            }
            Operator::TableInit { elem_index, table } => {
                let length = self.emit.pop();
                let source = self.emit.pop();
                let target = self.pop_index(self.table_index_type(table)).into_value();
                self.builtin(Builtin::TableInit, table, elem_index, [target, source, length]);
            }
            Operator::ElemDrop { elem_index } => {
                self.builtin(Builtin::ElemDrop, elem_index, 0, []);
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn table_index_type(&self, table: u32) -> IndexType {
        self.module.tables[table as usize].ty.index
    }

    /// One builtin for tables of functions, another for tables of 32-bit references.
    fn by_hierarchy(&self, table: u32, funcs: Builtin, refs: Builtin) -> Builtin {
        match self.module.tables[table as usize].ty.element.heap.top() {
            HeapTop::Func => funcs,
            HeapTop::Extern | HeapTop::Any | HeapTop::Exn => refs,
        }
    }

    /// The address of an element, checked; out of bounds is `trap`.
    pub(crate) fn element_address(
        &mut self,
        table: TableIndex,
        index: Index<E::Value>,
        trap: Trap,
    ) -> Addr<E::Addr> {
        let limits = self.module.tables[table.index()].ty.limits;
        let constant = self.emit.constant_index(&index);
        if constant.is_some_and(|index| index < limits.min) {
            // Tables never shrink.
            return Addr(self.emit.table_addr(table, index));
        }
        let info = TrapInfo { trap, place: table.0 };
        let detail = self.copy_index(&index);
        let checked = self.copy_index(&index);
        // Code generators make strange things of comparisons whose result they know.
        let length = match limits.is_fixed() && constant.is_none() {
            true => self.const_i64(limits.min),
            false => self.emit.load_field(Field::TableLength(table)),
        };
        let out_of_bounds = self.emit.compare(Compare::GeU, checked, length);
        let details = Details::from_iter([detail]);
        if !self.settings.spectre_mitigation {
            self.emit.trap_if(out_of_bounds, info, details);
            return Addr(self.emit.table_addr(table, index));
        }
        let condition = self.emit.copy(&out_of_bounds);
        self.emit.trap_if(condition, info, details);
        let addr = self.emit.table_addr(table, index);
        Addr(self.emit.guard_addr(out_of_bounds, addr))
    }
}
