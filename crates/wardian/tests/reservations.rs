//! Memories come after others in the same address space, and share what they begin with: nobody can tell.

#![forbid(unsafe_code)]

use wardian::{Config, Engine, Instance, Memory, Module, Result, Store, Trap};

const PAGE: usize = 1 << 16;
/// Bytes of the data segment, enough to be shared.
const DATA: usize = 100_000;
const START: usize = 70_001;

fn configs() -> Vec<Config> {
    let mut explicit = Config::new();
    explicit.signals_based_traps(false);
    let mut moving = Config::new();
    moving.signals_based_traps(false).memory_reservation(0).memory_guard_size(0);
    vec![Config::new(), explicit, moving]
}

fn module(engine: &Engine, pages: usize, data: bool) -> Module {
    let content: String = (0..DATA).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
    let data = match data {
        true => format!("(data (i32.const {START}) \"{content}\") (data \"passive\")"),
        false => String::new(),
    };
    let text = format!(
        r#"(module
            (memory (export "memory") {pages} 200)
            {data}
            (func (export "load") (param i32) (result i32) local.get 0 i32.load8_u)
            (func (export "fill") (param i32)
                i32.const 0
                local.get 0
                memory.size i32.const 16 i32.shl
                memory.fill)
            (func (export "grow") (param i32) (result i32) local.get 0 memory.grow))"#
    );
    Module::new(engine, text).unwrap()
}

fn expected(data: bool, at: usize) -> u8 {
    match at.checked_sub(START).filter(|at| data && *at < DATA) {
        Some(at) => b'a' + (at % 23) as u8,
        None => 0,
    }
}

/// Makes an instance, looks at all of it, writes everywhere, grows, writes again.
fn live(engine: &Engine, module: &Module, pages: usize, data: bool, mark: i32) -> Result<()> {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[])?;
    let memory: Memory = instance.get_memory(&mut store, "memory").unwrap();
    let bytes = memory.data(&store);
    assert_eq!(bytes.len(), pages * PAGE);
    for (at, byte) in bytes.iter().enumerate() {
        assert_eq!(*byte, expected(data, at), "byte {at}");
    }
    let load = instance.get_typed_func::<i32, i32>(&mut store, "load")?;
    let fill = instance.get_typed_func::<i32, ()>(&mut store, "fill")?;
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow")?;
    let end = (pages * PAGE) as i32;
    let last = pages * PAGE - 1;
    assert_eq!(load.call(&mut store, last as i32)?, i32::from(expected(data, last)));
    let trap = load.call(&mut store, end).unwrap_err();
    assert_eq!(trap.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
    fill.call(&mut store, mark)?;
    assert_eq!(grow.call(&mut store, 3)?, pages as i32);
    assert_eq!(load.call(&mut store, end)?, 0, "new pages are zero");
    fill.call(&mut store, mark)?;
    assert_eq!(load.call(&mut store, end + 3 * PAGE as i32 - 1)?, mark);
    Ok(())
}

#[test]
fn no_memory_shows_what_another_held() {
    for config in configs() {
        let engine = Engine::new(&config).unwrap();
        let kinds = [(3, true), (1, false), (7, false), (5, true), (40, false)];
        let modules: Vec<Module> =
            kinds.iter().map(|(pages, data)| module(&engine, *pages, *data)).collect();
        for turn in 0..24 {
            // Each after itself, and each after each other.
            let kind = (turn * turn + turn / 3) % kinds.len();
            let (pages, data) = kinds[kind];
            live(&engine, &modules[kind], pages, data, 1 + turn as i32).unwrap();
        }
    }
}

#[test]
fn instances_that_live_at_once_share_nothing_they_wrote() {
    for config in configs() {
        let engine = Engine::new(&config).unwrap();
        let module = module(&engine, 3, true);
        let mut store = Store::new(&engine, ());
        let memories: Vec<Memory> = (0..6)
            .map(|_| {
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                instance.get_memory(&mut store, "memory").unwrap()
            })
            .collect();
        for (mark, memory) in memories.iter().enumerate() {
            memory.data_mut(&mut store)[START..START + DATA].fill(mark as u8);
        }
        for (mark, memory) in memories.iter().enumerate() {
            assert!(memory.data(&store)[START..START + DATA].iter().all(|b| *b == mark as u8));
        }
    }
}

#[test]
fn many_threads_make_instances() {
    let engine = Engine::default();
    let modules =
        [(3, true), (2, false)].map(|(pages, data)| (module(&engine, pages, data), pages, data));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (engine, modules) = (&engine, &modules);
            scope.spawn(move || {
                for turn in 0..10 {
                    let (module, pages, data) = &modules[(thread + turn) % 2];
                    live(engine, module, *pages, *data, 1 + thread as i32).unwrap();
                }
            });
        }
    });
}

/// A failed instantiation gives its memory back clean, and what it wrote is seen by nobody.
#[test]
fn what_a_failed_instance_wrote_is_gone() {
    let engine = Engine::default();
    let failing = Module::new(
        &engine,
        r#"(module (memory 1) (data (i32.const 0) "secret") (data (i32.const 65536) "x"))"#,
    )
    .unwrap();
    let clean = module(&engine, 1, false);
    for _ in 0..5 {
        let mut store = Store::new(&engine, ());
        Instance::new(&mut store, &failing, &[]).unwrap_err();
        drop(store);
        live(&engine, &clean, 1, false, 9).unwrap();
    }
}
