//! The traps there are: code, name and text, stated once.
//!
//! Codes travel as one byte through trap tables, artifacts and the raise shim. Texts are those of the
//! specification's test suite.

macro_rules! define_traps {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a guest computation stopped.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Trap {
            $($(#[$doc])* $name = $code,)*
        }

        impl Trap {
            /// Every trap, in order of its code.
            pub const ALL: &'static [Trap] = &[$(Trap::$name),*];

            /// The trap of a code, if it is one.
            pub const fn from_code(code: u8) -> Option<Trap> {
                match code {
                    $($code => Some(Trap::$name),)*
                    _ => None,
                }
            }

            /// The code that trap tables and artifacts hold. Never zero.
            pub const fn code(self) -> u8 {
                self as u8
            }

            /// The text of the specification's tests.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Trap::$name => $text,)*
                }
            }
        }
    };
}

define_traps! {
    /// The stack of the guest is used up.
    StackOverflow = 1, "call stack exhausted";
    /// A memory access past the end of its memory.
    MemoryOutOfBounds = 2, "out of bounds memory access";
    /// An atomic access whose address is not a multiple of its size.
    HeapMisaligned = 3, "unaligned atomic";
    /// A table access past the end of its table.
    TableOutOfBounds = 4, "out of bounds table access";
    /// `call_indirect` past the end of its table.
    IndirectCallOutOfBounds = 5, "undefined element";
    /// `call_indirect` of a null element.
    IndirectCallToNull = 6, "uninitialized element";
    /// `call_indirect` of a function of another type.
    BadSignature = 7, "indirect call type mismatch";
    /// An integer result does not fit.
    IntegerOverflow = 8, "integer overflow";
    /// Division or remainder by zero.
    IntegerDivisionByZero = 9, "integer divide by zero";
    /// NaN converted to an integer.
    BadConversionToInteger = 10, "invalid conversion to integer";
    /// The `unreachable` instruction.
    UnreachableCodeReached = 11, "unreachable";
    /// A null reference where a value is needed.
    NullReference = 12, "null reference";
    /// An epoch deadline passed.
    Interrupt = 13, "interrupt";
    /// The fuel of the store is used up.
    OutOfFuel = 14, "all fuel consumed by WebAssembly";
    /// An array access past the end of its array.
    ArrayOutOfBounds = 15, "out of bounds array access";
    /// An allocation that cannot be met.
    AllocationTooLarge = 16, "allocation size too large";
    /// A reference cast to a type it does not have.
    CastFailure = 17, "cast failure";
    /// An import stood in for by `define_unknown_imports_as_traps`.
    UnknownImport = 18, "unknown import called";
    /// `memory.atomic.wait` on a memory that is not shared.
    AtomicWaitNonSharedMemory = 19, "expected shared memory";
    /// A function whose body turned out invalid (lazy validation only).
    InvalidFunction = 20, "invalid function called";
    /// An exception left the outermost function uncaught.
    UncaughtException = 21, "uncaught exception";
    /// The store's heap has no room for an object, whatever is collected.
    GcHeapOutOfMemory = 22, "GC heap out of memory";
}

impl std::fmt::Display for Trap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Trap {}

const _: () = {
    let mut i = 0;
    while i < Trap::ALL.len() {
        assert!(
            Trap::ALL[i].code() as usize == i + 1,
            "codes are dense, so a table can be indexed"
        );
        i += 1;
    }
};
