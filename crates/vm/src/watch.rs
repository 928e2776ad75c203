//! Being told where code lies: for debuggers and profilers, which are not the kernel's business.
//!
//! Whoever makes a [`Code`](crate::Code) may give it a [`Watch`]. Without one nothing is done here.

use std::any::Any;
use wardian_module::DefinedFuncIndex;

/// A function's code, as it lies in memory. One function can have several: of each tier, and for loops
/// that go on in faster code.
#[derive(Clone, Copy, Debug)]
pub struct PublishedFunc<'a> {
    /// The function.
    pub func: DefinedFuncIndex,
    /// Where its code begins.
    pub address: usize,
    /// Its code.
    pub bytes: &'a [u8],
}

/// Is told of the code of one module.
pub trait Watch: Send + Sync {
    /// These functions were written to their place; nothing runs there yet. What this returns is dropped
    /// before the addresses mean anything else.
    ///
    /// Called on the thread that publishes, while no other code of the module can be published.
    fn published(&self, funcs: &[PublishedFunc<'_>]) -> Option<Kept>;

    /// Whether code shall lie in plain memory, which is mapped once and belongs to no file. The system lets a
    /// debugger write breakpoints to no other code, and profilers look for names of no other. Each
    /// function takes whole pages there.
    fn plain_memory(&self) -> bool {
        false
    }
}

/// What a [`Watch`] wants to live as long as code does.
pub type Kept = Box<dyn Any + Send + Sync>;
