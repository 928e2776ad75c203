;; array.copy and array.fill: which operand traps first, ranges at the ends, overlaps, elements of each size, and
;; references that are copied into an array that is old.

(module
  (type $node (struct (field i32)))
  (type $refs (array (mut (ref null $node))))
  (type $i8 (array (mut i8)))
  (type $i16 (array (mut i16)))
  (type $i64 (array (mut i64)))
  (type $v128 (array (mut v128)))
  (global $old (mut (ref null $refs)) (ref.null $refs))
  (global $bytes (ref $i8) (array.new_fixed $i8 8
    (i32.const 0) (i32.const 1) (i32.const 2) (i32.const 3)
    (i32.const 4) (i32.const 5) (i32.const 6) (i32.const 7)))

  ;; A trap of null comes before one of bounds, whichever array it is.
  (func (export "null target") (param $from i32)
    (array.copy $i8 $i8 (ref.null $i8) (i32.const 0) (global.get $bytes) (local.get $from) (i32.const 1)))
  (func (export "null source") (param $to i32)
    (array.copy $i8 $i8 (global.get $bytes) (local.get $to) (ref.null $i8) (i32.const 0) (i32.const 1)))
  (func (export "fill null") (param $from i32) (param $count i32)
    (array.fill $i8 (ref.null $i8) (local.get $from) (i32.const 1) (local.get $count)))

  (func (export "move") (param $to i32) (param $from i32) (param $count i32) (result i32)
    (array.copy $i8 $i8
      (global.get $bytes) (local.get $to) (global.get $bytes) (local.get $from) (local.get $count))
    (i32.add
      (i32.mul (i32.const 100) (array.get_u $i8 (global.get $bytes) (i32.const 2)))
      (array.get_u $i8 (global.get $bytes) (i32.const 7))))
  (func (export "fill") (param $from i32) (param $byte i32) (param $count i32) (result i32)
    (array.fill $i8 (global.get $bytes) (local.get $from) (local.get $byte) (local.get $count))
    (i32.add
      (i32.mul (i32.const 1000) (array.get_u $i8 (global.get $bytes) (i32.const 2)))
      (array.get_u $i8 (global.get $bytes) (i32.const 7))))

  (func (export "wide") (result i64)
    (local $a (ref $i64)) (local $b (ref $i64)) (local $c (ref $i16)) (local $d (ref $v128))
    (local.set $a (array.new_default $i64 (i32.const 9)))
    (local.set $b (array.new $i64 (i64.const 0x1_0000_0001) (i32.const 9)))
    (array.copy $i64 $i64 (local.get $a) (i32.const 1) (local.get $b) (i32.const 8) (i32.const 1))
    (array.copy $i64 $i64 (local.get $a) (i32.const 9) (local.get $b) (i32.const 9) (i32.const 0))
    (local.set $c (array.new $i16 (i32.const 7) (i32.const 5)))
    (array.copy $i16 $i16 (local.get $c) (i32.const 0)
      (array.new_fixed $i16 3 (i32.const 1) (i32.const 2) (i32.const 3)) (i32.const 1) (i32.const 2))
    (local.set $d (array.new_default $v128 (i32.const 3)))
    (array.copy $v128 $v128 (local.get $d) (i32.const 2)
      (array.new_fixed $v128 2 (v128.const i64x2 1 2) (v128.const i64x2 5 6)) (i32.const 1) (i32.const 1))
    (i64.add
      (i64.add (array.get $i64 (local.get $a) (i32.const 1)) (array.get $i64 (local.get $a) (i32.const 8)))
      (i64.add
        (i64.extend_i32_u
          (i32.add (array.get_u $i16 (local.get $c) (i32.const 1)) (array.get_u $i16 (local.get $c) (i32.const 2))))
        (i64x2.extract_lane 1 (array.get $v128 (local.get $d) (i32.const 2))))))

  ;; Makes enough garbage for young collections.
  (func $churn (param $count i32)
    (loop $again
      (drop (array.new_default $i8 (i32.const 4000)))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "begin")
    (global.set $old (array.new_default $refs (i32.const 4000)))
    (call $churn (i32.const 300)))
  (func (export "young into old") (param $index i32) (result i32)
    (array.copy $refs $refs (global.get $old) (local.get $index)
      (array.new_fixed $refs 2 (struct.new $node (i32.const 41)) (struct.new $node (i32.const 1)))
      (i32.const 0) (i32.const 2))
    (call $churn (i32.const 300))
    (i32.add
      (struct.get $node 0 (array.get $refs (global.get $old) (local.get $index)))
      (struct.get $node 0
        (array.get $refs (global.get $old) (i32.add (local.get $index) (i32.const 1)))))))

(assert_trap (invoke "null target" (i32.const 0)) "null array reference")
(assert_trap (invoke "null target" (i32.const 100)) "null array reference")
(assert_trap (invoke "null source" (i32.const 0)) "null array reference")
(assert_trap (invoke "null source" (i32.const 100)) "null array reference")
(assert_trap (invoke "fill null" (i32.const 0) (i32.const 0)) "null array reference")
(assert_return (invoke "move" (i32.const 3) (i32.const 2) (i32.const 5)) (i32.const 206))
(assert_return (invoke "move" (i32.const 2) (i32.const 3) (i32.const 5)) (i32.const 206))
(assert_return (invoke "move" (i32.const 8) (i32.const 8) (i32.const 0)) (i32.const 206))
(assert_trap (invoke "move" (i32.const 8) (i32.const 0) (i32.const 1)) "out of bounds array access")
(assert_trap (invoke "move" (i32.const 0) (i32.const 8) (i32.const 1)) "out of bounds array access")
(assert_trap (invoke "move" (i32.const 9) (i32.const 0) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "move" (i32.const 0) (i32.const 9) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "move" (i32.const -1) (i32.const 0) (i32.const 2)) "out of bounds array access")
(assert_trap (invoke "move" (i32.const 0) (i32.const 1) (i32.const -1)) "out of bounds array access")
(assert_return (invoke "fill" (i32.const 2) (i32.const 0x1ff) (i32.const 5)) (i32.const 255006))
(assert_return (invoke "fill" (i32.const 8) (i32.const 1) (i32.const 0)) (i32.const 255006))
(assert_trap (invoke "fill" (i32.const 9) (i32.const 1) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "fill" (i32.const 1) (i32.const 1) (i32.const -1)) "out of bounds array access")
(assert_return (invoke "fill" (i32.const 2) (i32.const 0) (i32.const 0)) (i32.const 255006))
(assert_return (invoke "wide") (i64.const 0x1_0000_0011))
(invoke "begin")
(assert_return (invoke "young into old" (i32.const 0)) (i32.const 42))
(assert_return (invoke "young into old" (i32.const 3998)) (i32.const 42))
(assert_return (invoke "young into old" (i32.const 1)) (i32.const 42))
