//! Preview 1 in a linker: glue between wasm calls and the methods of [`WasiP1Ctx`].
//!
//! Everything here is made from the table `for_each_p1_function`. The memory of a call is the
//! caller's export `memory`; a program that imports WASI without exporting its memory is told so.

use std::sync::{Arc, Mutex, PoisonError};
use wardian::{Caller, Error, Extern, GuestMemory, GuestMemoryMut, Linker, Result};

use super::for_each_p1_function;
use crate::ctx::WasiP1Ctx;
use crate::limits;
use crate::poll::PollArgs;
use crate::types::{Abi, Errno};

/// The module name of preview 1.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// The module name of its predecessor.
const UNSTABLE: &str = "wasi_unstable";

/// Adds all functions of preview 1 to `linker`, under `wasi_snapshot_preview1` and `wasi_unstable`. A
/// call finds its state by `f` in the data of the store.
///
/// A guest's `proc_exit` ends its execution with the error [`I32Exit`](crate::I32Exit).
pub fn add_to_linker_sync<T: 'static>(
    linker: &mut Linker<T>,
    f: impl Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
) -> Result<()> {
    add_to_linker(linker, Own(f))
}

/// As [`add_to_linker_sync`], for programs whose threads have a store each and one state together. A call
/// holds the lock as long as it lasts, but where it only waits for time: where one thread waits for input, calls
/// of others wait too.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use wardian::{Engine, Linker};
/// use wardian_wasi::{WasiP1Ctx, p1};
///
/// let mut linker = Linker::<Arc<Mutex<WasiP1Ctx>>>::new(&Engine::default());
/// p1::add_to_linker_shared(&mut linker, |wasi| wasi)?;
/// # Ok::<(), wardian::Error>(())
/// ```
pub fn add_to_linker_shared<T: 'static>(
    linker: &mut Linker<T>,
    f: impl Fn(&mut T) -> &Arc<Mutex<WasiP1Ctx>> + Copy + Send + Sync + 'static,
) -> Result<()> {
    add_to_linker(linker, Shared(f))
}

/// How a call finds its state.
trait Find<T>: Copy + Send + Sync + 'static {
    fn with<R>(&self, data: &mut T, act: impl FnOnce(&mut WasiP1Ctx) -> R) -> R;
}

#[derive(Clone, Copy)]
struct Own<F>(F);

impl<T, F> Find<T> for Own<F>
where
    F: Fn(&mut T) -> &mut WasiP1Ctx + Copy + Send + Sync + 'static,
{
    fn with<R>(&self, data: &mut T, act: impl FnOnce(&mut WasiP1Ctx) -> R) -> R {
        act((self.0)(data))
    }
}

#[derive(Clone, Copy)]
struct Shared<F>(F);

impl<T, F> Find<T> for Shared<F>
where
    F: Fn(&mut T) -> &Arc<Mutex<WasiP1Ctx>> + Copy + Send + Sync + 'static,
{
    fn with<R>(&self, data: &mut T, act: impl FnOnce(&mut WasiP1Ctx) -> R) -> R {
        // Calls leave nothing half done where they panic.
        act(&mut (self.0)(data).lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn add_to_linker<T: 'static>(linker: &mut Linker<T>, find: impl Find<T>) -> Result<()> {
    macro_rules! add {
        ($($([unstable: $other:ident])? $name:ident($($arg:ident: $ty:ident),*);)*) => {
            $(
                add_one!(PREVIEW1, $name, $name, $($arg: $ty),*);
                add_unstable!([$($other)?] $name, $($arg: $ty),*);
            )*
        };
    }
    macro_rules! add_one {
        ($module:expr, random_get, $($rest:tt)*) => {
            linker.func_wrap($module, "random_get", move |caller: Caller<'_, T>, buf: u32, len: u32| {
                random_get(caller, find, buf, len)
            })?;
        };
        ($module:expr, poll_oneoff, poll_oneoff, $($rest:tt)*) => {
            add_one!(poll: $module, Abi::Preview1)
        };
        ($module:expr, poll_oneoff, unstable_poll_oneoff, $($rest:tt)*) => {
            add_one!(poll: $module, Abi::Unstable)
        };
        (poll: $module:expr, $abi:expr) => {
            linker.func_wrap(
                $module,
                "poll_oneoff",
                move |caller: Caller<'_, T>, subscriptions: u32, events: u32, count: u32, nevents: u32| {
                    poll_oneoff(caller, find, $abi, PollArgs { subscriptions, events, count, nevents })
                },
            )?;
        };
        ($module:expr, sched_yield, $($rest:tt)*) => {
            // Others may want the state meanwhile, which this does not.
            linker.func_wrap($module, "sched_yield", move |mut caller: Caller<'_, T>| {
                guest_and_data(&mut caller, "sched_yield")?;
                std::thread::yield_now();
                wardian::Result::Ok(status("sched_yield", Ok(())))
            })?;
        };
        ($module:expr, $name:ident, $method:ident, $($arg:ident: $ty:ident),*) => {
            linker.func_wrap($module, stringify!($name), move |mut caller: Caller<'_, T> $(, $arg: $ty)*| {
                let (mut memory, data) = guest_and_data(&mut caller, stringify!($name))?;
                let (result, moved) = find.with(data, |ctx| {
                    let result = ctx.$method(&mut memory $(, $arg)*);
                    (result, std::mem::take(&mut ctx.bounce.moved))
                });
                pay(&mut caller, moved)?;
                wardian::Result::Ok(status(stringify!($name), result))
            })?;
        };
    }
    macro_rules! add_unstable {
        ([none] $($rest:tt)*) => {};
        ([] $name:ident, $($arg:ident: $ty:ident),*) => {
            add_one!(UNSTABLE, $name, $name, $($arg: $ty),*);
        };
        ([$other:ident] $name:ident, $($arg:ident: $ty:ident),*) => {
            add_one!(UNSTABLE, $name, $other, $($arg: $ty),*);
        };
    }
    for_each_p1_function!(add);

    for module in [PREVIEW1, UNSTABLE] {
        linker.func_wrap(
            module,
            "proc_exit",
            move |mut caller: Caller<'_, T>, code: u32| -> Result<()> {
                Err(Error::from(find.with(caller.data_mut(), |wasi| wasi.proc_exit(code))))
            },
        )?;
    }
    Ok(())
}

fn guest_and_data<'a, T: 'static>(
    caller: &'a mut Caller<'_, T>,
    function: &str,
) -> Result<(GuestMemoryMut<'a>, &'a mut T)> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory.guest_and_store_mut(caller)),
        Some(Extern::SharedMemory(memory)) => Ok((memory.guest(), caller.data_mut())),
        _ => Err(Error::msg(format!(
            "WASI function `{function}` needs the memory of its caller: expected an export `memory`, found none"
        ))),
    }
}

/// Lets a guest pay for what a call did for it, byte by byte.
fn pay<T: 'static>(caller: &mut Caller<'_, T>, bytes: u64) -> Result<()> {
    if bytes > 0 { caller.check_interrupts(bytes) } else { Ok(()) }
}

/// `poll_oneoff`, which lets time pass without the state, since threads may share that.
fn poll_oneoff<T: 'static>(
    mut caller: Caller<'_, T>,
    find: impl Find<T>,
    abi: Abi,
    args: PollArgs,
) -> Result<i32> {
    const NAME: &str = "poll_oneoff";
    let (mut memory, data) = guest_and_data(&mut caller, NAME)?;
    let begun = find.with(data, |ctx| {
        let poll = ctx.begin_poll(&memory, abi, args)?;
        Ok((ctx.idle_time(&poll), poll))
    });
    let result = begun.and_then(|(idle, poll)| {
        if let Some(idle) = idle {
            std::thread::sleep(idle);
        }
        find.with(data, |ctx| ctx.finish_poll(&mut memory, &poll))
    });
    let moved = find.with(data, |ctx| std::mem::take(&mut ctx.bounce.moved));
    pay(&mut caller, moved)?;
    Ok(status(NAME, result))
}

/// `random_get` in pieces, as the only call that must do all that it was asked to: between them its
/// guest can be stopped.
fn random_get<T: 'static>(
    mut caller: Caller<'_, T>,
    find: impl Find<T>,
    buf: u32,
    len: u32,
) -> Result<i32> {
    let (guest, _) = guest_and_data(&mut caller, "random_get")?;
    if let Err(error) = guest.check(buf.into(), len.into()) {
        return Ok(status("random_get", Err(error.into())));
    }
    let mut done = 0;
    loop {
        let piece = (len - done).min(limits::RANDOM_BYTES);
        pay(&mut caller, piece.into())?;
        let (mut guest, data) = guest_and_data(&mut caller, "random_get")?;
        let result = find.with(data, |ctx| {
            let result = ctx.random_get(&mut guest, buf + done, piece);
            ctx.bounce.moved = 0;
            result
        });
        done += piece;
        if result.is_err() || done == len {
            return Ok(status("random_get", result));
        }
    }
}

/// The result of a call as the guest gets it.
fn status(function: &str, result: core::result::Result<(), Errno>) -> i32 {
    match result {
        Ok(()) => {
            tracing::trace!(function, "ok");
            0
        }
        Err(errno) => {
            tracing::trace!(function, ?errno);
            errno.code().into()
        }
    }
}
