//! A store without its embedder's data: the kernel's store, what segments were dropped, host values
//! behind references, and limits.
//!
//! Invariant: `instances` has an entry for each instance of the kernel's store.

use std::any::Any;
use std::sync::Arc;
use wardian_module::layout::table_element_size;
use wardian_module::{
    DataIndex, ElemIndex, ExternIndex, GlobalIndex, MemoryIndex, MemoryType, Settings, TableIndex,
    TableType,
};
use wardian_vm::{Extern, GlobalId, Host, InstanceId, MemoryId, TableId, TrapReport, Value};

/// Limits on what guests may use; `u64::MAX` or `usize::MAX` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of each linear memory.
    pub memory_bytes: u64,
    /// Elements of each table.
    pub table_elements: u64,
    /// Instances, memories and tables of the store, each.
    pub objects: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes: u64::MAX, table_elements: u64::MAX, objects: 10_000 }
    }
}

/// Which segments of an instance were dropped.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    elements: Vec<bool>,
    data: Vec<bool>,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Store {
    /// The kernel's part.
    pub kernel: wardian_vm::Store,
    /// Limits on what guests may use.
    pub limits: Limits,
    pub(crate) settings: Arc<Settings>,
    pub(crate) dropped: Vec<Dropped>,
    host_values: Vec<Box<dyn Any + Send + Sync>>,
}

impl Store {
    /// An empty store that runs with hosts of type `H`.
    pub fn new<H: Host>(
        settings: Arc<Settings>,
        limits: wardian_vm::StoreLimits,
    ) -> std::io::Result<Store> {
        Ok(Store {
            kernel: wardian_vm::Store::new::<H>(limits)?,
            limits: Limits::default(),
            settings,
            dropped: Vec::new(),
            host_values: Vec::new(),
        })
    }

    // ---- host values ----

    /// Keeps a host value and returns the reference to it: a position and 1, so that 0 is null.
    /// `None` when 2^32 - 1 values are kept.
    pub fn add_host_value(&mut self, value: Box<dyn Any + Send + Sync>) -> Option<u32> {
        let reference = u32::try_from(self.host_values.len() + 1).ok()?;
        self.host_values.push(value);
        Some(reference)
    }

    /// The host value of a reference that is not null.
    pub fn host_value(&self, reference: u32) -> Option<&(dyn Any + Send + Sync)> {
        self.host_values.get((reference as usize).checked_sub(1)?).map(|value| &**value)
    }

    /// The host value of a reference that is not null.
    pub fn host_value_mut(&mut self, reference: u32) -> Option<&mut (dyn Any + Send + Sync)> {
        self.host_values.get_mut((reference as usize).checked_sub(1)?).map(|value| &mut **value)
    }

    // ---- segments ----

    pub(crate) fn drop_elements(&mut self, instance: InstanceId, index: ElemIndex) {
        let list = &mut self.dropped[instance.index()].elements;
        list.resize(list.len().max(index.index() + 1), false);
        list[index.index()] = true;
    }

    pub(crate) fn drop_data(&mut self, instance: InstanceId, index: DataIndex) {
        let list = &mut self.dropped[instance.index()].data;
        list.resize(list.len().max(index.index() + 1), false);
        list[index.index()] = true;
    }

    pub(crate) fn elements_dropped(&self, instance: InstanceId, index: ElemIndex) -> bool {
        self.dropped[instance.index()].elements.get(index.index()).copied().unwrap_or(false)
    }

    pub(crate) fn data_dropped(&self, instance: InstanceId, index: DataIndex) -> bool {
        self.dropped[instance.index()].data.get(index.index()).copied().unwrap_or(false)
    }

    // ---- objects of an instance, by validated index ----

    pub(crate) fn memory_of(&self, instance: InstanceId, index: MemoryIndex) -> MemoryId {
        match self.kernel.instance_extern(instance, ExternIndex::Memory(index)) {
            Some(Extern::Memory(id)) => id,
            _ => unreachable!("validated memory index"),
        }
    }

    pub(crate) fn table_of(&self, instance: InstanceId, index: TableIndex) -> TableId {
        match self.kernel.instance_extern(instance, ExternIndex::Table(index)) {
            Some(Extern::Table(id)) => id,
            _ => unreachable!("validated table index"),
        }
    }

    pub(crate) fn global_of(&self, instance: InstanceId, index: GlobalIndex) -> GlobalId {
        match self.kernel.instance_extern(instance, ExternIndex::Global(index)) {
            Some(Extern::Global(id)) => id,
            _ => unreachable!("validated global index"),
        }
    }

    // ---- objects under limits ----

    pub(crate) fn check_memory(&self, ty: &MemoryType) -> Result<(), String> {
        let bytes = u128::from(ty.limits.min) << ty.page_size_log2;
        if bytes > u128::from(self.limits.memory_bytes) {
            return Err(format!(
                "memory minimum of {bytes} bytes exceeds the limit `max-memory-size` of {} bytes",
                self.limits.memory_bytes
            ));
        }
        Ok(())
    }

    pub(crate) fn check_table(&self, ty: &TableType) -> Result<(), String> {
        let limit = self.limits.table_elements.min(wardian_vm::MAX_TABLE_ELEMENTS);
        if ty.limits.min > limit {
            return Err(format!(
                "table minimum of {} elements ({} bytes each) exceeds the limit of {limit} elements",
                ty.limits.min,
                table_element_size(ty.element.heap.top()),
            ));
        }
        Ok(())
    }

    /// Adds a memory of the host.
    pub fn memory(&mut self, ty: MemoryType) -> Result<MemoryId, InstantiateErrorText> {
        self.check_memory(&ty).map_err(InstantiateErrorText)?;
        let settings = self.settings.clone();
        self.kernel
            .memory(ty, &settings)
            .map_err(|error| InstantiateErrorText(reservation_error(&settings, &error)))
    }

    /// Adds a table of the host, filled with `init`. `init` must be of the table's type.
    pub fn table(&mut self, ty: TableType, init: Value) -> Result<TableId, InstantiateErrorText> {
        self.check_table(&ty).map_err(InstantiateErrorText)?;
        self.kernel.table(ty, init).map_err(|_| {
            InstantiateErrorText("table cannot be made: wrong type of element, or no memory".into())
        })
    }

    /// Grows a memory; `None` past a limit or without memory.
    pub fn memory_grow(&mut self, id: MemoryId, delta: u64) -> Option<u64> {
        let pages = self.kernel.memory_size(id).checked_add(delta)?;
        let bytes = u128::from(pages) << self.kernel.memory_type(id).page_size_log2;
        if bytes > u128::from(self.limits.memory_bytes) {
            return None;
        }
        self.kernel.memory_grow(id, delta).ok()
    }

    /// Grows a table; `None` past a limit, without memory or if `value` has another type.
    pub fn table_grow(&mut self, id: TableId, delta: u64, value: Value) -> Option<u64> {
        let size = self.kernel.table_size(id).checked_add(delta)?;
        if size > self.limits.table_elements {
            return None;
        }
        self.kernel.table_grow(id, delta, value)
    }

    /// What a message says of a trap beyond its text.
    pub fn describe(&self, report: &TrapReport) -> Option<String> {
        use wardian_module::Trap;
        let [x, y] = report.details;
        match (report.trap, report.instance, report.address) {
            (Trap::MemoryOutOfBounds, _, Some(address)) => {
                let id = self.kernel.memory_at_address(address)?;
                let offset = address - self.kernel.memory_base(id);
                let size = self.kernel.memory_bytes(id).len();
                Some(format!("access at address {offset:#x} of a memory of {size:#x} bytes"))
            }
            (Trap::MemoryOutOfBounds, Some(instance), None) => {
                let id = self.memory_of(instance, MemoryIndex(report.place));
                let size = self.kernel.memory_bytes(id).len();
                let address = u128::from(x) + u128::from(y);
                Some(format!("access at address {address:#x} of a memory of {size:#x} bytes"))
            }
            (
                Trap::TableOutOfBounds | Trap::IndirectCallOutOfBounds | Trap::IndirectCallToNull,
                Some(instance),
                _,
            ) => {
                let id = self.table_of(instance, TableIndex(report.place));
                let size = self.kernel.table_size(id);
                Some(format!("index {x} of a table of {size} elements"))
            }
            (Trap::BadSignature, Some(instance), _) => {
                let module = self.kernel.instance_code(instance).module();
                let expected = module.types.get(report.place as usize)?.func_type();
                let found = self.kernel.type_by_number(y as u32)?;
                Some(format!("index {x}: expected {expected}, found {}", found.func_type()))
            }
            _ => None,
        }
    }
}

/// Why an object could not be made, in words.
#[derive(Debug)]
pub struct InstantiateErrorText(pub String);

/// The text for a memory whose address space the system refused.
pub(crate) fn reservation_error(settings: &Settings, error: &std::io::Error) -> String {
    format!(
        "failed to allocate a linear memory: the system refused {} bytes of address space \
         (`memory-reservation`) and {} bytes of guard (`memory-guard-size`): {error}",
        settings.memory_reservation, settings.memory_guard_size
    )
}
