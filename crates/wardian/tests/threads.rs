//! Shared memories: limits, growth while others use them, waiting under deadlines, dumps, and many threads
//! at once.

#![forbid(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wardian::*;

/// Engines of every kind that reach a memory in a way of their own.
fn engines() -> Vec<Engine> {
    let mut engines = Vec::new();
    for strategy in [Strategy::Optimizing, Strategy::Baseline, Strategy::Tiered] {
        for explicit in [false, true] {
            let mut config = Config::new();
            config.strategy(strategy);
            if explicit {
                config.signals_based_traps(false).memory_reservation(0).memory_guard_size(0);
            }
            engines.push(Engine::new(&config).expect("a valid configuration"));
        }
    }
    engines
}

const WORKER: &str = r#"(module
    (import "host" "memory" (memory 1 40 shared))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "size") (result i32) (memory.size))
    (func (export "wait") (result i32)
        (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))
    ;; Adds to a counter and to the last word of the memory, whatever that is now.
    (func (export "work") (param $turns i32) (result i64) (local $old i64)
        (loop $again
            (drop (i32.atomic.rmw.add (i32.const 64) (i32.const 1)))
            (local.set $old (i64.atomic.rmw.add
                (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 8))
                (i64.const 1)))
            (memory.copy (i32.const 1024) (i32.const 1028) (i32.const 256))
            (memory.fill (i32.const 2048) (i32.const 7) (i32.const 100))
            (br_if $again
                (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
        (local.get $old))
    (func (export "past") (drop (i32.load (i32.shl (memory.size) (i32.const 16))))))"#;

fn instance(store: &mut Store<()>, memory: &SharedMemory) -> Result<Instance> {
    let module = Module::new(store.engine(), WORKER)?;
    Instance::new(store, &module, &[memory.clone().into()])
}

#[test]
fn hammer_of_growth_while_others_work() {
    for engine in engines() {
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 40)).unwrap();
        let module = Module::new(&engine, WORKER).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (engine, module, memory) = (&engine, &module, &memory);
                scope.spawn(move || {
                    let mut store = Store::new(engine, ());
                    let instance =
                        Instance::new(&mut store, module, &[memory.clone().into()]).unwrap();
                    let work = instance.get_typed_func::<i32, i64>(&mut store, "work").unwrap();
                    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow").unwrap();
                    for turn in 0..10 {
                        work.call(&mut store, 100).unwrap();
                        if thread % 2 == 0 {
                            grow.call(&mut store, 1).unwrap();
                        } else if turn % 2 == 0 {
                            let _ = memory.grow(1);
                        }
                    }
                });
            }
        });
        assert_eq!(memory.atomic_load(64, 4), Ok(4000));
        assert_eq!(memory.size(), 31);
        let words = (1..=40u64).map(|pages| memory.atomic_load((pages << 16) - 8, 8));
        assert_eq!(words.filter_map(|word| word.ok()).sum::<u64>(), 4000);
        // Others grew it behind this store's back.
        let mut store = Store::new(&engine, ());
        let last = instance(&mut store, &memory).unwrap();
        memory.grow(9).unwrap();
        let size = last.get_typed_func::<(), i32>(&mut store, "size").unwrap();
        assert_eq!(size.call(&mut store, ()).unwrap(), 40);
        let past = last.get_typed_func::<(), ()>(&mut store, "past").unwrap();
        let trap = past.call(&mut store, ()).unwrap_err();
        assert_eq!(trap.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
    }
}

/// A count of 2^32-1 is no negative number: all who wait are woken, whoever notifies.
#[test]
fn hammer_of_notifying_as_many_as_can_be_counted() {
    const WAITERS: u32 = 3;
    for engine in engines() {
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 40)).unwrap();
        let notifier = Module::new(
            &engine,
            r#"(module
                (import "host" "memory" (memory 1 40 shared))
                (func (export "notify") (param i32) (result i32)
                    (memory.atomic.notify (i32.const 0) (local.get 0))))"#,
        )
        .unwrap();
        for by_guest in [true, false] {
            std::thread::scope(|scope| {
                let waiters: Vec<_> = (0..WAITERS)
                    .map(|_| {
                        scope.spawn(|| {
                            let mut store = Store::new(&engine, ());
                            let instance = instance(&mut store, &memory).unwrap();
                            let wait = instance.get_typed_func::<(), i32>(&mut store, "wait");
                            wait.unwrap().call(&mut store, ()).unwrap()
                        })
                    })
                    .collect();
                let mut store = Store::new(&engine, ());
                let imports = [memory.clone().into()];
                let instance = Instance::new(&mut store, &notifier, &imports).unwrap();
                let notify = instance.get_typed_func::<u32, u32>(&mut store, "notify").unwrap();
                let mut notify = |count| match by_guest {
                    true => notify.call(&mut store, count).unwrap(),
                    false => memory.atomic_notify(0, count).unwrap(),
                };
                assert_eq!(notify(0), 0);
                // Those that wait already are woken at once, the others as they come.
                let mut woken = 0;
                while woken < WAITERS {
                    woken += notify(u32::MAX);
                    std::thread::yield_now();
                }
                assert_eq!(woken, WAITERS);
                for waiter in waiters {
                    assert_eq!(waiter.join().unwrap(), 0, "it was woken");
                }
                assert_eq!(notify(u32::MAX), 0);
            });
        }
    }
}

#[test]
fn limits_hold_whoever_grows() -> Result<()> {
    let engine = Engine::default();
    let budget = Budget::new(10 << 16);
    let limits = StoreLimitsBuilder::new().memory_size(3 << 16).budget(&budget).build();
    let memory = SharedMemory::with_limiter(&engine, MemoryType::shared(2, 40), limits)?;
    assert_eq!(budget.taken(), 2 << 16);
    let mut store = Store::new(&engine, ());
    let first = instance(&mut store, &memory)?;
    let grow = first.get_typed_func::<i32, i32>(&mut store, "grow")?;
    assert_eq!(grow.call(&mut store, 2)?, -1, "past the memory's own limit");
    assert_eq!(grow.call(&mut store, 1)?, 2);
    assert_eq!(budget.taken(), 3 << 16);
    assert_eq!(memory.grow(1).unwrap_err().kind(), ErrorKind::Limit);
    drop((store, memory));
    assert_eq!(budget.taken(), 0);
    // A store's limiter concerns what its guests ask for.
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 40))?;
    let limits = StoreLimitsBuilder::new().memory_size(2 << 16).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    let module = Module::new(&engine, WORKER)?;
    let second = Instance::new(&mut store, &module, &[memory.clone().into()])?;
    let grow = second.get_typed_func::<i32, i32>(&mut store, "grow")?;
    assert_eq!(grow.call(&mut store, 2)?, -1);
    assert_eq!(grow.call(&mut store, 1)?, 1);
    assert_eq!(grow.call(&mut store, 1)?, -1);
    memory.grow(1)?;
    // One that an instance makes counts in its store.
    let text = "(module (memory 3 9 shared))";
    let error = Instance::new(&mut store, &Module::new(&engine, text)?, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Limit);
    let large = MemoryType::builder().memory64(true).shared(true).max(Some(1 << 47)).build()?;
    assert_eq!(SharedMemory::new(&engine, large).unwrap_err().kind(), ErrorKind::Limit);
    Ok(())
}

#[test]
fn hammer_of_limited_growth() {
    let engine = Engine::default();
    let memory = SharedMemory::new(&engine, MemoryType::shared(1, 40)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let limits = StoreLimitsBuilder::new().memory_size(20 << 16).build();
                let mut store = Store::new(&engine, limits);
                store.limiter(|limits| limits);
                let module = Module::new(&engine, WORKER).unwrap();
                let own = Instance::new(&mut store, &module, &[memory.clone().into()]).unwrap();
                let grow = own.get_typed_func::<i32, i32>(&mut store, "grow").unwrap();
                while grow.call(&mut store, 1).unwrap() >= 0 {}
            });
        }
    });
    assert_eq!(memory.size(), 20, "not a page more than each limiter allows");
}

#[test]
fn deadlines_end_waiting() -> Result<()> {
    for strategy in [Strategy::Optimizing, Strategy::Baseline] {
        let engine = Engine::new(Config::new().strategy(strategy).epoch_interruption(true))?;
        let memory = SharedMemory::new(&engine, MemoryType::shared(1, 40))?;
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let waiting = instance(&mut store, &memory)?;
        let wait = waiting.get_typed_func::<(), i32>(&mut store, "wait")?;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(20));
                engine.increment_epoch();
            });
            let error = wait.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
        });
        assert_eq!(memory.atomic_notify(0, u32::MAX), Ok(0), "nobody waits any more");
        // Who is asked and goes on, still waits, and is woken.
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Continue(1)));
        let woken = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                engine.increment_epoch();
                while memory.atomic_notify(0, u32::MAX) == Ok(0) {
                    engine.increment_epoch();
                    std::thread::sleep(Duration::from_millis(1));
                }
                woken.store(true, Ordering::SeqCst);
            });
            assert_eq!(wait.call(&mut store, ()).unwrap(), 0);
        });
        assert!(woken.into_inner());
    }
    Ok(())
}

#[test]
fn memories_that_instances_make_are_shared_too() -> Result<()> {
    for engine in engines() {
        let mut store = Store::new(&engine, ());
        let text = r#"(module (memory (export "m") 1 40 shared) (memory 1)
            (data (i32.const 8) "abc")
            (func (export "read") (result i32) (i32.load (i32.const 8)))
            (func (export "other") (result i32) (i32.load 1 (i32.const 8))))"#;
        let maker = Instance::new(&mut store, &Module::new(&engine, text)?, &[])?;
        let memory = maker.get_shared_memory(&mut store, "m").expect("it is shared");
        assert!(maker.get_memory(&mut store, "m").is_none());
        let read = maker.get_typed_func::<(), i32>(&mut store, "read")?;
        assert_eq!(read.call(&mut store, ())?, 0x636261);
        memory.write(8, b"xyz")?;
        assert_eq!(read.call(&mut store, ())?, 0x7a7978);
        let other = maker.get_typed_func::<(), i32>(&mut store, "other")?;
        assert_eq!(other.call(&mut store, ())?, 0);
        // It is the same in another store, and after its own is gone.
        drop(store);
        let mut store = Store::new(&engine, ());
        let user = instance(&mut store, &memory)?;
        let work = user.get_typed_func::<i32, i64>(&mut store, "work")?;
        assert_eq!(work.call(&mut store, 5)?, 4);
        assert_eq!(memory.atomic_update(64, 4, |n| n + 1)?, 5);
        assert!(memory.copy_from(0, &memory, 8, 3).is_ok());
        let mut start = [0; 3];
        memory.guest().read(0, &mut start)?;
        assert_eq!(&start, b"xyz");
        assert!(memory.fill(65_000, 1, 1000).is_err() && memory.fill(65_000, 1, 536).is_ok());
        assert!(memory.guest().write(65_535, b"ab").is_err());
    }
    Ok(())
}

#[test]
fn types_of_imports_match() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut link = |wanted: &str, memory: Extern| {
        let text = format!(r#"(module (import "" "" (memory {wanted})))"#);
        let module = Module::new(&engine, text).expect("valid");
        Instance::new(&mut store, &module, &[memory]).map_err(|error| error.kind())
    };
    let memory = SharedMemory::new(&engine, MemoryType::shared(2, 4))?;
    assert!(link("2 4 shared", memory.clone().into()).is_ok());
    assert!(link("1 9 shared", memory.clone().into()).is_ok());
    assert_eq!(link("3 4 shared", memory.clone().into()), Err(ErrorKind::Link));
    assert_eq!(link("1 3 shared", memory.clone().into()), Err(ErrorKind::Link));
    assert_eq!(link("1 4", memory.clone().into()), Err(ErrorKind::Link));
    memory.grow(1)?;
    assert!(link("3 4 shared", memory.into()).is_ok());
    Ok(())
}
