//! What the tier says of its code beside the code itself, so that `check` can verify it.

#![cfg_attr(not(feature = "check"), allow(dead_code, reason = "the checker reads it"))]

use wardian_module::MemoryIndex;

/// Instructions that access linear memory.
#[derive(Clone, Copy)]
pub(crate) struct AccessClaim {
    /// Where they begin and end.
    pub(crate) code: (u32, u32),
    pub(crate) memory: MemoryIndex,
}

/// Instructions that read a field of a function reference.
#[derive(Clone, Copy)]
pub(crate) struct ReferenceClaim {
    /// Where they begin and end.
    pub(crate) code: (u32, u32),
}

/// A jump through a table of distances.
#[derive(Clone, Copy)]
pub(crate) struct TableClaim {
    /// Where the jump is.
    pub(crate) jump: u32,
    /// Where the table is; distances count from there.
    pub(crate) table: u32,
    pub(crate) count: u32,
}

/// A loop that writes zeros to a part of the frame.
#[derive(Clone, Copy)]
pub(crate) struct ZeroClaim {
    pub(crate) code: (u32, u32),
    /// Distances from `rbp`.
    pub(crate) frame: (i32, i32),
}

/// All claims about a function. Empty unless the checker is built in.
#[derive(Default)]
pub(crate) struct Claims {
    pub(crate) accesses: Vec<AccessClaim>,
    pub(crate) references: Vec<ReferenceClaim>,
    pub(crate) tables: Vec<TableClaim>,
    pub(crate) zeros: Vec<ZeroClaim>,
    /// Slots of live state that a frame that is replaced leaves behind.
    pub(crate) live_slots: u32,
}

impl Claims {
    pub(crate) fn clear(&mut self) {
        self.accesses.clear();
        self.references.clear();
        self.tables.clear();
        self.zeros.clear();
        self.live_slots = 0;
    }
}
