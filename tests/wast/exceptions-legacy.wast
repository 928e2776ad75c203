;; Exceptions in their first form, lowered onto the same mechanism: `try`, `catch`, `catch_all`, `delegate` and
;; `rethrow`.

(module
  (tag $a (param i32))
  (tag $b (param i64))
  (tag $none)
  (func $throw_a (param i32) (throw $a (local.get 0)))
  (func $throw_b (param i64) (throw $b (local.get 0)))
  (func $nothing)

  (func (export "local") (param i32) (result i32)
    try (result i32)
      local.get 0
      throw $a
    catch $a
      i32.const 1
      i32.add
    end)

  (func $choose (param i32) (result i32)
    try (result i32)
      (if (i32.eq (local.get 0) (i32.const 0)) (then (call $throw_a (i32.const 10))))
      (if (i32.eq (local.get 0) (i32.const 1)) (then (call $throw_b (i64.const 20))))
      (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $none)))
      (i32.const 1)
    catch $a
      i32.const 1
      i32.add
    catch $b
      i32.wrap_i64
      i32.const 2
      i32.add
    catch_all
      i32.const 33
    end)
  (func (export "choose") (param i32) (result i32) (call $choose (local.get 0)))

  ;; Without clauses, and never thrown.
  (func (export "plain") (param i32) (result i32)
    try (result i32)
      local.get 0
    end)
  (func (export "not-thrown") (param i32) (result i32)
    try (result i32)
      call $nothing
      local.get 0
    catch_all
      i32.const -1
    end)

  ;; An exception of a clause goes outwards, not to its neighbours.
  (func (export "outwards") (result i32)
    try (result i32)
      try (result i32)
        (call $throw_a (i32.const 1))
        (i32.const 0)
      catch $a
        (drop)
        (call $throw_b (i64.const 5))
        (i32.const 0)
      catch $b
        (drop)
        (i32.const -1)
      end
    catch $b
      i32.wrap_i64
    end)

  ;; delegate: past the one in between, to the one it names.
  (func (export "delegate") (param i32) (result i32)
    try $outer (result i32)
      try $middle (result i32)
        try (result i32)
          (call $throw_a (local.get 0))
          (i32.const 0)
        delegate $outer
      catch $a
        i32.const 1000
        i32.add
      end
    catch $a
      i32.const 1
      i32.add
    end)
  ;; To a label that is a block: on to what is around it.
  (func (export "delegate-block") (param i32) (result i32)
    try (result i32)
      block $b (result i32)
        try (result i32)
          try (result i32)
            (call $throw_a (local.get 0))
            (i32.const 0)
          delegate $b
        catch_all
          i32.const -1
        end
      end
    catch $a
      i32.const 2
      i32.add
    end)
  ;; To the end of the function.
  (func $delegate-out (param i32) (result i32)
    try (result i32)
      try (result i32)
        (call $throw_a (local.get 0))
        (i32.const 0)
      delegate 1
    catch_all
      i32.const -1
    end)
  (func (export "delegate-out") (param i32) (result i32)
    try (result i32)
      (call $delegate-out (local.get 0))
    catch $a
      i32.const 3
      i32.add
    end)
  ;; A throw of the same function, delegated.
  (func (export "delegate-local") (param i32) (result i32)
    try $outer (result i32)
      try (result i32)
        try (result i32)
          (throw $a (local.get 0))
        delegate $outer
      catch_all
        i32.const -1
      end
    catch $a
      i32.const 4
      i32.add
    end)

  ;; Branches out of bodies and clauses; loops.
  (func (export "loop") (param $n i32) (result i32)
    (local $sum i32)
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $n)))
        try
          (if (i32.and (local.get $n) (i32.const 1)) (then (call $throw_a (local.get $n))))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br $again)
        catch $a
          (local.set $sum (i32.add (local.get $sum)))
          (local.set $n (i32.sub (local.get $n) (i32.const 1)))
          (br $again)
        end
        (unreachable)))
    (local.get $sum))

  ;; What lies below, and what cannot be reached.
  (func (export "operands") (param i32) (result i64 i32)
    (i64.const 7)
    try (result i32)
      (call $throw_a (local.get 0))
      (i32.const 0)
    catch_all
      i32.const 6
    end)
  (func (export "unreachable") (result i32)
    try (result i32)
      i32.const 5
      return
    catch $a
      i32.const 1
      i32.add
    end)
  (func (export "trap") (param i32) (result i32)
    try (result i32)
      (i32.div_u (i32.const 1) (local.get 0))
    catch_all
      i32.const -1
    end)
  (func (export "uncaught")
    try
      (call $throw_a (i32.const 1))
    catch $none
    end))

(assert_return (invoke "local" (i32.const 41)) (i32.const 42))
(assert_return (invoke "choose" (i32.const 0)) (i32.const 11))
(assert_return (invoke "choose" (i32.const 1)) (i32.const 22))
(assert_return (invoke "choose" (i32.const 2)) (i32.const 33))
(assert_return (invoke "choose" (i32.const 3)) (i32.const 1))
(assert_return (invoke "plain" (i32.const 3)) (i32.const 3))
(assert_return (invoke "not-thrown" (i32.const 3)) (i32.const 3))
(assert_return (invoke "outwards") (i32.const 5))
(assert_return (invoke "delegate" (i32.const 1)) (i32.const 2))
(assert_return (invoke "delegate-block" (i32.const 1)) (i32.const 3))
(assert_return (invoke "delegate-out" (i32.const 1)) (i32.const 4))
(assert_return (invoke "delegate-local" (i32.const 1)) (i32.const 5))
(assert_return (invoke "loop" (i32.const 1000)) (i32.const 250000))
(assert_return (invoke "operands" (i32.const 1)) (i64.const 7) (i32.const 6))
(assert_return (invoke "unreachable") (i32.const 5))
(assert_return (invoke "trap" (i32.const 1)) (i32.const 1))
(assert_trap (invoke "trap" (i32.const 0)) "integer divide by zero")
(assert_exception (invoke "uncaught"))

;; rethrow: of a clause, of one further out, with values that are kept, at some depth.
(module
  (tag $a (param i32 f64))
  (tag $b (param i32))
  (global $cleaned (mut i32) (i32.const 0))
  (func $throw_a (param i32) (throw $a (local.get 0) (f64.const 0.5)))

  (func $cleanup (param i32)
    try
      (call $throw_a (local.get 0))
    catch_all
      (global.set $cleaned (i32.add (global.get $cleaned) (i32.const 1)))
      rethrow 0
    end)
  (func (export "cleanup") (param i32) (result i32 f64 i32)
    try (result i32 f64)
      (call $cleanup (local.get 0))
      (unreachable)
    catch $a
    end
    (global.get $cleaned))

  (func $again (param i32 i32)
    try
      (if (local.get 0)
        (then (call $again (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
        (else (call $throw_a (local.get 1))))
    catch $a
      (drop) (drop)
      rethrow 0
    end)
  (func (export "deep") (param i32 i32) (result i32)
    try (result i32)
      (call $again (local.get 0) (local.get 1))
      (i32.const -1)
    catch $a
      (drop)
    end)

  ;; The outer of two.
  (func $outer (result i32)
    try (result i32)
      (call $throw_a (i32.const 1))
      (i32.const 0)
    catch $a
      (drop) (drop)
      try (result i32)
        (throw $b (i32.const 2))
      catch $b
        (drop)
        rethrow 1
      end
    end)
  (func (export "outer") (result i32)
    try (result i32)
      (call $outer)
    catch $b
      i32.const 100
      i32.add
    catch $a
      (drop)
      i32.const 10
      i32.add
    end)
  ;; Caught in the same function.
  (func (export "same") (result i32)
    try (result i32)
      try (result i32)
        (throw $b (i32.const 5))
      catch_all
        rethrow 0
      end
    catch $b
    end))

(assert_return (invoke "cleanup" (i32.const 3)) (i32.const 3) (f64.const 0.5) (i32.const 1))
(assert_return (invoke "deep" (i32.const 200) (i32.const 9)) (i32.const 9))
(assert_return (invoke "outer") (i32.const 11))
(assert_return (invoke "same") (i32.const 5))
