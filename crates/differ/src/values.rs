//! Values that cross between a guest and its host: made for calls, and shown in logs.
//!
//! A reference is shown as what the host can reach through it: fields, elements and the values of exceptions,
//! each object with the number of its first visit. So two heaps look the same if and only if they have the
//! same shape, wherever a collector put the objects.
//!
//! Invariant: what is made and shown depends on nothing but types, numbers of [`Random`] and what the guest
//! did. A line has a bound, whatever the guest linked with itself.

use crate::case::Random;
use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use wardian::*;

/// Objects that are looked into per line.
const OBJECTS: usize = 300;
/// Elements of an array that are shown.
const ELEMENTS: u32 = 40;
/// How deep objects that are made hold others.
const DEPTH: u32 = 3;

/// A value of a type; `None` if the host has none. All of a host's values are made here.
pub fn value<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    random: &mut Random,
    ty: &ValType,
) -> Option<Val> {
    value_at(store, random, ty, DEPTH)
}

/// Values of all these types, or none.
pub fn values<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    random: &mut Random,
    types: impl Iterator<Item = ValType>,
) -> Option<Vec<Val>> {
    types.map(|ty| value(store, random, &ty)).collect()
}

fn value_at<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    random: &mut Random,
    ty: &ValType,
    depth: u32,
) -> Option<Val> {
    let bits = random.interesting();
    Some(match ty {
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 => Val::I64(bits as i64),
        ValType::F32 => Val::F32(bits as u32),
        ValType::F64 => Val::F64(bits),
        ValType::V128 => {
            Val::V128((u128::from(bits) << 64 | u128::from(random.interesting())).into())
        }
        ValType::Ref(ty) => {
            let null = || ty.is_nullable().then(|| Val::null_ref(ty.heap_type()));
            if ty.is_nullable() && (depth == 0 || bits & 0x30 == 0) {
                return null();
            }
            return object(store, random, ty.heap_type(), bits, depth).or_else(null);
        }
    })
}

/// A reference that is not null. `None` for types without any, or such that the host cannot make.
fn object<T: 'static>(
    store: &mut StoreContextMut<'_, T>,
    random: &mut Random,
    heap: &HeapType,
    bits: u64,
    depth: u32,
) -> Option<Val> {
    // What always holds another of its kind ends here, and is not to be had.
    let below = depth.checked_sub(1)?;
    let i31 = I31::wrapping_u32(bits as u32);
    Some(match heap {
        HeapType::I31 | HeapType::Eq => AnyRef::from_i31(&mut *store, i31).into(),
        HeapType::Any if bits & 0x40 == 0 => AnyRef::from_i31(&mut *store, i31).into(),
        HeapType::Any => {
            let value = ExternRef::new(&mut *store, bits).ok()?;
            AnyRef::convert_extern(&mut *store, value).ok()?.into()
        }
        HeapType::Extern => ExternRef::new(&mut *store, bits).ok()?.into(),
        HeapType::ConcreteStruct(ty) => {
            let fields: Option<Vec<Val>> = ty
                .fields()
                .map(|field| value_at(store, random, field.element_type().unpack(), below))
                .collect();
            let pre = StructRefPre::new(&mut *store, ty.clone());
            StructRef::new(&mut *store, &pre, &fields?).ok()?.into()
        }
        HeapType::ConcreteArray(ty) => {
            let element = ty.element_type();
            let elements: Option<Vec<Val>> =
                (0..bits % 6).map(|_| value_at(store, random, element.unpack(), below)).collect();
            let pre = ArrayRefPre::new(&mut *store, ty.clone());
            ArrayRef::new_fixed(&mut *store, &pre, &elements?).ok()?.into()
        }
        HeapType::ConcreteFunc(ty) => {
            let random = random.clone();
            let results: Vec<ValType> = ty.results().collect();
            let func = move |mut caller: Caller<'_, T>, _: &[Val], given: &mut [Val]| {
                let made = values(
                    &mut caller.as_context_mut(),
                    &mut random.clone(),
                    results.iter().cloned(),
                );
                given.copy_from_slice(&made.ok_or(Trap::UnreachableCodeReached)?);
                Ok(())
            };
            Func::new(&mut *store, ty.clone(), func).into()
        }
        HeapType::Func => Func::wrap(&mut *store, || 7_i32).into(),
        _ => return None,
    })
}

/// What has been shown of a line: objects and functions by number.
#[derive(Default)]
pub struct Seen {
    /// By hash, as an object's identity has no other form.
    objects: HashMap<u64, Vec<(Rooted<AnyRef>, usize)>>,
    exceptions: Vec<Rooted<ExnRef>>,
    funcs: Vec<String>,
    count: usize,
}

impl Seen {
    /// Appends values to a line, with commas between them.
    pub fn show_all<T: 'static>(
        &mut self,
        line: &mut String,
        store: &mut StoreContextMut<'_, T>,
        values: &[Val],
    ) {
        for (index, value) in values.iter().enumerate() {
            if index > 0 {
                line.push_str(", ");
            }
            self.show(line, store, value);
        }
    }

    /// Appends a value to a line.
    pub fn show<T: 'static>(
        &mut self,
        line: &mut String,
        store: &mut StoreContextMut<'_, T>,
        value: &Val,
    ) {
        let _ = match value {
            Val::I32(v) => write!(line, "{v:#x}"),
            Val::I64(v) => write!(line, "{v:#x}L"),
            Val::F32(v) => write!(line, "f32:{v:#x}"),
            Val::F64(v) => write!(line, "f64:{v:#x}"),
            Val::V128(v) => write!(line, "v128:{:#x}", v.as_u128()),
            Val::FuncRef(None) => write!(line, "func:null"),
            Val::ExternRef(None) => write!(line, "extern:null"),
            Val::AnyRef(None) => write!(line, "any:null"),
            Val::ExnRef(None) => write!(line, "exn:null"),
            Val::FuncRef(Some(func)) => write!(line, "func:{}", self.func(func)),
            Val::ExternRef(Some(value)) => {
                line.push_str("extern:");
                let value = AnyRef::convert_extern(&mut *store, *value).expect("a live root");
                return self.any(line, store, value);
            }
            Val::AnyRef(Some(value)) => return self.any(line, store, *value),
            Val::ExnRef(Some(value)) => return self.exception(line, store, *value),
        };
    }

    fn func(&mut self, func: &Func) -> usize {
        // A handle's text is its identity.
        let name = format!("{func:?}");
        let known = self.funcs.iter().position(|other| *other == name);
        known.unwrap_or_else(|| {
            self.funcs.push(name);
            self.funcs.len() - 1
        })
    }

    fn any<T: 'static>(
        &mut self,
        line: &mut String,
        store: &mut StoreContextMut<'_, T>,
        value: Rooted<AnyRef>,
    ) {
        const LIVE: &str = "the root is live";
        if let Some(i31) = value.as_i31(&*store).expect(LIVE) {
            let _ = write!(line, "i31:{:#x}", i31.get_u32());
            return;
        }
        let mut hash = DefaultHasher::new();
        value.ref_hash(&*store, &mut hash).expect(LIVE);
        let same = self.objects.entry(hash.finish()).or_default();
        let known = same
            .iter()
            .find(|(other, _)| Rooted::<AnyRef>::ref_eq(&*store, other, &value).expect(LIVE));
        if let Some((_, number)) = known {
            let _ = write!(line, "#{number}");
            return;
        }
        let number = self.count;
        self.count += 1;
        same.push((value, number));
        let _ = write!(line, "#{number}");
        if number >= OBJECTS {
            return;
        }
        if let Some(object) = value.as_struct(&*store).expect(LIVE) {
            let fields: Vec<Val> = object.fields(&mut *store).expect(LIVE).collect();
            line.push('{');
            self.show_all(line, store, &fields);
            line.push('}');
        } else if let Some(array) = value.as_array(&*store).expect(LIVE) {
            let length = array.len(&*store).expect(LIVE);
            let _ = write!(line, "[{length}: ");
            for index in 0..length.min(ELEMENTS) {
                let element = array.get(&mut *store, index).expect("it is within the length");
                self.show(line, store, &element);
                line.push(' ');
            }
            line.push(']');
        } else {
            let value = ExternRef::convert_any(&mut *store, value).expect(LIVE);
            let data = value.data(&*store).expect(LIVE);
            let data = data.expect("what is no guest's is the host's").downcast_ref::<u64>();
            let _ = write!(line, "<{:#x}>", data.expect("the only type of host values here"));
        }
    }

    fn exception<T: 'static>(
        &mut self,
        line: &mut String,
        store: &mut StoreContextMut<'_, T>,
        value: Rooted<ExnRef>,
    ) {
        const LIVE: &str = "the root is live";
        let known = self
            .exceptions
            .iter()
            .position(|other| Rooted::<ExnRef>::ref_eq(&*store, other, &value).expect(LIVE));
        let number = known.unwrap_or(self.exceptions.len());
        let _ = write!(line, "exn{number}");
        if known.is_none() {
            self.exceptions.push(value);
            let fields: Vec<Val> = value.fields(&mut *store).expect(LIVE).collect();
            line.push('(');
            self.show_all(line, store, &fields);
            line.push(')');
        }
    }
}
