;; Types are the same if their recursion groups are: the same types in the same order, and the same place
;; in the group. Two groups that differ only in order are different.

(module $M
  (rec (type $a (struct (field i32) (field (ref null $b)))) (type $b (struct (field i64) (field (ref null $a)))))
  ;; The same again.
  (rec (type $c (struct (field i32) (field (ref null $d)))) (type $d (struct (field i64) (field (ref null $c)))))
  ;; In the other order.
  (rec (type $f (struct (field i64) (field (ref null $e)))) (type $e (struct (field i32) (field (ref null $f)))))
  ;; With one more behind them.
  (rec (type $g (struct (field i32) (field (ref null $h)))) (type $h (struct (field i64) (field (ref null $g))))
    (type $more (struct)))

  (func (export "a") (result anyref) (struct.new $a (i32.const 1) (ref.null $b)))
  (func (export "b") (result anyref) (struct.new $b (i64.const 1) (ref.null $a)))
  (func (export "e") (result anyref) (struct.new $e (i32.const 1) (ref.null $f)))
  (func (export "g") (result anyref) (struct.new $g (i32.const 1) (ref.null $h)))
  ;; A bit for each type that a value has.
  (func (export "types") (param anyref) (result i32)
    (ref.test (ref $a) (local.get 0))
    (i32.shl (ref.test (ref $b) (local.get 0)) (i32.const 1))
    (i32.shl (ref.test (ref $c) (local.get 0)) (i32.const 2))
    (i32.shl (ref.test (ref $d) (local.get 0)) (i32.const 3))
    (i32.shl (ref.test (ref $e) (local.get 0)) (i32.const 4))
    (i32.shl (ref.test (ref $f) (local.get 0)) (i32.const 5))
    (i32.shl (ref.test (ref $g) (local.get 0)) (i32.const 6))
    (i32.shl (ref.test (ref $h) (local.get 0)) (i32.const 7))
    i32.or i32.or i32.or i32.or i32.or i32.or i32.or)
  ;; Functions of these types.
  (type $take-a (func (param (ref null $a))))
  (type $take-e (func (param (ref null $e))))
  (func (export "take") (type $take-a)))
(register "M" $M)

;; Another module with the groups in another order: places in the module do not count.
(module $N
  (import "M" "a" (func $a (result anyref)))
  (import "M" "b" (func $b (result anyref)))
  (import "M" "e" (func $e (result anyref)))
  (import "M" "g" (func $g (result anyref)))
  (import "M" "types" (func $types (param anyref) (result i32)))
  (type $other (struct (field f32)))
  (rec (type $f (struct (field i64) (field (ref null $e)))) (type $e (struct (field i32) (field (ref null $f)))))
  (rec (type $a (struct (field i32) (field (ref null $b)))) (type $b (struct (field i64) (field (ref null $a)))))
  (func (export "theirs") (result i32 i32 i32 i32)
    (ref.test (ref $a) (call $a)) (ref.test (ref $a) (call $e))
    (ref.test (ref $e) (call $e)) (ref.test (ref $e) (call $g)))
  (func (export "mine") (result i32 i32 i32)
    (call $types (struct.new $a (i32.const 1) (ref.null $b)))
    (call $types (struct.new $e (i32.const 1) (ref.null $f)))
    (call $types (struct.new $other (f32.const 1))))
  (func (export "own") (result i32 i32 i32 i32)
    (call $types (call $a)) (call $types (call $b)) (call $types (call $e)) (call $types (call $g))))

(assert_return (invoke "theirs") (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0))
(assert_return (invoke "mine") (i32.const 5) (i32.const 16) (i32.const 0))
(assert_return (invoke "own") (i32.const 5) (i32.const 10) (i32.const 16) (i32.const 64))

;; Imports are compared the same way.
(module
  (rec (type $c (struct (field i32) (field (ref null $d)))) (type $d (struct (field i64) (field (ref null $c)))))
  (import "M" "take" (func (param (ref null $c)))))
(assert_unlinkable
  (module
    (rec (type $f (struct (field i64) (field (ref null $e)))) (type $e (struct (field i32) (field (ref null $f)))))
    (import "M" "take" (func (param (ref null $e)))))
  "incompatible import type")

;; One order does not stand for the other in validation either.
(assert_invalid
  (module
    (rec (type $a (struct (field i32))) (type $b (struct (field i64))))
    (rec (type $d (struct (field i64))) (type $c (struct (field i32))))
    (func (param (ref $a)) (result (ref $c)) (local.get 0)))
  "type mismatch")
