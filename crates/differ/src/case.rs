//! What is run: a generated module.

use crate::objects;
use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

/// Bytes that a seed is stretched to. What a module takes beyond them is zero.
const BYTES: usize = 6 << 10;

/// Largest size of a memory. The contents are compared after every call.
const MEMORY_BYTES: u32 = 4 << 16;

/// A module, and numbers for the arguments of calls to it.
pub struct Case {
    /// The module, which is valid.
    pub wasm: Vec<u8>,
    /// What arguments and results of imports are made from.
    pub values: Random,
    /// What each call may spend, in every second case; in some of them it is not enough.
    pub fuel: Option<u64>,
    /// What the global of its fuel is set to before each call, if the module has it.
    pub steps: i32,
}

impl Case {
    /// The case of this number: always the same.
    pub fn from_seed(seed: u64) -> Option<Case> {
        let mut random = Random::new(seed);
        let bytes: Vec<u8> = (0..BYTES / 8).flat_map(|_| random.next().to_le_bytes()).collect();
        Case::from_bytes(&bytes)
    }

    /// A case from bytes that a fuzzer chose; `None` if they are too few.
    pub fn from_bytes(bytes: &[u8]) -> Option<Case> {
        let mut bytes = Unstructured::new(bytes);
        let values = Random::new(bytes.arbitrary().ok()?);
        let traps: u8 = bytes.arbitrary().ok()?;
        let fuel: u16 = bytes.arbitrary().ok()?;
        let rest = bytes.peek_bytes(bytes.len())?;
        let mut bytes = Unstructured::new(rest);
        // The factor is such that seeds which tests name are of the kind that they once were.
        let kind = values.clone().next().wrapping_mul(297) >> 16 & 15;
        // Those take longest by far.
        if kind == 9 {
            return Some(Case::of_objects(values, fuel, bytes));
        }
        let objects = kind > 9;
        let mut module = Module::new(config(traps, objects), &mut bytes).ok()?;
        if may_wait(&module.to_bytes()) {
            bytes = Unstructured::new(rest);
            module = Module::new(config(traps & !THREADS, objects), &mut bytes).ok()?;
        }
        module.ensure_termination(u32::from(fuel) % 1500 + 20).ok()?;
        let wasm = module.to_bytes();
        Some(Case { wasm, fuel: metered(&values), values, steps: 0 })
    }

    /// A case with a module of our own.
    fn of_objects(values: Random, steps: u16, bytes: Unstructured<'_>) -> Case {
        let wasm = objects::module(bytes);
        // Many steps seldom: each may collect.
        let steps = if steps.is_multiple_of(16) { 3_000 } else { 40 + i32::from(steps / 16) % 400 };
        // Functions are longer here.
        let fuel = metered(&values).map(|fuel| fuel.saturating_mul(8));
        Case { wasm, fuel, values, steps }
    }
}

/// What each call may spend.
fn metered(values: &Random) -> Option<u64> {
    let mut random = values.clone();
    match random.next() >> 61 {
        0..4 => None,
        4 => Some(random.next() % 300),
        5 => Some(random.next() % 10_000),
        _ => Some(1 << 40),
    }
}

/// The choice of shared memories and atomic instructions.
const THREADS: u8 = 128;

/// Whether there may be an instruction that waits, perhaps for ever: nobody would wake it.
fn may_wait(wasm: &[u8]) -> bool {
    wasm.windows(2).any(|pair| matches!(pair, [0xfe, 1 | 2]))
}

fn config(choice: u8, objects: bool) -> Config {
    Config {
        export_everything: true,
        // Where nothing traps, programs run longer.
        disallow_traps: choice & 1 != 0,
        // Few functions with many instructions, or many with few.
        max_instructions: if choice & 2 != 0 { 800 } else { 120 },
        min_funcs: 1,
        max_funcs: if choice & 2 != 0 { 4 } else { 24 },
        max_imports: 8,
        max_globals: 16,
        max_exports: 200,
        min_memories: u32::from(choice & 12 != 0),
        max_memories: if choice & 16 != 0 { 3 } else { 1 },
        max_memory32_bytes: MEMORY_BYTES.into(),
        max_memory64_bytes: MEMORY_BYTES.into(),
        memory64_enabled: choice & 32 != 0,
        max_tables: 3,
        max_table_elements: 200,
        max_values: if choice & 64 != 0 { 30 } else { 6 },
        threads_enabled: choice & THREADS != 0,
        wide_arithmetic_enabled: true,
        custom_page_sizes_enabled: true,
        exceptions_enabled: choice & 4 != 0,
        gc_enabled: objects,
        // What is not built.
        compact_imports_enabled: false,
        ..Config::default()
    }
}

/// Numbers that look random, the same in every run.
#[derive(Clone)]
pub struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        // Seeds that follow each other give numbers that do not.
        let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Random((x ^ (x >> 31)) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Often a value at an edge, else any.
    pub(crate) fn interesting(&mut self) -> u64 {
        const EDGES: [u64; 16] = [
            0,
            1,
            2,
            u64::MAX,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x7fff_ffff_ffff_ffff,
            0x8000_0000_0000_0000,
            0x3f80_0000,
            0x3ff0_0000_0000_0000,
            0xffff,
            0x1_0000,
            0x7fc0_0000,
            0x7ff8_0000_0000_0000,
        ];
        let choice = self.next();
        match choice >> 62 {
            0 => EDGES[(choice >> 32) as usize % EDGES.len()],
            1 => (choice >> 20) & 0x3ff,
            _ => self.next(),
        }
    }
}
