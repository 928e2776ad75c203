//! A first look at a function's body: how often each local is used, so that the busiest get registers
//! of their own.
//!
//! How often is a hint, and any number above zero is right. Zero is relied on: a local that no
//! instruction names is never stored nor zeroed. A body that cannot be decoded to its end has fewer uses
//! counted, but is not compiled either.

use wasmparser::{BinaryReader, FunctionBody, VisitOperator, VisitSimdOperator, WasmFeatures};

/// How often things are used, loops counted more.
#[derive(Default)]
pub(crate) struct Uses {
    /// For each local, parameters included.
    pub(crate) locals: Vec<u32>,
    /// Accesses to memory 0.
    pub(crate) memory: u32,
    /// Accesses to globals.
    pub(crate) globals: u32,
    /// Calls of any kind.
    pub(crate) calls: u32,
    /// What one use counts here.
    weight: u32,
    /// For each open block, the weight outside.
    outer: Vec<u32>,
}

/// spec (appendix "Implementation Limitations"): locals of a function.
const MAX_LOCALS: usize = 50_000;
/// A use in a loop counts this many times one outside.
const LOOP_WEIGHT: u32 = 8;
/// The most that one use counts.
const MAX_WEIGHT: u32 = LOOP_WEIGHT * LOOP_WEIGHT * LOOP_WEIGHT * LOOP_WEIGHT;

impl Uses {
    /// Looks at the body of a function with `params` parameters. Stops where it cannot be decoded.
    pub(crate) fn scan(
        &mut self,
        bytes: &[u8],
        params: usize,
        features: &WasmFeatures,
    ) -> wasmparser::Result<()> {
        (self.memory, self.globals, self.calls, self.weight) = (0, 0, 0, 1);
        self.outer.clear();
        self.locals.clear();
        self.locals.resize(params, 0);
        let body = FunctionBody::new(BinaryReader::new_features(bytes, 0, *features));
        let mut reader = body.get_locals_reader()?;
        for _ in 0..reader.get_count() {
            let (count, _) = reader.read()?;
            let length = self.locals.len() + count as usize;
            // Validation allows no more; it comes later.
            if length > MAX_LOCALS {
                return Ok(());
            }
            self.locals.resize(length, 0);
        }
        let mut reader = wasmparser::OperatorsReader::new(reader.get_binary_reader());
        while !reader.eof() {
            reader.visit_operator(self)?;
        }
        Ok(())
    }

    /// Whether any instruction names a local.
    pub(crate) fn is_used(&self, local: u32) -> bool {
        self.locals.get(local as usize) != Some(&0)
    }

    fn local(&mut self, index: u32) {
        if let Some(count) = self.locals.get_mut(index as usize) {
            *count = count.saturating_add(self.weight);
        }
    }

    fn memory(&mut self) {
        self.memory = self.memory.saturating_add(self.weight);
    }

    fn global(&mut self) {
        self.globals = self.globals.saturating_add(self.weight);
    }

    fn call(&mut self) {
        self.calls = self.calls.saturating_add(self.weight);
    }

    fn open(&mut self, is_loop: bool) {
        self.outer.push(self.weight);
        if is_loop {
            self.weight = (self.weight * LOOP_WEIGHT).min(MAX_WEIGHT);
        }
    }

    fn close(&mut self) {
        self.weight = self.outer.pop().unwrap_or(1);
    }
}

/// Defines all visiting methods; those below `@` do something.
macro_rules! visits {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        $(
            #[inline]
            fn $visit(&mut self $($(, $arg: $ty)*)?) {
                $($(let _ = &$arg;)*)?
                visits!(@ self $visit $($([$arg])*)?);
            }
        )*
    };
    (@ $uses:ident visit_local_get [$index:ident]) => { $uses.local($index) };
    (@ $uses:ident visit_local_set [$index:ident]) => { $uses.local($index) };
    (@ $uses:ident visit_local_tee [$index:ident]) => { $uses.local($index) };
    (@ $uses:ident visit_global_get $($rest:tt)*) => { $uses.global() };
    (@ $uses:ident visit_global_set $($rest:tt)*) => { $uses.global() };
    (@ $uses:ident visit_block $($rest:tt)*) => { $uses.open(false) };
    (@ $uses:ident visit_if $($rest:tt)*) => { $uses.open(false) };
    (@ $uses:ident visit_loop $($rest:tt)*) => { $uses.open(true) };
    (@ $uses:ident visit_try_table $($rest:tt)*) => { $uses.open(false) };
    (@ $uses:ident visit_end) => { $uses.close() };
    (@ $uses:ident visit_call $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_call_indirect $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_call_ref $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_memory_grow $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_memory_copy $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident visit_memory_fill $($rest:tt)*) => { $uses.call() };
    (@ $uses:ident $visit:ident [memarg] $($rest:tt)*) => { $uses.memory() };
    (@ $uses:ident $visit:ident $($rest:tt)*) => {};
}

impl<'a> VisitOperator<'a> for Uses {
    type Output = ();

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = ()>> {
        Some(self)
    }

    wasmparser::for_each_visit_operator!(visits);
}

impl<'a> VisitSimdOperator<'a> for Uses {
    wasmparser::for_each_visit_simd_operator!(visits);
}
