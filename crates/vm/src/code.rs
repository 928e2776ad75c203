//! Machine code of modules: where it lies, how it becomes executable, how an address finds it.
//!
//! ```text
//!   executable view   … │ module table │ text │ …     (text readable and executable)
//!   writable view     … │ (nothing)    │ text │ …     (same memory; address known here only)
//! ```
//!
//! Code lives in arenas, reserved whole: an anonymous file mapped twice, or, where a system refuses
//! that or somebody who watches wants it so, plain memory whose protection changes once per range of
//! text. The module table keeps its own protection (readable and writable) in the executable view.
//!
//! A module's code comes whole, as an image, or function by function: see `tiered`.
//!
//! NOTE [publication]
//! `Code::publish` writes text and table through the writable view, then enters the code into the
//! arena's page table with release stores, then returns. Nobody can call the code before it returns,
//! so readers of the page table (the signal handler) that ask about a live frame's address find it.
//! On drop the entries are cleared before the range is reused; no live frame is in it by [store
//! lifetime].
//!
//! NOTE [fork]
//! The text of an arena is shared with the children of its process; module tables, slots included, are
//! copied like other memory. Only the process that made an arena takes ranges of it, writes text or
//! gives memory back. A child makes arenas of its own; code that it inherited is what it was at `fork`,
//! as long as the parent keeps the module.

use crate::context::Frame;
use crate::exceptions::Handlers;
use crate::mapping::InitialMemory;
use crate::tiered::{ChunkTables, Source, Tiered};
use crate::watch::{Kept, PublishedFunc, Watch};
use crate::{routines, shims, sys};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use wardian_module::image::{CodeImage, FuncRange};
use wardian_module::layout::{CODE_PAGE, Linkage, ModuleTable, VmLayout};
use wardian_module::{DefinedFuncIndex, Module, TagIndex, Trap, TypeIndex};

/// Why code could not be published.
#[derive(Debug)]
pub enum CodeError {
    /// The image does not fit its module, or its tables are broken.
    Image(String),
    /// No address space, or the system refused.
    Memory(std::io::Error),
    /// All arenas are full.
    Full,
    /// The code belongs to the process that this one was forked from.
    Forked,
}

impl std::fmt::Display for CodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CodeError::Image(why) => write!(f, "code image refused: {why}"),
            CodeError::Memory(error) => write!(f, "no memory for code: {error}"),
            CodeError::Full => {
                write!(f, "no room for compiled code: all {ARENAS} code arenas are full")
            }
            CodeError::Forked => f.write_str(
                "functions that were not compiled before `fork` cannot be compiled in the child",
            ),
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
pub(crate) struct Arena {
    /// The process that made it: NOTE [fork].
    process: u32,
    /// Whether it was to be plain memory: see [`Watch::plain_memory`].
    plain: bool,
    /// First address of the executable view.
    start: NonNull<u8>,
    /// The writable view; without, protections change.
    dual: Option<sys::DualMapping>,
    /// For each page, the code that lies there.
    pages: Box<[AtomicPtr<CodeTables>]>,
    /// Free ranges, in pages, sorted by start, never adjacent.
    free: Mutex<Vec<(usize, usize)>>,
    /// Ranges with a table that are free too, but keep it: the next module of that shape needs nothing of
    /// the system. Their text was cleared.
    kept: Mutex<Vec<Shape>>,
}

/// A range with a table, in pages, and the bytes of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    start: usize,
    count: usize,
    table_bytes: usize,
}

/// How many ranges an arena keeps, and of how many pages at most: 1 MiB.
const KEPT_RANGES: usize = 16;
const KEPT_PAGES: usize = 16;

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
    fn new(least: usize, plain: bool) -> Result<Arena, CodeError> {
        let mut refused = CodeError::Full;
        for size in ARENA_SIZES.into_iter().filter(|size| *size >= least) {
            match Arena::of_size(size, plain) {
                Ok(arena) => return Ok(arena),
                Err(error) => refused = CodeError::Memory(error),
            }
        }
        Err(refused)
    }

    fn of_size(size: usize, plain: bool) -> std::io::Result<Arena> {
        let dual = if plain { None } else { sys::dual_mapping(size).ok() };
        let start = match &dual {
            Some(dual) => dual.executable,
            None => sys::reserve(size)?,
        };
        let count = size / CODE_PAGE;
        // Zeroed memory of the allocator is not touched until used: an arena costs what it holds.
        let pages = Box::<[AtomicPtr<CodeTables>]>::new_zeroed_slice(count);
        // SAFETY: [arena] all-zero is a null `AtomicPtr`.
        let pages = unsafe { pages.assume_init() };
        let (free, kept) = (Mutex::new(vec![(0, count)]), Mutex::default());
        Ok(Arena { process: sys::process(), plain, start, dual, pages, free, kept })
    }

    /// Whether this process made it.
    fn is_own(&self) -> bool {
        self.process == sys::process()
    }

    /// Whether its memory can be written anywhere, without a change of protection.
    pub(crate) fn is_dual(&self) -> bool {
        self.dual.is_some()
    }

    /// Address of a page in the executable view.
    fn address(&self, page: usize) -> *mut u8 {
        self.start.as_ptr().wrapping_add(page * CODE_PAGE)
    }

    /// A free range of `count` pages, for which kept ones are given back if it must be.
    fn take(&self, count: usize) -> Option<usize> {
        self.take_free(count).or_else(|| {
            self.give_up_kept();
            self.take_free(count)
        })
    }

    fn give_up_kept(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.drain(..).for_each(|shape| self.clear(shape));
    }

    /// A kept range of this size and table.
    fn take_kept(&self, count: usize, table_bytes: usize) -> Option<Shape> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |shape: &Shape| (shape.count, shape.table_bytes) == (count, table_bytes);
        let found = kept.iter().position(fits)?;
        Some(kept.swap_remove(found))
    }

    /// Keeps a range, whose text was cleared, unless there are enough.
    fn keep(&self, shape: Shape) -> bool {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let room = kept.len() < KEPT_RANGES;
        if room {
            kept.push(shape);
        }
        room
    }

    /// Gives the memory of a range that belongs to nobody back to the system, and then the range.
    fn clear(&self, Shape { start, count, table_bytes }: Shape) {
        // SAFETY: [arena] the range is the caller's until it is given back below. The table's pages become
        // executable again, so that a later text may lie there.
        let restored = unsafe {
            match &self.dual {
                Some(dual) => dual.make_shared(start * CODE_PAGE, table_bytes),
                None => sys::make_executable(self.address(start), table_bytes),
            }
        };
        if let Some(dual) = &self.dual {
            dual.discard(start * CODE_PAGE, count * CODE_PAGE);
        }
        // A range whose protection is unknown is not used again.
        if restored.is_ok() {
            self.give_back(start, count);
        }
    }

    fn take_free(&self, count: usize) -> Option<usize> {
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
}

/// Finds room for `count` pages that begin with a table, making arenas as needed. A range that was kept has its table.
fn allocate(count: usize, table_bytes: usize, plain: bool) -> Result<Pages, CodeError> {
    for slot in &LIST {
        if slot.get().is_none() {
            let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.get().is_none() {
                let _ = slot.set(Arena::new(count * CODE_PAGE, plain)?);
                COUNT.fetch_add(1, Release);
            }
        }
        let arena = slot.get().expect("made above");
        if !arena.is_own() || arena.plain != plain {
            continue;
        }
        if let Some(Shape { start, .. }) = arena.take_kept(count, table_bytes) {
            return Ok(Pages { arena, start, count, table_bytes, tables: None });
        }
        if let Some(start) = arena.take(count) {
            return Pages::begin(arena, start, count, table_bytes).map_err(CodeError::Memory);
        }
    }
    Err(CodeError::Full)
}

/// A range of an arena: a module table of some pages, if any, then text.
pub(crate) struct Pages {
    arena: &'static Arena,
    start: usize,
    count: usize,
    /// Bytes that are readable and writable, not executable, in the executable view.
    table_bytes: usize,
    /// What the arena's page table says of the range.
    tables: Option<Arc<CodeTables>>,
}

impl Pages {
    /// A range of at least `bytes` bytes, beginning with a table of `table_bytes`, a page multiple.
    fn take(bytes: usize, table_bytes: usize, plain: bool) -> Result<Pages, CodeError> {
        allocate(bytes.div_ceil(CODE_PAGE).max(1), table_bytes, plain)
    }

    /// Makes the table of a range of `arena` that was taken accessible.
    fn begin(
        arena: &'static Arena,
        start: usize,
        count: usize,
        table_bytes: usize,
    ) -> std::io::Result<Pages> {
        assert!(table_bytes <= count * CODE_PAGE, "a table inside its range");
        // SAFETY: [arena] the range was taken and nothing runs there; the table lies inside.
        let made = unsafe {
            match &arena.dual {
                Some(dual) => dual.make_private(start * CODE_PAGE, table_bytes),
                None => sys::make_accessible(arena.address(start), table_bytes),
            }
        };
        match made {
            Ok(()) => Ok(Pages { arena, start, count, table_bytes, tables: None }),
            Err(error) => {
                // It has no table, so it is not kept.
                arena.clear(Shape { start, count, table_bytes });
                Err(error)
            }
        }
    }

    /// A range without a table in the same arena.
    pub(crate) fn take_beside(&self, bytes: usize) -> Result<Pages, CodeError> {
        if !self.is_own() {
            return Err(CodeError::Forked);
        }
        let count = bytes.div_ceil(CODE_PAGE).max(1);
        let start = self.arena.take(count).ok_or(CodeError::Full)?;
        Ok(Pages { arena: self.arena, start, count, table_bytes: 0, tables: None })
    }

    /// Whether this process may write to it: NOTE [fork].
    pub(crate) fn is_own(&self) -> bool {
        self.arena.is_own()
    }

    /// The arena it lies in.
    pub(crate) fn arena(&self) -> &'static Arena {
        self.arena
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.count * CODE_PAGE
    }

    /// Address in the executable view.
    pub(crate) fn address(&self, offset: usize) -> *mut u8 {
        self.arena.address(self.start).wrapping_add(offset)
    }

    /// Writes `bytes` at `offset`, inside the table or behind it. Where memory is not mapped twice, text
    /// starts in a page of its own, which nothing runs in yet.
    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) -> std::io::Result<()> {
        let end = offset.checked_add(bytes.len());
        assert!(end.is_some_and(|end| end <= self.size()), "write inside the range");
        let is_text = offset >= self.table_bytes;
        assert!(
            is_text || offset + bytes.len() <= self.table_bytes,
            "table and text are two writes"
        );
        assert!(self.is_own(), "only its own process writes to an arena");
        // From the page that it starts in.
        let before = if is_text { offset % CODE_PAGE } else { 0 };
        let size = (before + bytes.len()).next_multiple_of(CODE_PAGE);
        // SAFETY: [arena] the bytes lie inside this range, which is its owner's alone. The table is
        // writable where it is read. Of text, in the dual mapping the writable view is always writable;
        // else its pages, which nobody executes yet, are writable until they become executable.
        unsafe {
            let executable = self.address(offset);
            match &self.arena.dual {
                Some(dual) if is_text => {
                    let place = dual.writable.as_ptr().add(self.start * CODE_PAGE + offset);
                    place.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                }
                None if is_text => {
                    assert!(offset - before >= self.table_bytes, "no page holds table and text");
                    let page = executable.sub(before);
                    sys::make_accessible(page, size)?;
                    executable.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
                    sys::make_executable(page, size)?;
                }
                _ => executable.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()),
            }
        }
        Ok(())
    }

    /// Clears the text of a range that may be kept; says whether it may.
    fn clear_text(&self) -> bool {
        const NOTHING: [u8; CODE_PAGE] = [0; CODE_PAGE];
        let may_be_kept = self.table_bytes > 0 && self.count <= KEPT_PAGES && self.arena.is_dual();
        let text = if may_be_kept { self.table_bytes..self.size() } else { 0..0 };
        text.step_by(CODE_PAGE).all(|page| self.write(page, &NOTHING).is_ok()) && may_be_kept
    }

    /// A code slot in the table, at an offset that is a multiple of 8.
    pub(crate) fn slot(&self, offset: usize) -> &AtomicU64 {
        assert!(offset + 8 <= self.table_bytes && offset.is_multiple_of(8), "slot in the table");
        // SAFETY: [arena] the table is mapped, readable and writable, as long as `self`; generated code
        // only reads slots, in one access.
        unsafe { &*self.address(offset).cast() }
    }

    /// A counter in the table, at an offset that is a multiple of 4.
    pub(crate) fn counter(&self, offset: usize) -> &AtomicI32 {
        assert!(offset + 4 <= self.table_bytes && offset.is_multiple_of(4), "counter in the table");
        // SAFETY: [arena] as for a slot; generated code counts down without a lock, and any number that
        // comes of that is as good as another.
        unsafe { &*self.address(offset).cast() }
    }

    /// Lets addresses in the range be found.
    pub(crate) fn enter(&mut self, tables: CodeTables) {
        let tables = self.tables.insert(Arc::new(tables));
        for page in &self.arena.pages[self.start..self.start + self.count] {
            page.store(Arc::as_ptr(tables).cast_mut(), Release);
        }
    }

    /// What was entered.
    pub(crate) fn tables(&self) -> &CodeTables {
        self.tables.as_ref().expect("entered when it was made")
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        for page in &self.arena.pages[self.start..self.start + self.count] {
            page.store(null_mut(), Release);
        }
        if !self.is_own() {
            return;
        }
        let &mut Pages { arena, start, count, table_bytes, .. } = self;
        let shape = Shape { start, count, table_bytes };
        if !(self.clear_text() && arena.keep(shape)) {
            arena.clear(shape);
        }
    }
}

/// What the signal handler and backtraces ask about code.
#[derive(Debug)]
pub(crate) enum CodeTables {
    /// The code of a whole module.
    Whole {
        /// The module.
        module: Arc<Module>,
        /// Address of the text.
        text: usize,
        /// Its tables; the text itself lives in the arena.
        image: Box<CodeImage>,
        /// Offset in VM contexts of the ids of tags.
        tags: u32,
    },
    /// Functions of a module, compiled one by one.
    Chunk(Box<ChunkTables>),
}

impl CodeTables {
    fn trap_at(&self, pc: usize) -> Option<Trap> {
        match self {
            CodeTables::Whole { text, image, .. } => {
                image.trap_at(u32::try_from(pc.checked_sub(*text)?).ok()?)
            }
            CodeTables::Chunk(chunk) => chunk.trap_at(pc),
        }
    }

    /// Where the frame that comes back to `pc` has references into the heap: in bytes from its frame pointer.
    fn references_at(&self, pc: usize) -> &[i32] {
        match self {
            CodeTables::Whole { text, image, .. } => {
                let offset = pc.checked_sub(*text).and_then(|at| u32::try_from(at).ok());
                offset.map_or(&[], |offset| image.stack_maps.at(offset))
            }
            CodeTables::Chunk(chunk) => chunk.references_at(pc),
        }
    }

    fn frames_at(&self, pc: usize, frames: &mut Vec<Frame>) {
        match self {
            CodeTables::Whole { module, text, image, .. } => {
                let Some(offset) = pc.checked_sub(*text).and_then(|at| u32::try_from(at).ok())
                else {
                    return;
                };
                frames.extend(image.frames_at(offset).map(|(func, wasm_offset)| Frame {
                    module: module.clone(),
                    func: module.func_index(func),
                    wasm_offset,
                }));
            }
            CodeTables::Chunk(chunk) => chunk.frames_at(pc, frames),
        }
    }

    /// The handlers of the call that returns to `pc`, if it has any.
    fn handlers_at(&self, pc: usize) -> Option<Handlers<'_>> {
        match self {
            CodeTables::Whole { text, image, tags, .. } => {
                let table = &image.exceptions;
                let call = table.call_at(u32::try_from(pc.checked_sub(*text)?).ok()?)?;
                Some(Handlers { table, call, base: *text, tags: *tags })
            }
            CodeTables::Chunk(chunk) => chunk.handlers_at(pc),
        }
    }
}

/// Published machine code of one module.
pub struct Code {
    /// Of whole code. Dropped before it.
    _kept: Option<Kept>,
    module: Arc<Module>,
    layout: VmLayout,
    form: Form,
    initial: InitialMemories,
}

/// What instances share of their memories: for each memory of the module's own, what it begins with.
#[derive(Default)]
struct InitialMemories {
    /// Instances that asked before it was made.
    asked: AtomicU32,
    made: OnceLock<Box<[Option<Arc<InitialMemory>>]>>,
}

enum Form {
    /// All functions, and the bytes of the table before them.
    Whole(Pages, usize),
    Tiered(Tiered),
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Code").field("text_size", &self.text_size()).finish_non_exhaustive()
    }
}

/// A range that begins with the module table of `module`, filled in, and goes on with `text_bytes`.
pub(crate) fn with_table(
    module: &Module,
    linkage: Linkage,
    text_bytes: usize,
    watch: Option<&dyn Watch>,
) -> Result<(Pages, usize), CodeError> {
    let mut table = vec![0; ModuleTable::size(module.types.len(), module.bodies.len(), linkage)];
    let mut put = |offset: u32, bytes: &[u8]| {
        table[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    };
    put(ModuleTable::BUILTIN_SHIM, &(shims::builtin_address() as u64).to_le_bytes());
    put(ModuleTable::LAZY_SHIM, &(shims::lazy_address() as u64).to_le_bytes());
    put(ModuleTable::COPY_ROUTINE, &(routines::copy_bytes as *const () as u64).to_le_bytes());
    put(ModuleTable::FILL_ROUTINE, &(routines::fill_bytes as *const () as u64).to_le_bytes());
    let fill_elements = routines::fill_elements() as *const ();
    put(ModuleTable::FILL_ELEMENTS_ROUTINE, &(fill_elements as u64).to_le_bytes());
    put(ModuleTable::THROW_SHIM, &(shims::throw_address() as u64).to_le_bytes());
    put(ModuleTable::EPOCH_SHIM, &(shims::epoch_address() as u64).to_le_bytes());
    put(ModuleTable::TRAP_SHIM, &(shims::trap_address() as u64).to_le_bytes());
    for (index, ty) in module.types.iter().enumerate() {
        put(ModuleTable::type_id(TypeIndex::from(index)), &ty.id().as_u32().to_le_bytes());
    }
    let plain = watch.is_some_and(Watch::plain_memory);
    let pages = Pages::take(table.len() + text_bytes, table.len(), plain)?;
    pages.write(0, &table).map_err(CodeError::Memory)?;
    Ok((pages, table.len()))
}

impl Code {
    /// Makes `image` executable as the code of `module`. By [compiled code] the image stems from a tier
    /// or an authenticated artifact.
    pub fn publish(module: Arc<Module>, image: CodeImage) -> Result<Code, CodeError> {
        Code::publish_watched(module, image, None)
    }

    /// As [`publish`](Code::publish), and tells `watch` of it.
    pub fn publish_watched(
        module: Arc<Module>,
        mut image: CodeImage,
        watch: Option<&dyn Watch>,
    ) -> Result<Code, CodeError> {
        let text = std::mem::take(&mut image.text);
        Code::publish_text(module, image, &text, watch)
    }

    /// As [`publish_watched`](Code::publish_watched), of an image whose text lies elsewhere.
    pub fn publish_text(
        module: Arc<Module>,
        image: CodeImage,
        text_bytes: &[u8],
        watch: Option<&dyn Watch>,
    ) -> Result<Code, CodeError> {
        assert!(image.text.is_empty(), "one text");
        image.check_tables(text_bytes.len()).map_err(|error| CodeError::Image(error.0))?;
        if image.funcs.len() != module.bodies.len() {
            let (found, expected) = (image.funcs.len(), module.bodies.len());
            return Err(CodeError::Image(format!("{found} functions for a module of {expected}")));
        }
        if !image.exceptions.names_tags_below(module.tags.len()) {
            return Err(CodeError::Image("a handler of a tag that the module lacks".into()));
        }
        let (mut pages, table_bytes) =
            with_table(&module, Linkage::Direct, text_bytes.len(), watch)?;
        pages.write(table_bytes, text_bytes).map_err(CodeError::Memory)?;
        let layout = VmLayout::new(&module);
        let kept = watch.and_then(|watch| {
            let text = pages.address(table_bytes) as usize;
            let published = |(index, range): (usize, &FuncRange)| PublishedFunc {
                func: DefinedFuncIndex::from(index),
                address: text + range.start as usize,
                bytes: &text_bytes[range.start as usize..range.end as usize],
            };
            watch.published(&image.funcs.iter().enumerate().map(published).collect::<Vec<_>>())
        });
        pages.enter(CodeTables::Whole {
            module: module.clone(),
            text: pages.address(table_bytes) as usize,
            image: Box::new(image),
            tags: layout.tag(TagIndex(0)),
        });
        let form = Form::Whole(pages, table_bytes);
        Ok(Code { _kept: kept, module, layout, form, initial: InitialMemories::default() })
    }

    /// Code of `module` that holds no function yet: each is asked for when it is first called.
    pub fn tiered(module: Arc<Module>, source: Box<dyn Source>) -> Result<Code, CodeError> {
        Code::tiered_watched(module, source, None)
    }

    /// As [`tiered`](Code::tiered), and tells `watch` of each function that is published.
    pub fn tiered_watched(
        module: Arc<Module>,
        source: Box<dyn Source>,
        watch: Option<Box<dyn Watch>>,
    ) -> Result<Code, CodeError> {
        let layout = VmLayout::new(&module);
        let form = Form::Tiered(Tiered::new(module.clone(), source, watch)?);
        Ok(Code { _kept: None, module, layout, form, initial: InitialMemories::default() })
    }

    /// The functions that come one by one, unless the module was published whole.
    pub fn as_tiered(&self) -> Option<&Tiered> {
        match &self.form {
            Form::Whole(..) => None,
            Form::Tiered(tiered) => Some(tiered),
        }
    }

    /// What the memories of the next instance begin with. `make` is given the number of instances that asked
    /// before, until it makes it.
    pub fn initial_memories(
        &self,
        make: impl FnOnce(u32) -> Option<Vec<Option<Arc<InitialMemory>>>>,
    ) -> &[Option<Arc<InitialMemory>>] {
        if let Some(made) = self.initial.made.get() {
            return made;
        }
        match make(self.initial.asked.fetch_add(1, Relaxed)) {
            Some(made) => self.initial.made.get_or_init(|| made.into()),
            None => &[],
        }
    }

    /// The module it is the code of.
    pub fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// Layout of its instances' VM contexts.
    pub fn layout(&self) -> &VmLayout {
        &self.layout
    }

    /// The image it was published from, text included; `None` for functions that come one by one.
    pub fn image(&self) -> Option<CodeImage> {
        let (image, text) = self.whole()?;
        Some(CodeImage { text: text.to_vec(), ..image.clone() })
    }

    /// The tables of the image it was published from, without its text, and the text where it lies;
    /// `None` for functions that come one by one.
    pub fn whole(&self) -> Option<(&CodeImage, &[u8])> {
        let Form::Whole(pages, table_bytes) = &self.form else { return None };
        let CodeTables::Whole { image, .. } = pages.tables() else {
            unreachable!("entered by `publish`")
        };
        // SAFETY: [arena] the text was written by `publish`, is readable in the executable view, and
        // does not change until `self` is dropped.
        let text =
            unsafe { std::slice::from_raw_parts(pages.address(*table_bytes), self.text_size()) };
        Some((&**image, text))
    }

    /// Size of the text in bytes, as far as it was made.
    pub fn text_size(&self) -> usize {
        match &self.form {
            Form::Whole(pages, _) => match pages.tables() {
                CodeTables::Whole { image, .. } => image.funcs.last().map_or(0, |f| f.end as usize),
                CodeTables::Chunk(_) => unreachable!("entered by `publish`"),
            },
            Form::Tiered(tiered) => tiered.text_size(),
        }
    }

    /// Where to call a function: its final code, or what leads to it.
    pub(crate) fn entry(&self, index: DefinedFuncIndex) -> *const u8 {
        match &self.form {
            Form::Whole(pages, table_bytes) => match pages.tables() {
                CodeTables::Whole { image, .. } => {
                    pages.address(table_bytes + image.funcs[index.index()].start as usize)
                }
                CodeTables::Chunk(_) => unreachable!("entered by `publish`"),
            },
            Form::Tiered(tiered) => tiered.entry(index),
        }
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
fn lookup<R>(pc: usize, ask: impl FnOnce(&CodeTables) -> Option<R>) -> Option<R> {
    let (arena, page) = arena_page(pc)?;
    let tables = NonNull::new(arena.pages[page].load(Acquire))?;
    // SAFETY: [code lookup] the frame is live, so its code is published and stays so meanwhile.
    ask(unsafe { tables.as_ref() })
}

/// What a fault at `pc` means, for an instruction of a live frame of this thread. Lock-free.
pub(crate) fn trap_at(pc: usize) -> Option<Trap> {
    lookup(pc, |tables| tables.trap_at(pc))
}

/// Appends the frames whose instruction `pc` is, innermost first, for a live frame of this thread:
/// more than one if calls were inlined.
pub(crate) fn frames_at(pc: usize, frames: &mut Vec<Frame>) {
    lookup(pc, |tables| {
        tables.frames_at(pc, frames);
        Some(())
    });
}

/// Hands each place to `visit` that holds a reference in the frame to which a call returns at `pc`, as a
/// distance in bytes from the frame pointer, for a live frame of this thread.
pub(crate) fn each_reference(pc: usize, mut visit: impl FnMut(i32)) {
    // The call itself lies before.
    lookup(pc - 1, |tables| {
        tables.references_at(pc).iter().for_each(|place| visit(*place));
        Some(())
    });
}

/// Asks about the handlers of the call that returns to `pc`, if it has any, for a live frame of this
/// thread that waits in it. Lock-free.
pub(crate) fn handlers_at<R>(pc: usize, ask: impl FnOnce(Handlers<'_>) -> Option<R>) -> Option<R> {
    // A return address may lie past the last byte of its call's function: one byte back lies inside.
    lookup(pc - 1, |tables| ask(tables.handlers_at(pc)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::refusals::refuse;

    /// Arenas are never given back but here.
    fn end(arena: &Arena) {
        let size = arena.pages.len() * CODE_PAGE;
        // SAFETY: [arena] nothing was published in it, and nothing refers to it any more.
        unsafe {
            sys::unmap(arena.start, size);
            arena.dual.iter().for_each(|dual| sys::unmap(dual.writable, size));
        }
    }

    #[test]
    fn ranges_merge_when_given_back() {
        let arena = Arena::of_size(16 << 20, false).unwrap();
        let taken: Vec<_> = (0..4).map(|_| arena.take(3).unwrap()).collect();
        assert_eq!(taken, [0, 3, 6, 9]);
        for start in [3, 9, 0, 6] {
            arena.give_back(start, 3);
        }
        assert_eq!(*arena.free.lock().unwrap(), [(0, arena.pages.len())]);
        end(&arena);
    }

    /// With each request refused in turn: of those that make an arena, and then of those that write
    /// into one, mapped twice or, after a refusal, once.
    #[test]
    fn refused_requests_leave_ranges_usable() {
        // What lives for ever is reachable for ever, which Miri asks for.
        static ARENAS: OnceLock<Vec<Arena>> = OnceLock::new();
        let arenas = ARENAS.get_or_init(|| {
            let mut arenas = Vec::new();
            for allowed in 0.. {
                let (arena, hits) = refuse(allowed, 1, || Arena::of_size(16 << 20, false));
                arenas.extend(arena);
                if hits == 0 {
                    break;
                }
            }
            arenas
        });
        assert!(arenas.iter().any(|arena| arena.dual.is_none()));
        let (table, text) = (vec![1; CODE_PAGE], vec![2; CODE_PAGE + 1]);
        for arena in arenas {
            let whole = arena.pages.len();
            let begin = || {
                let start = arena.take(3).unwrap();
                let pages = Pages::begin(arena, start, 3, table.len())?;
                pages.write(0, &table)?;
                pages.write(table.len(), &text)?;
                Ok::<_, std::io::Error>(pages)
            };
            for allowed in 0.. {
                let (result, hits) = refuse(allowed, 1, begin);
                assert_eq!(result.is_err(), hits > 0);
                drop(result);
                // What is kept has its table.
                if let Some(Shape { start, count, table_bytes }) = arena.take_kept(3, table.len()) {
                    let pages = Pages { arena, start, count, table_bytes, tables: None };
                    pages.write(0, &table).unwrap();
                }
                arena.give_up_kept();
                assert_eq!(*arena.free.lock().unwrap(), [(0, whole)]);
                if hits == 0 {
                    break;
                }
            }
            // Where protection cannot be restored, the range is lost.
            let pages = begin().unwrap();
            refuse(0, usize::MAX, || {
                drop(pages);
                arena.give_up_kept();
            });
            assert_eq!(*arena.free.lock().unwrap(), [(3, whole - 3)]);
            end(arena);
        }
    }

    /// A range with a table is kept for the next module of its shape, with nothing left in its text, until
    /// there are enough of them or another needs the room.
    #[test]
    #[cfg_attr(miri, ignore = "nothing is mapped twice")]
    fn small_ranges_are_kept_cleared() {
        static ARENA: OnceLock<Arena> = OnceLock::new();
        let arena = ARENA.get_or_init(|| Arena::of_size(16 << 20, false).unwrap());
        let whole = arena.pages.len();
        let make = |count: usize| {
            let start = arena.take_kept(count, CODE_PAGE).map(|shape| shape.start);
            let reused = start.is_some();
            let pages = match start {
                Some(start) => Pages { arena, start, count, table_bytes: CODE_PAGE, tables: None },
                None => Pages::begin(arena, arena.take(count).unwrap(), count, CODE_PAGE).unwrap(),
            };
            // SAFETY: [arena] the text is mapped, readable, and nobody writes to it meanwhile.
            let text = unsafe {
                std::slice::from_raw_parts(pages.address(CODE_PAGE), (count - 1) * CODE_PAGE)
            };
            assert!(text.iter().all(|byte| *byte == 0));
            pages.write(0, &[1; CODE_PAGE]).unwrap();
            pages.write(CODE_PAGE, &vec![2; text.len()]).unwrap();
            (pages, reused)
        };
        let kept = || arena.kept.lock().unwrap().len();
        let (first, reused) = make(3);
        let start = first.start;
        drop(first);
        assert!(!reused && kept() == 1);
        drop(make(4));
        let (again, reused) = make(3);
        assert!(reused && again.start == start && kept() == 1);
        drop(again);
        drop(make(KEPT_PAGES + 1));
        assert_eq!(kept(), 2, "large ones are not kept");
        let many: Vec<_> = (0..KEPT_RANGES + 5).map(|_| make(2)).collect();
        drop(many);
        assert_eq!(kept(), KEPT_RANGES);
        drop(Pages {
            arena,
            start: arena.take(whole).unwrap(),
            count: whole,
            table_bytes: 0,
            tables: None,
        });
        assert_eq!((kept(), arena.free.lock().unwrap().as_slice()), (0, [(0, whole)].as_slice()));
        end(arena);
    }
}
