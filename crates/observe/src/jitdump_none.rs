//! Where there is no `perf`.

use crate::Named;
use std::io;

#[derive(Debug)]
pub(crate) struct JitDump {}

impl JitDump {
    pub(crate) fn create(_process: u32) -> io::Result<JitDump> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn write(&mut self, _funcs: &[Named<'_>]) -> io::Result<()> {
        Ok(())
    }
}
