//! Rust types that travel between host and guest, and tuples of them.
//!
//! `Abi` is how a value lies in a register; [`WasmValue`] adds the Rust type that host code sees. The
//! set is closed: only the kernel makes pointers from function references.

use crate::call::{Args, InOrder, Rets};
use crate::store::{FuncId, Mismatch, Store, Value};
use std::marker::PhantomData;
use wardian_module::abi::{ResultLoc, is_int};
use wardian_module::layout::{FuncRef, Repr};
use wardian_module::{HeapType, RefType, ValType};

mod sealed {
    pub trait Sealed {}
}

/// How a value lies in a register of the host's convention.
pub trait Abi: Copy + sealed::Sealed {
    /// Its representation.
    const REPR: Repr;
    /// Whether the host's convention passes it in the same register as the guest's.
    const DIRECT: bool = true;
    /// From the low bits.
    fn from_bits(bits: u128) -> Self;
    /// To the low bits, zero above.
    fn to_bits(self) -> u128;
}

macro_rules! abi {
    ($($ty:ty, $repr:ident, |$bits:ident| $from:expr, |$v:ident| $to:expr;)*) => {$(
        impl sealed::Sealed for $ty {}
        impl Abi for $ty {
            const REPR: Repr = Repr::$repr;
            #[inline]
            fn from_bits($bits: u128) -> Self { $from }
            #[inline]
            fn to_bits(self) -> u128 { let $v = self; $to }
        }
    )*};
}

abi! {
    u32, I32, |bits| bits as u32, |v| u128::from(v);
    u64, I64, |bits| bits as u64, |v| u128::from(v);
    f32, F32, |bits| f32::from_bits(bits as u32), |v| u128::from(v.to_bits());
    f64, F64, |bits| f64::from_bits(bits as u64), |v| u128::from(v.to_bits());
}

/// A vector on its way; it always travels by register image.
#[derive(Clone, Copy, Debug)]
pub struct VectorAbi(pub(crate) u128);

impl sealed::Sealed for VectorAbi {}
impl Abi for VectorAbi {
    const REPR: Repr = Repr::V128;
    const DIRECT: bool = false;
    fn from_bits(bits: u128) -> Self {
        VectorAbi(bits)
    }
    fn to_bits(self) -> u128 {
        self.0
    }
}

/// A function reference on its way. Only the kernel makes and reads one.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct FuncAbi(*const FuncRef);

impl sealed::Sealed for FuncAbi {}
impl Abi for FuncAbi {
    const REPR: Repr = Repr::Pointer;
    fn from_bits(bits: u128) -> Self {
        FuncAbi(std::ptr::with_exposed_provenance(bits as usize))
    }
    fn to_bits(self) -> u128 {
        self.0.expose_provenance() as u128
    }
}

/// A Rust type that stands for a WebAssembly value.
pub trait WasmValue: Sized + sealed::Sealed + 'static {
    /// How it travels.
    type Abi: Abi;
    /// Its type.
    const TYPE: ValType;
    /// From a register.
    fn lift(abi: Self::Abi, store: &Store) -> Self;
    /// To a register. Fails for references that are not of `store` or of the wrong type.
    fn lower(self, store: &Store) -> Result<Self::Abi, Mismatch>;
}

macro_rules! wasm_values {
    ($($ty:ty, $abi:ty, $val:ident;)*) => {$(
        impl WasmValue for $ty {
            type Abi = $abi;
            const TYPE: ValType = ValType::$val;
            #[inline]
            fn lift(abi: $abi, _: &Store) -> $ty { abi as $ty }
            #[inline]
            fn lower(self, _: &Store) -> Result<$abi, Mismatch> { Ok(self as $abi) }
        }
    )*};
}

impl sealed::Sealed for i32 {}
impl sealed::Sealed for i64 {}

wasm_values! {
    i32, u32, I32;
    u32, u32, I32;
    i64, u64, I64;
    u64, u64, I64;
    f32, f32, F32;
    f64, f64, F64;
}

/// A vector, as its bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vector(pub u128);

impl sealed::Sealed for Vector {}
impl WasmValue for Vector {
    type Abi = VectorAbi;
    const TYPE: ValType = ValType::V128;
    fn lift(abi: VectorAbi, _: &Store) -> Vector {
        Vector(abi.0)
    }
    fn lower(self, _: &Store) -> Result<VectorAbi, Mismatch> {
        Ok(VectorAbi(self.0))
    }
}

/// An abstract type of the heap's objects.
pub trait Heap: Copy + sealed::Sealed + 'static {
    /// The type.
    const TYPE: HeapType;
}

macro_rules! heaps {
    ($($(#[$doc:meta])* $name:ident $heap:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name {}

        impl sealed::Sealed for $name {}
        impl Heap for $name {
            const TYPE: HeapType = HeapType::$heap;
        }
    )*};
}

heaps! {
    /// `extern`
    ExternHeap Extern;
    /// `any`
    AnyHeap Any;
    /// `eq`
    EqHeap Eq;
    /// `i31`
    I31Heap I31;
    /// `struct`
    StructHeap Struct;
    /// `array`
    ArrayHeap Array;
}

/// A reference into the heap, or an integer of 31 bits. 0 is null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nullable<H>(u32, PhantomData<H>);

/// A reference into the heap, or an integer of 31 bits, that is not null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NonNull<H>(u32, PhantomData<H>);

macro_rules! references {
    ($($name:ident $nullable:literal;)*) => {$(
        impl<H> $name<H> {
            /// From its bits. They hold until the next collection.
            pub fn new(bits: u32) -> $name<H> {
                $name(bits, PhantomData)
            }

            /// Its bits. They hold until the next collection.
            pub fn bits(self) -> u32 {
                self.0
            }
        }

        impl<H> sealed::Sealed for $name<H> {}
        impl<H: Heap> WasmValue for $name<H> {
            type Abi = u32;
            const TYPE: ValType = ValType::Ref(RefType { nullable: $nullable, heap: H::TYPE });
            #[inline]
            fn lift(abi: u32, _: &Store) -> Self {
                $name::new(abi)
            }
            #[inline]
            fn lower(self, _: &Store) -> Result<u32, Mismatch> {
                if !$nullable && self.0 == 0 { Err(Mismatch) } else { Ok(self.0) }
            }
        }
    )*};
}

references! {
    Nullable true;
    NonNull false;
}

macro_rules! null_references {
    ($($(#[$doc:meta])* $name:ident $heap:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name;

        impl sealed::Sealed for $name {}
        impl WasmValue for $name {
            type Abi = u32;
            const TYPE: ValType = ValType::Ref(RefType { nullable: true, heap: HeapType::$heap });
            fn lift(_: u32, _: &Store) -> Self {
                $name
            }
            fn lower(self, _: &Store) -> Result<u32, Mismatch> {
                Ok(0)
            }
        }
    )*};
}

null_references! {
    /// The only value of `nullexternref`.
    NullExtern NoExtern;
    /// The only value of `nullref`.
    NullRef None;
}

/// The only value of `nullfuncref`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NullFunc;

impl sealed::Sealed for NullFunc {}
impl WasmValue for NullFunc {
    type Abi = FuncAbi;
    const TYPE: ValType = ValType::Ref(RefType { nullable: true, heap: HeapType::NoFunc });
    fn lift(_: FuncAbi, _: &Store) -> Self {
        NullFunc
    }
    fn lower(self, _: &Store) -> Result<FuncAbi, Mismatch> {
        Ok(FuncAbi(std::ptr::null()))
    }
}

impl sealed::Sealed for Option<FuncId> {}
impl WasmValue for Option<FuncId> {
    type Abi = FuncAbi;
    const TYPE: ValType = ValType::Ref(RefType::FUNCREF);
    fn lift(abi: FuncAbi, store: &Store) -> Self {
        store.func_of(abi.0)
    }
    fn lower(self, store: &Store) -> Result<FuncAbi, Mismatch> {
        self.map_or(Ok(FuncAbi(std::ptr::null())), |id| store.func_ref(id).map(FuncAbi))
    }
}

impl sealed::Sealed for FuncId {}
impl WasmValue for FuncId {
    type Abi = FuncAbi;
    const TYPE: ValType = ValType::Ref(RefType { nullable: false, heap: HeapType::Func });
    fn lift(abi: FuncAbi, store: &Store) -> Self {
        store.func_of(abi.0).expect("a non-nullable reference is not null")
    }
    fn lower(self, store: &Store) -> Result<FuncAbi, Mismatch> {
        store.func_ref(self).map(FuncAbi)
    }
}

/// A value of dynamically known type, as users of the kernel keep it, if it can hold an `A`.
pub trait Holds<A>: Sized {
    /// A value that holds this.
    fn hold(value: A) -> Self;
    /// What it holds, if that is an `A`.
    fn held(&self) -> Option<A>;
}

/// A value that can be of each type without references. What it is told to hold and says that it holds is
/// trusted with nothing: every pattern of bits is a number.
pub trait Number: Holds<u32> + Holds<u64> + Holds<f32> + Holds<f64> + Holds<Vector> {}

/// A tuple of values: all parameters or all results of a function.
pub trait Values: Sized + 'static {
    /// Whether each travels directly (see [`Abi::DIRECT`]).
    const DIRECT: bool;
    /// Whether one of them may travel in a vector register.
    const USES_VECTORS: bool;
    /// Their types.
    fn types() -> Vec<ValType>;
    /// Writes them as arguments.
    fn write_args(self, args: &mut Args<'_>, store: &Store) -> Result<(), Mismatch>;
    /// Reads them as arguments.
    fn read_args(args: &mut Args<'_>, store: &Store) -> Self;
    /// Writes them as results.
    fn write_results(self, results: &mut Rets<'_>, store: &Store) -> Result<(), Mismatch>;
    /// Reads them as results.
    fn read_results(results: &mut Rets<'_>, store: &Store) -> Self;
    /// Bytes of the area that results of these types need.
    fn area_bytes() -> u32;
    /// Bytes of stack arguments of these types.
    fn stack_bytes(has_area: bool) -> u32;
    /// Whether results of these types come in the first register of their kind.
    fn in_first_registers() -> bool;
}

/// Results of a host function that can be returned in a register.
pub trait Results: Values {
    /// What the host's convention returns.
    type Direct: Copy;
    /// The only result, or nothing.
    fn direct(self, store: &Store) -> Result<Self::Direct, Mismatch>;
    /// What is returned beside a failure.
    fn nothing() -> Self::Direct;
}

macro_rules! tuples {
    ($($name:ident)*) => {
        impl<$($name: WasmValue),*> Values for ($($name,)*) {
            const DIRECT: bool = true $(&& <$name::Abi as Abi>::DIRECT)*;
            const USES_VECTORS: bool = false $(|| !is_int(<$name::Abi as Abi>::REPR))*;
            fn types() -> Vec<ValType> {
                vec![$($name::TYPE),*]
            }
            #[inline]
            #[allow(non_snake_case, unused_variables, reason = "the empty tuple")]
            fn write_args(self, args: &mut Args<'_>, store: &Store) -> Result<(), Mismatch> {
                let ($($name,)*) = self;
                $(args.write($name.lower(store)?);)*
                Ok(())
            }
            #[inline]
            #[allow(unused_variables, clippy::unused_unit, reason = "the empty tuple")]
            fn read_args(args: &mut Args<'_>, store: &Store) -> Self {
                ($($name::lift(args.read(), store),)*)
            }
            #[inline]
            #[allow(non_snake_case, unused_variables, reason = "the empty tuple")]
            fn write_results(self, results: &mut Rets<'_>, store: &Store) -> Result<(), Mismatch> {
                let ($($name,)*) = self;
                $(results.write($name.lower(store)?);)*
                Ok(())
            }
            #[inline]
            #[allow(unused_variables, clippy::unused_unit, reason = "the empty tuple")]
            fn read_results(results: &mut Rets<'_>, store: &Store) -> Self {
                ($($name::lift(results.read(), store),)*)
            }
            #[inline]
            fn area_bytes() -> u32 {
                #[allow(unused_mut, reason = "the empty tuple")]
                let mut cursor = wardian_module::abi::ResultCursor::default();
                $(cursor.next(<$name::Abi as Abi>::REPR);)*
                cursor.area_bytes()
            }
            #[inline]
            fn stack_bytes(has_area: bool) -> u32 {
                #[allow(unused_mut, reason = "the empty tuple")]
                let mut cursor = wardian_module::abi::ArgCursor::new(has_area);
                $(cursor.next(<$name::Abi as Abi>::REPR);)*
                cursor.stack_bytes()
            }
            #[inline]
            fn in_first_registers() -> bool {
                #[allow(unused_mut, unused_variables, reason = "the empty tuple")]
                let mut cursor = wardian_module::abi::ResultCursor::default();
                true $(&& matches!(
                    cursor.next(<$name::Abi as Abi>::REPR),
                    ResultLoc::Int(0) | ResultLoc::Vector(0)
                ))*
            }
        }
    };
}

macro_rules! all_tuples {
    ($mac:ident) => {
        $mac!();
        $mac!(A1);
        $mac!(A1 A2);
        $mac!(A1 A2 A3);
        $mac!(A1 A2 A3 A4);
        $mac!(A1 A2 A3 A4 A5);
        $mac!(A1 A2 A3 A4 A5 A6);
        $mac!(A1 A2 A3 A4 A5 A6 A7);
        $mac!(A1 A2 A3 A4 A5 A6 A7 A8);
        $mac!(A1 A2 A3 A4 A5 A6 A7 A8 A9);
        $mac!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10);
        $mac!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11);
        $mac!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12);
        $mac!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13);
        $mac!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14);
        $mac!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15);
        $mac!(A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16);
    };
}
pub(crate) use all_tuples;

all_tuples!(tuples);

impl Results for () {
    type Direct = ();
    #[inline]
    fn direct(self, _: &Store) -> Result<(), Mismatch> {
        Ok(())
    }
    #[inline]
    fn nothing() {}
}

impl<A: WasmValue> Results for (A,) {
    type Direct = A::Abi;
    #[inline]
    fn direct(self, store: &Store) -> Result<A::Abi, Mismatch> {
        self.0.lower(store)
    }
    #[inline]
    fn nothing() -> A::Abi {
        A::Abi::from_bits(0)
    }
}

macro_rules! wide_results {
    ($($name:ident)*) => { wide_results!(@ $($name)*); };
    (@) => {};
    (@ $one:ident) => {};
    (@ $($name:ident)*) => {
        impl<$($name: WasmValue),*> Results for ($($name,)*) {
            /// More than one result never travels directly.
            type Direct = ();
            fn direct(self, _: &Store) -> Result<(), Mismatch> {
                Err(Mismatch)
            }
            fn nothing() {}
        }
    };
}
all_tuples!(wide_results);

/// What kind of value `value` is, for messages.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::I32(_) => "i32",
        Value::I64(_) => "i64",
        Value::F32(_) => "f32",
        Value::F64(_) => "f64",
        Value::V128(_) => "v128",
        Value::Func(None) => "null funcref",
        Value::Func(Some(_)) => "funcref",
        Value::Ref(0) => "null reference",
        Value::Ref(_) => "reference into the heap",
    }
}
