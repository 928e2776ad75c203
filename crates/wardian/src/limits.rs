//! Limits on what guests of a store may use.

use crate::error::{Error, Result};
use crate::format_err;
use crate::func::host_error;
use wardian_runtime::{Budget, Limiter};
use wardian_vm::Failure;

/// Decides whether memories and tables of a store may grow. Given to a store by
/// [`Store::limiter`](crate::Store::limiter).
///
/// An error ends the execution of the guest that asked, with that error.
///
/// ```
/// use wardian::{Memory, MemoryType, ResourceLimiter, Result, Store};
///
/// /// Remembers how large memories wanted to be.
/// #[derive(Default)]
/// struct Watcher(usize);
///
/// impl ResourceLimiter for Watcher {
///     fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
///         self.0 = self.0.max(desired);
///         Ok(desired <= 1 << 20)
///     }
///     fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
///         Ok(true)
///     }
/// }
///
/// let mut store = Store::<Watcher>::default();
/// store.limiter(|watcher| watcher);
/// assert!(Memory::new(&mut store, MemoryType::new(17, None)).is_err());
/// assert_eq!(store.data().0, 17 << 16);
/// ```
pub trait ResourceLimiter: Send {
    /// A memory of `current` bytes (0 when it is made) would have `desired`; its type allows `maximum`.
    ///
    /// # Errors
    ///
    /// Whatever ends the guest's execution.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// A growth that was allowed failed.
    ///
    /// # Errors
    ///
    /// Whatever ends the guest's execution; by default none.
    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        let _ = error;
        Ok(())
    }

    /// A table of `current` elements (0 when it is made) would have `desired`; its type allows
    /// `maximum`.
    ///
    /// # Errors
    ///
    /// Whatever ends the guest's execution.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// A growth that was allowed failed.
    ///
    /// # Errors
    ///
    /// Whatever ends the guest's execution; by default none.
    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        let _ = error;
        Ok(())
    }

    /// Instances that the store may hold.
    fn instances(&self) -> usize {
        DEFAULT_OBJECTS
    }

    /// Tables that the store may hold.
    fn tables(&self) -> usize {
        DEFAULT_OBJECTS
    }

    /// Memories that the store may hold.
    fn memories(&self) -> usize {
        DEFAULT_OBJECTS
    }

    /// What all memories, tables and host values of the store may take together, if that is limited.
    /// Whatever else draws on the same budget, such as the store's WASI state, leaves less.
    fn budget(&self) -> Option<&Budget> {
        None
    }
}

const DEFAULT_OBJECTS: usize = 10_000;

/// Instances that a store may hold unless its limiter says otherwise.
pub const DEFAULT_INSTANCE_LIMIT: usize = DEFAULT_OBJECTS;

/// Tables that a store may hold unless its limiter says otherwise.
pub const DEFAULT_TABLE_LIMIT: usize = DEFAULT_OBJECTS;

/// Memories that a store may hold unless its limiter says otherwise.
pub const DEFAULT_MEMORY_LIMIT: usize = DEFAULT_OBJECTS;

/// Fixed limits.
///
/// ```
/// use wardian::{Engine, Memory, MemoryType, Store, StoreLimits, StoreLimitsBuilder};
///
/// let limits = StoreLimitsBuilder::new().memory_size(2 << 16).build();
/// let mut store = Store::new(&Engine::default(), limits);
/// store.limiter(|limits| limits);
/// let memory = Memory::new(&mut store, MemoryType::new(1, None))?;
/// assert!(memory.grow(&mut store, 1).is_ok());
/// assert!(memory.grow(&mut store, 1).is_err());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StoreLimits {
    memory_size: Option<usize>,
    table_elements: Option<usize>,
    instances: usize,
    tables: usize,
    memories: usize,
    trap_on_grow_failure: bool,
    budget: Option<Budget>,
}

impl StoreLimits {
    /// What the store may take altogether, to be shared with others.
    pub fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }
}

impl Default for StoreLimits {
    fn default() -> StoreLimits {
        StoreLimits {
            memory_size: None,
            table_elements: None,
            instances: DEFAULT_OBJECTS,
            tables: DEFAULT_OBJECTS,
            memories: DEFAULT_OBJECTS,
            trap_on_grow_failure: false,
            budget: None,
        }
    }
}

/// Builds [`StoreLimits`].
///
/// ```
/// use wardian::{Engine, Instance, Module, Store, StoreLimitsBuilder};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, StoreLimitsBuilder::new().instances(1).build());
/// store.limiter(|limits| limits);
/// let module = Module::new(&engine, "(module)")?;
/// assert!(Instance::new(&mut store, &module, &[]).is_ok());
/// assert!(Instance::new(&mut store, &module, &[]).is_err());
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StoreLimitsBuilder(StoreLimits);

impl StoreLimitsBuilder {
    /// No limit on sizes, 10,000 objects of each kind.
    pub fn new() -> StoreLimitsBuilder {
        StoreLimitsBuilder::default()
    }

    /// Bytes of each memory.
    pub fn memory_size(mut self, limit: usize) -> Self {
        self.0.memory_size = Some(limit);
        self
    }

    /// Elements of each table.
    pub fn table_elements(mut self, limit: usize) -> Self {
        self.0.table_elements = Some(limit);
        self
    }

    /// Instances of the store.
    pub fn instances(mut self, limit: usize) -> Self {
        self.0.instances = limit;
        self
    }

    /// Tables of the store.
    pub fn tables(mut self, limit: usize) -> Self {
        self.0.tables = limit;
        self
    }

    /// Memories of the store.
    pub fn memories(mut self, limit: usize) -> Self {
        self.0.memories = limit;
        self
    }

    /// Whether a growth that fails ends the guest's execution instead of telling it.
    pub fn trap_on_grow_failure(mut self, trap: bool) -> Self {
        self.0.trap_on_grow_failure = trap;
        self
    }

    /// What memories, tables and host values of the store may take together. Give the same budget to
    /// what works for the store, such as WASI (`WasiCtxBuilder::budget`), or to other stores, to limit
    /// all of them together.
    ///
    /// ```
    /// use wardian::{Budget, Engine, Memory, MemoryType, Store, StoreLimitsBuilder};
    ///
    /// let budget = Budget::new(3 << 16);
    /// let limits = StoreLimitsBuilder::new().budget(&budget).build();
    /// let mut store = Store::new(&Engine::default(), limits);
    /// store.limiter(|limits| limits);
    /// let one = Memory::new(&mut store, MemoryType::new(1, None))?;
    /// let other = Memory::new(&mut store, MemoryType::new(1, None))?;
    /// assert!(one.grow(&mut store, 1).is_ok() && other.grow(&mut store, 1).is_err());
    /// assert_eq!(budget.taken(), budget.limit());
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn budget(mut self, budget: &Budget) -> Self {
        self.0.budget = Some(budget.clone());
        self
    }

    /// A budget of its own, of so many bytes: see [`budget`](StoreLimitsBuilder::budget).
    pub fn total_bytes(self, limit: u64) -> Self {
        self.budget(&Budget::new(limit))
    }

    /// The limits.
    pub fn build(self) -> StoreLimits {
        self.0
    }
}

impl ResourceLimiter for StoreLimits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let allowed = self.memory_size.is_none_or(|limit| desired <= limit)
            && maximum.is_none_or(|maximum| desired <= maximum);
        if !allowed && self.trap_on_grow_failure {
            return Err(refused("memory", desired, "bytes", self.memory_size, "max-memory-size"));
        }
        Ok(allowed)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        if self.trap_on_grow_failure {
            Err(error.context("forcing a memory growth failure to be a trap"))
        } else {
            Ok(())
        }
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        let allowed = self.table_elements.is_none_or(|limit| desired <= limit)
            && maximum.is_none_or(|maximum| desired <= maximum);
        if !allowed && self.trap_on_grow_failure {
            let limit = self.table_elements;
            return Err(refused("table", desired, "elements", limit, "max-table-elements"));
        }
        Ok(allowed)
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        if self.trap_on_grow_failure {
            Err(error.context("forcing a table growth failure to be a trap"))
        } else {
            Ok(())
        }
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }

    fn budget(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }
}

/// The error that ends a guest whose growth was not allowed: by the store's limit, or by its own type.
#[cold]
fn refused(what: &str, desired: usize, unit: &str, limit: Option<usize>, setting: &str) -> Error {
    match limit.filter(|limit| desired > *limit) {
        Some(limit) => format_err!(
            "forcing trap when growing {what} to {desired} {unit}, over the store's limit of \
             {limit} {unit} (`{setting}`)"
        ),
        None => format_err!(
            "forcing trap when growing {what} to {desired} {unit}, over the maximum of its type"
        ),
    }
}

/// An embedder's limiter as the runtime asks it.
pub(crate) struct LimiterAdapter<'a>(pub(crate) &'a mut dyn ResourceLimiter);

fn failure(error: Error) -> Failure {
    Failure::Host(host_error(error))
}

impl Limiter for LimiterAdapter<'_> {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Failure> {
        self.0.memory_growing(current, desired, maximum).map_err(failure)
    }

    fn memory_grow_failed(&mut self, error: String) -> Result<(), Failure> {
        self.0.memory_grow_failed(Error::msg(error)).map_err(failure)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, Failure> {
        self.0.table_growing(current, desired, maximum).map_err(failure)
    }

    fn table_grow_failed(&mut self, error: String) -> Result<(), Failure> {
        self.0.table_grow_failed(Error::msg(error)).map_err(failure)
    }

    fn instances(&self) -> usize {
        self.0.instances()
    }

    fn tables(&self) -> usize {
        self.0.tables()
    }

    fn memories(&self) -> usize {
        self.0.memories()
    }

    fn budget(&self) -> Option<&Budget> {
        self.0.budget()
    }
}
