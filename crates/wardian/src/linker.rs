//! [`Linker`]: definitions by name, from which imports are resolved.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::externals::Extern;
use crate::func::{Caller, Func, dynamic_host_func, raw_host_func};
use crate::instance::{Instance, InstancePre, incompatible};
use crate::module::Module;
use crate::raw::ValRaw;
use crate::store::{AsContext, AsContextMut, StoreInner};
use crate::typed::IntoFunc;
use crate::types::{ExternType, FuncType, ImportType};
use crate::val::Val;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::marker::PhantomData;
use std::sync::Arc;
use wardian_module::Trap;
use wardian_vm as vm;

/// What a name stands for.
pub(crate) enum Definition<T: 'static> {
    /// Something of a store.
    Extern(Extern, ExternType),
    /// A host function for any store of data `T`.
    Host(Arc<vm::HostFunc>, PhantomData<fn(T)>),
}

impl<T> Clone for Definition<T> {
    fn clone(&self) -> Self {
        match self {
            Definition::Extern(item, ty) => Definition::Extern(item.clone(), ty.clone()),
            Definition::Host(func, _) => Definition::Host(func.clone(), PhantomData),
        }
    }
}

impl<T: 'static> Definition<T> {
    fn ty(&self) -> ExternType {
        match self {
            Definition::Extern(_, ty) => ty.clone(),
            Definition::Host(func, _) => {
                ExternType::Func(FuncType::from_registered(func.ty().clone()))
            }
        }
    }

    /// As the kernel takes it for any store, if it is of none.
    pub(crate) fn to_import(&self) -> Option<vm::Import> {
        match self {
            Definition::Extern(..) => None,
            Definition::Host(func, _) => Some(vm::Import::Host(func.clone())),
        }
    }

    /// As an item of `store`.
    pub(crate) fn to_kernel(&self, store: &mut StoreInner<T>) -> Result<vm::Extern> {
        match self {
            Definition::Extern(item, _) => item.to_kernel(store),
            Definition::Host(func, _) => {
                let id = store.rt.kernel.host_func(func.clone(), None);
                let id =
                    id.map_err(|_| Error::tagged(ErrorKind::Limit, "no memory for a function"))?;
                Ok(vm::Extern::Func(id))
            }
        }
    }
}

/// Definitions by two names, from which imports of modules are resolved.
///
/// Host functions in it belong to no store: one linker serves many stores.
///
/// ```
/// use wardian::{Engine, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let mut linker = Linker::<u32>::new(&engine);
/// linker.func_wrap("host", "tick", |mut caller: wardian::Caller<'_, u32>| *caller.data_mut() += 1)?;
/// let module = Module::new(&engine, r#"(module
///     (import "host" "tick" (func $tick))
///     (func (export "run") call $tick call $tick))"#)?;
/// let mut store = Store::new(&engine, 0);
/// let instance = linker.instantiate(&mut store, &module)?;
/// instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
/// assert_eq!(*store.data(), 2);
/// # Ok::<(), wardian::Error>(())
/// ```
pub struct Linker<T: 'static> {
    engine: Engine,
    modules: HashMap<Box<str>, HashMap<Box<str>, Definition<T>>>,
    allow_shadowing: bool,
    allow_unknown_exports: bool,
}

/// An import that nobody defined. Errors of [`Linker`] that say so carry it.
///
/// ```
/// use wardian::{Engine, Linker, Module, UnknownImportError};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, "(module (import \"a\" \"b\" (global i32)))")?;
/// let error = Linker::<()>::new(&engine).instantiate_pre(&module).unwrap_err();
/// let unknown = error.downcast_ref::<UnknownImportError>().expect("says which");
/// assert_eq!((unknown.module(), unknown.name()), ("a", "b"));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownImportError {
    module: String,
    name: String,
    ty: ExternType,
}

impl UnknownImportError {
    /// The import's first name.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The import's second name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type that the definition must have.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }

    fn new(import: &ImportType<'_>) -> UnknownImportError {
        let (module, name) = (import.module().to_string(), import.name().to_string());
        UnknownImportError { module, name, ty: import.ty() }
    }
}

impl std::fmt::Display for UnknownImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let UnknownImportError { module, name, ty } = self;
        write!(f, "unknown import: `{module}::{name}` has not been defined; expected {ty}")
    }
}

impl std::error::Error for UnknownImportError {}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Linker {
            engine: self.engine.clone(),
            modules: self.modules.clone(),
            allow_shadowing: self.allow_shadowing,
            allow_unknown_exports: self.allow_unknown_exports,
        }
    }
}

/// Without definitions, for an engine with default choices.
///
/// # Panics
///
/// As [`Engine::default`].
impl<T: 'static> Default for Linker<T> {
    fn default() -> Linker<T> {
        Linker::new(&Engine::default())
    }
}

impl<T> std::fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linker").finish_non_exhaustive()
    }
}

impl<T: 'static> Linker<T> {
    /// Without definitions.
    pub fn new(engine: &Engine) -> Linker<T> {
        Linker {
            engine: engine.clone(),
            modules: HashMap::new(),
            allow_shadowing: false,
            allow_unknown_exports: false,
        }
    }

    /// The engine it was made for.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether a name may be defined anew. Off at first.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Linker<T> {
        self.allow_shadowing = allow;
        self
    }

    /// Whether [`module`](Linker::module) takes commands that export something beside functions, and
    /// leaves that out. Off at first.
    pub fn allow_unknown_exports(&mut self, allow: bool) -> &mut Linker<T> {
        self.allow_unknown_exports = allow;
        self
    }

    /// An error unless `store` is one of the linker's engine.
    fn check_engine(&self, store: &StoreInner<T>) -> Result<()> {
        if Engine::same(&self.engine, &store.engine) {
            return Ok(());
        }
        Err(Error::tagged(ErrorKind::Misuse, "linker and store belong to different engines"))
    }

    fn insert(&mut self, module: &str, name: &str, definition: Definition<T>) -> Result<&mut Self> {
        let names = match self.modules.get_mut(module) {
            Some(names) => names,
            None => self.modules.entry(module.into()).or_default(),
        };
        match names.entry(name.into()) {
            Entry::Occupied(_) if !self.allow_shadowing => {
                let text = format!("import of `{module}::{name}` defined twice");
                return Err(Error::tagged(ErrorKind::Misuse, text));
            }
            entry => entry.insert_entry(definition),
        };
        Ok(self)
    }

    /// Defines a name as something of a store.
    ///
    /// # Errors
    ///
    /// When the name is defined and shadowing is off, `item` belongs to another store, or the store to
    /// another engine.
    pub fn define(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Linker<T>> {
        let (store, item) = (store.as_context(), item.into());
        self.check_engine(store.0)?;
        item.check_store(store.0)?;
        let ty = item.ty(store);
        self.insert(module, name, Definition::Extern(item, ty))
    }

    /// Defines a host function from a Rust closure; see [`Func::wrap`].
    ///
    /// # Errors
    ///
    /// When the name is defined and shadowing is off.
    pub fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Linker<T>> {
        let func = Arc::new(func.into_host_func().0);
        self.insert(module, name, Definition::Host(func, PhantomData))
    }

    /// Defines a host function of dynamically given type; see [`Func::new`].
    ///
    /// # Errors
    ///
    /// When the name is defined and shadowing is off.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Linker<T>> {
        let func = Arc::new(dynamic_host_func(ty, func));
        self.insert(module, name, Definition::Host(func, PhantomData))
    }

    /// Defines a host function on slots; see [`Func::new_raw`].
    ///
    /// # Errors
    ///
    /// When the name is defined and shadowing is off.
    pub fn func_new_raw(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &mut [ValRaw]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Linker<T>> {
        let func = Arc::new(raw_host_func(ty, func));
        self.insert(module, name, Definition::Host(func, PhantomData))
    }

    /// Defines every export of an instance under `module_name`.
    ///
    /// # Errors
    ///
    /// When a name is defined and shadowing is off, or the store belongs to another engine.
    ///
    /// # Panics
    ///
    /// When the instance belongs to another store.
    pub fn instance(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        instance: Instance,
    ) -> Result<&mut Linker<T>> {
        let store = store.as_context_mut();
        self.check_engine(store.0)?;
        let exports: Vec<_> = instance
            .exports(&store)
            .map(|export| (export.name().to_string(), export.into_extern()))
            .collect();
        for (name, item) in exports {
            self.define(&store, module_name, &name, item)?;
        }
        Ok(self)
    }

    /// Defines the exports of a module under `module_name`, by the two kinds of WASI modules.
    ///
    /// A *command* exports a function `_start`. Each call of one of its functions gets an instance of its
    /// own, which stays in the store like any other. Its other exports have no instance to belong to:
    /// those that toolchains always export are left out (a memory `memory`; tables `table` and
    /// `__indirect_function_table`; globals `__data_end`, `__heap_base`, `__dso_handle`, `__rtti_base`),
    /// more are an error unless [`allow_unknown_exports`](Linker::allow_unknown_exports).
    ///
    /// Every other module is a *reactor*: it is instantiated now, its function `_initialize` is called if
    /// there is one, and all its exports are defined.
    ///
    /// ```
    /// use wardian::{Linker, Module, Store};
    ///
    /// let mut store = Store::<()>::default();
    /// let mut linker = Linker::new(store.engine());
    /// let command = Module::new(store.engine(), r#"(module
    ///     (global $count (mut i32) (i32.const 0))
    ///     (func (export "_start"))
    ///     (func (export "count") (result i32)
    ///         (global.set $count (i32.add (global.get $count) (i32.const 1)))
    ///         (global.get $count)))"#)?;
    /// linker.module(&mut store, "c", &command)?;
    /// let count = linker.get(&mut store, "c", "count")?.into_func().expect("a function");
    /// let count = count.typed::<(), i32>(&store)?;
    /// assert_eq!((count.call(&mut store, ())?, count.call(&mut store, ())?), (1, 1));
    /// # Ok::<(), wardian::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When the module is both a command and a reactor, cannot be instantiated or its imports cannot be
    /// resolved, and when a name is defined and shadowing is off.
    pub fn module(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Linker<T>> {
        self.check_engine(store.as_context_mut().0)?;
        let [start, initialize] = ["_start", "_initialize"].map(|name| module.get_export(name));
        for (name, export) in [("_start", &start), ("_initialize", &initialize)] {
            if export.as_ref().is_some_and(|ty| ty.func().is_none()) {
                let text = format!("export `{name}`: expected a function");
                return Err(Error::tagged(ErrorKind::Link, text));
            }
        }
        if start.is_some() && initialize.is_some() {
            let text = "a module that exports both `_start` and `_initialize` is neither a command \
                        nor a reactor";
            return Err(Error::tagged(ErrorKind::Link, text));
        }
        if start.is_some() {
            return self.command(module_name, module);
        }
        let instance = self.instantiate(&mut store, module)?;
        if let Some(func) = instance.get_func(&mut store, "_initialize") {
            func.typed::<(), ()>(&store)?.call(&mut store, ())?;
        }
        self.instance(store, module_name, instance)
    }

    /// Defines the functions of a command: each call instantiates it.
    fn command(&mut self, module_name: &str, module: &Module) -> Result<&mut Linker<T>> {
        let pre = self.instantiate_pre(module)?;
        for export in module.exports() {
            let (name, ty) = (export.name(), export.ty());
            let ExternType::Func(ty) = ty else {
                if self.allow_unknown_exports || is_usual_export(name, &ty) {
                    continue;
                }
                let text = format!("export `{name}` of a command: expected a function, found {ty}");
                return Err(Error::tagged(ErrorKind::Link, text));
            };
            let index = module.get_export_index(name).expect("it is an export");
            let pre = pre.clone();
            self.func_new(module_name, name, ty, move |mut caller, params, results| {
                let instance = pre.instantiate(&mut caller)?;
                let func = instance.get_module_export(&mut caller, &index);
                let func = func.and_then(Extern::into_func).expect("an exported function");
                func.call(&mut caller, params, results)
            })?;
        }
        Ok(self)
    }

    /// Defines a name as another name's meaning.
    ///
    /// # Errors
    ///
    /// When the other name is not defined, or this one is and shadowing is off.
    pub fn alias(
        &mut self,
        module: &str,
        name: &str,
        as_module: &str,
        as_name: &str,
    ) -> Result<&mut Linker<T>> {
        let definition = self.find(module, name).cloned().ok_or_else(|| {
            let text = format!("no item `{module}::{name}` is defined");
            Error::tagged(ErrorKind::Misuse, text)
        })?;
        self.insert(as_module, as_name, definition)
    }

    /// Defines all names of `module` under `as_module` too.
    ///
    /// # Errors
    ///
    /// When one is defined there and shadowing is off; others may have been defined then.
    pub fn alias_module(&mut self, module: &str, as_module: &str) -> Result<()> {
        let names = self.modules.get(module).cloned().unwrap_or_default();
        for (name, definition) in names {
            self.insert(as_module, &name, definition)?;
        }
        Ok(())
    }

    /// Defines every function that `module` imports and nobody defined as one that traps with
    /// [`Trap::UnknownImport`], in an error that carries an [`UnknownImportError`]. Imports of other
    /// kinds stay undefined.
    ///
    /// # Errors
    ///
    /// None at present.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        for import in module.imports() {
            let ExternType::Func(ty) = import.ty() else { continue };
            if self.find(import.module(), import.name()).is_some() {
                continue;
            }
            let unknown = UnknownImportError::new(&import);
            self.func_new(import.module(), import.name(), ty, move |_, _, _| {
                let error = Error::new(Trap::UnknownImport).context(unknown.clone());
                Err(error.with_tag(ErrorKind::Trap))
            })?;
        }
        Ok(())
    }

    /// Defines every import of `module` that nobody defined: functions return zeros and nulls, globals
    /// hold them, memories and tables have their minimum size.
    ///
    /// # Errors
    ///
    /// When a type has no default value, when the store's limits forbid a memory or table, and when the
    /// store belongs to another engine.
    pub fn define_unknown_imports_as_default_values(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<()> {
        self.check_engine(store.as_context_mut().0)?;
        for import in module.imports() {
            if self.find(import.module(), import.name()).is_some() {
                continue;
            }
            let failed = |error: Error| {
                let text = format!("import `{}::{}`", import.module(), import.name());
                error.context(text)
            };
            match import.ty() {
                // Of no store, so that the linker serves many still.
                ExternType::Func(ty) => {
                    let values = ty.default_results().map_err(failed)?;
                    self.func_new(import.module(), import.name(), ty, move |_, _, results| {
                        results.clone_from_slice(&values);
                        Ok(())
                    })?;
                }
                ty => {
                    let item = ty.default_value(&mut store).map_err(failed)?;
                    self.define(&store, import.module(), import.name(), item)?;
                }
            }
        }
        Ok(())
    }

    fn find(&self, module: &str, name: &str) -> Option<&Definition<T>> {
        self.modules.get(module)?.get(name)
    }

    /// Everything that is defined and is of `store` or of none: both names, and what they stand for. In no
    /// particular order.
    ///
    /// # Panics
    ///
    /// When the store belongs to another engine, or has no memory for a host function.
    pub fn iter<'a: 'p, 'p>(
        &'a self,
        mut store: impl AsContextMut<Data = T> + 'p,
    ) -> impl Iterator<Item = (&'a str, &'a str, Extern)> + 'p {
        let names = self.modules.iter();
        let names =
            names.flat_map(|(module, names)| names.iter().map(move |entry| (module, entry)));
        names.filter_map(move |(module, (name, definition))| {
            let store = store.as_context_mut().0;
            let item = self.resolve(store, definition).unwrap_or_else(|error| panic!("{error}"))?;
            Some((&**module, &**name, item))
        })
    }

    /// What a definition stands for in a store; `None` if it is of another store.
    fn resolve(
        &self,
        store: &mut StoreInner<T>,
        definition: &Definition<T>,
    ) -> Result<Option<Extern>> {
        self.check_engine(store)?;
        if let Definition::Extern(item, _) = definition
            && item.check_store(store).is_err()
        {
            return Ok(None);
        }
        let item = definition.to_kernel(store)?;
        Ok(Some(Extern::from_kernel(store, item)))
    }

    /// What a name stands for, in a store.
    ///
    /// # Errors
    ///
    /// When nothing is defined under it, or something of another store, and when the store belongs to
    /// another engine.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Result<Extern> {
        let store = store.as_context_mut().0;
        let missing = |what| Error::tagged(ErrorKind::Link, format!("`{module}::{name}` {what}"));
        let definition = self.find(module, name).ok_or_else(|| missing("has not been defined"))?;
        self.resolve(store, definition)?.ok_or_else(|| missing("is defined in another store"))
    }

    /// What an import would be resolved to, whatever its type.
    ///
    /// # Panics
    ///
    /// When the store belongs to another engine, or has no memory for a host function.
    pub fn get_by_import(
        &self,
        store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Option<Extern> {
        self.try_get_by_import(store, import).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`get_by_import`](Linker::get_by_import), with an error where that panics.
    ///
    /// # Errors
    ///
    /// When the store belongs to another engine, or has no memory for a host function.
    pub fn try_get_by_import(
        &self,
        mut store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Result<Option<Extern>> {
        let store = store.as_context_mut().0;
        match self.find(import.module(), import.name()) {
            Some(definition) => self.resolve(store, definition),
            None => self.check_engine(store).map(|()| None),
        }
    }

    /// The function that runs a module defined under `module`: the one of the empty name, or `_start`, or
    /// one that does nothing.
    ///
    /// # Errors
    ///
    /// When what is defined there is not a function, or one of another store; when the store belongs to
    /// another engine.
    pub fn get_default(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
    ) -> Result<Func> {
        self.check_engine(store.as_context_mut().0)?;
        for name in ["", "_start"] {
            if self.find(module, name).is_some() {
                return self.get(&mut store, module, name)?.into_func().ok_or_else(|| {
                    let text = format!("`{module}::{name}`: expected a function");
                    Error::tagged(ErrorKind::Link, text)
                });
            }
        }
        Func::try_wrap(store, || {})
    }

    /// Resolves the imports of `module`, once for many instances.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Link`], naming the import, what was expected and what was found.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        if !Engine::same(&self.engine, module.engine()) {
            let text = "module and linker belong to different engines";
            return Err(Error::tagged(ErrorKind::Misuse, text));
        }
        let resolve = |import: ImportType<'_>| {
            let found =
                self.find(import.module(), import.name()).ok_or_else(|| unknown(&import))?;
            let (expected, ty) = (import.ty(), found.ty());
            // Tables and memories may have grown since they were defined: those are judged when the
            // instance is made.
            let sized = matches!(expected, ExternType::Table(_) | ExternType::Memory(_));
            let same_kind = std::mem::discriminant(&expected) == std::mem::discriminant(&ty);
            if !(ty.matches(&expected) || (sized && same_kind)) {
                return Err(incompatible(import.module(), import.name(), &expected, &ty));
            }
            Ok(found)
        };
        let definitions = module.imports().map(resolve).collect::<Result<Vec<_>>>()?;
        Ok(InstancePre::new(module, &definitions))
    }

    /// Resolves the imports of `module`, makes an instance and runs its start function.
    ///
    /// # Errors
    ///
    /// As [`instantiate_pre`](Linker::instantiate_pre) and [`Instance::new`].
    pub fn instantiate(
        &self,
        store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        self.instantiate_pre(module)?.instantiate(store)
    }
}

/// The error for an import that nobody defined.
fn unknown(import: &ImportType<'_>) -> Error {
    Error::new(UnknownImportError::new(import)).with_tag(ErrorKind::Link)
}

/// Whether toolchains export this from every command, beside functions.
fn is_usual_export(name: &str, ty: &ExternType) -> bool {
    match ty {
        ExternType::Memory(_) => name == "memory",
        ExternType::Table(_) => matches!(name, "table" | "__indirect_function_table"),
        ExternType::Global(_) => {
            matches!(name, "__data_end" | "__heap_base" | "__dso_handle" | "__rtti_base")
        }
        _ => false,
    }
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Linker<std::cell::Cell<u8>>>();
};
