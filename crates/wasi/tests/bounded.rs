//! Calls by which a guest could make the host work for long: each is bounded, paid for byte by byte where
//! guests pay, and ended by the deadline where it must do all that was asked.

#![forbid(unsafe_code)]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use wardian::*;
use wardian_wasi::{DirPerms, Errno, FilePerms, HostRandom, WasiCtxBuilder, WasiP1Ctx, p1};

/// Its exports are the calls themselves, with the memory that they need.
const GUEST: &str = r#"(module
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_readdir"
      (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
      (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (memory (export "memory") 64)
    (data (i32.const 0) "hole")
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "open") (result i32)
      (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 0)
        (i64.const 0x6) (i64.const 0) (i32.const 0) (i32.const 8)))
    (func (export "random") (param i32 i32) (result i32)
      (call $random (local.get 0) (local.get 1)))
    (func (export "read") (param i32 i32) (result i32)
      (call $read (local.get 0) (i32.const 1024) (local.get 1) (i32.const 8)))
    (func (export "write") (param i32 i32) (result i32)
      (call $write (local.get 0) (i32.const 1024) (local.get 1) (i32.const 8)))
    (func (export "readdir") (param i32 i32) (result i32)
      (call $readdir (local.get 0) (i32.const 1024) (local.get 1) (i64.const 0) (i32.const 8)))
    (func (export "poll") (param i32 i32) (result i32)
      (call $poll (i32.const 1024) (local.get 0) (local.get 1) (i32.const 8))))"#;

struct Guest {
    store: Store<WasiP1Ctx>,
    instance: Instance,
}

impl Guest {
    fn new(config: &Config, wasi: &mut WasiCtxBuilder) -> Guest {
        Guest::of(&Engine::new(config).unwrap(), wasi)
    }

    fn of(engine: &Engine, wasi: &mut WasiCtxBuilder) -> Guest {
        let module = Module::new(engine, GUEST).unwrap();
        let mut linker = Linker::new(engine);
        p1::add_to_linker_sync(&mut linker, |ctx: &mut WasiP1Ctx| ctx).unwrap();
        let mut store = Store::new(engine, wasi.build_p1());
        store.set_epoch_deadline(1);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        Guest { store, instance }
    }

    fn call(&mut self, name: &str, a: u32, b: u32) -> Result<u32> {
        self.instance
            .get_typed_func::<(u32, u32), u32>(&mut self.store, name)?
            .call(&mut self.store, (a, b))
    }

    /// Makes the memory as large as can be; bytes.
    fn grow(&mut self) -> u64 {
        let grow = self.instance.get_typed_func::<u32, i32>(&mut self.store, "grow").unwrap();
        for pages in [65_536 - 64, 16_384, 4_096] {
            if grow.call(&mut self.store, pages).unwrap() >= 0 {
                return u64::from(64 + pages) << 16;
            }
        }
        panic!("the system has no room for 256 MiB");
    }

    fn memory(&mut self) -> Memory {
        self.instance.get_memory(&mut self.store, "memory").unwrap()
    }

    fn out(&mut self) -> u32 {
        let memory = self.memory();
        u32::from_le_bytes(memory.data(&self.store)[8..12].try_into().unwrap())
    }

    /// Writes a list of buffers to where `read` and `write` look.
    fn buffers(&mut self, count: usize, addr: u32, len: u32) {
        let memory = self.memory();
        for index in 0..count {
            let buffer = [addr.to_le_bytes(), len.to_le_bytes()].concat();
            memory.write(&mut self.store, 1024 + 8 * index, &buffer).unwrap();
        }
    }
}

fn trap<R: std::fmt::Debug>(result: Result<R>) -> Trap {
    *result.unwrap_err().downcast_ref::<Trap>().expect("a trap")
}

/// Counts what it is asked for, and lets the epoch grow at some point.
struct Counting {
    bytes: Arc<AtomicU64>,
    tick_at: u64,
    engine: Engine,
}

impl HostRandom for Counting {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let before = self.bytes.fetch_add(bytes.len() as u64, Relaxed);
        if (before..before + bytes.len() as u64).contains(&self.tick_at) {
            self.engine.increment_epoch();
        }
        bytes.fill(7);
        Ok(())
    }
}

#[test]
fn four_gibibytes_of_random_bytes_end_at_the_deadline() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let bytes = Arc::new(AtomicU64::new(0));
    let random = Counting { bytes: bytes.clone(), tick_at: 5 << 20, engine: engine.clone() };
    let mut guest = Guest::of(&engine, WasiCtxBuilder::new().secure_random(random));
    let size = guest.grow();
    let result = guest.call("random", 0, (size - 1) as u32);
    assert_eq!(trap(result), Trap::Interrupt);
    let asked = bytes.swap(0, Relaxed);
    assert!((5 << 20..8 << 20).contains(&asked), "{asked}");
    // The host may let it go on, and then it gets all.
    guest.store.set_epoch_deadline(1);
    assert_eq!(guest.call("random", 16, 3 << 20).unwrap(), 0);
    assert_eq!(bytes.load(Relaxed), 3 << 20);
    let memory = guest.memory();
    let data = memory.data(&guest.store);
    assert!(data[16..16 + (3 << 20)].iter().all(|byte| *byte == 7) && data[16 + (3 << 20)] == 7);
    // Pointers come first.
    let result = guest.call("random", 17, (size - 16) as u32).unwrap();
    assert_eq!(result, u32::from(Errno::FAULT.code()));
    assert_eq!(bytes.load(Relaxed), 3 << 20, "nothing was asked for");
}

#[test]
fn random_bytes_are_paid_for() {
    let mut guest = Guest::new(Config::new().consume_fuel(true), &mut WasiCtxBuilder::new());
    guest.store.set_fuel(10 << 20).unwrap();
    assert_eq!(guest.call("random", 0, 1000).unwrap(), 0);
    assert_eq!(guest.store.get_fuel().unwrap(), (10 << 20) - 1000 - 3, "and three instructions");
    guest.store.set_fuel(10 << 20).unwrap();
    guest.grow();
    let before = guest.store.get_fuel().unwrap();
    assert_eq!(trap(guest.call("random", 0, 200 << 20)), Trap::OutOfFuel);
    let left = guest.store.get_fuel().unwrap();
    assert!(left < before && left < 1 << 20, "{before} {left}");
}

/// A file of a gibibyte of zeros that takes no room.
fn hole() -> (tempfile::TempDir, WasiCtxBuilder) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::File::create(folder.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
    let mut wasi = WasiCtxBuilder::new();
    wasi.preopened_dir(folder.path(), "/", DirPerms::all(), FilePerms::all()).unwrap();
    (folder, wasi)
}

#[test]
fn reads_and_writes_move_a_bounded_number_of_bytes() {
    let (_folder, mut wasi) = hole();
    let mut guest = Guest::new(Config::new().consume_fuel(true), &mut wasi);
    guest.store.set_fuel(u64::MAX).unwrap();
    let open = guest.instance.get_typed_func::<(), u32>(&mut guest.store, "open").unwrap();
    assert_eq!(open.call(&mut guest.store, ()).unwrap(), 0);
    let fd = guest.out();
    // The same mebibyte a thousand times.
    guest.buffers(1024, 1 << 20, 1 << 20);
    let start = Instant::now();
    let before = guest.store.get_fuel().unwrap();
    assert_eq!(guest.call("read", fd, 1024).unwrap(), 0);
    assert_eq!(guest.out(), 64 << 20);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let paid = before - guest.store.get_fuel().unwrap();
    assert_eq!(paid, (64 << 20) + 5, "by bytes, and for the instructions");
    // More buffers, and more bytes than a count can say, are refused before anything is done.
    for count in [1025, 1 << 27, u32::MAX] {
        assert_eq!(guest.call("read", fd, count).unwrap(), u32::from(Errno::INVAL.code()));
        assert_eq!(guest.call("write", 1, count).unwrap(), u32::from(Errno::INVAL.code()));
    }
    guest.grow();
    guest.buffers(1024, 1 << 20, 4 << 20);
    assert_eq!(guest.call("read", fd, 1023).unwrap(), 0, "just below");
    assert_eq!(guest.call("read", fd, 1024).unwrap(), u32::from(Errno::INVAL.code()));
    assert_eq!(guest.call("write", 1, 1024).unwrap(), u32::from(Errno::INVAL.code()));
    guest.store.set_fuel(1 << 20).unwrap();
    assert_eq!(trap(guest.call("read", fd, 1023)), Trap::OutOfFuel);
}

#[test]
fn long_polls_are_refused_and_short_ones_paid_for() {
    let mut guest = Guest::new(Config::new().consume_fuel(true), &mut WasiCtxBuilder::new());
    guest.store.set_fuel(1 << 30).unwrap();
    let size = guest.grow();
    let start = Instant::now();
    for count in [16_385, 1 << 20, 1 << 27, u32::MAX] {
        let result = guest.call("poll", 2048, count).unwrap();
        assert_eq!(result, u32::from(Errno::INVAL.code()), "{count}");
    }
    // Room for all subscriptions, and not for all events.
    let result = guest.call("poll", (size - 32 * 100) as u32, 101).unwrap();
    assert_eq!(result, u32::from(Errno::FAULT.code()));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // Clocks whose time has come: zeros are subscriptions to the realtime clock.
    let before = guest.store.get_fuel().unwrap();
    assert_eq!(guest.call("poll", 16 << 20, 16_384).unwrap(), 0);
    assert_eq!(guest.out(), 16_384);
    let paid = before - guest.store.get_fuel().unwrap();
    assert_eq!(paid, 16_384 * 48 + 5);
}

#[test]
fn listings_are_paid_for_however_little_of_them_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..500 {
        std::fs::write(folder.path().join(format!("{number:0200}")), "").unwrap();
    }
    let mut wasi = WasiCtxBuilder::new();
    wasi.preopened_dir(folder.path(), "/", DirPerms::all(), FilePerms::all()).unwrap();
    let mut guest = Guest::new(Config::new().consume_fuel(true), &mut wasi);
    guest.store.set_fuel(1 << 30).unwrap();
    // Each of these lists the directory anew, and gives one byte of it.
    for _ in 0..3 {
        let before = guest.store.get_fuel().unwrap();
        assert_eq!(guest.call("readdir", 3, 1).unwrap(), 0);
        let paid = before - guest.store.get_fuel().unwrap();
        assert!(paid > 500 * 200, "{paid}");
    }
    guest.store.set_fuel(1000).unwrap();
    assert_eq!(trap(guest.call("readdir", 3, 1)), Trap::OutOfFuel);
}
