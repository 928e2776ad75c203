//! Side exits: what code does where a rare condition holds, behind the end of its function.
//!
//! For the code generator, a check is a conditional trap: a comparison and a jump to an `ud2` behind the
//! function. Blocks do not end there and no value is kept for what comes then, so passes, optimizer and
//! register allocator see a function as if it checked nothing. Where faults of the processor may not be used,
//! and where code asks for its epoch, [`attach`] sends the jump to a few instructions of our own instead,
//! which it appends:
//!
//! ```text
//!     cmp rcx, rdx                       cmp rax, rdx
//!     ja  trap ──► exit                  jae trap ──► exit
//!     …                            next: …
//!   trap: ud2                          trap: ud2
//!   exit: push rcx                     exit: call [epoch shim]
//!         push rdx                           jmp next
//!         push bytes
//!         call [trap shim]
//!         ud2
//! ```
//!
//! The trap shim finds the trap by its return address, as the handler of faults does by that of the
//! instruction; what was compared is for the message. The epoch shim keeps all registers, so code goes on as if
//! nothing had been; a fence ([`fence`]) tells the code generator that memory may be another.
//!
//! Invariant: each `ud2` that the code generator has put off has one jump, a `jcc` of six bytes. If other bytes of
//! the function look like a jump to it, say in a constant, it is not known which is the jump, and the function is
//! compiled again without exits.

use cranelift_codegen::ir::{InstBuilder, TrapCode};
use cranelift_frontend::FunctionBuilder;
use std::collections::HashMap;
use wardian_lower::CompileError;
use wardian_module::Trap;
use wardian_module::image::{FunctionCode, Location, Reloc, RelocTarget, TrapSite};
use wardian_module::layout::ModuleTable;

/// Trap codes from here on are those of bounds checks, by the bytes that were added to the address.
const FIRST_BOUNDS: u8 = 200;
/// Most bytes of an access.
const MOST_BYTES: u8 = 16;

const _: () = assert!(TrapCode::user(FIRST_BOUNDS + MOST_BYTES).is_some());

/// What the exit of a check passes that has no addresses to tell.
const NOTHING: u8 = -1i8 as u8;

/// The code of a check that compares an address and so many bytes with the length of a memory.
pub(crate) fn bounds_code(bytes: u64) -> Option<TrapCode> {
    let bytes = u8::try_from(bytes).ok().filter(|bytes| *bytes <= MOST_BYTES)?;
    TrapCode::user(FIRST_BOUNDS + bytes)
}

/// How many bytes a code adds, if it is that of a bounds check.
pub(crate) fn bytes_of(code: u8) -> Option<u8> {
    code.checked_sub(FIRST_BOUNDS).filter(|bytes| *bytes <= MOST_BYTES)
}

/// Tells the code generator that an exit may have changed all of memory.
pub(crate) fn fence(b: &mut FunctionBuilder<'_>) {
    b.ins().sequence_point();
}

/// A conditional trap that is to have an exit.
pub(crate) struct Exit {
    /// Its `ud2`.
    pub(crate) offset: u32,
    pub(crate) trap: Trap,
    /// See [`bytes_of`].
    pub(crate) bytes: Option<u8>,
}

/// Gives each of these traps its exit. `false` if it is not known which jump is whose.
pub(crate) fn attach(code: &mut FunctionCode, exits: &[Exit]) -> Result<bool, CompileError> {
    if exits.is_empty() {
        return Ok(true);
    }
    let mut jumps: HashMap<u32, Vec<usize>> =
        exits.iter().map(|exit| (exit.offset, vec![])).collect();
    for (at, bytes) in code.bytes.windows(6).enumerate() {
        if let [0x0f, 0x80..=0x8f, distance @ ..] = bytes
            && let distance = i32::from_le_bytes(distance.try_into().expect("four are left"))
            && let Some(jumps) = jumps.get_mut(&((at as u32 + 6).wrapping_add_signed(distance)))
        {
            jumps.push(at);
        }
    }
    if jumps.values().any(|jumps| jumps.len() > 1) {
        return Ok(false);
    }
    code.traps.retain(|site| !jumps.contains_key(&site.offset));
    for exit in exits {
        let [jump] = jumps[&exit.offset][..] else {
            return Err(CompileError::Internal(format!("no jump to {:#x}", exit.offset)));
        };
        append(code, exit, jump);
    }
    Ok(true)
}

/// Appends the exit of the jump at `jump`.
fn append(code: &mut FunctionCode, exit: &Exit, jump: usize) {
    let start = code.bytes.len();
    let put = |code: &mut FunctionCode, at: usize, target: usize| {
        // Cranelift bounds the code of a function by 2 GiB.
        let distance = (target as i64 - (at as i64 + 4)) as i32;
        code.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    };
    put(code, jump + 2, start);
    let known = code.locations.partition_point(|location| location.offset <= exit.offset);
    let wasm = known.checked_sub(1).map_or(Location::NONE, |known| code.locations[known].wasm);
    if code.locations.last().is_none_or(|last| last.wasm != wasm) {
        code.locations.push(Location { offset: start as u32, wasm });
    }
    let resumes = exit.trap == Trap::Interrupt;
    if !resumes {
        let compared = exit.bytes.and_then(|bytes| Some((bytes, compared(&code.bytes, jump)?)));
        if let Some((_, regs)) = compared {
            regs.into_iter().for_each(|reg| push_register(&mut code.bytes, reg));
        }
        code.bytes.extend([0x6a, compared.map_or(NOTHING, |(bytes, _)| bytes)]);
    }
    let shim = if resumes { ModuleTable::EPOCH_SHIM } else { ModuleTable::TRAP_SHIM };
    code.bytes.extend([0xff, 0x15, 0, 0, 0, 0]);
    let offset = code.bytes.len() as u32 - 4;
    let addend = i64::from(shim) - 4;
    code.relocs.push(Reloc { offset, target: RelocTarget::ModuleTable, addend });
    if resumes {
        code.bytes.extend([0xe9, 0, 0, 0, 0]);
        let at = code.bytes.len() - 4;
        put(code, at, jump + 6);
    } else {
        code.traps.push(TrapSite { offset: code.bytes.len() as u32, trap: exit.trap });
        code.bytes.extend([0x0f, 0x0b]);
    }
}

/// `push` of a register.
fn push_register(bytes: &mut Vec<u8>, reg: u8) {
    if reg >= 8 {
        bytes.push(0x41);
    }
    bytes.push(0x50 + (reg & 7));
}

/// What the instruction before a jump compares, if that is two registers: first the one that is
/// greater where it jumps. Only messages depend on it.
fn compared(bytes: &[u8], jump: usize) -> Option<[u8; 2]> {
    let [rex @ 0x48..=0x4f, opcode @ (0x39 | 0x3b), modrm @ 0xc0..=0xff, 0x0f, condition, ..] =
        bytes[jump.checked_sub(3)?..]
    else {
        return None;
    };
    let reg = (modrm >> 3 & 7) | (rex & 4) << 1;
    let rm = (modrm & 7) | (rex & 1) << 3;
    let (left, right) = if opcode == 0x39 { (rm, reg) } else { (reg, rm) };
    match condition {
        0x87 => Some([left, right]),
        0x82 => Some([right, left]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cmp rcx, r9; ja trap; ret; trap: ud2`.
    fn code() -> FunctionCode {
        let bytes = [0x4c, 0x39, 0xc9, 0x0f, 0x87, 1, 0, 0, 0, 0xc3, 0x0f, 0x0b].to_vec();
        let traps = vec![TrapSite { offset: 10, trap: Trap::MemoryOutOfBounds }];
        let locations = vec![Location { offset: 0, wasm: 7 }, Location { offset: 10, wasm: 9 }];
        FunctionCode { bytes, traps, locations, ..FunctionCode::default() }
    }

    #[test]
    fn a_check_gets_an_exit_that_tells_what_was_compared() {
        let mut code = code();
        let exit = Exit { offset: 10, trap: Trap::MemoryOutOfBounds, bytes: Some(4) };
        assert_eq!(attach(&mut code, &[exit]), Ok(true));
        assert_eq!(code.bytes[3..9], [0x0f, 0x87, 3, 0, 0, 0]);
        let exit = [0x51, 0x41, 0x51, 0x6a, 4, 0xff, 0x15, 0, 0, 0, 0, 0x0f, 0x0b];
        assert_eq!(code.bytes[12..], exit);
        assert_eq!(code.traps, [TrapSite { offset: 23, trap: Trap::MemoryOutOfBounds }]);
        let addend = i64::from(ModuleTable::TRAP_SHIM) - 4;
        assert_eq!(code.relocs, [Reloc { offset: 19, target: RelocTarget::ModuleTable, addend }]);
    }

    #[test]
    fn an_epoch_comes_back_behind_its_jump() {
        let mut code = code();
        let exit = Exit { offset: 10, trap: Trap::Interrupt, bytes: None };
        assert_eq!(attach(&mut code, &[exit]), Ok(true));
        assert_eq!(code.bytes[12..], [0xff, 0x15, 0, 0, 0, 0, 0xe9, 0xf2, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn what_looks_like_a_second_jump_is_not_guessed_at() {
        let mut code = code();
        let exit = Exit { offset: 10, trap: Trap::MemoryOutOfBounds, bytes: Some(4) };
        // Ends where the function ends, and would jump back to the `ud2`.
        code.bytes.extend([0x0f, 0x84, 0xf8, 0xff, 0xff, 0xff]);
        assert_eq!(attach(&mut code, &[exit]), Ok(false));
    }
}
