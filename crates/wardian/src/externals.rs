//! Handles of memories, tables, globals and tags, and what an instance exports.

use crate::error::{Error, ErrorKind, Result};
use crate::func::{Func, failure_error};
use crate::guest_memory::{GuestMemory, OutOfBounds};
use crate::shared_memory::SharedMemory;
use crate::store::{
    AsContext, AsContextMut, StoreContext, StoreContextMut, StoreInner, WRONG_STORE, check_store,
};
use crate::types::{
    ExternType, FuncType, GlobalType, MemoryType, RefType, TableType, TagType, ValType,
};
use crate::val::{Ref, Val};
use wardian_module::ExternIndex;
use wardian_runtime::InstantiateError;
use wardian_vm::{self as vm, GlobalId, InstanceId, MemoryId, StoreId, TableId, TagId, Value};

/// Something that can be imported and exported.
///
/// ```
/// use wardian::{Extern, Func, Store};
///
/// let mut store = Store::<()>::default();
/// let item = Extern::from(Func::wrap(&mut store, || {}));
/// assert!(item.ty(&store).func().is_some());
/// assert!(item.clone().into_memory().is_none() && item.into_func().is_some());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Extern {
    /// A function.
    Func(Func),
    /// A global.
    Global(Global),
    /// A table.
    Table(Table),
    /// A memory of a store.
    Memory(Memory),
    /// A memory that threads share.
    SharedMemory(SharedMemory),
    /// A tag of exceptions.
    Tag(Tag),
}

macro_rules! externs {
    ($($variant:ident $into:ident;)*) => {
        impl Extern {
            $(
                #[doc = concat!("The ", stringify!($variant), ", if it is one.")]
                pub fn $into(self) -> Option<$variant> {
                    if let Extern::$variant(item) = self { Some(item) } else { None }
                }
            )*

            /// An error unless it can be used in the store.
            pub(crate) fn check_store<T>(&self, store: &StoreInner<T>) -> Result<()> {
                match self {
                    $(Extern::$variant(item) => check_store(item.store, store.id()),)*
                    Extern::SharedMemory(memory) => memory.check_engine(&store.engine),
                }
            }

            /// What it is in the store.
            pub(crate) fn to_kernel<T>(&self, store: &mut StoreInner<T>) -> Result<vm::Extern> {
                self.check_store(store)?;
                Ok(match self {
                    $(Extern::$variant(item) => vm::Extern::$variant(item.id),)*
                    Extern::SharedMemory(memory) => vm::Extern::Memory(memory.in_store(store)?),
                })
            }

            pub(crate) fn from_kernel<T>(store: &StoreInner<T>, item: vm::Extern) -> Extern {
                if let vm::Extern::Memory(id) = item
                    && let Some(memory) = store.rt.kernel.shared_memory(id)
                {
                    return Extern::SharedMemory(SharedMemory::of(store, memory));
                }
                let store = store.id();
                match item {
                    $(vm::Extern::$variant(id) => Extern::$variant($variant { store, id }),)*
                }
            }
        }

        $(
            impl From<$variant> for Extern {
                fn from(item: $variant) -> Extern {
                    Extern::$variant(item)
                }
            }
        )*
    };
}

externs! {
    Func into_func;
    Global into_global;
    Table into_table;
    Memory into_memory;
    Tag into_tag;
}

impl Extern {
    /// Its type now: tables and memories have their present size as minimum.
    ///
    /// # Panics
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        match self {
            Extern::Func(item) => ExternType::Func(item.ty(store)),
            Extern::Global(item) => ExternType::Global(item.ty(store)),
            Extern::Table(item) => ExternType::Table(item.ty(store)),
            Extern::Memory(item) => ExternType::Memory(item.ty(store)),
            Extern::SharedMemory(item) => ExternType::Memory(item.ty()),
            Extern::Tag(item) => ExternType::Tag(item.ty(store)),
        }
    }

    /// The shared memory, if it is one.
    pub fn into_shared_memory(self) -> Option<SharedMemory> {
        if let Extern::SharedMemory(item) = self { Some(item) } else { None }
    }

    /// The export of an instance.
    pub(crate) fn of_instance<T>(
        store: &StoreInner<T>,
        instance: InstanceId,
        name: &str,
    ) -> Option<Extern> {
        let kernel = &store.rt.kernel;
        let export = kernel.instance_code(instance).module().export(name)?;
        Extern::of_index(store, instance, export.index)
    }

    pub(crate) fn of_index<T>(
        store: &StoreInner<T>,
        instance: InstanceId,
        index: ExternIndex,
    ) -> Option<Extern> {
        let item = store.rt.kernel.instance_extern(instance, index)?;
        Some(Extern::from_kernel(store, item))
    }
}

impl From<SharedMemory> for Extern {
    fn from(item: SharedMemory) -> Extern {
        Extern::SharedMemory(item)
    }
}

/// The error of a memory or table that could not be made.
fn object_error<T>(store: &StoreInner<T>, error: InstantiateError) -> Error {
    match error {
        InstantiateError::Limit(text) => Error::tagged(ErrorKind::Limit, text),
        InstantiateError::Failure(failure) => failure_error(store, failure),
        InstantiateError::Import(_) => unreachable!("nothing is imported"),
    }
}

fn misuse(text: impl Into<String>) -> Error {
    Error::tagged(ErrorKind::Misuse, text.into())
}

/// A linear memory of a store.
///
/// ```
/// use wardian::{Memory, MemoryType, Store};
///
/// let mut store = Store::<()>::default();
/// let memory = Memory::new(&mut store, MemoryType::new(1, Some(2)))?;
/// memory.write(&mut store, 65_534, b"ab")?;
/// assert!(memory.write(&mut store, 65_535, b"ab").is_err());
/// assert_eq!(memory.grow(&mut store, 1)?, 1);
/// assert_eq!(memory.data(&store)[65_534..65_537], *b"ab\0");
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub(crate) store: StoreId,
    pub(crate) id: MemoryId,
}

/// An access to a memory past its end.
///
/// ```
/// use wardian::{Memory, MemoryType, Store};
///
/// let mut store = Store::<()>::default();
/// let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
/// let error = memory.read(&store, 65_536, &mut [0]).unwrap_err();
/// assert_eq!(error.to_string(), "out of bounds memory access");
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryAccessError {
    _private: (),
}

impl MemoryAccessError {
    pub(crate) fn new() -> MemoryAccessError {
        MemoryAccessError { _private: () }
    }
}

impl std::fmt::Display for MemoryAccessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("out of bounds memory access")
    }
}

impl std::error::Error for MemoryAccessError {}

impl Memory {
    /// A memory of the host's making, of the type's minimum size, zeroed.
    ///
    /// # Errors
    ///
    /// When the type is shared (see [`SharedMemory`]), the size passes a limit, or the system refuses it.
    pub fn new(mut store: impl AsContextMut, ty: MemoryType) -> Result<Memory> {
        let store = store.as_context_mut().0;
        if ty.is_shared() {
            return Err(misuse("a shared memory belongs to no store: use `SharedMemory::new`"));
        }
        let id = store.limited(|rt, limiter| rt.memory(limiter, ty.to_module()));
        let id = id.map_err(|error| object_error(store, error))?;
        Ok(Memory { store: store.id(), id })
    }

    #[inline]
    fn check(&self, store: StoreId) {
        assert!(self.store == store, "{WRONG_STORE}");
    }

    /// Its type, with the present size as minimum.
    ///
    /// # Panics
    ///
    /// As every method but `grow`: when it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> MemoryType {
        let store = store.as_context().0;
        self.check(store.id());
        let mut ty = *store.rt.kernel.memory_type(self.id);
        ty.limits.min = store.rt.kernel.memory_size(self.id);
        MemoryType::from_module(ty)
    }

    /// Its bytes.
    pub fn data<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a [u8] {
        let store = store.into().0;
        self.check(store.id());
        store.rt.kernel.memory_bytes(self.id)
    }

    /// Its bytes.
    pub fn data_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> &'a mut [u8] {
        let store = store.into().0;
        self.check(store.id());
        store.rt.kernel.memory_bytes_mut(self.id)
    }

    /// Its bytes, and the embedder's data.
    pub fn data_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> (&'a mut [u8], &'a mut T) {
        let store = store.into().0;
        self.check(store.id());
        (store.rt.kernel.memory_bytes_mut(self.id), &mut store.data)
    }

    /// The memory as hosts see it whose guests may share theirs, and the embedder's data.
    pub fn guest_and_store_mut<'a, T: 'static>(
        &self,
        store: impl Into<StoreContextMut<'a, T>>,
    ) -> (GuestMemoryMut<'a>, &'a mut T) {
        let (bytes, data) = self.data_and_store_mut(store);
        (GuestMemoryMut(Bytes::Own(bytes)), data)
    }

    /// Size in bytes.
    pub fn data_size(&self, store: impl AsContext) -> usize {
        self.data(store.as_context()).len()
    }

    /// Size in pages.
    pub fn size(&self, store: impl AsContext) -> u64 {
        let store = store.as_context().0;
        self.check(store.id());
        store.rt.kernel.memory_size(self.id)
    }

    /// Bytes in a page.
    pub fn page_size(&self, store: impl AsContext) -> u64 {
        self.ty(store).page_size()
    }

    /// Base-2 logarithm of the bytes in a page.
    pub fn page_size_log2(&self, store: impl AsContext) -> u8 {
        self.ty(store).page_size_log2()
    }

    /// The address of its first byte. It holds until the memory grows or its store is dropped; who reads
    /// or writes there answers for it.
    pub fn data_ptr(&self, store: impl AsContext) -> *mut u8 {
        let store = store.as_context().0;
        self.check(store.id());
        store.rt.kernel.memory_pointer(self.id)
    }

    /// Grows it by `delta` pages and returns its size before, in pages.
    ///
    /// # Errors
    ///
    /// Past its maximum or a limit, when the system refuses, and when it belongs to another store; the
    /// memory is as before.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64) -> Result<u64> {
        let store = store.as_context_mut().0;
        check_store(self.store, store.id())?;
        let grown = store.limited(|rt, limiter| rt.memory_grow(limiter, self.id, delta));
        grown.map_err(|failure| failure_error(store, failure))?.ok_or_else(|| {
            Error::tagged(ErrorKind::Limit, format!("failed to grow memory by {delta} pages"))
        })
    }

    /// Reads `buffer.len()` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// When they do not all lie inside.
    pub fn read(
        &self,
        store: impl AsContext,
        offset: usize,
        buffer: &mut [u8],
    ) -> Result<(), MemoryAccessError> {
        let store = store.as_context().0;
        self.check(store.id());
        let bytes = store.rt.kernel.memory_bytes(self.id);
        let source = range(bytes.len(), offset, buffer.len())?;
        buffer.copy_from_slice(&bytes[source]);
        Ok(())
    }

    /// Writes `buffer` from `offset` on.
    ///
    /// # Errors
    ///
    /// When it does not all lie inside; nothing is written.
    pub fn write(
        &self,
        mut store: impl AsContextMut,
        offset: usize,
        buffer: &[u8],
    ) -> Result<(), MemoryAccessError> {
        let store = store.as_context_mut().0;
        self.check(store.id());
        let bytes = store.rt.kernel.memory_bytes_mut(self.id);
        let target = range(bytes.len(), offset, buffer.len())?;
        bytes[target].copy_from_slice(buffer);
        Ok(())
    }
}

#[inline]
fn range(
    length: usize,
    offset: usize,
    count: usize,
) -> Result<std::ops::Range<usize>, MemoryAccessError> {
    let end = offset.checked_add(count).filter(|end| *end <= length);
    Ok(offset..end.ok_or(MemoryAccessError { _private: () })?)
}

/// A linear memory as [`GuestMemory`].
///
/// ```
/// use wardian::{GuestMemory, Memory, MemoryType, Store};
///
/// let mut store = Store::<()>::default();
/// let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
/// let (mut guest, _) = memory.guest_and_store_mut(&mut store);
/// guest.write_u32(8, 7)?;
/// assert_eq!(guest.read_u8(8)?, 7);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct GuestMemoryMut<'a>(Bytes<'a>);

#[derive(Debug)]
enum Bytes<'a> {
    Own(&'a mut [u8]),
    Shared(SharedMemory),
}

impl GuestMemoryMut<'_> {
    pub(crate) fn shared(memory: SharedMemory) -> GuestMemoryMut<'static> {
        GuestMemoryMut(Bytes::Shared(memory))
    }
}

impl GuestMemory for GuestMemoryMut<'_> {
    fn size(&self) -> u64 {
        match &self.0 {
            Bytes::Own(own) => own.size(),
            Bytes::Shared(memory) => memory.data_size() as u64,
        }
    }

    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), OutOfBounds> {
        match &self.0 {
            Bytes::Own(own) => GuestMemory::read(&**own, address, buffer),
            Bytes::Shared(memory) => {
                let length = buffer.len() as u64;
                let read = usize::try_from(address).ok().map(|at| memory.read(at, buffer));
                out_of_bounds(memory, address, length, read)
            }
        }
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), OutOfBounds> {
        match &mut self.0 {
            Bytes::Own(own) => GuestMemory::write(&mut **own, address, bytes),
            Bytes::Shared(memory) => {
                let written = usize::try_from(address).ok().map(|at| memory.write(at, bytes));
                out_of_bounds(memory, address, bytes.len() as u64, written)
            }
        }
    }
}

fn out_of_bounds(
    memory: &SharedMemory,
    addr: u64,
    len: u64,
    result: Option<Result<(), MemoryAccessError>>,
) -> Result<(), OutOfBounds> {
    let size = memory.data_size() as u64;
    if result.is_some_and(|result| result.is_ok()) {
        Ok(())
    } else {
        Err(OutOfBounds { addr, len, size })
    }
}

/// A table of a store.
///
/// ```
/// use wardian::{Func, Ref, RefType, Store, Table, TableType};
///
/// let mut store = Store::<()>::default();
/// let func = Func::wrap(&mut store, || 7);
/// let ty = TableType::new(RefType::FUNCREF, 2, None);
/// let table = Table::new(&mut store, ty, Ref::Func(None))?;
/// table.set(&mut store, 1, func.into())?;
/// assert!(table.get(&mut store, 0).unwrap().is_null());
/// assert!(table.get(&mut store, 1).unwrap().is_non_null());
/// assert!(table.get(&mut store, 2).is_none());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub(crate) store: StoreId,
    pub(crate) id: TableId,
}

impl Table {
    /// A table of the host's making, of the type's minimum size, each element `init`.
    ///
    /// # Errors
    ///
    /// When `init` does not have the table's element type or belongs to another store, and when the
    /// size passes a limit.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Ref) -> Result<Table> {
        let store = store.as_context_mut().0;
        let Some(value) = init.to_value_of(&store.rt, ty.to_module().element)? else {
            let (expected, found) = (ty.element(), init.ty(StoreContext(store))?);
            return Err(misuse(format!("initial element: expected {expected}, found {found}")));
        };
        let id = store.limited(|rt, limiter| rt.table(limiter, ty.to_module(), value));
        let id = id.map_err(|error| object_error(store, error))?;
        Ok(Table { store: store.id(), id })
    }

    #[inline]
    fn check(&self, store: StoreId) {
        assert!(self.store == store, "{WRONG_STORE}");
    }

    /// Its type, with the present size as minimum.
    ///
    /// # Panics
    ///
    /// As every method without a `Result`: when it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        let store = store.as_context().0;
        self.check(store.id());
        let mut ty = *store.rt.kernel.table_type(self.id);
        ty.limits.min = store.rt.kernel.table_size(self.id);
        TableType::from_module(ty)
    }

    /// Number of elements.
    pub fn size(&self, store: impl AsContext) -> u64 {
        let store = store.as_context().0;
        self.check(store.id());
        store.rt.kernel.table_size(self.id)
    }

    /// An element; `None` past the end.
    pub fn get(&self, mut store: impl AsContextMut, index: u64) -> Option<Ref> {
        let store = store.as_context_mut().0;
        self.check(store.id());
        let value = store.rt.kernel.table_get(self.id, index)?;
        let ty = store.rt.kernel.table_type(self.id).element;
        Some(Ref::from_value(value, ty, &mut store.rt))
    }

    /// Sets an element.
    ///
    /// # Errors
    ///
    /// Past the end; when `val` does not have the element type or something is of another store.
    pub fn set(&self, store: impl AsContextMut, index: u64, val: Ref) -> Result<()> {
        self.fill(store, index, val, 1)
    }

    /// Grows it by `delta` elements of `init` and returns its size before.
    ///
    /// # Errors
    ///
    /// Past its maximum or a limit; when `init` does not have the element type or something is of
    /// another store. The table is as before.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Ref) -> Result<u64> {
        let store = store.as_context_mut().0;
        check_store(self.store, store.id())?;
        let value = self.element(store, &init)?;
        let grown = store.limited(|rt, limiter| rt.table_grow(limiter, self.id, delta, value));
        grown.map_err(|failure| failure_error(store, failure))?.ok_or_else(|| {
            Error::tagged(ErrorKind::Limit, format!("failed to grow table by {delta} elements"))
        })
    }

    /// What the kernel has for an element, if it is of the table's type.
    fn element<T>(&self, store: &StoreInner<T>, val: &Ref) -> Result<Value> {
        let ty = store.rt.kernel.table_type(self.id).element;
        match val.to_value_of(&store.rt, ty)? {
            Some(value) => Ok(value),
            None => {
                let (expected, found) = (RefType::from_module(ty), val.ty(StoreContext(store))?);
                Err(misuse(format!("table element: expected {expected}, found {found}")))
            }
        }
    }

    /// Sets `len` elements from `dst` on.
    ///
    /// # Errors
    ///
    /// As [`set`](Table::set); nothing is changed.
    pub fn fill(&self, mut store: impl AsContextMut, dst: u64, val: Ref, len: u64) -> Result<()> {
        let store = store.as_context_mut().0;
        check_store(self.store, store.id())?;
        // Of functions the kernel sees whether they are of the type.
        let value = match val {
            Ref::Func(_) => val.to_value(&store.rt)?,
            _ => self.element(store, &val)?,
        };
        if store.rt.kernel.table_fill(self.id, dst, value, len).is_ok() {
            return Ok(());
        }
        self.element(store, &val)?;
        let size = store.rt.kernel.table_size(self.id);
        Err(misuse(format!("table element {dst} is out of bounds of {size} elements")))
    }

    /// Copies `len` elements, as if all were read before any is written.
    ///
    /// # Errors
    ///
    /// When a range does not lie inside its table, the element types differ, or something belongs to
    /// another store; nothing is changed.
    pub fn copy(
        mut store: impl AsContextMut,
        dst_table: &Table,
        dst_index: u64,
        src_table: &Table,
        src_index: u64,
        len: u64,
    ) -> Result<()> {
        let store = store.as_context_mut().0;
        check_store(dst_table.store, store.id())?;
        check_store(src_table.store, store.id())?;
        let kernel = &mut store.rt.kernel;
        let copied = kernel.table_copy(dst_table.id, dst_index, src_table.id, src_index, len);
        copied.map_err(|_| misuse("table copy: out of bounds, or element types differ"))
    }
}

/// A global of a store.
///
/// ```
/// use wardian::{Global, GlobalType, Mutability, Store, Val, ValType};
///
/// let mut store = Store::<()>::default();
/// let ty = GlobalType::new(ValType::I64, Mutability::Var);
/// let global = Global::new(&mut store, ty, Val::I64(1))?;
/// global.set(&mut store, Val::I64(2))?;
/// assert_eq!(global.get(&mut store).unwrap_i64(), 2);
/// assert!(global.set(&mut store, Val::I32(3)).is_err());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Global {
    pub(crate) store: StoreId,
    pub(crate) id: GlobalId,
}

impl Global {
    /// A global of the host's making.
    ///
    /// # Errors
    ///
    /// When `val` does not have the global's type or belongs to another store.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, val: Val) -> Result<Global> {
        let store = store.as_context_mut().0;
        let Some(value) = val.to_value_of(&store.rt, ty.to_module().content)? else {
            let (expected, found) = (ty.content(), val.ty(StoreContext(store))?);
            return Err(misuse(format!("initial value: expected {expected}, found {found}")));
        };
        let id = store.rt.kernel.global(ty.to_module(), value);
        let id = id.map_err(|_| Error::tagged(ErrorKind::Limit, "no memory for a global"))?;
        Ok(Global { store: store.id(), id })
    }

    /// Its type.
    ///
    /// # Panics
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        let store = store.as_context().0;
        assert!(self.store == store.id(), "{WRONG_STORE}");
        GlobalType::from_module(*store.rt.kernel.global_type(self.id))
    }

    /// Its value.
    ///
    /// # Panics
    ///
    /// When it belongs to another store.
    pub fn get(&self, mut store: impl AsContextMut) -> Val {
        let store = store.as_context_mut().0;
        assert!(self.store == store.id(), "{WRONG_STORE}");
        let ty = store.rt.kernel.global_type(self.id).content;
        Val::from_value(store.rt.kernel.global_get(self.id), ty, &mut store.rt)
    }

    /// Sets it.
    ///
    /// # Errors
    ///
    /// When it is immutable, `val` does not have its type, or something belongs to another store.
    pub fn set(&self, mut store: impl AsContextMut, val: Val) -> Result<()> {
        let store = store.as_context_mut().0;
        check_store(self.store, store.id())?;
        let ty = *store.rt.kernel.global_type(self.id);
        if !ty.mutable {
            return Err(misuse("immutable global cannot be set"));
        }
        // Of numbers the kernel sees whether they are of the type.
        let value = match val.to_number() {
            None => val.to_value_of(&store.rt, ty.content)?,
            number => number,
        };
        if value.is_none_or(|value| store.rt.kernel.global_set(self.id, value).is_err()) {
            let (expected, found) =
                (ValType::from_module(ty.content), val.ty(StoreContext(store))?);
            return Err(misuse(format!("global: expected {expected}, found {found}")));
        }
        Ok(())
    }
}

/// A tag of a store: what tells its exceptions from others.
///
/// ```
/// use wardian::{FuncType, Store, Tag, TagType, ValType};
///
/// let mut store = Store::<()>::default();
/// let ty = TagType::new(FuncType::new(store.engine(), [ValType::I32], []));
/// let tag = Tag::new(&mut store, &ty)?;
/// assert_eq!(tag.ty(&store), ty);
/// assert!(!Tag::eq(&tag, &Tag::new(&mut store, &ty)?, &store));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    pub(crate) store: StoreId,
    pub(crate) id: TagId,
}

impl Tag {
    /// A tag of the host's making. No other is the same, whatever its type.
    ///
    /// # Errors
    ///
    /// When the type has results, or there is no memory.
    pub fn new(mut store: impl AsContextMut, ty: &TagType) -> Result<Tag> {
        let store = store.as_context_mut().0;
        if ty.ty().results().len() > 0 {
            return Err(misuse(format!("a tag's type has no results, found {ty}")));
        }
        let id = store.rt.kernel.tag(ty.ty().registered().clone());
        let id = id.map_err(|_| Error::tagged(ErrorKind::Limit, "no memory for a tag"))?;
        Ok(Tag { store: store.id(), id })
    }

    /// Its type.
    ///
    /// # Panics
    ///
    /// When it belongs to another store.
    pub fn ty(&self, store: impl AsContext) -> TagType {
        let store = store.as_context().0;
        assert!(self.store == store.id(), "{WRONG_STORE}");
        let ty = store.rt.kernel.tag_type(self.id).clone();
        TagType::new(FuncType::from_registered(ty))
    }

    /// Whether two tags are the same.
    ///
    /// # Panics
    ///
    /// When one belongs to another store.
    pub fn eq(a: &Tag, b: &Tag, store: impl AsContext) -> bool {
        let store = store.as_context().0.id();
        assert!(a.store == store && b.store == store, "{WRONG_STORE}");
        a.id == b.id
    }
}
