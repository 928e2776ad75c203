//! A store without its embedder's data: the kernel's store, what segments hold and which were dropped, the
//! heap, the host's references into it, and limits.
//!
//! Invariant: `instances` has an entry for each instance of the kernel's store.

use crate::budget::{Budget, BudgetShare};
use crate::heap::{Heap, HeapConfig};
use crate::instantiate::InstantiateError;
use crate::roots::HostRoots;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use wardian_module::layout::table_element_size;
use wardian_module::{
    ElemIndex, ExternIndex, GlobalIndex, MemoryIndex, MemoryType, Operation, Settings, TableIndex,
    TableType, Trap,
};
use wardian_vm::{
    Exit, Extern, Failure, Frame, GlobalId, Host, InstanceId, MemoryId, TableId, TrapReport, Value,
};

/// Who decides whether memories and tables may grow, in the words of the embedding API's
/// `ResourceLimiter`. An error ends the guest's execution; `false` makes the growth fail.
pub trait Limiter {
    /// A memory would have `desired` bytes.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Failure>;
    /// A growth that was allowed failed, or one that the memory's own type forbids.
    fn memory_grow_failed(&mut self, error: String) -> Result<(), Failure>;
    /// A table would have `desired` elements.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Failure>;
    /// As for memories.
    fn table_grow_failed(&mut self, error: String) -> Result<(), Failure>;
    /// Instances that the store may hold.
    fn instances(&self) -> usize;
    /// Tables that the store may hold.
    fn tables(&self) -> usize;
    /// Memories that the store may hold.
    fn memories(&self) -> usize;
    /// What all of the store's memories, tables and host values may take together, if that is limited.
    fn budget(&self) -> Option<&Budget> {
        None
    }
}

/// The limiter of a store that was given none.
#[derive(Debug)]
pub struct Unlimited;

impl Limiter for Unlimited {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Failure> {
        Ok(true)
    }
    fn memory_grow_failed(&mut self, _: String) -> Result<(), Failure> {
        Ok(())
    }
    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool, Failure> {
        Ok(true)
    }
    fn table_grow_failed(&mut self, _: String) -> Result<(), Failure> {
        Ok(())
    }
    fn instances(&self) -> usize {
        10_000
    }
    fn tables(&self) -> usize {
        10_000
    }
    fn memories(&self) -> usize {
        10_000
    }
}

/// Which segments of an instance were dropped.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    elements: Vec<bool>,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Store {
    /// The kernel's part.
    pub kernel: wardian_vm::Store,
    pub(crate) settings: Arc<Settings>,
    pub(crate) dropped: Vec<Dropped>,
    /// References that passive element segments hold, unless they hold functions.
    pub(crate) element_refs: HashMap<(InstanceId, ElemIndex), Box<[u32]>>,
    pub(crate) heap: Option<Box<Heap>>,
    pub(crate) heap_config: HeapConfig,
    /// The host's references into the heap.
    pub roots: HostRoots,
    /// Operands of the constant expression that is being evaluated.
    pub(crate) operands: Vec<Value>,
    /// The exception that left guest code, or that the host has thrown, while it is on its way; 0 if there
    /// is none.
    pub(crate) pending_exception: u32,
    /// What the store has taken of its limiter's budget.
    share: Option<BudgetShare>,
}

impl Store {
    /// An empty store that runs with hosts of type `H`, and whose epoch stands still.
    pub fn new<H: Host>(
        settings: Arc<Settings>,
        limits: wardian_vm::StoreLimits,
    ) -> std::io::Result<Store> {
        let heap = HeapConfig::default();
        Store::of_engine::<H>(settings, limits, heap, Arc::default(), Arc::default())
    }

    /// An empty store that runs with hosts of type `H`, under this epoch, and shares these reservations. Its
    /// heap, once it has one, is as `heap_config` says.
    pub fn of_engine<H: Host>(
        settings: Arc<Settings>,
        limits: wardian_vm::StoreLimits,
        heap_config: HeapConfig,
        epoch: Arc<AtomicU64>,
        reservations: Arc<wardian_vm::Reservations>,
    ) -> std::io::Result<Store> {
        let mut kernel = wardian_vm::Store::with_epoch::<H>(limits, epoch)?;
        kernel.share_reservations(reservations);
        if settings.consume_fuel {
            kernel.make_guests_pay();
        } else if settings.epoch_interruption {
            kernel.make_guests_count();
        }
        Ok(Store {
            kernel,
            settings,
            dropped: Vec::new(),
            element_refs: HashMap::new(),
            heap: None,
            heap_config,
            roots: HostRoots::default(),
            operands: Vec::new(),
            pending_exception: 0,
            share: None,
        })
    }

    // ---- budget ----

    /// Makes the store's share of the budget large enough for `more` bytes beside what there is. `false`
    /// if there is no room. What comes of it is told by `settle`.
    pub(crate) fn make_room(&mut self, limiter: &dyn Limiter, more: u64) -> bool {
        let Some(budget) = limiter.budget() else {
            self.share = None;
            return true;
        };
        if !self.share.as_ref().is_some_and(|share| Budget::same(share.budget(), budget)) {
            self.share = Some(budget.share());
        }
        let bytes = self.bytes().saturating_add(more);
        self.share.as_mut().is_some_and(|share| share.resize(bytes))
    }

    /// Makes the share what the store takes.
    pub(crate) fn settle(&mut self) {
        let bytes = if self.share.is_some() { self.bytes() } else { 0 };
        if let Some(share) = &mut self.share {
            // It was made large enough before; what is given back always fits.
            let _ = share.resize(bytes);
        }
    }

    fn bytes(&self) -> u64 {
        self.kernel.bytes() + self.heap.as_ref().map_or(0, |heap| heap.bytes())
    }

    // ---- fuel ----

    /// Whether guests pay from the store's fuel.
    pub fn consumes_fuel(&self) -> bool {
        self.settings.consume_fuel
    }

    /// Whether guests stop at the store's deadline, and it has come.
    pub fn is_deadline_reached(&self) -> bool {
        self.settings.epoch_interruption && self.kernel.is_epoch_reached()
    }

    /// Takes fuel for something that is about to be done, if guests pay; if there is less, takes nothing
    /// and fails.
    pub fn pay(&self, fuel: u64) -> Result<(), Trap> {
        if fuel > 0 && self.settings.consume_fuel {
            let left = self.kernel.fuel().checked_sub(fuel).ok_or(Trap::OutOfFuel)?;
            self.kernel.set_fuel(left);
        }
        Ok(())
    }

    /// Gives back what was paid for something that was not done.
    pub(crate) fn give_back(&self, fuel: u64) {
        self.kernel.set_fuel(self.kernel.fuel().saturating_add(fuel));
    }

    /// Gives back what was paid for instructions that a trap kept from being run: see
    /// `lower::metering`. For each exit once.
    pub fn refund(&self, exit: &Exit) {
        let Failure::Trap(report) = &exit.failure else { return };
        if !self.settings.consume_fuel || report.trap == Trap::OutOfFuel {
            return;
        }
        let Some(Frame { module, func, wasm_offset: Some(offset) }) = &exit.innermost else {
            return;
        };
        let Some(func) = module.defined_func(*func) else { return };
        let body = module.bodies[func.index()].clone();
        let Some(position) = (*offset as usize).checked_sub(body.start) else { return };
        let costs = &self.settings.operator_cost;
        self.give_back(wardian_lower::unspent(costs, &module.wasm[body], position));
    }

    // ---- segments ----

    pub(crate) fn drop_elements(&mut self, instance: InstanceId, index: ElemIndex) {
        let list = &mut self.dropped[instance.index()].elements;
        list.resize(list.len().max(index.index() + 1), false);
        list[index.index()] = true;
        self.element_refs.remove(&(instance, index));
    }

    pub(crate) fn elements_dropped(&self, instance: InstanceId, index: ElemIndex) -> bool {
        self.dropped[instance.index()].elements.get(index.index()).copied().unwrap_or(false)
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

    pub(crate) fn check_memory(
        &self,
        limiter: &mut dyn Limiter,
        ty: &MemoryType,
    ) -> Result<(), InstantiateError> {
        let bytes = u128::from(ty.limits.min) << ty.page_size_log2;
        let fits = |bytes: u128| usize::try_from(bytes).ok();
        let maximum = ty.limits.max.map(|pages| u128::from(pages) << ty.page_size_log2);
        let allowed = match fits(bytes) {
            Some(bytes) => limiter.memory_growing(0, bytes, maximum.and_then(fits))?,
            None => false,
        };
        if !allowed {
            return Err(InstantiateError::Limit(format!(
                "memory minimum of {bytes} bytes exceeds the store's limit on memory size \
                 (`max-memory-size`)"
            )));
        }
        Ok(())
    }

    pub(crate) fn check_table(
        &self,
        limiter: &mut dyn Limiter,
        ty: &TableType,
    ) -> Result<(), InstantiateError> {
        let min = ty.limits.min;
        let most = wardian_vm::MAX_TABLE_ELEMENTS;
        if min > most {
            return Err(InstantiateError::Limit(format!(
                "table minimum of {min} elements exceeds the implementation's limit of {most}"
            )));
        }
        // At most `most`, so it fits.
        let maximum = ty.limits.max.and_then(|max| usize::try_from(max).ok());
        if !limiter.table_growing(0, min as usize, maximum)? {
            return Err(InstantiateError::Limit(format!(
                "table minimum of {min} elements exceeds the store's limit on table elements"
            )));
        }
        Ok(())
    }

    pub(crate) fn check_budget(
        &mut self,
        limiter: &mut dyn Limiter,
        more: u64,
    ) -> Result<(), InstantiateError> {
        if self.make_room(limiter, more) {
            return Ok(());
        }
        Err(InstantiateError::Limit(format!(
            "{more} bytes of memories and tables exceed the store's budget ({})",
            budget_text(limiter)
        )))
    }

    /// Adds a memory of the host.
    pub fn memory(
        &mut self,
        limiter: &mut dyn Limiter,
        ty: MemoryType,
    ) -> Result<MemoryId, InstantiateError> {
        self.check_memory(limiter, &ty)?;
        self.check_budget(limiter, minimum_bytes(&ty))?;
        let settings = self.settings.clone();
        let made = self.kernel.memory(ty, &settings);
        self.settle();
        made.map_err(|error| InstantiateError::Limit(refused("a linear memory", &settings, &error)))
    }

    /// Whether guests are asked if their epoch deadline has come.
    pub fn asks_epoch(&self) -> bool {
        self.settings.epoch_interruption
    }

    /// Makes a shared memory one of this store's.
    pub fn adopt_memory(
        &mut self,
        memory: &wardian_vm::SharedMemory,
    ) -> Result<MemoryId, wardian_vm::InstantiateError> {
        let settings = self.settings.clone();
        self.kernel.adopt_memory(memory, &settings)
    }

    /// Adds a table of the host, filled with `init`. `init` must be of the table's type.
    pub fn table(
        &mut self,
        limiter: &mut dyn Limiter,
        ty: TableType,
        init: Value,
    ) -> Result<TableId, InstantiateError> {
        self.check_table(limiter, &ty)?;
        self.check_budget(limiter, element_bytes(&ty, ty.limits.min))?;
        let made = self.kernel.table(ty, init);
        self.settle();
        made.map_err(|_| {
            InstantiateError::Limit("table cannot be made: no memory for its elements".into())
        })
    }

    /// Grows a memory; `None` past a limit or without memory. An error of the limiter ends the guest.
    pub fn memory_grow(
        &mut self,
        limiter: &mut dyn Limiter,
        id: MemoryId,
        delta: u64,
    ) -> Result<Option<u64>, Failure> {
        let ty = *self.kernel.memory_type(id);
        let bytes = |pages: u64| usize::try_from(pages.checked_mul(1 << ty.page_size_log2)?).ok();
        let maximum = ty.limits.max.and_then(bytes);
        loop {
            let pages = self.kernel.memory_size(id);
            let current = bytes(pages).unwrap_or(usize::MAX);
            let desired = pages.checked_add(delta).and_then(bytes).unwrap_or(usize::MAX);
            if !limiter.memory_growing(current, desired, maximum)? {
                return Ok(None);
            }
            if !self.make_room(limiter, desired.saturating_sub(current) as u64) {
                limiter.memory_grow_failed(over_budget(limiter))?;
                return Ok(None);
            }
            let grown = match self.kernel.shared_memory(id) {
                Some(memory) => memory.grow_from(pages, delta),
                None => self.kernel.memory_grow(id, delta).map(|_| true),
            };
            self.settle();
            match grown {
                Ok(true) => return Ok(Some(pages)),
                // Another thread has grown it since: what was allowed is not what would come of it.
                Ok(false) => {}
                Err(error) => {
                    limiter.memory_grow_failed(error.to_string())?;
                    return Ok(None);
                }
            }
        }
    }

    /// Grows a table; `None` past a limit, without memory or if `value` has another type. An error of
    /// the limiter ends the guest.
    pub fn table_grow(
        &mut self,
        limiter: &mut dyn Limiter,
        id: TableId,
        delta: u64,
        value: Value,
    ) -> Result<Option<u64>, Failure> {
        let current = self.kernel.table_size(id);
        let maximum = self.kernel.table_type(id).limits.max;
        let fits = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let desired = fits(current.saturating_add(delta));
        if !limiter.table_growing(fits(current), desired, maximum.map(fits))? {
            return Ok(None);
        }
        let more = element_bytes(self.kernel.table_type(id), delta);
        if !self.make_room(limiter, more) {
            limiter.table_grow_failed(over_budget(limiter))?;
            return Ok(None);
        }
        let grown = self.kernel.table_grow(id, delta, value);
        self.settle();
        if grown.is_none() {
            limiter.table_grow_failed("out of table elements, or no memory for them".into())?;
        }
        Ok(grown)
    }

    /// What a message says of a trap beyond its text.
    pub fn describe(&self, report: &TrapReport) -> Option<String> {
        let [x, y] = report.details;
        if let (Trap::MemoryOutOfBounds, Some(size)) = (report.trap, report.memory_bytes) {
            return Some(format!("access at address {x:#x} of a memory of {size:#x} bytes"));
        }
        match (report.trap, report.instance, report.address) {
            (Trap::MemoryOutOfBounds, _, Some(address)) => {
                let id = self.kernel.memory_at_address(address)?;
                let offset = address - self.kernel.memory_base(id);
                let size = self.kernel.memory_length(id);
                Some(format!("access at address {offset:#x} of a memory of {size:#x} bytes"))
            }
            (Trap::MemoryOutOfBounds, Some(instance), None)
                if report.place != Operation::NO_PLACE =>
            {
                let id = self.memory_of(instance, MemoryIndex(report.place));
                let size = self.kernel.memory_length(id);
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

fn budget_text(limiter: &dyn Limiter) -> String {
    match limiter.budget() {
        Some(budget) => format!("{} of {} bytes are taken", budget.taken(), budget.limit()),
        None => "there is none".into(),
    }
}

fn over_budget(limiter: &dyn Limiter) -> String {
    format!("over the store's budget ({})", budget_text(limiter))
}

/// Bytes of a memory when it is made.
pub(crate) fn minimum_bytes(ty: &MemoryType) -> u64 {
    let bytes = u128::from(ty.limits.min) << ty.page_size_log2;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Bytes of so many elements of a table.
pub(crate) fn element_bytes(ty: &TableType, count: u64) -> u64 {
    count.saturating_mul(table_element_size(ty.element.heap.top()).into())
}

/// The text for something with memories for which the system refused memory or address space.
pub(crate) fn refused(what: &str, settings: &Settings, error: &std::io::Error) -> String {
    format!(
        "failed to allocate {what}: {error}; each linear memory takes {} bytes of address space \
         (`memory-reservation`) and {} bytes of guard (`memory-guard-size`)",
        settings.memory_reservation, settings.memory_guard_size
    )
}
