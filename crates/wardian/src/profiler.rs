//! [`GuestProfiler`]: samples of where a guest is, written as a profile that <https://profiler.firefox.com/> shows.
//!
//! An address in a profile is an offset in the module's bytes, and a symbol is a function's body there: so a
//! profile is the same for every tier, and tells nothing of the host. Frames of the host, and of modules that
//! the profiler was not given, are left out.

use crate::backtrace::demangle;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::module::Module;
use crate::store::{AsContext, CallHook};
use fxprof_processed_profile as fx;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use wardian_module as m;

/// Innermost frames of a sample that are kept: a guest may recurse as deep as its stack is.
const MAX_FRAMES: usize = 1024;

/// Collects samples of where guests are.
///
/// Something has to take them while a guest runs: mostly the callback of an epoch deadline, while a thread
/// increments the epoch at regular intervals. Samples lie at function entries and heads of loops then.
///
/// A profile names what lies in the modules that it was made for, and nothing of the host's.
///
/// ```
/// use std::time::Duration;
/// use wardian::{Config, Engine, GuestProfiler, Instance, Module, Store, UpdateDeadline};
///
/// let engine = Engine::new(Config::new().epoch_interruption(true))?;
/// let module = Module::new(&engine, r#"(module
///     (func (export "work") (param i32)
///         (loop $turn (br_if $turn (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#)?;
/// let interval = Duration::from_millis(1);
/// let profiler = GuestProfiler::new(&engine, "work", interval, [("work".into(), module.clone())])?;
/// let mut store = Store::new(&engine, Some(profiler));
/// store.set_epoch_deadline(1);
/// store.epoch_deadline_callback(move |mut context| {
///     // The profiler lies in the store, and looks at it.
///     let mut profiler = context.data_mut().take().expect("it comes back");
///     profiler.sample(&context, interval);
///     *context.data_mut() = Some(profiler);
///     Ok(UpdateDeadline::Continue(1))
/// });
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let work = instance.get_typed_func::<u32, ()>(&mut store, "work")?;
/// engine.increment_epoch(); // A thread would.
/// work.call(&mut store, 1000)?;
/// let mut profile = Vec::new();
/// store.into_data().expect("it came back").finish(&mut profile)?;
/// assert!(String::from_utf8_lossy(&profile).contains("work"));
/// # Ok::<(), wardian::Error>(())
/// ```
#[derive(Debug)]
pub struct GuestProfiler {
    profile: fx::Profile,
    /// The modules whose frames are told.
    libraries: Vec<(Module, fx::LibraryHandle)>,
    process: fx::ProcessHandle,
    thread: fx::ThreadHandle,
    marker: HostCall,
    start: Instant,
}

impl GuestProfiler {
    /// A profile that begins now. `interval` is how often samples are meant to be taken; it is written into
    /// the profile and nothing else. `modules` are those whose frames it tells of, by names that it shows.
    ///
    /// # Errors
    ///
    /// Of kind [`ErrorKind::Misuse`] when a module is of another engine.
    pub fn new(
        engine: &Engine,
        module_name: &str,
        interval: Duration,
        modules: impl IntoIterator<Item = (String, Module)>,
    ) -> Result<GuestProfiler> {
        let begin = fx::ReferenceTimestamp::from(SystemTime::now());
        let mut profile = fx::Profile::new(module_name, begin, interval.into());
        let mut libraries = Vec::new();
        for (name, module) in modules {
            if !Engine::same(module.engine(), engine) {
                let text = format!("module `{name}` was compiled by another engine");
                return Err(Error::tagged(ErrorKind::Misuse, text));
            }
            let library = profile.add_lib(library(name, module.code().module()));
            libraries.push((module, library));
        }
        let zero = fx::Timestamp::from_nanos_since_reference(0);
        let process = profile.add_process(module_name, 0, zero);
        let thread = profile.add_thread(process, 0, zero, true);
        let marker = HostCall(profile.intern_string(HOST_CALL));
        let start = Instant::now();
        Ok(GuestProfiler { profile, libraries, process, thread, marker, start })
    }

    /// Adds a sample: the guest frames on the stack, of which at most the 1024 innermost are kept. `delta` is
    /// the time that the processor worked for the guest since the sample before, or zero.
    pub fn sample(&mut self, store: impl AsContext, delta: Duration) {
        let now = self.now();
        let stack = self.stack(store);
        self.profile.add_sample(self.thread, now, stack, delta.into(), 1);
    }

    /// Adds a mark where the guest calls the host, and where it comes back: to be called by what
    /// [`Store::call_hook`](crate::Store::call_hook) was given.
    pub fn call_hook(&mut self, store: impl AsContext, kind: CallHook) {
        let now = self.now();
        match kind {
            CallHook::CallingHost => {
                let timing = fx::MarkerTiming::IntervalStart(now);
                let marker = self.profile.add_marker(self.thread, timing, self.marker);
                let stack = self.stack(store);
                self.profile.set_marker_stack(self.thread, marker, stack);
            }
            CallHook::ReturningFromHost => {
                let timing = fx::MarkerTiming::IntervalEnd(now);
                self.profile.add_marker(self.thread, timing, self.marker);
            }
            CallHook::CallingWasm | CallHook::ReturningFromWasm => {}
        }
    }

    /// Ends the profile and writes it, as JSON in the "processed profile format" of the Firefox profiler.
    ///
    /// # Errors
    ///
    /// When `output` does not take it.
    pub fn finish(mut self, output: impl std::io::Write) -> Result<()> {
        let now = self.now();
        self.profile.set_thread_end_time(self.thread, now);
        self.profile.set_process_end_time(self.process, now);
        Ok(serde_json::to_writer(output, &self.profile)?)
    }

    fn now(&self) -> fx::Timestamp {
        let nanos = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        fx::Timestamp::from_nanos_since_reference(nanos)
    }

    /// The guest frames on the stack, outermost first.
    fn stack(&mut self, store: impl AsContext) -> Option<fx::StackHandle> {
        let frames = store.as_context().0.rt.kernel.guest_frames(MAX_FRAMES);
        let frames = frames.iter().rev().filter_map(|frame| {
            let is_it =
                |(module, _): &&(Module, _)| Arc::ptr_eq(module.code().module(), &frame.module);
            let (_, library) = *self.libraries.iter().find(is_it)?;
            let address = frame.wasm_offset?;
            Some(fx::FrameInfo {
                frame: fx::Frame::RelativeAddressFromInstructionPointer(library, address),
                category_pair: fx::CategoryHandle::OTHER.into(),
                flags: fx::FrameFlags::empty(),
            })
        });
        self.profile.intern_stack_frames(self.thread, frames)
    }
}

/// A module as a profile knows it.
fn library(name: String, module: &m::Module) -> fx::LibraryInfo {
    let names = module.func_names();
    let symbol = |(index, body): (usize, &std::ops::Range<usize>)| {
        let func = module.func_index(m::DefinedFuncIndex::from(index));
        Some(fx::Symbol {
            address: u32::try_from(body.start).ok()?,
            size: u32::try_from(body.len()).ok(),
            name: match names.get(&func) {
                Some(name) => demangle(name),
                None => format!("wasm function {}", func.0),
            },
        })
    };
    let symbols = module.bodies.iter().enumerate().filter_map(symbol).collect();
    fx::LibraryInfo {
        name,
        debug_name: String::new(),
        path: String::new(),
        debug_path: String::new(),
        debug_id: fx::debugid::DebugId::nil(),
        code_id: None,
        arch: None,
        symbol_table: Some(Arc::new(fx::SymbolTable::new(symbols))),
    }
}

const HOST_CALL: &str = "hostcall";

/// The mark of a call of the host.
#[derive(Clone, Copy, Debug)]
struct HostCall(fx::StringHandle);

impl fx::StaticSchemaMarker for HostCall {
    const UNIQUE_MARKER_TYPE_NAME: &'static str = HOST_CALL;
    const FIELDS: &'static [fx::StaticSchemaMarkerField] = &[];
    const LOCATIONS: fx::MarkerLocations = fx::MarkerLocations::MARKER_CHART
        .union(fx::MarkerLocations::MARKER_TABLE)
        .union(fx::MarkerLocations::TIMELINE_OVERVIEW);

    fn name(&self, _: &mut fx::Profile) -> fx::StringHandle {
        self.0
    }
    fn category(&self, _: &mut fx::Profile) -> fx::CategoryHandle {
        fx::CategoryHandle::OTHER
    }
    fn string_field_value(&self, _: u32) -> fx::StringHandle {
        unreachable!("it has no fields")
    }
    fn number_field_value(&self, _: u32) -> f64 {
        unreachable!("it has no fields")
    }
}
