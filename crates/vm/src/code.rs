//! Machine code of modules: where it lies, how it becomes executable, how an address finds it.
//!
//! ```text
//!   executable view   … │ module table │ text │ …     (text readable and executable)
//!   writable view     … │ module table │ text │ …     (same memory; address known here only)
//! ```
//!
//! Code lives in arenas, reserved whole: an anonymous file mapped twice, or, where a system refuses
//! that, plain memory whose protection changes once per module. The module table keeps its own
//! protection (readable and writable) in the executable view.
//!
//! NOTE [publication]
//! `Code::publish` writes text and table through the writable view, then enters the code into the
//! arena's page table with release stores, then returns. Nobody can call the code before it returns,
//! so readers of the page table (the signal handler) that ask about a live frame's address find it.
//! On drop the entries are cleared before the range is reused; no live frame is in it by [store
//! lifetime].

use crate::context::Frame;
use crate::{shims, sys};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use wardian_module::image::CodeImage;
use wardian_module::layout::{CODE_PAGE, Linkage, ModuleTable, VmLayout};
use wardian_module::{DefinedFuncIndex, Module, Trap, TypeIndex};

/// Why code could not be published.
#[derive(Debug)]
pub enum CodeError {
    /// The image does not fit its module, or its tables are broken.
    Image(String),
    /// No address space, or the system refused.
    Memory(std::io::Error),
    /// All arenas are full.
    Full,
}

impl std::fmt::Display for CodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CodeError::Image(why) => write!(f, "code image refused: {why}"),
            CodeError::Memory(error) => write!(f, "no memory for code: {error}"),
            CodeError::Full => {
                write!(f, "no room for compiled code: all {ARENAS} code arenas are full")
            }
        }
    }
}

impl std::error::Error for CodeError {}

/// An artifact whose origin the caller vouches for, in place of its authentication.
#[derive(Debug)]
pub struct VouchedArtifact<'a>(&'a [u8]);

impl<'a> VouchedArtifact<'a> {
    /// Vouches for `bytes`.
    ///
    /// # Safety
    ///
    /// - `bytes` were made by `Engine::precompile_module` or `Module::serialize` of this version and
    ///   have not been changed since. Their code will be run as it is; other bytes can do anything.
    pub unsafe fn new(bytes: &'a [u8]) -> VouchedArtifact<'a> {
        VouchedArtifact(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }
}

const ARENAS: usize = 16;
/// Sizes to try, the largest first: a process may be short of address space (`ulimit -v`).
const ARENA_SIZES: [usize; 3] = [1 << 30, 128 << 20, 16 << 20];

/// Address space for code.
struct Arena {
    /// First address of the executable view.
    start: NonNull<u8>,
    /// The writable view; without, protections change.
    dual: Option<sys::DualMapping>,
    /// For each page, the code that lies there.
    pages: Box<[AtomicPtr<CodeTables>]>,
    /// Free ranges, in pages, sorted by start, never adjacent.
    free: Mutex<Vec<(usize, usize)>>,
}

// SAFETY: [arena] ranges are handed out under the lock; the rest is atomic or never changes.
unsafe impl Send for Arena {}
// SAFETY: [arena] as above.
unsafe impl Sync for Arena {}

/// All arenas, made one after the other and never given back.
static LIST: [OnceLock<Arena>; ARENAS] = [const { OnceLock::new() }; ARENAS];
static MAKING: Mutex<()> = Mutex::new(());
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Arena {
    /// An arena of the first size that the system grants, of at least `least` bytes.
    fn new(least: usize) -> Result<Arena, CodeError> {
        let mut refused = CodeError::Full;
        for size in ARENA_SIZES.into_iter().filter(|size| *size >= least) {
            match Arena::of_size(size) {
                Ok(arena) => return Ok(arena),
                Err(error) => refused = CodeError::Memory(error),
            }
        }
        Err(refused)
    }

    fn of_size(size: usize) -> std::io::Result<Arena> {
        let dual = sys::dual_mapping(size).ok();
        let start = match &dual {
            Some(dual) => dual.executable,
            None => sys::reserve(size)?,
        };
        let count = size / CODE_PAGE;
        // Zeroed memory of the allocator is not touched until used: an arena costs what it holds.
        let pages = Box::<[AtomicPtr<CodeTables>]>::new_zeroed_slice(count);
        // SAFETY: [arena] all-zero is a null `AtomicPtr`.
        let pages = unsafe { pages.assume_init() };
        Ok(Arena { start, dual, pages, free: Mutex::new(vec![(0, count)]) })
    }

    fn take(&self, count: usize) -> Option<usize> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let found = free.iter().position(|(_, length)| *length >= count)?;
        let (start, length) = free[found];
        if length == count {
            free.remove(found);
        } else {
            free[found] = (start + count, length - count);
        }
        Some(start)
    }

    fn give_back(&self, start: usize, count: usize) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let position = free.partition_point(|(s, _)| *s < start);
        free.insert(position, (start, count));
        if let Some(&(next, length)) = free.get(position + 1)
            && start + count == next
        {
            free[position].1 += length;
            free.remove(position + 1);
        }
        if position > 0 && free[position - 1].0 + free[position - 1].1 == start {
            free[position - 1].1 += free[position].1;
            free.remove(position);
        }
    }

    /// Writes `table` and `text` into a taken range and sets protections.
    fn write(&self, page: usize, table: &[u8], text: &[u8]) -> std::io::Result<()> {
        let offset = page * CODE_PAGE;
        let text_bytes = text.len().next_multiple_of(CODE_PAGE);
        // SAFETY: [arena] the range was taken and belongs to this call: in the dual mapping its
        // writable view is always writable; else it is made writable first and nobody executes it yet.
        // `table` and `text_bytes` are page multiples inside the range.
        unsafe {
            let executable = self.start.as_ptr().add(offset);
            sys::make_accessible(executable, table.len())?;
            let writable = match &self.dual {
                Some(dual) => dual.writable.as_ptr().add(offset),
                None => {
                    sys::make_accessible(executable.add(table.len()), text_bytes)?;
                    executable
                }
            };
            writable.copy_from_nonoverlapping(table.as_ptr(), table.len());
            writable.add(table.len()).copy_from_nonoverlapping(text.as_ptr(), text.len());
            if self.dual.is_none() {
                sys::make_executable(executable.add(table.len()), text_bytes)?;
            }
        }
        Ok(())
    }

    /// Ends the use of a taken range that begins with a table, perhaps written in part.
    fn release(&self, page: usize, count: usize, table_bytes: usize) {
        let offset = page * CODE_PAGE;
        // SAFETY: [arena] the range is the caller's until it is given back below. The table's pages
        // become executable again, so that a later text may lie there.
        let restored =
            unsafe { sys::make_executable(self.start.as_ptr().add(offset), table_bytes).is_ok() };
        if let Some(dual) = &self.dual {
            dual.discard(offset, count * CODE_PAGE);
        }
        // A range whose protection is unknown is not used again.
        if restored {
            self.give_back(page, count);
        }
    }
}

/// Finds room for `count` pages, making arenas as needed.
fn allocate(count: usize) -> Result<(&'static Arena, usize), CodeError> {
    for slot in &LIST {
        if slot.get().is_none() {
            let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.get().is_none() {
                let _ = slot.set(Arena::new(count * CODE_PAGE)?);
                COUNT.fetch_add(1, Release);
            }
        }
        let arena = slot.get().expect("made above");
        if let Some(page) = arena.take(count) {
            return Ok((arena, page));
        }
    }
    Err(CodeError::Full)
}

/// What the signal handler and backtraces ask about code.
#[derive(Debug)]
struct CodeTables {
    module: Arc<Module>,
    text: *const u8,
    image: CodeImage,
}

/// Published machine code of one module.
pub struct Code {
    module: Arc<Module>,
    layout: VmLayout,
    arena: &'static Arena,
    page: usize,
    page_count: usize,
    /// From `Box::into_raw`; the arena's page table points there too.
    tables: NonNull<CodeTables>,
}

// SAFETY: [arena] after publication nothing of it changes until it is dropped.
unsafe impl Send for Code {}
// SAFETY: [arena] as above.
unsafe impl Sync for Code {}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("text", &self.tables().text).finish_non_exhaustive()
    }
}

impl Code {
    /// Makes `image` executable as the code of `module`. By [compiled code] the image stems from a tier
    /// or an authenticated artifact.
    pub fn publish(module: Arc<Module>, image: CodeImage) -> Result<Code, CodeError> {
        image.check().map_err(|error| CodeError::Image(error.0))?;
        if image.funcs.len() != module.bodies.len() {
            let (found, expected) = (image.funcs.len(), module.bodies.len());
            return Err(CodeError::Image(format!("{found} functions for a module of {expected}")));
        }
        let mut table =
            vec![0; ModuleTable::size(module.types.len(), module.bodies.len(), Linkage::Direct)];
        let mut put = |offset: u32, bytes: &[u8]| {
            table[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        };
        put(ModuleTable::BUILTIN_SHIM, &(shims::builtin_address() as u64).to_le_bytes());
        for (index, ty) in module.types.iter().enumerate() {
            put(ModuleTable::type_id(TypeIndex::from(index)), &ty.id().as_u32().to_le_bytes());
        }
        let page_count = (table.len() + image.text.len()).div_ceil(CODE_PAGE);
        let (arena, page) = allocate(page_count)?;
        if let Err(error) = arena.write(page, &table, &image.text) {
            arena.release(page, page_count, table.len());
            return Err(CodeError::Memory(error));
        }
        let text = arena.start.as_ptr().wrapping_add(page * CODE_PAGE + table.len());
        let layout = VmLayout::new(&module);
        // The text lives in the arena now.
        let image = CodeImage { text: Vec::new(), ..image };
        let tables = Box::into_raw(Box::new(CodeTables { module: module.clone(), text, image }));
        for page in &arena.pages[page..page + page_count] {
            page.store(tables, Release);
        }
        let tables = NonNull::new(tables).expect("a box is not null");
        Ok(Code { module, layout, arena, page, page_count, tables })
    }

    fn tables(&self) -> &CodeTables {
        // SAFETY: [arena] the box lives as long as `self`, and is only read.
        unsafe { self.tables.as_ref() }
    }

    /// The module it is the code of.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Layout of its instances' VM contexts.
    pub fn layout(&self) -> &VmLayout {
        &self.layout
    }

    /// The image it was published from, text included.
    pub fn image(&self) -> CodeImage {
        let tables = self.tables();
        // SAFETY: [arena] the text was written by `publish`, is readable in the executable view, and
        // does not change until `self` is dropped.
        let text = unsafe { std::slice::from_raw_parts(tables.text, self.text_size()) };
        CodeImage { text: text.to_vec(), ..tables.image.clone() }
    }

    /// Size of the text in bytes.
    pub fn text_size(&self) -> usize {
        self.tables().image.funcs.last().map_or(0, |f| f.end as usize)
    }

    /// The entry of a function.
    pub(crate) fn entry(&self, index: DefinedFuncIndex) -> *const u8 {
        let tables = self.tables();
        tables.text.wrapping_add(tables.image.funcs[index.index()].start as usize)
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        for page in &self.arena.pages[self.page..self.page + self.page_count] {
            page.store(null_mut(), Release);
        }
        // SAFETY: [arena] made by `Box::into_raw` in `publish`; the page table forgot it above, and no
        // live frame asks for it ([store lifetime]).
        drop(unsafe { Box::from_raw(self.tables.as_ptr()) });
        let table_bytes =
            ModuleTable::size(self.module.types.len(), self.module.bodies.len(), Linkage::Direct);
        self.arena.release(self.page, self.page_count, table_bytes);
    }
}

/// Whether `pc` lies in an arena. Lock-free.
pub(crate) fn in_arena(pc: usize) -> bool {
    arena_page(pc).is_some()
}

fn arena_page(pc: usize) -> Option<(&'static Arena, usize)> {
    LIST.iter().take(COUNT.load(Acquire)).filter_map(OnceLock::get).find_map(|arena| {
        let offset = pc.checked_sub(arena.start.as_ptr() as usize)?;
        let page = offset / CODE_PAGE;
        (page < arena.pages.len()).then_some((arena, page))
    })
}

/// Asks the code that `pc` lies in. Lock-free.
///
/// `pc` is the address of an instruction of a live frame of this thread: see [code lookup].
fn lookup<R>(pc: usize, ask: impl FnOnce(&CodeTables, u32) -> Option<R>) -> Option<R> {
    let (arena, page) = arena_page(pc)?;
    let tables = NonNull::new(arena.pages[page].load(Acquire))?;
    // SAFETY: [code lookup] the frame is live, so its code is published and stays so meanwhile.
    let tables = unsafe { tables.as_ref() };
    let offset = u32::try_from(pc.checked_sub(tables.text as usize)?).ok()?;
    ask(tables, offset)
}

/// What a fault at `pc` means, for an instruction of a live frame of this thread. Lock-free.
pub(crate) fn trap_at(pc: usize) -> Option<Trap> {
    lookup(pc, |tables, offset| tables.image.trap_at(offset))
}

/// The frame whose instruction `pc` is, for a live frame of this thread.
pub(crate) fn frame_at(pc: usize) -> Option<Frame> {
    lookup(pc, |tables, offset| {
        let func = tables.module.func_index(tables.image.func_at(offset)?);
        let wasm_offset = tables.image.location_at(offset);
        Some(Frame { module: tables.module.clone(), func, wasm_offset })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusals::refuse;

    /// Arenas are never given back but here.
    fn end(arena: Arena) {
        let size = arena.pages.len() * CODE_PAGE;
        // SAFETY: [arena] nothing was published in it, and nothing refers to it any more.
        unsafe {
            sys::unmap(arena.start, size);
            arena.dual.iter().for_each(|dual| sys::unmap(dual.writable, size));
        }
    }

    #[test]
    fn ranges_merge_when_given_back() {
        let arena = Arena::of_size(16 << 20).unwrap();
        let taken: Vec<_> = (0..4).map(|_| arena.take(3).unwrap()).collect();
        assert_eq!(taken, [0, 3, 6, 9]);
        for start in [3, 9, 0, 6] {
            arena.give_back(start, 3);
        }
        assert_eq!(*arena.free.lock().unwrap(), [(0, arena.pages.len())]);
        end(arena);
    }

    /// With each request refused in turn: of those that make an arena, and then of those that write
    /// into one, mapped twice or, after a refusal, once.
    #[test]
    fn refused_requests_leave_ranges_usable() {
        let mut arenas = Vec::new();
        for allowed in 0.. {
            let (arena, hits) = refuse(allowed, 1, || Arena::of_size(16 << 20));
            arenas.extend(arena);
            if hits == 0 {
                break;
            }
        }
        assert!(arenas.iter().any(|arena| arena.dual.is_none()));
        let (table, text) = (vec![1; CODE_PAGE], vec![2; CODE_PAGE + 1]);
        for arena in arenas {
            let whole = arena.pages.len();
            for allowed in 0.. {
                let page = arena.take(3).unwrap();
                let (result, hits) = refuse(allowed, 1, || arena.write(page, &table, &text));
                assert_eq!(result.is_err(), hits > 0);
                arena.release(page, 3, table.len());
                assert_eq!(*arena.free.lock().unwrap(), [(0, whole)]);
                if hits == 0 {
                    break;
                }
            }
            // Where protection cannot be restored, the range is lost.
            let page = arena.take(3).unwrap();
            refuse(0, usize::MAX, || arena.release(page, 3, table.len()));
            assert_eq!(*arena.free.lock().unwrap(), [(3, whole - 3)]);
            end(arena);
        }
    }
}
