//! [`Linker`]: definitions by name, from which imports are resolved.

use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::externals::{Extern, Global, Memory, Table};
use crate::func::{Caller, Func, dynamic_host_func};
use crate::instance::{Instance, InstancePre, incompatible};
use crate::module::Module;
use crate::store::{AsContext, AsContextMut, StoreInner, check_store};
use crate::typed::IntoFunc;
use crate::types::{ExternType, FuncType, ImportType, ValType};
use crate::val::Val;
use std::collections::HashMap;
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
            Definition::Extern(item, ty) => Definition::Extern(*item, ty.clone()),
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

    pub(crate) fn to_kernel(&self, store: &mut StoreInner<T>) -> Result<vm::Extern> {
        match self {
            Definition::Extern(item, _) => {
                check_store(item.store(), store.id())?;
                Ok(item.to_kernel())
            }
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
}

impl<T> Clone for Linker<T> {
    fn clone(&self) -> Self {
        Linker {
            engine: self.engine.clone(),
            modules: self.modules.clone(),
            allow_shadowing: self.allow_shadowing,
        }
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
        Linker { engine: engine.clone(), modules: HashMap::new(), allow_shadowing: false }
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

    fn insert(&mut self, module: &str, name: &str, definition: Definition<T>) -> Result<&mut Self> {
        let names = match self.modules.get_mut(module) {
            Some(names) => names,
            None => self.modules.entry(module.into()).or_default(),
        };
        if !self.allow_shadowing && names.contains_key(name) {
            let text = format!("import of `{module}::{name}` defined twice");
            return Err(Error::tagged(ErrorKind::Misuse, text));
        }
        names.insert(name.into(), definition);
        Ok(self)
    }

    /// Defines a name as something of a store.
    ///
    /// # Errors
    ///
    /// When the name is defined and shadowing is off, or `item` belongs to another store.
    pub fn define(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Linker<T>> {
        let (store, item) = (store.as_context(), item.into());
        check_store(item.store(), store.0.id())?;
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

    /// Defines every export of an instance under `module_name`.
    ///
    /// # Errors
    ///
    /// When a name is defined and shadowing is off.
    pub fn instance(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        instance: Instance,
    ) -> Result<&mut Linker<T>> {
        let store = store.as_context_mut();
        let exports: Vec<_> = instance
            .exports(&store)
            .map(|export| (export.name().to_string(), export.into_extern()))
            .collect();
        for (name, item) in exports {
            self.define(&store, module_name, &name, item)?;
        }
        Ok(self)
    }

    /// Instantiates `module` and defines its exports under `module_name`. A WASI command gets a fresh
    /// instance nowhere: its `_start` is an export like any other.
    ///
    /// # Errors
    ///
    /// When it cannot be instantiated, or a name is defined and shadowing is off. `_initialize` of a
    /// reactor is called.
    pub fn module(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module_name: &str,
        module: &Module,
    ) -> Result<&mut Linker<T>> {
        let instance = self.instantiate(&mut store, module)?;
        if let Some(func) = instance.get_func(&mut store, "_initialize") {
            func.typed::<(), ()>(&store)?.call(&mut store, ())?;
        }
        self.instance(store, module_name, instance)
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

    /// Defines every function that `module` imports and nobody defined as one that traps with
    /// [`Trap::UnknownImport`].
    ///
    /// # Errors
    ///
    /// When an undefined import is not a function.
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        for import in module.imports() {
            if self.find(import.module(), import.name()).is_some() {
                continue;
            }
            let ExternType::Func(ty) = import.ty() else {
                return Err(unknown(&import));
            };
            let text = format!("`{}::{}` has not been defined", import.module(), import.name());
            self.func_new(import.module(), import.name(), ty, move |_, _, _| {
                Err(Error::new(Trap::UnknownImport).context(text.clone()).with_tag(ErrorKind::Trap))
            })?;
        }
        Ok(())
    }

    /// Defines every import of `module` that nobody defined: functions return zeros and nulls, globals
    /// hold them, memories and tables have their minimum size.
    ///
    /// # Errors
    ///
    /// When a type has no default value, and when the store's limits forbid a memory or table.
    pub fn define_unknown_imports_as_default_values(
        &mut self,
        mut store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<()> {
        let default = |ty: &ValType, import: &ImportType<'_>| {
            Val::default_for_ty(ty)
                .ok_or_else(|| unknown(import).context("its type has no default"))
        };
        for import in module.imports() {
            if self.find(import.module(), import.name()).is_some() {
                continue;
            }
            let item: Extern = match import.ty() {
                ExternType::Func(ty) => {
                    let values = ty.results().map(|ty| default(&ty, &import));
                    let values = values.collect::<Result<Vec<_>>>()?;
                    self.func_new(import.module(), import.name(), ty, move |_, _, results| {
                        results.clone_from_slice(&values);
                        Ok(())
                    })?;
                    continue;
                }
                ExternType::Global(ty) => {
                    let value = default(ty.content(), &import)?;
                    Global::new(&mut store, ty, value)?.into()
                }
                ExternType::Memory(ty) => Memory::new(&mut store, ty)?.into(),
                ExternType::Table(ty) => {
                    let value = default(&ValType::Ref(ty.element().clone()), &import)?;
                    let init = value.ref_().expect("the default of a reference type");
                    Table::new(&mut store, ty, init)?.into()
                }
                _ => return Err(unknown(&import)),
            };
            self.define(&store, import.module(), import.name(), item)?;
        }
        Ok(())
    }

    fn find(&self, module: &str, name: &str) -> Option<&Definition<T>> {
        self.modules.get(module)?.get(name)
    }

    /// What a name stands for, in a store.
    ///
    /// # Errors
    ///
    /// None at present; a definition of another store is absent.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Option<Extern> {
        let store = store.as_context_mut().0;
        let item = self.find(module, name)?.to_kernel(store).ok()?;
        Some(Extern::from_kernel(store.id(), item))
    }

    /// What an import would be resolved to.
    pub fn get_by_import(
        &self,
        store: impl AsContextMut<Data = T>,
        import: &ImportType<'_>,
    ) -> Option<Extern> {
        self.get(store, import.module(), import.name())
    }

    /// The function that runs a module defined under `module`: its default export or `_start`.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn get_default(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
    ) -> Result<Func> {
        for name in ["", "_start"] {
            if let Some(Extern::Func(func)) = self.get(&mut store, module, name) {
                return Ok(func);
            }
        }
        Ok(Func::wrap(store, || {}))
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
            Ok(found.clone())
        };
        let definitions = module.imports().map(resolve).collect::<Result<Vec<_>>>()?;
        Ok(InstancePre { module: module.clone(), definitions: definitions.into() })
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
    let text = format!(
        "unknown import: `{}::{}` has not been defined; expected {}",
        import.module(),
        import.name(),
        import.ty()
    );
    Error::tagged(ErrorKind::Link, text)
}

const _: () = {
    const fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<Linker<std::cell::Cell<u8>>>();
};
