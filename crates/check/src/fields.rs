//! What lies where in the VM context and behind its pointers, and what of it code may read or write.
//!
//! Places come from the layout, in the same way as compilers get them.

use crate::Input;
use crate::value::Object;
use rustc_hash::FxHashMap;
use wardian_module::layout::{
    Field, GLOBAL_SIZE, Linkage, ModuleTable, PAYLOAD_SLOT, table_element_size,
};
use wardian_module::{
    GlobalIndex, HeapTop, Limits, MemoryIndex, MemoryPlan, TableIndex, TableType, TypeIndex,
};

/// The pointer on the way, as its offset in the context; and the offset.
type Place = (Option<u32>, i64);

/// What a field of 8 bytes holds.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Base(Object),
    Length(Object),
    /// Where the state of a frame that is being replaced lies.
    Live,
    /// Where the values of an exception lie.
    Payload,
    /// Where the engine's epoch is.
    Epoch,
    /// Where the store's heap begins.
    Heap,
    /// A pointer that has fields behind it.
    Pointer(u32),
    Anything,
}

pub(crate) struct Fields<'a> {
    input: &'a Input<'a>,
    pub(crate) plans: Vec<MemoryPlan>,
    /// Bytes, content, and whether code may write them.
    known: FxHashMap<Place, (i64, Content, bool)>,
    /// Pointers of the context.
    pointers: FxHashMap<u32, ()>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(input: &'a Input<'a>) -> Fields<'a> {
        let Input { module, layout, .. } = *input;
        let mut known = FxHashMap::default();
        let mut pointers = FxHashMap::default();
        let mut field = |field, content, writable| {
            let path = layout.path(module, field);
            let place = (path.through, i64::from(path.offset));
            known.insert(place, (i64::from(path.repr.bytes()), content, writable));
            if let Some(through) = path.through {
                pointers.insert(through, ());
            }
        };
        let memories = module.memories.len() as u32;
        for i in 0..memories {
            field(Field::MemoryBase(MemoryIndex(i)), Content::Base(i), false);
            field(Field::MemoryLength(MemoryIndex(i)), Content::Length(i), false);
        }
        for i in 0..module.tables.len() as u32 {
            field(Field::TableBase(TableIndex(i)), Content::Base(memories + i), false);
            field(Field::TableLength(TableIndex(i)), Content::Length(memories + i), false);
        }
        let functions = memories + module.tables.len() as u32;
        field(Field::FuncIdsBase, Content::Base(functions), false);
        field(Field::FuncIdsLength, Content::Length(functions), false);
        field(Field::GcBase, Content::Heap, false);
        field(Field::GcNext, Content::Anything, module.uses_heap);
        field(Field::GcLimit, Content::Anything, false);
        field(Field::StackLimit, Content::Anything, false);
        field(Field::LiveState, Content::Live, false);
        field(Field::Payload, Content::Payload, false);
        field(Field::ThrownTag, Content::Anything, true);
        field(Field::EpochDeadline, Content::Anything, false);
        field(Field::Epoch, Content::Epoch, false);
        let plans = module.memories.iter().map(|ty| MemoryPlan::new(input.settings, ty)).collect();
        Fields { input, plans, known, pointers }
    }

    pub(crate) fn memories(&self) -> u32 {
        self.plans.len() as u32
    }

    /// `None`: the list of functions by number.
    fn table(&self, table: Object) -> Option<&TableType> {
        let table = self.input.module.tables.get((table - self.memories()) as usize);
        table.map(|table| &table.ty)
    }

    /// Bytes of the values of the largest exception that the module knows.
    pub(crate) fn payload_bytes(&self) -> i64 {
        let Input { module, .. } = self.input;
        let values = |tag: &TypeIndex| module.types[tag.index()].func_type().params().len();
        let most = module.tags.iter().map(values).max().unwrap_or(0);
        most as i64 * i64::from(PAYLOAD_SLOT)
    }

    fn limits_of_table(&self, table: Object) -> Limits {
        self.table(table).map_or(Limits { min: 0, max: None }, |table| table.limits)
    }

    /// Whether the base of an object may change.
    pub(crate) fn may_move(&self, object: Object) -> bool {
        match self.plans.get(object as usize) {
            Some(plan) => plan.may_move,
            None => !self.limits_of_table(object).is_fixed(),
        }
    }

    /// The length that an object has at least: bytes of a memory, elements of a table.
    pub(crate) fn least(&self, object: Object) -> u128 {
        let Input { module, .. } = self.input;
        match module.memories.get(object as usize) {
            Some(memory) => memory.minimum_bytes(),
            None => self.limits_of_table(object).min.into(),
        }
    }

    pub(crate) fn element_bytes(&self, table: Object) -> u64 {
        let top = self.table(table).map_or(HeapTop::Func, |table| table.element.heap.top());
        table_element_size(top).into()
    }

    /// The global whose value lies there.
    fn global(&self, (through, offset): Place) -> Option<(GlobalIndex, i64)> {
        let Input { module, layout, .. } = self.input;
        let imported = module.imported_globals;
        let count = module.globals.len();
        let (index, start) = match through {
            Some(through) if imported > 0 => {
                (through.checked_sub(layout.imported_global(0))? / 8, 0)
            }
            None if imported < count => {
                let first = i64::from(layout.global(0));
                let nth = u32::try_from(offset.checked_sub(first)?).ok()? / GLOBAL_SIZE;
                let start = first + i64::from(nth * GLOBAL_SIZE);
                (imported as u32 + nth, start)
            }
            _ => return None,
        };
        let index = GlobalIndex(index);
        if index.index() >= count {
            return None;
        }
        let path = layout.path(module, Field::Global(index));
        ((path.through, i64::from(path.offset)) == (through, start)).then_some((index, start))
    }

    /// What 8 bytes hold.
    pub(crate) fn content(&self, place: Place) -> Content {
        match (self.known.get(&place), place) {
            (Some((8, content, _)), _) => *content,
            (None, (None, offset)) => match u32::try_from(offset) {
                Ok(at) if self.is_pointer(at) => Content::Pointer(at),
                _ => Content::Anything,
            },
            _ => Content::Anything,
        }
    }

    fn is_pointer(&self, at: u32) -> bool {
        let Input { module, layout, .. } = self.input;
        let imported = 0..module.imported_globals;
        let global = || at.checked_sub(layout.imported_global(0)).map(|distance| distance / 8);
        self.pointers.contains_key(&at)
            || global().is_some_and(|n| {
                imported.contains(&(n as usize)) && layout.imported_global(n as usize) == at
            })
    }

    /// An access to a field: exactly one that code may reach.
    pub(crate) fn access(&self, place: Place, size: i64, writes: bool) -> Result<(), String> {
        let Input { module, layout, .. } = self.input;
        if let Some((bytes, _, writable)) = self.known.get(&place)
            && size <= *bytes
            && (*writable || !writes)
        {
            return Ok(());
        }
        if let Some((index, start)) = self.global(place) {
            let path = layout.path(module, Field::Global(index));
            let end = start + i64::from(path.repr.bytes());
            let writable = module.globals[index.index()].ty.mutable;
            if start <= place.1 && place.1 + size <= end && (writable || !writes) {
                return Ok(());
            }
        }
        // Of the context itself, everything may be read.
        let inside = place.1 >= 0 && place.1 + size <= i64::from(layout.size());
        if place.0.is_none() && !writes && inside {
            return Ok(());
        }
        Err(format!("no field of {size} bytes at {place:?}"))
    }

    /// An access to the module table: all of it may be read, the function's own counter written.
    pub(crate) fn module_table(&self, at: i64, size: i64, writes: bool) -> Result<(), String> {
        let Input { module, layout, linkage, func, .. } = *self.input;
        let bytes = ModuleTable::size(module.types.len(), module.bodies.len(), linkage) as i64;
        let counter = layout.path(module, Field::Counter(func)).offset;
        let own = linkage == Linkage::Slots && (at, size) == (i64::from(counter), 4);
        match at >= 0 && at + size <= bytes && (!writes || own) {
            true => Ok(()),
            false => Err(format!("{size} bytes at {at} of the module table")),
        }
    }
}
