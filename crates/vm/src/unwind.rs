//! Faults of generated code, and walks over guest frames.

use crate::code;
use crate::context::{Context, Exit, Failure, FaultInfo, Frame, TrapReport, current};
use crate::{shims, sys};
use wardian_module::Trap;
use wardian_module::layout::FuncRef;

/// Makes faults of guest code reach [`on_fault`]. Once per process.
pub(crate) fn install() -> std::io::Result<()> {
    sys::install(on_fault)
}

/// Runs in the signal handler: see invariant [signal handler].
///
/// A fault is a guest's trap only if the table of its code says so and the address is one that such
/// code can reach. Any other means that the engine or an artifact is wrong: the process must not go on.
fn on_fault(fault: &sys::Fault) -> Option<sys::Resume> {
    if !code::in_arena(fault.pc) {
        return None;
    }
    let context = current();
    // SAFETY: [context pointer] null, or the context of this thread's innermost activation.
    let context_ref = unsafe { context.as_ref() }?;
    let trap = code::trap_at(fault.pc)?;
    let from_guest = match (fault.address, trap) {
        (None, _) => true,
        (Some(address), Trap::MemoryOutOfBounds) => context_ref.guards_hold(address),
        // A field of the function or object that a null reference does not refer to.
        (Some(address), Trap::NullReference) => {
            address < size_of::<FuncRef>() || context_ref.is_null_page(address)
        }
        _ => false,
    };
    if !from_guest {
        return None;
    }
    // NOTE [fuel register] of `layout`
    context_ref.shared.spent.set(fault.spent);
    context_ref.fault.set(FaultInfo {
        pc: fault.pc,
        fp: fault.fp,
        address: fault.address,
        trap: trap.code(),
    });
    Some(sys::Resume { pc: shims::fault_address(), context: context as usize })
}

/// Called by the fault shim, on the guest's stack, below the faulting frame.
///
/// # Safety
///
/// - `context` is the running store's, and `fault` in it describes a fault of its innermost frame.
pub(crate) unsafe extern "C" fn fault_entry(context: *const Context) {
    // SAFETY: [context pointer] the shim passes the context that the handler found.
    let context = unsafe { &*context };
    let fault = context.fault.get();
    let trap = Trap::from_code(fault.trap).expect("the handler stored the code of a trap");
    let address = fault.address.filter(|_| trap == Trap::MemoryOutOfBounds);
    let report = TrapReport { address, ..TrapReport::new(trap) };
    fail(context, Failure::Trap(report), Some((fault.pc, fault.fp)));
}

/// Called by the trap shim, whose frame is at `frame`, below the one whose check failed.
///
/// # Safety
///
/// - Only generated code calls it, by the shim, with the context of the running store.
pub(crate) unsafe extern "C" fn trap_entry(context: *const Context, frame: usize) {
    // SAFETY: [context pointer] the shim passes that of this thread's innermost activation, which is the
    // one whose code called.
    let context = unsafe { &*context };
    let (pc, fp) = after_call(frame);
    let trap = code::trap_at(pc).expect("code that calls the shim has its traps in the table");
    let mut report = TrapReport::new(trap);
    // Words that the code pushed: see `ModuleTable::TRAP_SHIM`.
    let bytes = word(frame + 16) as u64;
    if bytes != u64::MAX {
        let (length, end) = (word(frame + 24) as u64, word(frame + 32) as u64);
        report.memory_bytes = (end > length && end >= bytes).then_some(length);
        report.details[0] = end.wrapping_sub(bytes);
    }
    fail(context, Failure::Trap(report), Some((pc, fp)));
}

/// Leaves `failure` for the innermost entry, with the guest frames as they are: from `start`, a faulting
/// instruction and its frame pointer, or from the latest exit.
pub(crate) fn fail(context: &Context, failure: Failure, start: Option<(usize, usize)>) {
    let host = context.host.get().expect("a host is set while guest code runs");
    // SAFETY: [host pointer] guest code was running, and no other use of the host is live: the caller
    // is a shim's entry whose own use has ended.
    let store = unsafe { &mut *host.as_ptr() }.kernel();
    let limit = store.backtrace_limit();
    let mut frames = frames(context, start, limit.max(1));
    let innermost = frames.first().cloned();
    frames.truncate(limit);
    store.set_pending(Exit { failure, frames, innermost });
    context.pending.set(1);
}

/// A word of a guest's frame.
pub(crate) fn word(address: usize) -> usize {
    // SAFETY: [shim frame] [compiled code] addresses come from the chain of frame pointers between a
    // live exit or fault and its entry frame, or from the entry frame itself; or tell where in such a
    // frame its code keeps the context.
    unsafe { std::ptr::with_exposed_provenance::<usize>(address).read() }
}

/// Hands each reference into the heap that guest frames of a store hold to `visit`, and puts what that
/// returns in its place. It is host code that asks, called by the innermost guest frame or by nobody's.
pub(crate) fn each_reference(context: &Context, visit: &mut dyn FnMut(u32) -> u32) {
    let mut entry_sp = context.entry_sp.get();
    while entry_sp != 0 {
        let (mut pc, mut fp) = latest_exit(entry_sp);
        while fp != entry_sp + shims::ENTRY_FRAME {
            code::each_reference(pc, |place| {
                let address = fp.wrapping_add_signed(place as isize);
                let pointer = std::ptr::with_exposed_provenance_mut::<u32>(address);
                // SAFETY: [stack maps] the frame is live and waits for the call that returns to `pc`.
                let old = unsafe { pointer.read() };
                if old != 0 {
                    // SAFETY: [stack maps] as above; nothing else refers to the place meanwhile.
                    unsafe { pointer.write(visit(old)) };
                }
            });
            (pc, fp) = after_call(fp);
        }
        entry_sp = word(entry_sp + shims::PREVIOUS_ENTRY_SP);
    }
}

/// Return address and frame pointer of the guest frame that called the host last, in the activation whose entry frame
/// is at `entry_sp`.
pub(crate) fn latest_exit(entry_sp: usize) -> (usize, usize) {
    (word(word(entry_sp + shims::EXIT_SP)), word(entry_sp + shims::EXIT_FP))
}

/// Return address and frame pointer that lie in the frame at `fp`: those of its caller.
pub(crate) fn after_call(fp: usize) -> (usize, usize) {
    (word(fp + 8), word(fp))
}

/// Guest frames of a store, innermost first, at most `limit`. Without `start` it is host code that asks:
/// called by the innermost guest frame, or by nobody's.
pub(crate) fn frames(context: &Context, start: Option<(usize, usize)>, limit: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut entry_sp = context.entry_sp.get();
    if entry_sp == 0 {
        return frames;
    }
    // A return address may lie past the last byte of its call's function: one byte back lies inside.
    let (mut pc, mut fp) = match start {
        Some(fault) => fault,
        None => {
            let (pc, fp) = latest_exit(entry_sp);
            (pc - 1, fp)
        }
    };
    loop {
        while fp != entry_sp + shims::ENTRY_FRAME {
            if frames.len() >= limit {
                return frames;
            }
            code::frames_at(pc, &mut frames);
            frames.truncate(limit);
            (pc, fp) = after_call(fp);
            pc -= 1;
        }
        entry_sp = word(entry_sp + shims::PREVIOUS_ENTRY_SP);
        if entry_sp == 0 {
            return frames;
        }
        (pc, fp) = latest_exit(entry_sp);
        pc -= 1;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Code;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use wardian_module::image::{
        CodeImage, ExceptionTable, FuncRange, Handler, Location, StackMaps, TryCall,
    };
    use wardian_module::{DefinedFuncIndex, Proposals, TagIndex};

    /// A stack of two guest frames, as code would have left it: `f` was called by the host and has called
    /// `g`, which has called the host. Nothing runs.
    pub(crate) struct Stack {
        pub(crate) context: Context,
        words: Vec<u64>,
        code: Code,
        _epoch: Box<AtomicU64>,
    }

    /// Id of the tag that `f` handles.
    pub(crate) const TAG: u32 = 77;
    /// Positions in `words`, downwards from the entry frame.
    const ENTRY: usize = 20;
    const FRAME_F: usize = 14;
    const FRAME_G: usize = 8;
    const EXIT: usize = 2;

    impl Stack {
        pub(crate) fn new() -> Stack {
            let text = "(module (tag) (func $f) (func $g))";
            let wasm = wat::parse_str(text).unwrap();
            let (module, _) = wardian_module::decode(wasm, Proposals::default()).unwrap();
            let image = CodeImage {
                text: vec![0xcc; 64],
                funcs: vec![FuncRange { start: 0, end: 32 }, FuncRange { start: 32, end: 64 }],
                locations: vec![Location { offset: 0, wasm: 5 }, Location { offset: 32, wasm: 9 }],
                exceptions: ExceptionTable {
                    calls: vec![TryCall { offset: 8, context: -16, frame: 24, first: 0 }],
                    handlers: vec![Handler { tag: 0, target: 20 }, Handler::LAST],
                },
                stack_maps: StackMaps::from_parts(vec![40], vec![2], vec![-8, -4]),
                ..CodeImage::default()
            };
            let code = Code::publish(Arc::new(module), image).unwrap();
            let epoch = Box::new(AtomicU64::new(0));
            let context = Context::new(&*epoch);
            let mut stack = Stack { context, words: vec![0; 64], code, _epoch: epoch };
            let f = stack.code.entry(DefinedFuncIndex(0)) as u64;
            // The entry frame ends where the saved frame pointer of its caller lies; nothing was entered before.
            let entry_fp = stack.address(ENTRY) + shims::ENTRY_FRAME;
            stack.words[FRAME_F] = entry_fp as u64;
            // Where the host goes on, which nobody looks up.
            stack.words[FRAME_F + 1] = 1;
            // A VM context, of which only the id of the tag is looked at.
            let tag = stack.code.layout().tag(TagIndex(0)) as usize;
            let vm_context = stack.address(40).wrapping_sub(tag);
            stack.words[40] = u64::from(TAG);
            stack.words[FRAME_F - 2] = vm_context as u64;
            // `g` returns into `f`, and the host into `g`.
            stack.words[FRAME_G] = stack.address(FRAME_F) as u64;
            stack.words[FRAME_G + 1] = f + 8;
            stack.words[FRAME_G - 1] = 1000 | 2000 << 32;
            stack.words[EXIT] = f + 40;
            stack.words[ENTRY + shims::EXIT_FP / 8] = stack.address(FRAME_G) as u64;
            stack.words[ENTRY + shims::EXIT_SP / 8] = stack.address(EXIT) as u64;
            let entry_sp = stack.address(ENTRY);
            stack.context.entry_sp.set(entry_sp);
            stack
        }

        fn address(&mut self, word: usize) -> usize {
            self.words.as_mut_ptr().expose_provenance() + 8 * word
        }

        /// Address of the handler, and frame and stack pointer of `f`.
        pub(crate) fn handler(&mut self) -> (usize, usize, usize) {
            let fp = self.address(FRAME_F);
            (self.code.entry(DefinedFuncIndex(0)) as usize + 20, fp, fp - 24)
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "walks along addresses, which strict provenance forbids")]
    fn walks_find_the_references_of_frames() {
        let mut stack = Stack::new();
        let mut found = Vec::new();
        each_reference(&stack.context, &mut |reference| {
            found.push(reference);
            reference + 1
        });
        stack.address(0);
        assert_eq!((found, stack.words[FRAME_G - 1]), (vec![1000, 2000], 1001 | 2001 << 32));
    }

    #[test]
    #[cfg_attr(miri, ignore = "walks along addresses, which strict provenance forbids")]
    fn walks_find_the_frames_from_the_innermost_on() {
        let stack = Stack::new();
        for limit in 0..4 {
            let found = frames(&stack.context, None, limit);
            let found: Vec<_> =
                found.iter().map(|frame| (frame.func.0, frame.wasm_offset)).collect();
            let expected = [(1, Some(9)), (0, Some(5))];
            assert_eq!(found, expected[..limit.min(2)]);
        }
        stack.context.entry_sp.set(0);
        assert!(frames(&stack.context, None, 4).is_empty());
    }
}
