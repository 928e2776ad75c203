//! From Cranelift's result to [`FunctionCode`]: relocations, trap table, locations, and the stack check
//! of large frames.
//!
//! Invariant [large frames]: where a prologue may not fault, a function checks the stack in code, after
//! its frame was made. That is sound while the frame is at most [`CHECKED_FRAME`], which the reserve
//! below the stack limit covers. A larger function is entered through a gate, a function of the same
//! signature that checks for the whole frame before it tail-calls the body. The gate's own frame holds
//! at most the arguments: 16 KB for the largest signature, which the reserve covers too.

use crate::emit::name_space;
use crate::exits::{self, Exit};
use crate::faults::trap_of_user;
use crate::placement;
use cranelift_codegen::binemit::Reloc as ClifReloc;
use cranelift_codegen::ir::{ExceptionTag, ExternalName, TrapCode};
use cranelift_codegen::{
    CompiledCode, Context, ExceptionContextLoc, FinalizedMachExceptionHandler, FinalizedRelocTarget,
};
use std::collections::HashMap;
use wardian_lower::CompileError;
use wardian_module::image::{
    ExceptionTable, FunctionCode, Handler, Inlined, Location, Reloc, RelocTarget, StackMaps,
    Starts, TrapSite, TryCall,
};
use wardian_module::{DefinedFuncIndex, TagIndex, Trap};

/// Largest frame, in bytes, that is checked after it was made, or not at all if the function calls nothing
/// but in its own place or to raise a trap. The kernel keeps a reserve of at least 64 KiB below the stack
/// limit, which must also hold the raise shim and what it calls.
pub(crate) const CHECKED_FRAME: u32 = 4096;

/// What a fault with this code means.
fn trap_of(code: TrapCode) -> Option<Trap> {
    match code {
        TrapCode::STACK_OVERFLOW => Some(Trap::StackOverflow),
        TrapCode::INTEGER_OVERFLOW => Some(Trap::IntegerOverflow),
        TrapCode::INTEGER_DIVISION_BY_ZERO => Some(Trap::IntegerDivisionByZero),
        TrapCode::BAD_CONVERSION_TO_INTEGER => Some(Trap::BadConversionToInteger),
        TrapCode::HEAP_OUT_OF_BOUNDS => Some(Trap::MemoryOutOfBounds),
        check if exits::bytes_of(check.as_raw().get()).is_some() => Some(Trap::MemoryOutOfBounds),
        user => trap_of_user(user.as_raw().get()),
    }
}

/// The code that Cranelift made of what `context` holds, defined function `index`, and the bytes of stack that a call of it
/// takes. The function starts at offset `start` of the module's bytes; `inlined` are the places that
/// its source locations speak of. Its checks get their exits, those that are no epoch's only if code is
/// `explicit`; `None` if it has to be compiled without (see `exits`).
pub(crate) fn finish(
    compiled: &CompiledCode,
    context: &Context,
    index: DefinedFuncIndex,
    start: u32,
    inlined: &[Inlined],
    explicit: bool,
) -> Result<Option<(FunctionCode, u32)>, CompileError> {
    let func = &context.func;
    let buffer = &compiled.buffer;
    let mut relocs = Vec::with_capacity(buffer.relocs().len());
    for reloc in buffer.relocs() {
        let (target, addend) = match &reloc.target {
            FinalizedRelocTarget::ExternalName(ExternalName::User(name)) => {
                let name = &func.params.user_named_funcs()[*name];
                match name.namespace {
                    name_space::FUNCS => {
                        (RelocTarget::Func(DefinedFuncIndex(name.index)), reloc.addend)
                    }
                    name_space::MODULE_TABLE => (RelocTarget::ModuleTable, reloc.addend),
                    name_space::BODY => (RelocTarget::Func(index), reloc.addend),
                    other => return Err(internal(format!("symbol of name space {other}"))),
                }
            }
            other => return Err(internal(format!("reference to {other:?}"))),
        };
        if !matches!(reloc.kind, ClifReloc::X86CallPCRel4 | ClifReloc::X86PCRel4) {
            return Err(internal(format!("relocation of kind {:?}", reloc.kind)));
        }
        relocs.push(Reloc { offset: reloc.offset, target, addend });
    }
    let mut traps = Vec::with_capacity(buffer.traps().len());
    let mut exits = Vec::new();
    for site in buffer.traps() {
        let trap = trap_of(site.code)
            .ok_or_else(|| internal(format!("trap code {} is not known", site.code)))?;
        traps.push(TrapSite { offset: site.offset, trap });
        let raw = site.code.as_raw().get();
        let is_ours = exits::bytes_of(raw).is_some() || trap_of_user(raw).is_some();
        let is_check = buffer.data()[site.offset as usize..].starts_with(&[0x0f, 0x0b])
            && trap != Trap::UnreachableCodeReached;
        if trap == Trap::Interrupt || explicit && is_ours && is_check {
            let bytes = exits::bytes_of(raw);
            exits.push(Exit { offset: site.offset, trap, bytes });
        }
    }
    traps.sort_by_key(|site| site.offset);
    let exceptions = exceptions(compiled)?;
    let mut locations = locations(compiled, start);
    let inlined = keep_used(&mut locations, inlined);
    // Without loops, all starts are alike.
    let loops = &context.loop_analysis;
    let starts = match loops.is_valid() && loops.loops().next().is_none() {
        true => Starts::multiples_of(buffer.alignment),
        false => placement::starts(buffer.data(), buffer.alignment),
    };
    let mut code = FunctionCode {
        bytes: buffer.data().to_vec(),
        starts,
        relocs,
        traps,
        locations,
        inlined,
        exceptions,
        stack_maps: stack_maps(compiled),
    };
    // Return address and saved frame pointer lie above what the layout counts.
    let frame = buffer.frame_layout().map_or(0, |layout| layout.frame_to_fp_offset + 16);
    Ok(exits::attach(&mut code, &exits)?.then_some((code, frame)))
}

/// Where the frame has references while it calls.
fn stack_maps(compiled: &CompiledCode) -> StackMaps {
    let mut maps = StackMaps::default();
    let layout = compiled.buffer.frame_layout();
    let to_fp = layout.map_or(0, |layout| layout.frame_to_fp_offset as i32);
    for (offset, _, map) in compiled.buffer.user_stack_maps() {
        // Distances from the stack pointer, in a frame of less than 2^31 bytes.
        maps.push(*offset, map.entries().map(|(_, from_sp)| from_sp as i32 - to_fp));
    }
    maps
}

/// The code generator's name of a tag.
pub(crate) fn handler_tag(tag: TagIndex) -> ExceptionTag {
    ExceptionTag::from_u32(tag.0)
}

/// Calls with handlers, as they lie in the code. Calls with the same handlers share them.
fn exceptions(compiled: &CompiledCode) -> Result<ExceptionTable, CompileError> {
    let mut table = ExceptionTable::default();
    let mut known: HashMap<Vec<(u32, u32)>, u32> = HashMap::new();
    let calls = compiled.buffer.call_sites().filter(|call| !call.exception_handlers.is_empty());
    for call in calls {
        let frame = call.frame_offset.ok_or_else(|| internal("a call of unknown frame".into()))?;
        let mut context = None;
        let mut list = Vec::with_capacity(call.exception_handlers.len());
        for handler in call.exception_handlers {
            match *handler {
                FinalizedMachExceptionHandler::Tag(tag, target) => {
                    list.push((tag.as_u32(), target));
                }
                FinalizedMachExceptionHandler::Default(target) => {
                    list.push((Handler::ALL, target));
                }
                FinalizedMachExceptionHandler::Context(ExceptionContextLoc::SPOffset(offset)) => {
                    // Frames have at most 128 MiB.
                    context = Some(offset as i32 - frame as i32);
                }
                FinalizedMachExceptionHandler::Context(other) => {
                    // All registers are lost on the way to a handler.
                    return Err(internal(format!("a context in {other:?}")));
                }
            }
        }
        if list.last().is_none_or(|(tag, _)| *tag != Handler::ALL) {
            list.push((Handler::END, 0));
        }
        let first = *known.entry(list).or_insert_with_key(|list| {
            let first = table.handlers.len() as u32;
            let handlers = list.iter().map(|&(tag, target)| Handler { tag, target });
            table.handlers.extend(handlers);
            first
        });
        let context = context.ok_or_else(|| internal("a call without its context".into()))?;
        table.calls.push(TryCall { offset: call.ret_addr, context, frame, first });
    }
    table.calls.sort_by_key(|call| call.offset);
    Ok(table)
}

fn internal(message: String) -> CompileError {
    CompileError::Internal(message)
}

/// Where code stems from. Code of no instruction (prologue, the traps of its stack check, constants)
/// counts as that of the function's start.
fn locations(compiled: &CompiledCode, start: u32) -> Vec<Location> {
    let mut locations: Vec<Location> = Vec::new();
    let mut push = |offset, wasm| match locations.last_mut() {
        // A stretch of no bytes.
        Some(last) if last.offset == offset => last.wasm = wasm,
        Some(last) if last.wasm == wasm => {}
        _ => locations.push(Location { offset, wasm }),
    };
    let mut end = 0;
    for source in compiled.buffer.get_srclocs_sorted() {
        if source.start > end || end == 0 {
            push(end, start);
        }
        push(source.start, if source.loc.is_default() { start } else { source.loc.bits() });
        end = source.end;
    }
    push(end, start);
    locations
}

/// The places that `locations` speak of, with the calls they stand for, and `locations` counting in
/// them.
fn keep_used(locations: &mut [Location], inlined: &[Inlined]) -> Vec<Inlined> {
    const UNUSED: u32 = u32::MAX;
    let position = |wasm: u32| {
        let inner = wasm & Location::INLINED != 0 && wasm != Location::NONE;
        inner.then_some((wasm & !Location::INLINED) as usize)
    };
    let mut new = vec![UNUSED; inlined.len()];
    for location in &*locations {
        let mut next = position(location.wasm);
        while let Some(place) = next.filter(|place| new[*place] == UNUSED) {
            new[place] = 0;
            next = position(inlined[place].outer);
        }
    }
    let mut kept = Vec::new();
    for (place, new) in inlined.iter().zip(&mut new).filter(|(_, new)| **new != UNUSED) {
        *new = kept.len() as u32;
        kept.push(*place);
    }
    let renumber = |wasm: &mut u32| {
        if let Some(place) = position(*wasm) {
            *wasm = Location::INLINED | new[place];
        }
    };
    kept.iter_mut().for_each(|place| renumber(&mut place.outer));
    locations.iter_mut().for_each(|location| renumber(&mut location.wasm));
    kept
}

/// Whether a gate jumps to its body here: it refers to no other function.
fn is_jump(reloc: &Reloc, index: DefinedFuncIndex) -> bool {
    reloc.target == RelocTarget::Func(index)
}

/// Puts a gate before the body it jumps to, which is defined function `index`.
pub(crate) fn join(
    mut gate: FunctionCode,
    body: FunctionCode,
    index: DefinedFuncIndex,
) -> FunctionCode {
    // The gate has neither loops nor constants, and may start anywhere.
    let distance = gate.bytes.len();
    gate.starts = body.starts.before(distance);
    gate.bytes.extend_from_slice(&body.bytes);
    // Cranelift bounds the code of a function by 2 GiB.
    let distance = distance as u32;
    // Resolved here: elsewhere a reference to the function may mean other code of it.
    let (jumps, others): (Vec<_>, Vec<_>) =
        gate.relocs.into_iter().partition(|reloc| is_jump(reloc, index));
    gate.relocs = others;
    for Reloc { offset, addend, .. } in jumps {
        let value = i64::from(distance) + addend - i64::from(offset);
        let value = i32::try_from(value).expect("the gate has fewer than 2^31 bytes");
        gate.bytes[offset as usize..][..4].copy_from_slice(&value.to_le_bytes());
    }
    gate.relocs.extend(body.relocs.into_iter().map(|r| Reloc { offset: r.offset + distance, ..r }));
    // The gate has no places and no handlers of its own.
    gate.inlined = body.inlined;
    gate.exceptions.append(&body.exceptions, distance);
    gate.stack_maps.extend(&body.stack_maps, distance);
    gate.traps
        .extend(body.traps.into_iter().map(|t| TrapSite { offset: t.offset + distance, ..t }));
    gate.locations
        .extend(body.locations.into_iter().map(|l| Location { offset: l.offset + distance, ..l }));
    gate
}
