//! Checks finished machine code: every access to memory goes to something that code may reach, and an
//! access to a linear memory or table has its base, and an index that stays inside it or its guard. It
//! believes neither lowering nor register allocator nor fold: it decodes the bytes again, with a decoder
//! that is not the encoder's, and follows what registers and the frame hold over all paths.
//!
//! ```text
//!   code ──► graph ──► flow ──► proof ──► access
//!            blocks    values   facts,    verdict
//!                               counts
//! ```
//!
//! What it holds for true:
//! - At entry `rdi` is the context, `rsi` the result area if the signature has one. A call leaves
//!   `rbx`, `r12` to `r15`, `rbp` and the frame as they were (the epoch shim: all registers; where code pays or counts, no
//!   call leaves `r15`: NOTE [fuel register] of `layout`), pops its stack arguments, and may move memories that may move, and tables. It writes only to result areas,
//!   which hold no spilled value.
//! - The store's heap is as large as `layout` says ([heap access]), where a module uses it.
//! - A handler finds the frame as the call left it, and its two ends in `rsp` and `rbp`; all other registers
//!   are lost. Where the frame holds the context, as the exception table says, is checked.
//! - Fields lie where the layout says; a memory or table never shrinks, and has at least the length
//!   that its type says.
//! - A jump through a register is a tail call, or one through a table of distances: of the optimizing
//!   tier, behind the jump, and ending where code begins; of the single-pass tier, where it said
//!   ([`Claims`]).
//!
//! What it accepts without proof, and counts ([`Accepted`]): reads of a function reference's fields
//! through a value that came from anywhere, if the instruction is one that calls references.
//!
//! Its work and memory have bounds ([`Bounds`]). Code for which they do not suffice was not checked, and
//! is counted as such ([`counts`]), never as right.

#![forbid(unsafe_code)]

mod access;
mod count;
mod fields;
mod flow;
mod graph;
mod proof;
mod value;
mod vectors;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use wardian_module::abi::CallLayout;
use wardian_module::image::FunctionCode;
use wardian_module::layout::{Linkage, VmLayout};
use wardian_module::{DefinedFuncIndex, MemoryIndex, Module, Settings};

/// A function to check.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct Input<'a> {
    pub module: &'a Module,
    pub layout: &'a VmLayout,
    pub settings: &'a Settings,
    /// The function's own call layout.
    pub own: &'a CallLayout,
    pub func: DefinedFuncIndex,
    pub linkage: Linkage,
    /// Slots of `StoreContext::live_state` that it may read or write.
    pub live_slots: u32,
    pub code: &'a FunctionCode,
    /// What the single-pass tier says of it; `None` for the optimizing tier.
    pub claims: Option<Claims>,
    pub bounds: Bounds,
}

/// What may be done for one function.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Instructions to follow, and places of the frame to join.
    pub steps: u64,
    /// Places of registers and frames to remember.
    pub places: u64,
    /// Goals to prove.
    pub goals: u64,
}

impl Bounds {
    /// Enough for all code but the largest and strangest: it grows with the code, and has an end.
    pub fn of(code: &FunctionCode) -> Bounds {
        let bytes = (code.bytes.len() as u64).min(1 << 20);
        Bounds { steps: (1 << 16) + 64 * bytes, places: 1 << 23, goals: (1 << 16) + 16 * bytes }
    }
}

/// What the single-pass tier says of its code beside the code itself.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Instructions, by start and end, that access a linear memory.
    pub accesses: Vec<(u32, u32, MemoryIndex)>,
    /// Instructions that read a field of a function reference.
    pub references: Vec<(u32, u32)>,
    /// Jumps through tables.
    pub tables: Vec<JumpTable>,
    /// Loops that write zeros.
    pub zeros: Vec<Zeros>,
}

/// A jump through a table of distances from the table's own place.
#[derive(Clone, Copy, Debug)]
pub struct JumpTable {
    /// Where the jump is.
    pub jump: u32,
    /// Where the table is.
    pub table: u32,
    /// Its entries.
    pub count: u32,
}

/// A loop that writes zeros to a part of the frame.
#[derive(Clone, Copy, Debug)]
pub struct Zeros {
    /// Where the instruction is that writes.
    pub at: u32,
    /// The part's start, in bytes from the return address.
    pub start: i64,
    /// Its end.
    pub end: i64,
}

/// Accesses of a function by how they were found to be right.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accepted {
    /// To linear memories, inside of reservation and guard.
    pub guarded: usize,
    /// To linear memories, behind a comparison.
    pub compared: usize,
    /// To elements of tables, behind a comparison.
    pub elements: usize,
    /// To the store's heap.
    pub objects: usize,
    /// To tables in the code, of jumps or constants, behind a comparison.
    pub tables: usize,
    /// Where nothing comes.
    pub never_reached: usize,
    /// Not proven: to fields of function references.
    pub references: usize,
}

/// What the checker found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every access is right.
    Right(Accepted),
    /// Too large: it was not checked.
    NotChecked(&'static str),
}

/// How many functions were checked since the process began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Found to be right.
    pub checked: u64,
    /// Not checked, since the work would have passed the bounds.
    pub not_checked: u64,
}

static CHECKED: AtomicU64 = AtomicU64::new(0);
static NOT_CHECKED: AtomicU64 = AtomicU64::new(0);

/// How many functions [`verify`] saw in this process.
pub fn counts() -> Counts {
    Counts { checked: CHECKED.load(Relaxed), not_checked: NOT_CHECKED.load(Relaxed) }
}

/// Checks a function.
///
/// # Errors
///
/// When an access is not proven, or the code is nothing that a tier emits: where, and what was found.
pub fn verify(input: &Input<'_>) -> Result<Verdict, String> {
    let mut stop = Stop { left: input.bounds };
    match run(input, &mut stop) {
        Ok(accepted) => {
            CHECKED.fetch_add(1, Relaxed);
            Ok(Verdict::Right(accepted))
        }
        Err(Failed::Stopped(Stopped(what))) => {
            NOT_CHECKED.fetch_add(1, Relaxed);
            Ok(Verdict::NotChecked(what))
        }
        Err(Failed::Wrong(what)) => Err(what),
    }
}

fn run(input: &Input<'_>, stop: &mut Stop) -> Result<Accepted, Failed> {
    let graph = graph::Graph::new(input, stop)?;
    let mut walker = flow::Walker::new(input);
    let flow = walker.run(&graph, stop)?;
    let mut info = iced_x86::InstructionInfoFactory::new();
    let mut accesses = Vec::new();
    for (block, data) in graph.blocks.iter().enumerate() {
        let mut state = flow.starts[block].clone();
        for instruction in &graph.instructions[data.start..data.end] {
            let found = access::access(&mut walker, &mut info, instruction, &state, block as u32);
            let found = found.map_err(|what| at(instruction, &what))?;
            accesses.extend(found);
            walker.step(instruction, &mut state);
            walker.handled(instruction, &state).map_err(|what| at(instruction, &what))?;
        }
    }
    let flow::Walker { fields, mut values, .. } = walker;
    let prover = proof::Prover::new(&graph, &flow, &fields, &mut values, stop)?;
    let accepted = Accepted::default();
    let mut checker = access::Checker { input, graph: &graph, prover, accepted };
    for access in &accesses {
        checker.check(access).map_err(|failed| match failed {
            Failed::Wrong(what) => Failed::Wrong(at(&access.instruction, &what)),
            stopped => stopped,
        })?;
    }
    Ok(checker.accepted)
}

fn at(instruction: &iced_x86::Instruction, what: &str) -> String {
    format!("{:#x}: `{instruction}`: {what}", instruction.ip())
}

/// Why there is no proof.
enum Failed {
    Wrong(String),
    Stopped(Stopped),
}

/// A bound was reached.
struct Stopped(&'static str);

impl From<String> for Failed {
    fn from(what: String) -> Failed {
        Failed::Wrong(what)
    }
}

impl From<&str> for Failed {
    fn from(what: &str) -> Failed {
        Failed::Wrong(what.into())
    }
}

impl From<Stopped> for Failed {
    fn from(stopped: Stopped) -> Failed {
        Failed::Stopped(stopped)
    }
}

/// What may still be done.
struct Stop {
    left: Bounds,
}

impl Stop {
    fn work(&mut self, steps: u64) -> Result<(), Stopped> {
        let left = self.left.steps.checked_sub(steps);
        self.left.steps = left.ok_or(Stopped("instructions to follow"))?;
        Ok(())
    }

    /// So many more places, and so many values in all.
    fn keep(&mut self, places: u64, values: u64) -> Result<(), Stopped> {
        let left = self.left.places.checked_sub(places).filter(|_| values < 1 << 22);
        self.left.places = left.ok_or(Stopped("places to remember"))?;
        Ok(())
    }

    fn prove(&mut self, goals: u64) -> Result<(), Stopped> {
        let left = self.left.goals.checked_sub(goals);
        self.left.goals = left.ok_or(Stopped("goals to prove"))?;
        Ok(())
    }
}
