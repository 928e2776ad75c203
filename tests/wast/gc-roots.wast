;; References that live across calls, allocations, loops, branches, handlers and tail calls. Under a
;; collector that runs at every allocation, one that was not found or not read again is wrong.

(module
  (type $node (struct (field (mut i32)) (field (mut (ref null $node)))))
  (type $arr (array (mut (ref null $node))))
  (type $bytes (array (mut i8)))
  (global $kept (mut (ref null $node)) (ref.null $node))
  (table $t 4 (ref null $node))
  (tag $e (param i32 (ref null $node)))

  (func $new (param i32) (result (ref $node)) (struct.new $node (local.get 0) (ref.null $node)))
  (func $value (param (ref null $node)) (result i32) (struct.get $node 0 (local.get 0)))

  ;; Operands below calls and allocations.
  (func (export "operands") (result i32)
    (call $value (call $new (i32.const 1)))
    (struct.get $node 0 (struct.new $node (i32.const 2) (call $new (i32.const 3))))
    (call $three (call $new (i32.const 4)) (call $new (i32.const 5)) (call $new (i32.const 6)))
    i32.add i32.add)
  (func $three (param (ref $node) (ref $node) (ref $node)) (result i32)
    (local $x (ref null $node))
    (local.set $x (call $new (i32.const 100)))
    (drop (call $new (i32.const 101)))
    (i32.add (call $value (local.get $x))
      (i32.add (call $value (local.get 0))
        (i32.mul (call $value (local.get 1)) (call $value (local.get 2))))))

  ;; A list, built and read in loops.
  (func $list (export "list") (param $n i32) (result i32)
    (local $head (ref null $node)) (local $next (ref null $node)) (local $sum i32)
    (loop $l
      (local.set $head (struct.new $node (local.get $n) (local.get $head)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (struct.get $node 0 (local.get $head))))
      (drop (array.new $bytes (i32.const 1) (i32.const 9)))
      (local.set $next (struct.get $node 1 (local.get $head)))
      (br_if $l (i32.eqz (ref.is_null (local.tee $head (local.get $next))))))
    (local.get $sum))

  ;; Operands below blocks in which one way allocates and another does not.
  (func (export "below") (param i32) (result i32)
    (local (ref null $node))
    (call $new (i32.const 7))
    (call $new (i32.const 8))
    (if (result i32) (local.get 0)
      (then (call $value (call $new (i32.const 30))))
      (else (i32.const 20)))
    (block $b (param i32) (result i32)
      (br_if $b (local.get 0))
      (i32.add (call $value (call $new (i32.const 1000)))))
    (loop $l (param i32) (result i32)
      (drop (call $new (i32.const 9)))
      (i32.add (i32.const 1))
      (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 4))))
    (local.set 0)
    (local.set 1)
    (call $value)
    (i32.add (call $value (local.get 1)))
    (i32.add (local.get 0)))

  ;; Block parameters and results that are references.
  (func (export "through") (param i32) (result i32)
    (local (ref null $node))
    (call $new (i32.const 5))
    (block $out (param (ref $node)) (result (ref null $node))
      (loop $l (param (ref null $node)) (result (ref null $node))
        (local.set 1)
        (struct.new $node (i32.add (call $value (local.get 1)) (i32.const 1)) (local.get 1))
        (br_if $out (i32.eqz (local.get 0)))
        (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
        (br $l)))
    (call $value))

  ;; Arrays, old objects that get young references, tables and globals.
  (func (export "stores") (param $n i32) (result i32)
    (local $a (ref $arr)) (local $i i32) (local $sum i32)
    (local.set $a (array.new_default $arr (local.get $n)))
    (global.set $kept (call $new (i32.const 1)))
    (loop $l
      (array.set $arr (local.get $a) (local.get $i) (call $new (local.get $i)))
      (struct.set $node 1 (global.get $kept) (call $new (local.get $i)))
      (table.set $t (i32.and (local.get $i) (i32.const 3)) (struct.get $node 1 (global.get $kept)))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.set $i (i32.const 0))
    (loop $l
      (drop (call $new (i32.const 0)))
      (local.set $sum (i32.add (local.get $sum)
        (struct.get $node 0 (array.get $arr (local.get $a) (local.get $i)))))
      (local.set $sum (i32.add (local.get $sum)
        (struct.get $node 0 (table.get $t (i32.and (local.get $i) (i32.const 3))))))
      (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum))

  ;; Many references in arguments, on the stack too; tail calls with them.
  (func $many (param (ref $node) (ref $node) (ref $node) (ref $node) (ref $node) (ref $node) (ref $node)
                     (ref $node) (ref $node) i32) (result i32)
    (if (i32.eqz (local.get 9))
      (then (return (i32.add (i32.mul (call $value (local.get 0)) (i32.const 100)) (call $value (local.get 8))))))
    (return_call $many (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6)
      (local.get 7) (local.get 8) (struct.new $node (call $value (local.get 0)) (ref.null $node))
      (i32.sub (local.get 9) (i32.const 1))))
  (func (export "many") (param i32) (result i32)
    (call $many (call $new (i32.const 1)) (call $new (i32.const 2)) (call $new (i32.const 3))
      (call $new (i32.const 4)) (call $new (i32.const 5)) (call $new (i32.const 6)) (call $new (i32.const 7))
      (call $new (i32.const 8)) (call $new (i32.const 9)) (local.get 0)))

  ;; Several results, more than fit registers.
  (func $results (param i32) (result (ref $node) (ref $node) (ref $node) (ref $node))
    (call $new (local.get 0)) (call $new (i32.const 2)) (call $new (i32.const 3)) (call $new (i32.const 4)))
  (func (export "results") (result i32)
    (local (ref null $node) i32)
    (call $results (i32.const 1))
    (local.set 0)
    (drop (call $new (i32.const 9)))
    (local.set 1 (call $value))
    (local.set 1 (i32.add (local.get 1) (i32.mul (i32.const 10) (call $value (local.get 0)))))
    (drop (call $new (i32.const 9)))
    (i32.mul (call $value) (i32.const 100))
    (local.set 1 (i32.add (local.get 1)))
    (drop (call $new (i32.const 9)))
    (i32.mul (call $value) (i32.const 1000))
    (i32.add (local.get 1)))

  ;; A handler finds what was in locals and operands when the call was made.
  (func $throws (param i32)
    (drop (call $new (i32.const 0)))
    (throw $e (local.get 0) (call $new (local.get 0))))
  (func (export "handler") (param i32) (result i32)
    (local $a (ref null $node)) (local $b (ref null $node)) (local $s i32)
    (local.set $a (call $new (i32.const 11)))
    (call $new (i32.const 12))
    (block $h (result i32 (ref null $node))
      (try_table (catch $e $h)
        (local.set $b (call $new (i32.const 13)))
        (call $throws (local.get 0))
        (local.set $b (ref.null $node)))
      (unreachable))
    (call $value)
    (drop (call $new (i32.const 1)))
    i32.add
    (local.set $s (i32.add (i32.add (call $value (local.get $a)) (call $value (local.get $b)))))
    (call $value)
    (i32.add (local.get $s)))

  ;; Locals that were never set are null.
  (func (export "unset") (result i32)
    (local (ref null $node) anyref)
    (drop (call $new (i32.const 1)))
    (i32.and (ref.is_null (local.get 0)) (ref.is_null (local.get 1))))

  ;; i31 among references.
  (func (export "i31") (param i32) (result i32)
    (local anyref anyref)
    (local.set 1 (ref.i31 (local.get 0)))
    (local.set 2 (call $new (local.get 0)))
    (drop (call $new (i32.const 1)))
    (select (result anyref) (local.get 1) (local.get 2) (i32.const 1))
    (drop (call $new (i32.const 1)))
    (i31.get_s (ref.cast (ref i31)))
    (i32.add (call $value (ref.cast (ref $node) (local.get 2)))))
)
(assert_return (invoke "operands") (i32.const 137))
(assert_return (invoke "list" (i32.const 300)) (i32.const 45150))
(assert_return (invoke "below" (i32.const 0)) (i32.const 1039))
(assert_return (invoke "below" (i32.const 1)) (i32.const 48))
(assert_return (invoke "through" (i32.const 10)) (i32.const 16))
(assert_return (invoke "stores" (i32.const 40)) (i32.const 2280))
(assert_return (invoke "many" (i32.const 0)) (i32.const 109))
(assert_return (invoke "many" (i32.const 13)) (i32.const 504))
(assert_return (invoke "results") (i32.const 1243))
(assert_return (invoke "handler" (i32.const 3)) (i32.const 42))
(assert_return (invoke "unset") (i32.const 1))
(assert_return (invoke "i31" (i32.const 21)) (i32.const 42))
(assert_return (invoke "i31" (i32.const -5)) (i32.const -10))

;; An operand below a reference, where a way leaves the block before there is a reference.
(module
  (global $none (mut externref) (ref.null extern))
  (func (export "below") (param i32) (result i64)
    i64.const 7
    block
      local.get 0
      br_if 0
      global.get $none
      block end
      drop
    end))
(assert_return (invoke "below" (i32.const 0)) (i64.const 7))
(assert_return (invoke "below" (i32.const 1)) (i64.const 7))

;; An immutable global is no constant: what it refers to moves.
(module
  (type $node (struct (field i32)))
  (type $i8 (array (mut i8)))
  (global $own (export "held") (ref $node) (struct.new $node (i32.const 2)))
  (func (export "own") (param $n i32) (result i32)
    (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (struct.get $node 0 (global.get $own))))
      (drop (array.new $i8 (i32.const 0x55) (i32.const 4000)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.add (local.get $sum) (struct.get $node 0 (global.get $own)))))
(register "globals")
(assert_return (invoke "own" (i32.const 1000)) (i32.const 2002))
(module
  (type $node (struct (field i32)))
  (type $i8 (array (mut i8)))
  (global $theirs (import "globals" "held") (ref $node))
  (func (export "imported") (param $n i32) (result i32)
    (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (struct.get $node 0 (global.get $theirs))))
      (drop (array.new $i8 (i32.const 0x55) (i32.const 4000)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.add (local.get $sum) (struct.get $node 0 (global.get $theirs)))))
(assert_return (invoke "imported" (i32.const 1000)) (i32.const 2002))

;; References to young objects, written one by one into objects that are old, and into a large one.
(module
  (type $node (struct (field (mut i32)) (field (mut (ref null $node)))))
  (type $arr (array (mut (ref null $node))))
  (type $i8 (array (mut i8)))
  (global $struct (mut (ref null $node)) (ref.null $node))
  (global $array (mut (ref null $arr)) (ref.null $arr))
  (global $large (mut (ref null $arr)) (ref.null $arr))
  (func $churn
    (local $count i32)
    (local.set $count (i32.const 300))
    (loop $again
      (drop (array.new $i8 (i32.const 0x77) (i32.const 4000)))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func $new (param $value i32) (result (ref $node)) (struct.new $node (local.get $value) (ref.null $node)))
  (func (export "begin")
    (global.set $struct (call $new (i32.const 0)))
    (global.set $array (array.new_default $arr (i32.const 9)))
    (global.set $large (array.new_default $arr (i32.const 9000)))
    (call $churn)
    (call $churn))
  (func (export "write") (param $value i32) (result i32)
    (struct.set $node 1 (global.get $struct) (call $new (local.get $value)))
    (call $churn)
    (array.set $arr (global.get $array) (i32.const 8) (call $new (local.get $value)))
    (call $churn)
    (array.set $arr (global.get $large) (i32.const 8999) (call $new (local.get $value)))
    (call $churn)
    (i32.add
      (struct.get $node 0 (struct.get $node 1 (global.get $struct)))
      (i32.add
        (struct.get $node 0 (array.get $arr (global.get $array) (i32.const 8)))
        (struct.get $node 0 (array.get $arr (global.get $large) (i32.const 8999)))))))
(invoke "begin")
(assert_return (invoke "write" (i32.const 7)) (i32.const 21))
(assert_return (invoke "write" (i32.const 8)) (i32.const 24))
(invoke "begin")
(assert_return (invoke "write" (i32.const 9)) (i32.const 27))

;; References that passive element segments hold, and fields, elements, tables and locals get them from there late.
(module
  (type $node (struct (field i32)))
  (type $arr (array (mut (ref null $node))))
  (type $i8 (array (mut i8)))
  (table $t 3 (ref null $node))
  (elem $passive (ref null $node)
    (struct.new $node (i32.const 3)) (struct.new $node (i32.const 5)) (ref.null $node))
  (func $churn
    (local $count i32)
    (local.set $count (i32.const 300))
    (loop $again
      (drop (array.new $i8 (i32.const 0x77) (i32.const 4000)))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "late") (result i32)
    (local $a (ref null $arr))
    (call $churn)
    (local.set $a (array.new_elem $arr $passive (i32.const 0) (i32.const 3)))
    (call $churn)
    (table.init $t $passive (i32.const 0) (i32.const 1) (i32.const 1))
    (call $churn)
    (i32.add
      (struct.get $node 0 (array.get $arr (local.get $a) (i32.const 0)))
      (i32.mul (i32.const 10) (struct.get $node 0 (table.get $t (i32.const 0)))))))
(assert_return (invoke "late") (i32.const 53))
(assert_return (invoke "late") (i32.const 53))

;; Objects that wait, while a constant is evaluated, for those that are made after them.
(module
  (type $node (struct (field i32)))
  (type $pair (struct (field (ref $node)) (field (ref $node))))
  (type $pairs (array (ref $pair)))
  (global $pairs (ref $pairs) (array.new_fixed $pairs 3
    (struct.new $pair (struct.new $node (i32.const 1)) (struct.new $node (i32.const 2)))
    (struct.new $pair (struct.new $node (i32.const 3)) (struct.new $node (i32.const 4)))
    (struct.new $pair (struct.new $node (i32.const 5)) (struct.new $node (i32.const 6)))))
  (func $pair (param $n i32) (result i32)
    (local $pair (ref $pair))
    (local.set $pair (array.get $pairs (global.get $pairs) (local.get $n)))
    (i32.add
      (i32.mul (i32.const 10) (struct.get $node 0 (struct.get $pair 0 (local.get $pair))))
      (struct.get $node 0 (struct.get $pair 1 (local.get $pair)))))
  (func (export "pairs") (result i32 i32 i32)
    (call $pair (i32.const 0)) (call $pair (i32.const 1)) (call $pair (i32.const 2))))
(assert_return (invoke "pairs") (i32.const 12) (i32.const 34) (i32.const 56))
