//! Instances, and modules whose imports were resolved once.

use crate::error::{Error, ErrorKind, Result};
use crate::externals::{Extern, Global, Memory, Table, Tag};
use crate::func::{Func, call_start, exit_error, failure_error};
use crate::linker::Definition;
use crate::module::{Module, ModuleExport};
use crate::shared_memory::SharedMemory;
use crate::store::{AsContext, AsContextMut, StoreContext, StoreInner, WRONG_STORE, check_store};
use crate::typed::{TypedFunc, WasmParams, WasmResults};
use crate::types::{ExternType, FuncType};
use std::sync::Arc;
use wardian_runtime::InstantiateError;
use wardian_vm::{self as vm, CallError, InstanceId, StoreId};

/// An instance of a module in a store.
///
/// ```
/// use wardian::{Instance, Module, Store};
///
/// let mut store = Store::<()>::default();
/// let module = Module::new(store.engine(), r#"(module
///     (func (export "double") (param i32) (result i32)
///         local.get 0 i32.const 1 i32.shl))"#)?;
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let double = instance.get_typed_func::<i32, i32>(&mut store, "double")?;
/// assert_eq!(double.call(&mut store, 21)?, 42);
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Instance {
    store: StoreId,
    id: InstanceId,
}

/// An export of an instance, with its name.
///
/// ```
/// use wardian::{Instance, Module, Store};
///
/// let mut store = Store::<()>::default();
/// let module = Module::new(store.engine(), "(module (global (export \"g\") i32 i32.const 5))")?;
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let export = instance.exports(&store).next().expect("there is one");
/// let (name, global) = (export.name().to_string(), export.into_global().expect("a global"));
/// assert_eq!((name.as_str(), global.get(&mut store).unwrap_i32()), ("g", 5));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Export<'instance> {
    name: &'instance str,
    item: Extern,
}

impl<'instance> Export<'instance> {
    /// Its name.
    pub fn name(&self) -> &'instance str {
        self.name
    }

    /// Its type now.
    pub fn ty(&self, store: impl AsContext) -> ExternType {
        self.item.ty(store)
    }

    /// What is exported.
    pub fn into_extern(self) -> Extern {
        self.item
    }

    /// The function, if it is one.
    pub fn into_func(self) -> Option<Func> {
        self.item.into_func()
    }

    /// The memory, if it is one.
    pub fn into_memory(self) -> Option<Memory> {
        self.item.into_memory()
    }

    /// The shared memory, if it is one.
    pub fn into_shared_memory(self) -> Option<SharedMemory> {
        self.item.into_shared_memory()
    }

    /// The table, if it is one.
    pub fn into_table(self) -> Option<Table> {
        self.item.into_table()
    }

    /// The global, if it is one.
    pub fn into_global(self) -> Option<Global> {
        self.item.into_global()
    }

    /// The tag, if it is one.
    pub fn into_tag(self) -> Option<Tag> {
        self.item.into_tag()
    }
}

impl Instance {
    /// The instance of this id.
    pub(crate) fn of_id(store: StoreId, id: InstanceId) -> Instance {
        Instance { store, id }
    }

    pub(crate) fn id(&self) -> InstanceId {
        self.id
    }

    /// Makes an instance of `module` with `imports` in the module's order, and runs its start function.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Link`] when number or types of imports are wrong, [`ErrorKind::Misuse`]
    /// when something belongs to another store or engine, [`ErrorKind::Limit`] when a memory or table
    /// cannot be had; a trap of initialization or of the start function.
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let store = store.as_context_mut().0;
        for import in imports {
            import.check_store(store)?;
        }
        let expected = module.imports().len();
        if expected != imports.len() {
            let text = format!("expected {expected} imports, found {}", imports.len());
            return Err(Error::tagged(ErrorKind::Link, text));
        }
        let imports = imports.iter().map(|import| import.to_kernel(store).map(vm::Import::Extern));
        let imports = imports.collect::<Result<Vec<_>>>()?;
        Instance::with_kernel_imports(store, module, &imports)
    }

    pub(crate) fn with_kernel_imports<T>(
        store: &mut StoreInner<T>,
        module: &Module,
        imports: &[vm::Import],
    ) -> Result<Instance> {
        check_engine(store, module)?;
        // Also when it cannot be made: its functions may be in tables by then.
        store.keep_module(module);
        let made =
            store.limited(|rt, limiter| rt.instantiate_with(limiter, module.code(), imports));
        let (id, start) = made.map_err(|error| match error {
            InstantiateError::Import(position) => {
                let import = module.imports().nth(position).expect("the position of an import");
                let found = match &imports[position] {
                    vm::Import::Extern(item) => {
                        Extern::from_kernel(store, *item).ty(StoreContext(store))
                    }
                    vm::Import::Host(func) => {
                        ExternType::Func(FuncType::from_registered(func.ty().clone()))
                    }
                };
                incompatible(import.module(), import.name(), &import.ty(), &found)
            }
            InstantiateError::Limit(text) => Error::tagged(ErrorKind::Limit, text),
            InstantiateError::Failure(failure) => failure_error(store, failure),
        })?;
        tracing::debug!(
            target: wardian_runtime::log::INSTANCE,
            instance = id.index(),
            imports = imports.len(),
            start = start.is_some(),
            "instantiated"
        );
        if let Some(start) = start {
            match call_start(store, start)? {
                Ok(()) => {}
                Err(CallError::Exit(exit)) => return Err(exit_error(store, *exit)),
                Err(CallError::Mismatch) => {
                    unreachable!("a start function takes and gives nothing")
                }
            }
        }
        Ok(Instance { store: store.id(), id })
    }

    /// The export of this name.
    ///
    /// # Panics
    ///
    /// As every method without a `Result`: when it belongs to another store.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        let store = store.as_context_mut().0;
        assert!(self.store == store.id(), "{WRONG_STORE}");
        Extern::of_instance(store, self.id, name)
    }

    /// All exports, in the module's order.
    pub fn exports<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> impl ExactSizeIterator<Item = Export<'a>> + 'a {
        let store = store.into().0;
        assert!(self.store == store.id(), "{WRONG_STORE}");
        let module = store.rt.kernel.instance_code(self.id).module();
        module.exports.iter().map(move |export| Export {
            name: &export.name,
            item: Extern::of_index(store, self.id, export.index)
                .expect("validated exports exist, and tags are refused by compilation"),
        })
    }

    /// The export that was found in its module by [`Module::get_export_index`]; `None` when it is one of
    /// another module.
    pub fn get_module_export(
        &self,
        mut store: impl AsContextMut,
        export: &ModuleExport,
    ) -> Option<Extern> {
        let store = store.as_context_mut().0;
        assert!(self.store == store.id(), "{WRONG_STORE}");
        of_module_export(store, self.id, export)
    }

    /// The module it is an instance of.
    pub fn module<'a, T: 'static>(&self, store: impl Into<StoreContext<'a, T>>) -> &'a Module {
        let store = store.into().0;
        assert!(self.store == store.id(), "{WRONG_STORE}");
        module_of(store, self.id)
    }

    /// The exported function of this name.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// The exported memory of this name.
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// The exported shared memory of this name.
    pub fn get_shared_memory(&self, store: impl AsContextMut, name: &str) -> Option<SharedMemory> {
        self.get_export(store, name)?.into_shared_memory()
    }

    /// The exported table of this name.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// The exported global of this name.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }

    /// The exported tag of this name.
    pub fn get_tag(&self, store: impl AsContextMut, name: &str) -> Option<Tag> {
        self.get_export(store, name)?.into_tag()
    }

    /// The exported function of this name, with its type checked.
    ///
    /// # Errors
    ///
    /// When there is no function of that name, its type is another one, or the instance belongs to
    /// another store.
    pub fn get_typed_func<Params: WasmParams, Results: WasmResults>(
        &self,
        mut store: impl AsContextMut,
        name: &str,
    ) -> Result<TypedFunc<Params, Results>> {
        check_store(self.store, store.as_context().0.id())?;
        let func = self.get_func(&mut store, name).ok_or_else(|| {
            Error::tagged(ErrorKind::Misuse, format!("failed to find function export `{name}`"))
        })?;
        func.typed(store).map_err(|error| {
            error.context(format!("failed to convert function `{name}` to given type"))
        })
    }
}

/// An error unless module and store are of one engine.
fn check_engine<T>(store: &StoreInner<T>, module: &Module) -> Result<()> {
    if crate::Engine::same(&store.engine, module.engine()) {
        return Ok(());
    }
    let text = "module and store belong to different engines";
    Err(Error::tagged(ErrorKind::Misuse, text))
}

/// The module of an instance.
fn module_of<T>(store: &StoreInner<T>, instance: InstanceId) -> &Module {
    let module = store.module_of(store.rt.kernel.instance_code(instance).module());
    module.expect("kept when the instance was made")
}

/// The export of an instance, if it is one of its module.
pub(crate) fn of_module_export<T>(
    store: &StoreInner<T>,
    instance: InstanceId,
    export: &ModuleExport,
) -> Option<Extern> {
    if module_of(store, instance).id() != export.module {
        return None;
    }
    Extern::of_index(store, instance, export.index)
}

/// The error for an import of another type.
pub(crate) fn incompatible(
    module: &str,
    field: &str,
    expected: &ExternType,
    found: &ExternType,
) -> Error {
    let text = format!(
        "incompatible import type for `{module}::{field}`: expected {expected}, found {found}"
    );
    Error::tagged(ErrorKind::Link, text)
}

/// A module whose imports a [`Linker`](crate::Linker) has resolved, to be instantiated many times.
///
/// ```
/// use wardian::{Engine, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, "(module)")?;
/// let pre = Linker::new(&engine).instantiate_pre(&module)?;
/// for user in 0..3 {
///     pre.instantiate(Store::new(&engine, user))?;
/// }
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct InstancePre<T: 'static> {
    module: Module,
    imports: Arc<Imports<T>>,
}

/// What a linker has found for the imports of a module, in its order.
enum Imports<T: 'static> {
    /// For any store: as the kernel takes them.
    Ready(Box<[vm::Import]>),
    /// Some are of one store.
    Definitions(Box<[Definition<T>]>),
}

impl<T> Clone for InstancePre<T> {
    fn clone(&self) -> Self {
        InstancePre { module: self.module.clone(), imports: self.imports.clone() }
    }
}

impl<T> std::fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstancePre").field("module", &self.module).finish_non_exhaustive()
    }
}

impl<T: 'static> InstancePre<T> {
    /// `definitions` were judged, but for sizes of tables and memories.
    pub(crate) fn new(module: &Module, definitions: &[&Definition<T>]) -> InstancePre<T> {
        let hosts: Option<Box<[_]>> = definitions.iter().map(|found| found.to_import()).collect();
        let imports = match hosts {
            Some(hosts) => Imports::Ready(hosts),
            None => Imports::Definitions(definitions.iter().copied().cloned().collect()),
        };
        InstancePre { module: module.clone(), imports: Arc::new(imports) }
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Makes an instance and runs its start function.
    ///
    /// # Errors
    ///
    /// As [`Instance::new`].
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>) -> Result<Instance> {
        let store = store.as_context_mut().0;
        check_engine(store, &self.module)?;
        match &*self.imports {
            Imports::Ready(imports) => Instance::with_kernel_imports(store, &self.module, imports),
            Imports::Definitions(definitions) => {
                let of_store = |found: &Definition<T>| match found.to_import() {
                    Some(host) => Ok(host),
                    None => found.to_kernel(store).map(vm::Import::Extern),
                };
                let imports = definitions.iter().map(of_store).collect::<Result<Vec<_>>>()?;
                Instance::with_kernel_imports(store, &self.module, &imports)
            }
        }
    }
}

const _: () = {
    const fn send<T: Send>() {}
    const fn shared_between_threads<T: Send + Sync>() {}
    send::<InstancePre<std::cell::Cell<u8>>>();
    shared_between_threads::<Instance>();
};
