//! Builtins: what generated code asks of the host, stated once.
//!
//! Every builtin is called through one shim (see `layout::ModuleTable`) with the arguments
//! `(context, operation, a, b, c, d)`: `operation` packs the builtin's number with two constants known
//! when the code is compiled ([`Operation`]), `a` to `d` are the dynamic arguments as 64-bit values
//! whose upper halves are undefined for 32-bit types. A builtin returns a value or a trap; a trap never
//! returns to the code that called.

use crate::trap::Trap;

/// Type of a builtin's argument or result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// 32 bits; the upper half is undefined.
    W32,
    /// 64 bits.
    W64,
    /// A reference of the function hierarchy (a pointer).
    FuncRef,
    /// A reference into the store's heap; the upper half is undefined.
    Ref,
}

macro_rules! define_builtins {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ident),*) $(-> $result:ident)?;)*) => {
        /// An operation of the host that generated code calls.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Builtin {
            $($(#[$doc])* $name,)*
        }

        impl Builtin {
            /// Every builtin, in order of its number.
            pub const ALL: &'static [Builtin] = &[$(Builtin::$name),*];

            /// Types of the dynamic arguments: at most four.
            pub const fn params(self) -> &'static [Word] {
                match self {
                    $(Builtin::$name => &[$(Word::$ty),*],)*
                }
            }

            /// Type of the result.
            pub const fn result(self) -> Option<Word> {
                match self {
                    $(Builtin::$name => define_builtins!(@result $($result)?),)*
                }
            }

            /// Its name, for dumps.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Builtin::$name => stringify!($name),)*
                }
            }
        }
    };
    (@result) => { None };
    (@result $result:ident) => { Some(Word::$result) };
}

define_builtins! {
    /// Raises a trap. Constants: the trap's code; a type index (`BadSignature`) or table/memory index.
    /// Arguments: details for the message, by trap: see `Trap` and `runtime`'s message builder.
    Raise(x: W64, y: W64);
    /// Asks for faster code. Constants: defined function; loop (see `layout::Linkage`). Result: the
    /// address to go on at, or 0. Answered by the kernel alone.
    TierUp() -> W64;
    /// `memory.grow`. Constant: memory. Result: the old size in pages or -1, in the index type.
    MemoryGrow(pages: W64) -> W64;
    /// `memory.copy`. Constants: destination and source memory.
    MemoryCopy(target: W64, source: W64, length: W64);
    /// `memory.fill`. Constant: memory.
    MemoryFill(target: W64, value: W32, length: W64);
    /// `memory.init`. Constants: memory, data segment.
    MemoryInit(target: W64, source: W32, length: W32);
    /// `data.drop`. Constant: data segment.
    DataDrop();
    /// `memory.atomic.wait32`. Constant: memory. Arguments: index and offset of the address, which is
    /// aligned; result: 0 woken, 1 another value, 2 timed out.
    MemoryWait32(index: W64, offset: W64, expected: W32, timeout: W64) -> W32;
    /// `memory.atomic.wait64`, as the one before.
    MemoryWait64(index: W64, offset: W64, expected: W64, timeout: W64) -> W32;
    /// `memory.atomic.notify`. Constant: memory. Result: how many were woken.
    MemoryNotify(index: W64, offset: W64, count: W32) -> W32;
    /// `table.grow` on a table of functions. Constant: table. Result: old size or -1.
    TableGrowFunc(value: FuncRef, count: W64) -> W64;
    /// `table.grow` on a table of 32-bit references. Constant: table. Result: old size or -1.
    TableGrowRef(value: W32, count: W64) -> W64;
    /// `table.fill` on a table of functions. Constant: table.
    TableFillFunc(target: W64, value: FuncRef, count: W64);
    /// `table.fill` on a table of 32-bit references. Constant: table.
    TableFillRef(target: W64, value: W32, count: W64);
    /// `table.copy`. Constants: destination and source table.
    TableCopy(target: W64, source: W64, length: W64);
    /// `table.init`. Constants: table, element segment.
    TableInit(target: W64, source: W32, length: W32);
    /// `elem.drop`. Constant: element segment.
    ElemDrop();
    /// `f32.ceil` and its kin on processors without rounding instructions, on bits.
    /// Constant: the way, see [`Rounding`].
    RoundF32(bits: W32) -> W32;
    /// The same for `f64`.
    RoundF64(bits: W64) -> W64;
    /// Fused multiply-add on bits, for processors without it.
    FmaF32(x: W32, y: W32, z: W32) -> W32;
    /// The same for `f64`.
    FmaF64(x: W64, y: W64, z: W64) -> W64;
    /// The engine's epoch is at the store's deadline, or past it. The optimizing tier calls it by a shim
    /// of its own (`layout::Field::EpochShim`).
    EpochReached();
    /// A new struct: its header is written, its fields are zero or null. Constant: type.
    GcAllocStruct() -> Ref;
    /// A new array: header and length are written, its elements are zero or null. Constants: type; 1 if it
    /// was paid for already, 2 if nothing is paid for and the caller writes all elements next, so that they
    /// may hold anything. Traps where there cannot be an array so long.
    GcAllocArray(length: W32) -> Ref;
    /// A reference is about to be stored in an object without `layout::NO_BARRIER`, or was just now.
    GcRemember(object: Ref);
    /// The store's number of a function, by which objects refer to it; that of null is 0.
    FuncToId(func: FuncRef) -> W32;
    /// The exception whose tag and values the store's context holds, as an object.
    ExnNew() -> Ref;
    /// Puts tag and values of an exception, not null, into the store's context; the tag's id.
    ExnThrow(exception: Ref) -> W32;
    /// Whether the type with this id is, or was declared below, another: 1 or 0. Constant: type.
    IsSubtype(id: W32) -> W32;
    /// Whether a function, not null, has a type or one below it: 1 or 0. Constant: type.
    FuncIs(func: FuncRef) -> W32;
    /// `array.fill`. Constant: type. `place` is the array, not null, and from bit 32 on the first index;
    /// the value's bits are in `low` and, of a vector, `high`; a function is its number.
    ArrayFill(place: W64, low: W64, high: W64, length: W32);
    /// `array.copy`. Constants: types of destination and source. Places as above.
    ArrayCopy(target: W64, source: W64, length: W32);
    /// `array.new_data`. Constants: type, data segment.
    ArrayNewData(source: W32, length: W32) -> Ref;
    /// `array.new_elem`. Constants: type, element segment.
    ArrayNewElem(source: W32, length: W32) -> Ref;
    /// `array.init_data`. Constants: type, data segment.
    ArrayInitData(target: W64, source: W32, length: W32);
    /// `array.init_elem`. Constants: type, element segment.
    ArrayInitElem(target: W64, source: W32, length: W32);
}

/// Ways of rounding to an integer; the constant of [`Builtin::RoundF32`] and [`Builtin::RoundF64`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// Up.
    Ceil,
    /// Down.
    Floor,
    /// Towards zero.
    Trunc,
    /// To the nearest, ties to even.
    Nearest,
}

impl Rounding {
    /// The way that a builtin's constant means; tiers give no others than these four.
    pub const fn from_constant(constant: u32) -> Rounding {
        match constant {
            0 => Rounding::Ceil,
            1 => Rounding::Floor,
            2 => Rounding::Trunc,
            _ => Rounding::Nearest,
        }
    }
}

impl Builtin {
    /// Whether it takes from the store's fuel by the size of what it does.
    pub const fn costs_by_size(self) -> bool {
        matches!(
            self,
            Builtin::MemoryGrow
                | Builtin::MemoryCopy
                | Builtin::MemoryFill
                | Builtin::MemoryInit
                | Builtin::TableGrowFunc
                | Builtin::TableGrowRef
                | Builtin::TableFillFunc
                | Builtin::TableFillRef
                | Builtin::TableCopy
                | Builtin::TableInit
                | Builtin::GcAllocArray
                | Builtin::ArrayFill
                | Builtin::ArrayCopy
                | Builtin::ArrayNewData
                | Builtin::ArrayNewElem
                | Builtin::ArrayInitData
                | Builtin::ArrayInitElem
        )
    }

    /// Whether objects may be gone or elsewhere when it returns: a call of it is a safepoint. It is one
    /// unless it is known to let neither the collector nor code of the host run; growing calls the host's
    /// hooks, which have the store.
    pub const fn may_collect(self) -> bool {
        !matches!(
            self,
            Builtin::Raise
                | Builtin::TierUp
                | Builtin::MemoryCopy
                | Builtin::MemoryFill
                | Builtin::MemoryInit
                | Builtin::DataDrop
                | Builtin::TableFillFunc
                | Builtin::TableFillRef
                | Builtin::TableCopy
                | Builtin::TableInit
                | Builtin::ElemDrop
                | Builtin::RoundF32
                | Builtin::RoundF64
                | Builtin::FmaF32
                | Builtin::FmaF64
                | Builtin::GcRemember
                | Builtin::FuncToId
                | Builtin::IsSubtype
                | Builtin::ExnThrow
                | Builtin::FuncIs
                | Builtin::ArrayFill
                | Builtin::ArrayCopy
                | Builtin::ArrayInitData
                | Builtin::ArrayInitElem
        )
    }

    /// The builtin of a number, if it is one.
    pub const fn from_number(number: u8) -> Option<Builtin> {
        if (number as usize) < Builtin::ALL.len() {
            Some(Builtin::ALL[number as usize])
        } else {
            None
        }
    }
}

const _: () = {
    let mut i = 0;
    while i < Builtin::ALL.len() {
        assert!(Builtin::ALL[i] as usize == i, "numbers are positions in ALL");
        assert!(Builtin::ALL[i].params().len() <= 4, "arguments fit the registers of the shim");
        i += 1;
    }
    let mut way = 0;
    while way < 4 {
        assert!(Rounding::from_constant(way) as u32 == way, "constants are positions");
        way += 1;
    }
};

/// A builtin with its constants, as it travels in one register.
///
/// Bits 0..8 the number, 8..36 the first constant, 36..64 the second. Index spaces have at most
/// 1,000,000 entries (20 bits).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// What to do.
    pub builtin: Builtin,
    /// First constant, below 2^28.
    pub first: u32,
    /// Second constant, below 2^28.
    pub second: u32,
}

impl Operation {
    /// For [`raise`](Operation::raise): no memory, table or type.
    pub const NO_PLACE: u32 = (1 << 28) - 1;

    /// A builtin with its constants. Panics if a constant has more than 28 bits, which validated
    /// index spaces rule out.
    pub const fn new(builtin: Builtin, first: u32, second: u32) -> Operation {
        assert!(first < 1 << 28 && second < 1 << 28, "constants of a builtin have 28 bits");
        Operation { builtin, first, second }
    }

    /// The operation that raises `trap`; `place` is an index for the message.
    pub const fn raise(trap: Trap, place: u32) -> Operation {
        Operation::new(Builtin::Raise, trap.code() as u32, place)
    }

    /// The packed form.
    pub const fn pack(self) -> u64 {
        self.builtin as u64 | (self.first as u64) << 8 | (self.second as u64) << 36
    }

    /// The operation of a packed form, if its number is a builtin.
    pub const fn unpack(packed: u64) -> Option<Operation> {
        match Builtin::from_number(packed as u8) {
            Some(builtin) => Some(Operation {
                builtin,
                first: (packed >> 8) as u32 & 0x0fff_ffff,
                second: (packed >> 36) as u32,
            }),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_survive_packing() {
        for &builtin in Builtin::ALL {
            for (first, second) in [(0, 0), (1, 2), ((1 << 28) - 1, (1 << 28) - 1), (999_999, 7)] {
                let operation = Operation::new(builtin, first, second);
                assert_eq!(Operation::unpack(operation.pack()), Some(operation));
            }
        }
        assert_eq!(Operation::unpack(Builtin::ALL.len() as u64), None);
    }
}
