//! Stopping guests: epoch deadlines, and fuel.
//!
//! What code does for it is stated in `lower::metering`. All methods are there on a store and on contexts
//! and callers, so that a host function can use them while its caller waits.

use crate::error::{Error, ErrorKind, Result};
use crate::func::{Caller, host_error};
use crate::store::{Store, StoreContext, StoreContextMut, StoreInner};
use wardian_module::Trap;
use wardian_vm::Failure;

/// What happens to a guest whose store has reached its epoch deadline: the answer of
/// [`Store::epoch_deadline_callback`].
///
/// ```
/// use wardian::{Store, UpdateDeadline};
///
/// let mut store = Store::<()>::default();
/// store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(10)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UpdateDeadline {
    /// It traps ([`Trap::Interrupt`]).
    Interrupt,
    /// It goes on; the next deadline is so many ticks beyond the current epoch.
    Continue(u64),
}

/// What is done when a deadline is reached.
pub(crate) enum AtDeadline<T: 'static> {
    Trap,
    Ask(Callback<T>),
    /// The callback is running. Another deadline that guests of its own reach is a trap.
    Asking,
}

type Callback<T> = Box<dyn FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync>;

#[cold]
fn no_fuel() -> Error {
    Error::tagged(ErrorKind::Misuse, "fuel is not configured in this store: `Config::consume_fuel`")
}

impl<T: 'static> StoreInner<T> {
    fn fuel(&self) -> Result<u64> {
        if self.rt.consumes_fuel() { Ok(self.rt.kernel.fuel()) } else { Err(no_fuel()) }
    }

    fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        if !self.rt.consumes_fuel() {
            return Err(no_fuel());
        }
        self.rt.kernel.set_fuel(fuel);
        Ok(())
    }

    /// What happens when the deadline has come.
    pub(crate) fn at_epoch_deadline(&mut self) -> Result<(), Failure> {
        match self.ask_at_deadline() {
            Ok(true) => Ok(()),
            Ok(false) => Err(Trap::Interrupt.into()),
            Err(error) => Err(Failure::Host(host_error(error))),
        }
    }

    /// Whether what reached the deadline goes on.
    fn ask_at_deadline(&mut self) -> Result<bool> {
        let mut callback = match std::mem::replace(&mut self.at_deadline, AtDeadline::Asking) {
            AtDeadline::Ask(callback) => callback,
            other => {
                self.at_deadline = other;
                return Ok(false);
            }
        };
        let answer = callback(StoreContextMut(self));
        // Unless it has chosen something else.
        if let AtDeadline::Asking = self.at_deadline {
            self.at_deadline = AtDeadline::Ask(callback);
        }
        if let UpdateDeadline::Continue(ticks) = answer? {
            self.rt.kernel.set_epoch_deadline(ticks);
            return Ok(true);
        }
        Ok(false)
    }

    fn check_interrupts(&mut self, fuel: u64) -> Result<()> {
        if self.rt.is_deadline_reached() && !self.ask_at_deadline()? {
            return Err(Trap::Interrupt.into());
        }
        Ok(self.rt.pay(fuel)?)
    }
}

impl<T: 'static> Store<T> {
    /// Moves the deadline to so many ticks beyond the engine's current epoch: guests run until
    /// [`Engine::increment_epoch`](crate::Engine::increment_epoch) was called that often. Has an effect
    /// only with [`Config::epoch_interruption`](crate::Config::epoch_interruption).
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        self.inner.rt.kernel.set_epoch_deadline(ticks_beyond_current);
    }

    /// Lets guests trap at the deadline, with [`Trap::Interrupt`]. That is what they do at first.
    pub fn epoch_deadline_trap(&mut self) {
        self.inner.at_deadline = AtDeadline::Trap;
    }

    /// Asks `callback` at the deadline. Its error ends the guest's execution. A guest that the callback
    /// itself calls traps at a deadline.
    ///
    /// ```
    /// use wardian::{Config, Engine, Instance, Module, Store, UpdateDeadline};
    ///
    /// let engine = Engine::new(Config::new().epoch_interruption(true))?;
    /// let module = Module::new(&engine, r#"(module (func (export "spin") (loop (br 0))))"#)?;
    /// let mut store = Store::new(&engine, 0);
    /// store.epoch_deadline_callback(|mut context| {
    ///     *context.data_mut() += 1;
    ///     Ok(if *context.data() < 5 { UpdateDeadline::Continue(0) } else { UpdateDeadline::Interrupt })
    /// });
    /// let spin = Instance::new(&mut store, &module, &[])?
    ///     .get_typed_func::<(), ()>(&mut store, "spin")?;
    /// assert!(spin.call(&mut store, ()).is_err());
    /// assert_eq!(*store.data(), 5);
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn epoch_deadline_callback(
        &mut self,
        callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync + 'static,
    ) {
        self.inner.at_deadline = AtDeadline::Ask(Box::new(callback));
    }

    /// The fuel that guests have left.
    ///
    /// # Errors
    ///
    /// Without [`Config::consume_fuel`](crate::Config::consume_fuel).
    pub fn get_fuel(&self) -> Result<u64> {
        self.inner.fuel()
    }

    /// Sets the fuel that guests have left. A store begins with none.
    ///
    /// # Errors
    ///
    /// Without [`Config::consume_fuel`](crate::Config::consume_fuel).
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.inner.set_fuel(fuel)
    }
}

impl<T: 'static> StoreContext<'_, T> {
    /// As [`Store::get_fuel`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_fuel(&self) -> Result<u64> {
        self.0.fuel()
    }
}

impl<T: 'static> StoreContextMut<'_, T> {
    /// As [`Store::set_epoch_deadline`].
    pub fn set_epoch_deadline(&mut self, ticks_beyond_current: u64) {
        self.0.rt.kernel.set_epoch_deadline(ticks_beyond_current);
    }

    /// As [`Store::epoch_deadline_trap`].
    pub fn epoch_deadline_trap(&mut self) {
        self.0.at_deadline = AtDeadline::Trap;
    }

    /// As [`Store::get_fuel`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_fuel(&self) -> Result<u64> {
        self.0.fuel()
    }

    /// As [`Store::set_fuel`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.0.set_fuel(fuel)
    }
}

impl<T: 'static> Caller<'_, T> {
    /// Does what a turn of a guest's loop does: asks whether the deadline has come, if the engine has
    /// [`Config::epoch_interruption`](crate::Config::epoch_interruption), and takes this fuel, if it has
    /// [`Config::consume_fuel`](crate::Config::consume_fuel). A host function whose work a guest can make
    /// long calls it in between, and returns the error.
    ///
    /// # Errors
    ///
    /// [`Trap::Interrupt`] or an error of the callback; [`Trap::OutOfFuel`] if there is less, which stays.
    ///
    /// ```
    /// use wardian::{Caller, Config, Engine, Func, Instance, Module, Store, Trap};
    ///
    /// let engine = Engine::new(Config::new().consume_fuel(true))?;
    /// let mut store = Store::new(&engine, ());
    /// store.set_fuel(1_000)?;
    /// let work = Func::wrap(&mut store, |mut caller: Caller<'_, ()>, times: u32| {
    ///     for _ in 0..times {
    ///         caller.check_interrupts(100)?;
    ///     }
    ///     Ok::<(), wardian::Error>(())
    /// });
    /// let error = work.typed::<u32, ()>(&store)?.call(&mut store, u32::MAX).unwrap_err();
    /// assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
    /// # Ok::<(), wardian::Error>(())
    /// ```
    pub fn check_interrupts(&mut self, fuel: u64) -> Result<()> {
        self.store.0.check_interrupts(fuel)
    }

    /// As [`Store::get_fuel`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn get_fuel(&self) -> Result<u64> {
        self.store.get_fuel()
    }

    /// As [`Store::set_fuel`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn set_fuel(&mut self, fuel: u64) -> Result<()> {
        self.store.set_fuel(fuel)
    }
}
