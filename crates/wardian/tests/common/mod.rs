//! What several test files share: engines of both memory modes, and binaries made by hand.

#![allow(dead_code, reason = "each test file uses a part")]

use wardian::*;

/// Engines of every strategy, with accesses that are checked by faults, and with explicit checks and
/// moving memories.
pub fn modes() -> Vec<(&'static str, Engine)> {
    let strategies = [
        ("optimizing", Strategy::Optimizing, TierUp::Background),
        ("baseline", Strategy::Baseline, TierUp::Background),
        ("tiered", Strategy::Tiered, TierUp::Background),
        ("tiered at once", Strategy::Tiered, TierUp::Synchronous(1)),
    ];
    let mut modes = Vec::new();
    for (name, strategy, tier_up) in strategies {
        let mut config = Config::new();
        config.strategy(strategy).tier_up(tier_up);
        modes.push((name, Engine::new(&config).expect("every strategy is supported")));
        config.signals_based_traps(false).memory_reservation(0).memory_guard_size(0);
        modes.push((name, Engine::new(&config).expect("explicit checks are supported")));
    }
    modes
}

/// Acts with each engine of [`modes`]; the first line of a failure says which.
pub fn in_each_mode(act: impl Fn(&Engine) -> Result<()>) {
    for (mode, engine) in modes() {
        act(&engine).unwrap_or_else(|error| panic!("mode {mode}: {error:?}"));
    }
}

/// An instance without imports in a store of its own.
pub fn instance(engine: &Engine, text: &str) -> Result<(Store<()>, Instance)> {
    let module = Module::new(engine, text)?;
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    Ok((store, instance))
}

/// The trap that a call ended with.
pub fn trap<R: std::fmt::Debug>(result: Result<R>) -> Trap {
    let error = result.expect_err("a trap is expected");
    assert_eq!(error.kind(), ErrorKind::Trap, "{error:?}");
    *error.downcast_ref().unwrap_or_else(|| panic!("expected a trap, found {error:?}"))
}

/// All of a panic's text.
pub fn panic_text(act: impl FnOnce()) -> String {
    let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act))
        .expect_err("a panic is expected");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().expect("a panic with a text").to_string(),
    }
}

/// Unsigned LEB128.
pub fn leb(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A module of sections, by number and content.
pub fn binary(sections: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"\0asm\x01\0\0\0".to_vec();
    for (number, content) in sections {
        out.push(*number);
        leb(content.len(), &mut out);
        out.extend_from_slice(content);
    }
    out
}

/// A code section of one body: its locals' declarations and instructions, without the last `end`.
pub fn code(locals: &[u8], instructions: &[u8]) -> (u8, Vec<u8>) {
    let mut section = vec![1];
    leb(locals.len() + instructions.len() + 1, &mut section);
    section.extend_from_slice(locals);
    section.extend_from_slice(instructions);
    section.push(0x0b);
    (10, section)
}

/// Numbers that look random, the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 11) as usize % limit
    }
}
