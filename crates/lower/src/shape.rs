//! What a function and its code look like, in numbers: for statistics, and for fuzzers to look for more of.

/// Numbers of one function. What is inlined into it counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Shape {
    /// Blocks that were entered, those of `if` and `loop` included.
    pub blocks: u32,
    /// Loops.
    pub loops: u32,
    /// Labels that branches go to, each as often as it is named.
    pub branches: u32,
    /// Calls of functions, of any kind.
    pub calls: u32,
    /// Calls whose place a body took.
    pub inlined_calls: u32,
    /// Most operands on the stack at once. The single-pass tier counts a vector twice.
    pub deepest_stack: u32,
    /// Operands and locals that were stored to the frame.
    pub spills: u32,
    /// Operands and locals that were loaded from it into registers.
    pub reloads: u32,
    /// Bytes of its frame.
    pub frame_bytes: u32,
}
