//! The process-wide registry of defined types.
//!
//! A defined type (`(type …)`) is interned: structurally equal recursion groups get the same ids, so
//! that type equality is id equality, at link time and in generated code (`call_indirect`, casts).
//! Groups that are equal but for the order of their types are different groups.
//!
//! Invariant: a [`TypeId`] is never given out twice, and two live ids name the same type exactly when
//! they are equal. An id is live while a [`RegisteredType`] of its group exists; whoever stores a
//! `TypeId` keeps such a handle (modules, types of the API, stores).

use crate::abi::CallLayout;
use crate::composite::{ArrayType, CompositeType, FieldType, StorageType, StructType, SubType};
use crate::types::{FuncType, HeapType, RefType, ValType};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Process-wide number of a defined type. Zero is never an id, so zeroed memory matches no type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TypeId(NonZeroU32);

impl TypeId {
    /// The number that generated code compares.
    pub const fn as_u32(self) -> u32 {
        self.0.get()
    }

    /// The id of a number; whether a type with it is registered is another question.
    pub const fn from_u32(number: u32) -> Option<TypeId> {
        match NonZeroU32::new(number) {
            Some(number) => Some(TypeId(number)),
            None => None,
        }
    }

    /// The position in the group being built that a reference stands for.
    fn inside(self) -> Option<u32> {
        (self.as_u32() & INSIDE != 0).then_some(self.as_u32() & !INSIDE)
    }
}

/// A recursion group as it enters the registry. References inside the group are relative.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct GroupKey(Box<[u32]>);

/// Builds the canonical form of a recursion group: one word sequence in which references into the
/// group are positions and references out of it are ids, so that equal groups are equal words.
pub(crate) struct GroupBuilder {
    words: Vec<u32>,
    types: Vec<SubType>,
    outside: Vec<Arc<RecGroup>>,
}

/// Marks a reference into the group that is being built; patched to an id when the group is new.
/// Never leaves this file.
const INSIDE: u32 = 1 << 31;

/// How a type names a defined type while its group is being read.
#[derive(Clone, Copy)]
pub(crate) enum DefinedRef<'a> {
    /// Position in the group being built.
    Inside(u32),
    /// A type that is registered already.
    Outside(&'a RegisteredType),
}

impl GroupBuilder {
    pub(crate) fn new() -> GroupBuilder {
        GroupBuilder { words: Vec::new(), types: Vec::new(), outside: Vec::new() }
    }

    /// What stands for `target` in the types of this group.
    pub(crate) fn id(&mut self, target: DefinedRef<'_>) -> TypeId {
        match target {
            DefinedRef::Inside(position) => {
                TypeId(NonZeroU32::new(INSIDE | position).expect("INSIDE is not zero"))
            }
            DefinedRef::Outside(ty) => {
                self.outside.push(ty.group.clone());
                ty.id()
            }
        }
    }

    /// Adds a type. Its supertype, if it has one, is registered or was added before.
    pub(crate) fn push(&mut self, ty: SubType) {
        let kind = match ty.composite {
            CompositeType::Func(_) => 0,
            CompositeType::Struct(_) => 1,
            CompositeType::Array(_) => 2,
        };
        let above = ty.supertype.map_or(0, TypeId::as_u32);
        self.words.extend([u32::from(ty.is_final) | kind << 1, above]);
        let fields = |words: &mut Vec<u32>, fields: &[FieldType]| {
            for field in fields {
                words.extend(encode_storage(field.storage));
                words.push(u32::from(field.mutable));
            }
        };
        match &ty.composite {
            CompositeType::Func(ty) => {
                self.words.push(ty.params().len() as u32);
                self.words.push(ty.results().len() as u32);
                for ty in ty.params().iter().chain(ty.results()) {
                    self.words.extend(encode(*ty));
                }
            }
            CompositeType::Struct(ty) => {
                self.words.push(ty.fields().len() as u32);
                fields(&mut self.words, ty.fields());
            }
            CompositeType::Array(ty) => fields(&mut self.words, &[ty.element]),
        }
        self.types.push(ty);
    }

    /// Registers the group, or finds the equal one that is registered.
    pub(crate) fn finish(self) -> Arc<RecGroup> {
        let key = GroupKey(self.words.into());
        let mut registry = registry();
        if let Some(found) = registry.groups.get(&key).and_then(Weak::upgrade) {
            return found;
        }
        let first = registry.next;
        let count = u32::try_from(self.types.len()).expect("a module has at most 1,000,000 types");
        registry.next = first
            .checked_add(count)
            .filter(|next| *next < INSIDE)
            .expect("fewer than 2^31 types are defined in the life of a process");
        let own =
            |position: u32| TypeId(NonZeroU32::new(first + position).expect("ids start at 1"));
        let resolve = |id: TypeId| id.inside().map_or(id, own);
        let mut types: Vec<Defined> = Vec::with_capacity(self.types.len());
        for (position, ty) in self.types.into_iter().enumerate() {
            let mut supertypes = match ty.supertype {
                None => Vec::new(),
                Some(id) => match id.inside() {
                    Some(above) => types[above as usize].supertypes.to_vec(),
                    None => {
                        let group = self.outside.iter().find(|group| group.holds(id));
                        let group = group.expect("`id` noted the group of each registered type");
                        group.types[(id.as_u32() - group.first) as usize].supertypes.to_vec()
                    }
                },
            };
            supertypes.push(own(position as u32));
            types.push(Defined {
                ty: SubType {
                    is_final: ty.is_final,
                    supertype: ty.supertype.map(resolve),
                    composite: ty.composite.map_concrete(&mut { resolve }),
                },
                supertypes: supertypes.into(),
                layout: OnceLock::new(),
            });
        }
        let group = Arc::new(RecGroup {
            key: key.clone(),
            first,
            types: types.into(),
            _outside: self.outside,
        });
        for position in 0..count {
            registry.ids.insert(first + position, (Arc::downgrade(&group), position));
        }
        registry.groups.insert(key, Arc::downgrade(&group));
        group
    }
}

fn encode_storage(ty: StorageType) -> [u32; 2] {
    match ty {
        StorageType::I8 => [6, 0],
        StorageType::I16 => [7, 0],
        StorageType::Val(ty) => encode(ty),
    }
}

fn encode(ty: ValType) -> [u32; 2] {
    match ty {
        ValType::I32 => [1, 0],
        ValType::I64 => [2, 0],
        ValType::F32 => [3, 0],
        ValType::F64 => [4, 0],
        ValType::V128 => [5, 0],
        ValType::Ref(RefType { nullable, heap }) => {
            let (kind, id) = match heap {
                HeapType::Func => (0, 0),
                HeapType::NoFunc => (1, 0),
                HeapType::Extern => (2, 0),
                HeapType::NoExtern => (3, 0),
                HeapType::Any => (4, 0),
                HeapType::Eq => (5, 0),
                HeapType::I31 => (6, 0),
                HeapType::Struct => (7, 0),
                HeapType::Array => (8, 0),
                HeapType::None => (9, 0),
                HeapType::Exn => (10, 0),
                HeapType::NoExn => (11, 0),
                // What kind of type it is, its id tells.
                HeapType::ConcreteFunc(id)
                | HeapType::ConcreteStruct(id)
                | HeapType::ConcreteArray(id) => (12, id.as_u32()),
            };
            [16 + 2 * kind + u32::from(nullable), id]
        }
    }
}

/// A type of a registered group.
#[derive(Debug)]
struct Defined {
    ty: SubType,
    /// From the topmost down to the type itself.
    supertypes: Box<[TypeId]>,
    /// Calling convention of a function type, once asked for.
    layout: OnceLock<CallLayout>,
}

/// A registered recursion group. Its ids are `first..first + types.len()`.
#[derive(Debug)]
pub(crate) struct RecGroup {
    key: GroupKey,
    first: u32,
    types: Box<[Defined]>,
    /// Groups that this one refers to stay registered as long as it does.
    _outside: Vec<Arc<RecGroup>>,
}

impl RecGroup {
    fn holds(&self, id: TypeId) -> bool {
        id.as_u32().checked_sub(self.first).is_some_and(|n| (n as usize) < self.types.len())
    }
}

impl Drop for RecGroup {
    fn drop(&mut self) {
        let mut registry = registry();
        for position in 0..self.types.len() as u32 {
            registry.ids.remove(&(self.first + position));
        }
        // Another thread may have registered an equal group since the last handle went away.
        if registry.groups.get(&self.key).is_some_and(|group| group.strong_count() == 0) {
            registry.groups.remove(&self.key);
        }
    }
}

struct Registry {
    groups: HashMap<GroupKey, Weak<RecGroup>>,
    ids: HashMap<u32, (Weak<RecGroup>, u32)>,
    next: u32,
}

fn registry() -> MutexGuard<'static, Registry> {
    static REGISTRY: std::sync::LazyLock<Mutex<Registry>> = std::sync::LazyLock::new(|| {
        Mutex::new(Registry { groups: HashMap::new(), ids: HashMap::new(), next: 1 })
    });
    // No code between lock and unlock leaves the maps half-changed, so poison carries no meaning.
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A defined type that stays registered while this handle lives.
#[derive(Clone, Debug)]
pub struct RegisteredType {
    group: Arc<RecGroup>,
    position: u32,
}

impl RegisteredType {
    pub(crate) fn new(group: Arc<RecGroup>, position: u32) -> RegisteredType {
        RegisteredType { group, position }
    }

    /// Registers a final function type on its own (as a recursion group of one). `None` when it refers
    /// to a type that is no longer registered.
    pub fn intern(ty: &FuncType) -> Option<RegisteredType> {
        RegisteredType::intern_sub(&SubType::plain(CompositeType::Func(ty.clone())))
    }

    /// Registers a type on its own (as a recursion group of one). `None` when it refers to a type that
    /// is no longer registered. Whether it may be declared below its supertype was checked before.
    pub fn intern_sub(ty: &SubType) -> Option<RegisteredType> {
        let mut builder = GroupBuilder::new();
        let mut named: Vec<TypeId> = ty.supertype.into_iter().collect();
        ty.composite.visit_concrete(&mut |id| named.push(id));
        for id in named {
            builder.outside.push(RegisteredType::from_id(id)?.group);
        }
        builder.push(ty.clone());
        Some(RegisteredType::new(builder.finish(), 0))
    }

    /// The live type with this id.
    pub fn from_id(id: TypeId) -> Option<RegisteredType> {
        // The upgraded handle is made while the lock is held and dropped, if at all, by the caller:
        // dropping the last handle takes the lock.
        let (group, position) = registry().ids.get(&id.as_u32()).cloned()?;
        Some(RegisteredType { group: group.upgrade()?, position })
    }

    fn defined(&self) -> &Defined {
        &self.group.types[self.position as usize]
    }

    /// Its process-wide number.
    pub fn id(&self) -> TypeId {
        TypeId(NonZeroU32::new(self.group.first + self.position).expect("ids start at 1"))
    }

    /// Structure, finality and supertype.
    pub fn sub_type(&self) -> &SubType {
        &self.defined().ty
    }

    /// Its structure.
    pub fn composite(&self) -> &CompositeType {
        &self.defined().ty.composite
    }

    /// Whether no type can be declared below it.
    pub fn is_final(&self) -> bool {
        self.defined().ty.is_final
    }

    /// The types that it is declared below, from the topmost on, and at last itself.
    pub fn supertypes(&self) -> &[TypeId] {
        &self.defined().supertypes
    }

    /// How many types it is declared below: its position in the displays of its subtypes.
    pub fn depth(&self) -> u32 {
        // The validator bounds it by 63.
        self.supertypes().len() as u32 - 1
    }

    /// The heap type of its values.
    pub fn heap_type(&self) -> HeapType {
        self.composite().heap_type(self.id())
    }

    /// Parameters and results of a function type.
    #[inline]
    pub fn as_func(&self) -> Option<&FuncType> {
        match self.composite() {
            CompositeType::Func(ty) => Some(ty),
            _ => None,
        }
    }

    /// Parameters and results of what is known to be a function type. Panics if it is none.
    #[inline]
    pub fn func_type(&self) -> &FuncType {
        self.as_func().expect("validated: it is the type of a function")
    }

    /// Fields of a struct type.
    pub fn as_struct(&self) -> Option<&StructType> {
        match self.composite() {
            CompositeType::Struct(ty) => Some(ty),
            _ => None,
        }
    }

    /// Elements of an array type.
    pub fn as_array(&self) -> Option<&ArrayType> {
        match self.composite() {
            CompositeType::Array(ty) => Some(ty),
            _ => None,
        }
    }

    /// Whether it names no defined type: then it does not contain itself.
    pub fn names_none(&self) -> bool {
        let mut none = true;
        self.composite().visit_concrete(&mut |_| none = false);
        none
    }

    /// How calls of this function type travel.
    #[inline]
    pub fn call_layout(&self) -> &CallLayout {
        self.defined().layout.get_or_init(|| CallLayout::new(self.func_type()))
    }
}

impl PartialEq for RegisteredType {
    fn eq(&self, other: &RegisteredType) -> bool {
        self.id() == other.id()
    }
}

impl Eq for RegisteredType {}

/// Whether defined type `a` is `b` or was declared below it. A type that is no longer registered is only
/// itself.
pub fn is_subtype(a: TypeId, b: TypeId) -> bool {
    a == b || RegisteredType::from_id(a).is_some_and(|ty| ty.supertypes().contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_types_share_an_id_and_ids_are_not_reused() {
        let ty = FuncType::new([ValType::I32, ValType::F64, ValType::V128], [ValType::I64]);
        let a = RegisteredType::intern(&ty).unwrap();
        let b = RegisteredType::intern(&ty).unwrap();
        assert_eq!(a.id(), b.id());
        let id = a.id();
        drop((a, b));
        assert!(RegisteredType::from_id(id).is_none());
        assert_ne!(RegisteredType::intern(&ty).unwrap().id(), id);
    }

    #[test]
    fn nullability_and_order_matter() {
        let f = |nullable| {
            let heap = HeapType::Func;
            RegisteredType::intern(&FuncType::new([ValType::Ref(RefType { nullable, heap })], []))
                .unwrap()
        };
        assert_ne!(f(true).id(), f(false).id());
        let params = RegisteredType::intern(&FuncType::new([ValType::I32], [])).unwrap();
        let results = RegisteredType::intern(&FuncType::new([], [ValType::I32])).unwrap();
        assert_ne!(params.id(), results.id());
    }

    /// `(sub $above? (struct i32))`.
    fn open_struct(supertype: Option<TypeId>, fields: usize) -> SubType {
        let field = FieldType { storage: StorageType::Val(ValType::I32), mutable: false };
        let composite = CompositeType::Struct(StructType::new(vec![field; fields]));
        SubType { is_final: false, supertype, composite }
    }

    #[test]
    fn subtypes_are_declared() {
        let a = RegisteredType::intern_sub(&open_struct(None, 1)).unwrap();
        let b = RegisteredType::intern_sub(&open_struct(Some(a.id()), 2)).unwrap();
        let c = RegisteredType::intern_sub(&open_struct(Some(b.id()), 2)).unwrap();
        let like_b = RegisteredType::intern_sub(&open_struct(None, 2)).unwrap();
        assert_eq!(c.supertypes(), [a.id(), b.id(), c.id()]);
        assert_eq!((a.depth(), c.depth()), (0, 2));
        assert!(is_subtype(c.id(), a.id()) && !is_subtype(a.id(), c.id()));
        assert!(!is_subtype(like_b.id(), a.id()), "the structure alone makes no subtype");
        assert!(c.heap_type().matches(b.heap_type()) && c.heap_type().matches(HeapType::Struct));
        assert!(HeapType::None.matches(c.heap_type()) && !c.heap_type().matches(HeapType::Array));
        // What is below keeps what is above.
        let top = a.id();
        drop((a, b));
        assert!(is_subtype(c.id(), top));
    }

    #[test]
    fn groups_that_differ_in_order_or_finality_are_different() {
        let group = |fields: [usize; 2], link: u32| {
            let mut builder = GroupBuilder::new();
            for count in fields {
                let heap = HeapType::ConcreteStruct(builder.id(DefinedRef::Inside(link)));
                let storage = StorageType::Val(ValType::Ref(RefType { nullable: true, heap }));
                let field = FieldType { storage, mutable: true };
                let composite = CompositeType::Struct(StructType::new(vec![field; count]));
                builder.push(SubType::plain(composite));
            }
            RegisteredType::new(builder.finish(), 0)
        };
        let first = group([1, 2], 0);
        assert_eq!(first.id(), group([1, 2], 0).id());
        assert_ne!(first.id(), group([2, 1], 1).id());
        assert_ne!(first.id(), group([1, 2], 1).id());
        let StorageType::Val(ValType::Ref(ty)) = first.as_struct().unwrap().fields()[0].storage
        else {
            panic!("a reference");
        };
        assert_eq!(ty.heap, HeapType::ConcreteStruct(first.id()), "it refers to itself");
        let (open, mut closed) = (open_struct(None, 1), open_struct(None, 1));
        closed.is_final = true;
        let open = RegisteredType::intern_sub(&open).unwrap();
        assert_ne!(open.id(), RegisteredType::intern_sub(&closed).unwrap().id());
    }

    #[test]
    fn hammer_register_and_drop() {
        let rounds = if cfg!(miri) { 20 } else { 2000 };
        let threads: Vec<_> = (0..8u32)
            .map(|n| {
                std::thread::spawn(move || {
                    for round in 0..rounds {
                        let params = vec![ValType::I32; ((n + round) % 5) as usize];
                        let ty = FuncType::new(params, []);
                        let a = RegisteredType::intern(&ty).unwrap();
                        let b = RegisteredType::intern(&ty).unwrap();
                        assert_eq!(a.id(), b.id());
                        assert_eq!(RegisteredType::from_id(a.id()).unwrap().func_type(), &ty);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
