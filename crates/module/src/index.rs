//! Index spaces as newtypes, so that mixing them up does not compile.
//!
//! Names follow the WebAssembly specification (`funcidx`, `tableidx`, …). `Func` counts imports first;
//! `DefinedFunc` counts only functions that have a body in the module.

macro_rules! index_spaces {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);

        impl $name {
            /// The index as a `usize`, for slices.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl From<usize> for $name {
            /// Panics above `u32::MAX`; validated index spaces hold at most 1,000,000 entries.
            fn from(index: usize) -> $name {
                $name(u32::try_from(index).expect("validated index spaces stay far below 2^32"))
            }
        }
    )*};
}

index_spaces! {
    /// A type of the module's type section.
    TypeIndex;
    /// A function, imports first.
    FuncIndex;
    /// A function with a body, counted from the first body.
    DefinedFuncIndex;
    /// A table, imports first.
    TableIndex;
    /// A memory, imports first.
    MemoryIndex;
    /// A global, imports first.
    GlobalIndex;
    /// A tag, imports first.
    TagIndex;
    /// An element segment.
    ElemIndex;
    /// A data segment.
    DataIndex;
}
