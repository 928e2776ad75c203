//! Where no debugger is told of code.

/// An object that debuggers know elsewhere.
#[derive(Debug)]
pub struct Registration {}

impl Registration {
    /// Does nothing.
    pub fn new(_object: Box<[u8]>) -> Registration {
        Registration {}
    }
}
