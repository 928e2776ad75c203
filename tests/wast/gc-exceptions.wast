;; Exceptions that carry references, thrown, caught, kept and thrown again while objects move.

(module
  (type $s (struct (field (mut i32)) (field (mut (ref null $s)))))
  (type $list (array (mut (ref null $s))))
  (tag $pair (param (ref null $s) i64 anyref))
  (tag $none)
  (global $kept (mut exnref) (ref.null exn))
  (table $exns 4 exnref)

  (func $new (param i32) (result (ref $s)) (struct.new $s (local.get 0) (ref.null $s)))
  (func $value (param (ref null $s)) (result i32) (struct.get $s 0 (local.get 0)))
  ;; Makes much, and throws what was made first and last.
  (func $thrower (param $n i32) (local $first (ref null $s)) (local $last (ref null $s)) (local $i i32)
    (local.set $first (call $new (local.get $n)))
    (loop $again
      (local.set $last (struct.new $s (local.get $i) (local.get $last)))
      (br_if $again (i32.le_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (throw $pair (local.get $first) (i64.extend_i32_u (local.get $i)) (local.get $last)))
  ;; Frames between, with references of their own that no handler wants.
  (func $between (param $depth i32) (param $n i32) (local $mine (ref null $s))
    (local.set $mine (call $new (i32.const 1000)))
    (if (local.get $depth)
      (then (call $between (i32.sub (local.get $depth) (i32.const 1)) (local.get $n)))
      (else (call $thrower (local.get $n))))
    (drop (call $value (local.get $mine))))

  (func (export "caught") (param $depth i32) (param $n i32) (result i32 i64 i32)
    (local $before (ref null $s)) (local $first (ref null $s)) (local $count i64) (local $last anyref)
    (local.set $before (call $new (i32.const 5)))
    (block $h (result (ref null $s) i64 anyref)
      (try_table (catch $pair $h) (call $between (local.get $depth) (local.get $n)))
      (unreachable))
    (local.set $last) (local.set $count) (local.set $first)
    (drop (call $new (i32.const 6)))
    (i32.add (call $value (local.get $before)) (call $value (local.get $first)))
    (local.get $count)
    (call $value (ref.cast (ref $s) (local.get $last))))

  ;; Kept as a value in a global and a table, and thrown again from there.
  (func $keep (param $n i32)
    (block $h (result exnref)
      (try_table (catch_all_ref $h) (call $between (i32.const 3) (local.get $n)))
      (unreachable))
    (global.set $kept)
    (table.set $exns (i32.const 2) (global.get $kept))
    (drop (array.new $list (call $new (i32.const 9)) (i32.const 100))))
  (func (export "kept") (param $n i32) (result i32 i64 i32 i32)
    (local $first (ref null $s)) (local $count i64) (local $last anyref) (local $e exnref)
    (call $keep (local.get $n))
    (call $keep (i32.add (local.get $n) (i32.const 1)))
    (block $h (result (ref null $s) i64 anyref exnref)
      (try_table (catch_ref $pair $h) (throw_ref (table.get $exns (i32.const 2))))
      (unreachable))
    (local.set $e) (local.set $last) (local.set $count) (local.set $first)
    (call $value (local.get $first))
    (local.get $count)
    (call $value (ref.cast (ref $s) (local.get $last)))
    ;; The same exception has the same values however often it is thrown.
    (block $again (result (ref null $s) i64 anyref)
      (try_table (catch $pair $again) (throw_ref (local.get $e)))
      (unreachable))
    (drop) (drop)
    (ref.eq (local.get $first)))

  ;; In a loop, the handler's values of one turn become locals of the next.
  (func (export "turns") (param $turns i32) (result i32)
    (local $all (ref null $s)) (local $n i32)
    (loop $again
      (block $next
        (block $h (result (ref null $s) i64 anyref)
          (try_table (catch $pair $h) (catch_all $next)
            (if (i32.and (local.get $n) (i32.const 1))
              (then (throw $pair
                (struct.new $s (local.get $n) (local.get $all))
                (i64.const 0) (call $new (i32.const 0))))
              (else (throw $none))))
          (unreachable))
        (drop) (drop)
        (local.set $all))
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (local.get $turns))))
    (local.set $n (i32.const 0))
    (block $end
      (loop $sum
        (br_if $end (ref.is_null (local.get $all)))
        (local.set $n (i32.add (local.get $n) (call $value (local.get $all))))
        (local.set $all (struct.get $s 1 (local.get $all)))
        (br $sum)))
    (local.get $n))

  ;; The older form.
  (func (export "legacy") (param $n i32) (result i32)
    (local $before (ref null $s))
    (local.set $before (call $new (i32.const 7)))
    try (result i32)
      try (result i32)
        (call $between (i32.const 2) (local.get $n))
        (i32.const -1)
      catch_all
        (drop (call $new (i32.const 8)))
        rethrow 0
      end
    catch $pair
      drop
      drop
      call $value
      (call $value (local.get $before))
      i32.add
    end))

(assert_return (invoke "caught" (i32.const 0) (i32.const 1)) (i32.const 6) (i64.const 2) (i32.const 1))
(assert_return (invoke "caught" (i32.const 9) (i32.const 50)) (i32.const 55) (i64.const 51) (i32.const 50))
(assert_return (invoke "kept" (i32.const 20)) (i32.const 21) (i64.const 22) (i32.const 21) (i32.const 1))
(assert_return (invoke "kept" (i32.const 3)) (i32.const 4) (i64.const 5) (i32.const 4) (i32.const 1))
(assert_return (invoke "turns" (i32.const 30)) (i32.const 225))
(assert_return (invoke "legacy" (i32.const 11)) (i32.const 18))
