//! The heap of a store: collection at calls of the host, many references at once, limits, half-done
//! operations, stores that are dropped with live roots.

#![forbid(unsafe_code)]

mod common;

use common::in_each_mode;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use wardian::*;

/// Engines that collect at every allocation, and such that do not.
fn engines() -> Vec<Engine> {
    let mut engines = Vec::new();
    for strategy in [Strategy::Optimizing, Strategy::Baseline, Strategy::Tiered] {
        for zeal in [None, NonZeroU32::new(1), NonZeroU32::new(3)] {
            let mut config = Config::new();
            config.strategy(strategy);
            config.gc_zeal_alloc_counter(zeal).unwrap();
            engines.push(Engine::new(&config).unwrap());
        }
    }
    engines
}

fn int_struct(engine: &Engine) -> StructType {
    let field = FieldType::new(Mutability::Var, StorageType::from(ValType::I32));
    StructType::new(engine, [field]).unwrap()
}

/// A host function gets twenty references, collects, and returns them the other way round, with new
/// objects of its own in between.
#[test]
fn every_call_of_the_host_collects_with_many_references_at_hand() -> Result<()> {
    for engine in engines() {
        let mut store = Store::new(&engine, ());
        const COUNT: usize = 20;
        let types = || vec![ValType::ANYREF; COUNT];
        let ty = FuncType::new(&engine, types(), types());
        let made = int_struct(&engine);
        let host = Func::new(&mut store, ty, move |mut caller, args, results| {
            caller.as_context_mut().gc(None)?;
            for (n, arg) in args.iter().enumerate() {
                let object = arg.unwrap_anyref().expect("not null").unwrap_struct(&caller)?;
                assert_eq!(object.field(&mut caller, 0)?.unwrap_i32(), n as i32);
                let pre = StructRefPre::new(&mut caller, made.clone());
                let field = [Val::I32(100 + n as i32)];
                results[COUNT - 1 - n] = if n % 2 == 0 {
                    *arg
                } else {
                    StructRef::new(&mut caller, &pre, &field)?.into()
                };
            }
            caller.as_context_mut().gc(None)
        });
        let numbers: String =
            (0..COUNT).map(|n| format!("(struct.new $s (i32.const {n}))")).collect();
        let sets: String = (0..COUNT).rev().map(|n| format!("(local.set {n})")).collect();
        let sum: String = (0..COUNT)
            .map(|n| format!("(i32.add (struct.get $s 0 (ref.cast (ref $s) (local.get {n}))))"))
            .collect();
        let text = format!(
            "(module (type $s (struct (field (mut i32))))
               (import \"h\" \"f\" (func $f (param {0}) (result {0})))
               (func (export \"f\") (result i32) (local {0})
                 {numbers} (call $f) {sets} (i32.const 0) {sum}))",
            "anyref ".repeat(COUNT)
        );
        let module = Module::new(&engine, &text)?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
        for _ in 0..3 {
            let expected: i32 =
                (0..COUNT as i32).map(|n| if n % 2 == 0 { n } else { 100 + n }).sum();
            assert_eq!(f.call(&mut store, ())?, expected);
        }
    }
    Ok(())
}

/// Lists that a guest makes, across calls of the host that calls the guest again.
#[test]
fn frames_of_all_activations_are_roots() -> Result<()> {
    for engine in engines() {
        let mut store = Store::new(&engine, ());
        let text = r#"(module
            (type $list (struct (field i32) (field (mut (ref null $list)))))
            (import "h" "f" (func $host (param i32 anyref) (result anyref)))
            (global $g (mut (ref null $list)) (ref.null $list))
            (table $t 4 (ref null $list))
            (func $build (export "build") (param $n i32) (result (ref null $list)) (local $l (ref null $list))
              (loop $again
                (local.set $l (struct.new $list (local.get $n) (local.get $l)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br_if $again (local.get $n)))
              (local.get $l))
            (func $sum (param $l (ref null $list)) (result i32) (local $sum i32)
              (block $end
                (loop $again
                  (br_if $end (ref.is_null (local.get $l)))
                  (local.set $sum (i32.add (local.get $sum) (struct.get $list 0 (local.get $l))))
                  (local.set $l (struct.get $list 1 (local.get $l)))
                  (br $again)))
              (local.get $sum))
            (func (export "nest") (param $depth i32) (result i32) (local $mine (ref null $list))
              (local.set $mine (call $build (i32.const 40)))
              (global.set $g (call $build (i32.const 3)))
              (table.set $t (i32.const 2) (call $build (i32.const 4)))
              (if (local.get $depth)
                (then (drop (call $host (local.get $depth) (local.get $mine)))))
              (i32.add (call $sum (local.get $mine))
                (i32.add (call $sum (global.get $g)) (call $sum (table.get $t (i32.const 2)))))))"#;
        let host = Func::wrap(
            &mut store,
            |mut caller: Caller<'_, ()>, depth: i32, list: Option<Rooted<AnyRef>>| -> Result<_> {
                let nest = caller.get_export("nest").and_then(Extern::into_func);
                let nest = nest.expect("it is exported").typed::<i32, i32>(&caller)?;
                assert_eq!(nest.call(&mut caller, depth - 1)?, 820 + 6 + 10);
                caller.as_context_mut().gc(None)?;
                Ok(list)
            },
        );
        let text = text.replace("(export \"build\")", "");
        let module = Module::new(&engine, &text)?;
        let instance = Instance::new(&mut store, &module, &[host.into()])?;
        let nest = instance.get_typed_func::<i32, i32>(&mut store, "nest")?;
        assert_eq!(nest.call(&mut store, 5)?, 820 + 6 + 10);
    }
    Ok(())
}

#[test]
fn lengths_whose_bytes_overflow_are_traps() -> Result<()> {
    for engine in engines() {
        let mut store = Store::new(&engine, ());
        let module = Module::new(
            &engine,
            r#"(module (type $v (array (mut v128))) (type $r (array (mut anyref))) (type $b (array (mut i8)))
                (func (export "v") (param i32) (drop (array.new_default $v (local.get 0))))
                (func (export "r") (param i32) (drop (array.new $r (ref.null any) (local.get 0))))
                (func (export "b") (param i32) (drop (array.new_default $b (local.get 0)))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[])?;
        for name in ["v", "r", "b"] {
            let f = instance.get_typed_func::<i32, ()>(&mut store, name)?;
            // Those that only vectors are too large for would take a gigabyte otherwise.
            let lengths: &[i32] = match name {
                "v" => &[-1, i32::MIN, 0x7fff_ffff, 1 << 28, 0x0fff_ffff],
                _ => &[-1, i32::MIN, 0x7fff_ffff],
            };
            for &length in lengths {
                let error = f.call(&mut store, length).unwrap_err();
                let trap = error.downcast_ref::<Trap>();
                let fits = [Trap::AllocationTooLarge, Trap::GcHeapOutOfMemory];
                assert!(trap.is_some_and(|trap| fits.contains(trap)), "{name} {length}: {error:?}");
            }
            f.call(&mut store, 3)?;
        }
        let ty = ArrayType::new(
            &engine,
            FieldType::new(Mutability::Var, StorageType::from(ValType::V128)),
        );
        let pre = ArrayRefPre::new(&mut store, ty);
        let error = ArrayRef::new(&mut store, &pre, &Val::V128(0.into()), u32::MAX).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::AllocationTooLarge));
    }
    Ok(())
}

/// What is out of bounds at its end changes nothing at its start.
#[test]
fn bulk_operations_are_done_whole_or_not_at_all() -> Result<()> {
    for engine in engines() {
        let mut store = Store::new(&engine, ());
        let module = Module::new(
            &engine,
            r#"(module (type $b (array (mut i16))) (type $r (array (mut (ref null i31))))
                (data $d "abcdefgh") (elem $e (ref null i31) (ref.i31 (i32.const 1)) (ref.i31 (i32.const 2)))
                (global $b (ref $b) (array.new $b (i32.const 7) (i32.const 10)))
                (global $r (ref $r) (array.new $r (ref.null i31) (i32.const 3)))
                (func (export "fill") (array.fill $b (global.get $b) (i32.const 1) (i32.const 9) (i32.const 10)))
                (func (export "copy") (array.copy $b $b (global.get $b) (i32.const 0) (global.get $b) (i32.const 5) (i32.const 6)))
                (func (export "data") (array.init_data $b $d (global.get $b) (i32.const 0) (i32.const 2) (i32.const 4)))
                (func (export "elem") (array.init_elem $r $e (global.get $r) (i32.const 0) (i32.const 0) (i32.const 3)))
                (func (export "new data") (drop (array.new_data $b $d (i32.const 1) (i32.const 4))))
                (func (export "new elem") (drop (array.new_elem $r $e (i32.const 1) (i32.const 2))))
                (func (export "intact") (result i32) (local $i i32)
                  (loop $again
                    (if (i32.ne (array.get_u $b (global.get $b) (local.get $i)) (i32.const 7)) (then (return (i32.const 0))))
                    (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
                  (ref.is_null (array.get $r (global.get $r) (i32.const 0)))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[])?;
        let cases = [
            ("fill", Trap::ArrayOutOfBounds),
            ("copy", Trap::ArrayOutOfBounds),
            ("data", Trap::MemoryOutOfBounds),
            ("elem", Trap::TableOutOfBounds),
            ("new data", Trap::MemoryOutOfBounds),
            ("new elem", Trap::TableOutOfBounds),
        ];
        for (name, expected) in cases {
            let f = instance.get_typed_func::<(), ()>(&mut store, name)?;
            let error = f.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&expected), "{name}");
            let intact = instance.get_typed_func::<(), i32>(&mut store, "intact")?;
            assert_eq!(intact.call(&mut store, ())?, 1, "{name}");
        }
    }
    Ok(())
}

/// Counts how many of its kind there are.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Relaxed);
        Counted(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[test]
fn a_million_dead_host_values_stay_bounded() -> Result<()> {
    in_each_mode(|engine| {
        let count = Arc::new(AtomicUsize::new(0));
        let mut store = Store::new(engine, 0);
        let counted = count.clone();
        let make = Func::wrap(&mut store, move |mut caller: Caller<'_, usize>| {
            *caller.data_mut() = (*caller.data()).max(counted.load(Relaxed));
            ExternRef::new(&mut caller, Counted::new(&counted)).map(Some)
        });
        let module = Module::new(
            engine,
            r#"(module (import "h" "make" (func $make (result externref)))
                (global $last (mut externref) (ref.null extern))
                (func (export "f") (param $n i32)
                  (loop $again
                    (global.set $last (call $make))
                    (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[make.into()])?;
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
        f.call(&mut store, 1_000_000)?;
        assert!(*store.data() <= 300_000, "{} at once", store.data());
        store.gc(None)?;
        assert_eq!(count.load(Relaxed), 1, "the last one is reached");
        assert!(store.gc_heap_capacity() < 64 << 20);
        drop(store);
        assert_eq!(count.load(Relaxed), 0);
        Ok(())
    });
    Ok(())
}

/// A store that is dropped while roots of all kinds are held.
#[test]
fn a_store_dropped_with_live_roots_drops_its_host_values() -> Result<()> {
    let count = Arc::new(AtomicUsize::new(0));
    let mut store = Store::<()>::default();
    let scoped = ExternRef::new(&mut store, Counted::new(&count))?;
    let owned = ExternRef::new(&mut store, Counted::new(&count))?.to_owned_rooted(&mut store)?;
    let mut other = Store::<()>::default();
    store.gc(None)?;
    assert_eq!(count.load(Relaxed), 2);
    drop(store);
    assert_eq!(count.load(Relaxed), 0);
    assert_eq!(scoped.data(&other).unwrap_err().kind(), ErrorKind::Misuse);
    assert!(Rooted::ref_eq(&other, &owned, &owned).is_err());
    other.gc(None)?;
    Ok(())
}

/// A value of the host that holds an object by an owned root, which holds the value: let go, or with the
/// store, both are dropped. Cycles without such a root, through objects of the guest alone, need no help.
#[test]
fn cycles_through_host_values_are_dropped() -> Result<()> {
    struct Node {
        _counted: Counted,
        object: Mutex<Option<OwnedRooted<StructRef>>>,
    }
    for engine in engines() {
        let count = Arc::new(AtomicUsize::new(0));
        let mut store = Store::new(&engine, ());
        let field = |ty| FieldType::new(Mutability::Var, StorageType::from(ty));
        let fields = [field(ValType::EXTERNREF), field(ValType::ANYREF)];
        let ty = StructType::new(&engine, fields)?;
        let pre = StructRefPre::new(&mut store, ty);
        for (rooted, kept) in [(false, 0), (true, 1), (true, 2)] {
            let mut scope = RootScope::new(&mut store);
            let node = Node { _counted: Counted::new(&count), object: Mutex::new(None) };
            let value = ExternRef::new(&mut scope, node)?;
            let object = StructRef::new(&mut scope, &pre, &[value.into(), Val::AnyRef(None)])?;
            // To itself, by way of another hierarchy, and around.
            let any = AnyRef::convert_extern(&mut scope, value)?;
            let around = StructRef::new(&mut scope, &pre, &[Val::ExternRef(None), any.into()])?;
            object.set_field(&mut scope, 1, around.into())?;
            if rooted {
                let owned = object.to_owned_rooted(&mut scope)?;
                let data = value.data(&scope)?.expect("a host value").downcast_ref::<Node>();
                *data.expect("it was put in").object.lock().unwrap() = Some(owned);
            }
            drop(scope);
            store.gc(None)?;
            store.gc(None)?;
            assert_eq!(count.load(Relaxed), kept, "an owned root keeps what it names");
        }
        // One lets go of its object; the other is there until the store is not.
        let mut scope = RootScope::new(&mut store);
        let node = Node { _counted: Counted::new(&count), object: Mutex::new(None) };
        let value = ExternRef::new(&mut scope, node)?;
        let object = StructRef::new(&mut scope, &pre, &[value.into(), Val::AnyRef(None)])?;
        let owned = object.to_owned_rooted(&mut scope)?;
        {
            let data = value.data(&scope)?.expect("a host value").downcast_ref::<Node>();
            *data.expect("it was put in").object.lock().unwrap() = Some(owned);
        }
        scope.as_context_mut().gc(None)?;
        assert_eq!(count.load(Relaxed), 3);
        {
            let data = value.data(&scope)?.expect("a host value").downcast_ref::<Node>();
            *data.expect("it was put in").object.lock().unwrap() = None;
        }
        drop(scope);
        store.gc(None)?;
        assert_eq!(count.load(Relaxed), 2);
        drop(store);
        assert_eq!(count.load(Relaxed), 0);
    }
    Ok(())
}

#[test]
fn stale_roots_are_errors_and_never_another_object() -> Result<()> {
    let mut store = Store::<()>::default();
    let mut kept = Vec::new();
    for round in 0..1000u32 {
        let mut scope = RootScope::new(&mut store);
        kept.push(ExternRef::new(&mut scope, round)?);
        if round % 100 == 0 {
            scope.as_context_mut().gc(None)?;
        }
    }
    let _now = ExternRef::new(&mut store, "now")?;
    for root in kept {
        let error = root.data(&store).unwrap_err();
        assert!(error.to_string().contains("unrooted"), "{error}");
        assert!(root.to_owned_rooted(&mut store).is_err());
        assert!(
            Global::new(
                &mut store,
                GlobalType::new(ValType::EXTERNREF, Mutability::Var),
                root.into()
            )
            .is_err()
        );
    }
    Ok(())
}

/// Types are of the process: a struct type of one engine is that of another, and never a different one.
#[test]
fn types_of_two_engines_are_not_mixed_up() -> Result<()> {
    let [one, other] = [(); 2].map(|()| {
        let mut config = Config::new();
        config.wasm_gc(true);
        Engine::new(&config).unwrap()
    });
    // Many types first, so that positions differ.
    for n in 1..20 {
        let field = FieldType::new(Mutability::Var, StorageType::from(ValType::I64));
        StructType::new(&one, vec![field; n])?;
    }
    let text = r#"(module (type $a (struct (field (mut i32)))) (type $b (struct (field (mut i64))))
        (func (export "is") (param anyref) (result i32) (ref.test (ref $a) (local.get 0))))"#;
    for engine in [&one, &other] {
        for maker in [&one, &other] {
            let mut store = Store::new(engine, ());
            let instance = Instance::new(&mut store, &Module::new(engine, text)?, &[])?;
            let is = instance.get_typed_func::<Option<Rooted<AnyRef>>, i32>(&mut store, "is")?;
            let wide = FieldType::new(Mutability::Var, StorageType::from(ValType::I64));
            for (ty, field, expected) in [
                (int_struct(maker), Val::I32(1), 1),
                (StructType::new(maker, [wide])?, Val::I64(1), 0),
            ] {
                let pre = StructRefPre::new(&mut store, ty);
                let object = StructRef::new(&mut store, &pre, &[field])?;
                assert_eq!(is.call(&mut store, Some(object.into()))?, expected);
                // What was made with one store's allocator is refused by another store.
                let mut stranger = Store::new(engine, ());
                assert!(StructRef::new(&mut stranger, &pre, &[field]).is_err());
                assert!(is.call(&mut store, None).is_ok());
            }
        }
    }
    Ok(())
}

/// A guest that fills its heap traps, and the store goes on.
#[test]
fn a_full_heap_is_a_trap_and_there_is_room_again() -> Result<()> {
    for engine in engines().into_iter().step_by(3) {
        let limits = StoreLimitsBuilder::new().memory_size(8 << 20).build();
        let mut store = Store::new(&engine, limits);
        store.limiter(|limits| limits);
        let module = Module::new(
            &engine,
            r#"(module (type $list (struct (field (ref null $list)) (field i64)))
                (func (export "f") (param $n i32) (local $l (ref null $list))
                  (loop $again
                    (local.set $l (struct.new $list (local.get $l) (i64.const 1)))
                    (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#,
        )?;
        let instance = Instance::new(&mut store, &module, &[])?;
        let f = instance.get_typed_func::<i32, ()>(&mut store, "f")?;
        for _ in 0..3 {
            let error = f.call(&mut store, 10_000_000).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::GcHeapOutOfMemory), "{error:?}");
            f.call(&mut store, 1000)?;
            assert!(store.gc_heap_capacity() <= 8 << 20);
        }
    }
    Ok(())
}

/// After a peak the heap is small again: what it may take, and what the system has given it.
#[test]
fn a_heap_shrinks_after_a_peak() -> Result<()> {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let mut store = Store::new(&Engine::default(), ());
    let module = Module::new(
        store.engine(),
        r#"(module (type $list (struct (field (ref null $list)) (field i64)))
            (global $all (mut (ref null $list)) (ref.null $list))
            (func (export "grow") (param $n i32)
              (loop $again
                (global.set $all (struct.new $list (global.get $all) (i64.const 1)))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
            (func (export "drop") (global.set $all (ref.null $list))))"#,
    )?;
    let instance = Instance::new(&mut store, &module, &[])?;
    let grow = instance.get_typed_func::<i32, ()>(&mut store, "grow")?;
    let forget = instance.get_typed_func::<(), ()>(&mut store, "drop")?;
    grow.call(&mut store, 16_000_000)?;
    let (capacity, pages) = (store.gc_heap_capacity(), resident());
    assert!(capacity > 384 << 20);
    forget.call(&mut store, ())?;
    store.gc(None)?;
    assert!(store.gc_heap_capacity() < 128 << 20, "{}", store.gc_heap_capacity());
    // Other tests of this process take and give back as well.
    let back = pages.saturating_sub(resident());
    assert!(back > 256 << 20, "{back} bytes were given back");
    Ok(())
}

/// Nothing of a store's heap is seen in the next one: new objects hold what they were given.
#[test]
fn heaps_begin_empty() -> Result<()> {
    for engine in engines() {
        for _ in 0..3 {
            let mut store = Store::new(&engine, ());
            let bytes = FieldType::new(Mutability::Var, StorageType::I8);
            let ty = ArrayType::new(&engine, bytes);
            let module = Module::new(
                &engine,
                r#"(module (type $b (array (mut i8)))
                    (func (export "new") (param i32) (result (ref array)) (array.new_default $b (local.get 0))))"#,
            )?;
            let instance = Instance::new(&mut store, &module, &[])?;
            let new = instance.get_typed_func::<i32, Rooted<ArrayRef>>(&mut store, "new")?;
            let pre = ArrayRefPre::new(&mut store, ty);
            for length in [1, 100, 3000, 100_000] {
                let mut scope = RootScope::new(&mut store);
                let array = new.call(&mut scope, length)?;
                let mut found = vec![1i8; length as usize];
                array.copy_to_i8_slice(&scope, &mut found)?;
                assert!(found.iter().all(|byte| *byte == 0));
                ArrayRef::new_from_i8_slice(&mut scope, &pre, &vec![-1; length as usize])?;
            }
        }
    }
    Ok(())
}
