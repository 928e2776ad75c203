;; Arrays filled, made and read from segments by code itself: elements of each size, ranges of every length and
;; alignment, sizes about the largest that is made in place, segments that were dropped, which trap comes first, and
;; references that are young in arrays that are old.

(module
  (type $node (struct (field i32)))
  (type $refs (array (mut (ref null $node))))
  (type $funcs (array (mut funcref)))
  (type $i8 (array (mut i8)))
  (type $i16 (array (mut i16)))
  (type $i32 (array (mut i32)))
  (type $i64 (array (mut i64)))
  (type $f32 (array (mut f32)))
  (type $f64 (array (mut f64)))
  (type $v128 (array (mut v128)))
  (data $bytes "\00\01\02\03\04\05\06\07\08\09\0a\0b\0c\0d\0e\0f\10\11\12\13\14\15\16\17\18\19\1a\1b\1c\1d\1e\1f")
  (data $dropped "gone")

  ;; How many elements are not as they should be, after arrays of 0 to 40 elements were filled from each index on
  ;; with every count. What was there before is `old`, and elsewhere garbage that is not zero.
  (global $one (ref $node) (struct.new $node (i32.const 1)))
  (global $two (ref $node) (struct.new $node (i32.const 2)))
  (elem declare func $churn $begin)
  (func (export "fill i8") (result i32)
    (local $a (ref $i8)) (local $length i32) (local $from i32) (local $count i32) (local $i i32) (local $in i32)
    (local $wrong i32)
    (loop $lengths
      (local.set $from (i32.const 0))
      (loop $froms
        (local.set $count (i32.const 0))
        (loop $counts
          (local.set $a (array.new $i8 (i32.const 0x13c) (local.get $length)))
          (array.fill $i8 (local.get $a) (local.get $from) (i32.const 0x1a5) (local.get $count))
          (local.set $i (i32.const 0))
          (block $done
            (loop $elements
              (br_if $done (i32.eq (local.get $i) (local.get $length)))
              (local.set $in (i32.lt_u (i32.sub (local.get $i) (local.get $from)) (local.get $count)))
              (local.set $wrong (i32.add (local.get $wrong) (i32.eqz
                (i32.eq (array.get_u $i8 (local.get $a) (local.get $i)) (select (i32.const 0xa5) (i32.const 0x3c) (local.get $in))))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $elements)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $counts
            (i32.le_u (i32.add (local.get $from) (local.get $count)) (local.get $length))))
        (local.set $from (i32.add (local.get $from) (i32.const 5)))
        (br_if $froms (i32.le_u (local.get $from) (local.get $length))))
      (local.set $length (i32.add (local.get $length) (i32.const 3)))
      (br_if $lengths (i32.lt_u (local.get $length) (i32.const 40))))
    (local.get $wrong))
  (func (export "fill i16") (result i32)
    (local $a (ref $i16)) (local $length i32) (local $from i32) (local $count i32) (local $i i32) (local $in i32)
    (local $wrong i32)
    (loop $lengths
      (local.set $from (i32.const 0))
      (loop $froms
        (local.set $count (i32.const 0))
        (loop $counts
          (local.set $a (array.new $i16 (i32.const 0x73c4d) (local.get $length)))
          (array.fill $i16 (local.get $a) (local.get $from) (i32.const 0x1a5b6) (local.get $count))
          (local.set $i (i32.const 0))
          (block $done
            (loop $elements
              (br_if $done (i32.eq (local.get $i) (local.get $length)))
              (local.set $in (i32.lt_u (i32.sub (local.get $i) (local.get $from)) (local.get $count)))
              (local.set $wrong (i32.add (local.get $wrong) (i32.eqz
                (i32.eq (array.get_u $i16 (local.get $a) (local.get $i)) (select (i32.const 0xa5b6) (i32.const 0x3c4d) (local.get $in))))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $elements)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $counts
            (i32.le_u (i32.add (local.get $from) (local.get $count)) (local.get $length))))
        (local.set $from (i32.add (local.get $from) (i32.const 5)))
        (br_if $froms (i32.le_u (local.get $from) (local.get $length))))
      (local.set $length (i32.add (local.get $length) (i32.const 3)))
      (br_if $lengths (i32.lt_u (local.get $length) (i32.const 40))))
    (local.get $wrong))
  (func (export "fill i32") (result i32)
    (local $a (ref $i32)) (local $length i32) (local $from i32) (local $count i32) (local $i i32) (local $in i32)
    (local $wrong i32)
    (loop $lengths
      (local.set $from (i32.const 0))
      (loop $froms
        (local.set $count (i32.const 0))
        (loop $counts
          (local.set $a (array.new $i32 (i32.const 0x01020304) (local.get $length)))
          (array.fill $i32 (local.get $a) (local.get $from) (i32.const 0xa5b6c7d8) (local.get $count))
          (local.set $i (i32.const 0))
          (block $done
            (loop $elements
              (br_if $done (i32.eq (local.get $i) (local.get $length)))
              (local.set $in (i32.lt_u (i32.sub (local.get $i) (local.get $from)) (local.get $count)))
              (local.set $wrong (i32.add (local.get $wrong) (i32.eqz
                (i32.eq (array.get $i32 (local.get $a) (local.get $i)) (select (i32.const 0xa5b6c7d8) (i32.const 0x01020304) (local.get $in))))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $elements)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $counts
            (i32.le_u (i32.add (local.get $from) (local.get $count)) (local.get $length))))
        (local.set $from (i32.add (local.get $from) (i32.const 5)))
        (br_if $froms (i32.le_u (local.get $from) (local.get $length))))
      (local.set $length (i32.add (local.get $length) (i32.const 3)))
      (br_if $lengths (i32.lt_u (local.get $length) (i32.const 40))))
    (local.get $wrong))
  (func (export "fill i64") (result i32)
    (local $a (ref $i64)) (local $length i32) (local $from i32) (local $count i32) (local $i i32) (local $in i32)
    (local $wrong i32)
    (loop $lengths
      (local.set $from (i32.const 0))
      (loop $froms
        (local.set $count (i32.const 0))
        (loop $counts
          (local.set $a (array.new $i64 (i64.const 0x0102030405060708) (local.get $length)))
          (array.fill $i64 (local.get $a) (local.get $from) (i64.const 0xa5b6c7d811223344) (local.get $count))
          (local.set $i (i32.const 0))
          (block $done
            (loop $elements
              (br_if $done (i32.eq (local.get $i) (local.get $length)))
              (local.set $in (i32.lt_u (i32.sub (local.get $i) (local.get $from)) (local.get $count)))
              (local.set $wrong (i32.add (local.get $wrong) (i32.eqz
                (i64.eq (array.get $i64 (local.get $a) (local.get $i)) (select (i64.const 0xa5b6c7d811223344) (i64.const 0x0102030405060708) (local.get $in))))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $elements)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $counts
            (i32.le_u (i32.add (local.get $from) (local.get $count)) (local.get $length))))
        (local.set $from (i32.add (local.get $from) (i32.const 5)))
        (br_if $froms (i32.le_u (local.get $from) (local.get $length))))
      (local.set $length (i32.add (local.get $length) (i32.const 3)))
      (br_if $lengths (i32.lt_u (local.get $length) (i32.const 40))))
    (local.get $wrong))
  (func (export "fill f32") (result i32)
    (local $a (ref $f32)) (local $length i32) (local $from i32) (local $count i32) (local $i i32) (local $in i32)
    (local $wrong i32)
    (loop $lengths
      (local.set $from (i32.const 0))
      (loop $froms
        (local.set $count (i32.const 0))
        (loop $counts
          (local.set $a (array.new $f32 (f32.const 0x1.23p-3) (local.get $length)))
          (array.fill $f32 (local.get $a) (local.get $from) (f32.const -1.5) (local.get $count))
          (local.set $i (i32.const 0))
          (block $done
            (loop $elements
              (br_if $done (i32.eq (local.get $i) (local.get $length)))
              (local.set $in (i32.lt_u (i32.sub (local.get $i) (local.get $from)) (local.get $count)))
              (local.set $wrong (i32.add (local.get $wrong) (i32.eqz
                (f32.eq (array.get $f32 (local.get $a) (local.get $i)) (select (f32.const -1.5) (f32.const 0x1.23p-3) (local.get $in))))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $elements)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $counts
            (i32.le_u (i32.add (local.get $from) (local.get $count)) (local.get $length))))
        (local.set $from (i32.add (local.get $from) (i32.const 5)))
        (br_if $froms (i32.le_u (local.get $from) (local.get $length))))
      (local.set $length (i32.add (local.get $length) (i32.const 3)))
      (br_if $lengths (i32.lt_u (local.get $length) (i32.const 40))))
    (local.get $wrong))
  (func (export "fill f64") (result i32)
    (local $a (ref $f64)) (local $length i32) (local $from i32) (local $count i32) (local $i i32) (local $in i32)
    (local $wrong i32)
    (loop $lengths
      (local.set $from (i32.const 0))
      (loop $froms
        (local.set $count (i32.const 0))
        (loop $counts
          (local.set $a (array.new $f64 (f64.const 0x1.2345p-3) (local.get $length)))
          (array.fill $f64 (local.get $a) (local.get $from) (f64.const -1.5) (local.get $count))
          (local.set $i (i32.const 0))
          (block $done
            (loop $elements
              (br_if $done (i32.eq (local.get $i) (local.get $length)))
              (local.set $in (i32.lt_u (i32.sub (local.get $i) (local.get $from)) (local.get $count)))
              (local.set $wrong (i32.add (local.get $wrong) (i32.eqz
                (f64.eq (array.get $f64 (local.get $a) (local.get $i)) (select (f64.const -1.5) (f64.const 0x1.2345p-3) (local.get $in))))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $elements)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $counts
            (i32.le_u (i32.add (local.get $from) (local.get $count)) (local.get $length))))
        (local.set $from (i32.add (local.get $from) (i32.const 5)))
        (br_if $froms (i32.le_u (local.get $from) (local.get $length))))
      (local.set $length (i32.add (local.get $length) (i32.const 3)))
      (br_if $lengths (i32.lt_u (local.get $length) (i32.const 40))))
    (local.get $wrong))
  (func (export "fill v128") (result i32)
    (local $a (ref $v128)) (local $length i32) (local $from i32) (local $count i32) (local $i i32) (local $in i32)
    (local $wrong i32)
    (loop $lengths
      (local.set $from (i32.const 0))
      (loop $froms
        (local.set $count (i32.const 0))
        (loop $counts
          (local.set $a (array.new $v128 (v128.const i64x2 1 2) (local.get $length)))
          (array.fill $v128 (local.get $a) (local.get $from) (v128.const i64x2 0xa5b6c7d811223344 0x55667788) (local.get $count))
          (local.set $i (i32.const 0))
          (block $done
            (loop $elements
              (br_if $done (i32.eq (local.get $i) (local.get $length)))
              (local.set $in (i32.lt_u (i32.sub (local.get $i) (local.get $from)) (local.get $count)))
              (local.set $wrong (i32.add (local.get $wrong) (i32.eqz
                (i8x16.all_true (i8x16.eq (array.get $v128 (local.get $a) (local.get $i)) (select (v128.const i64x2 0xa5b6c7d811223344 0x55667788) (v128.const i64x2 1 2) (local.get $in)))))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $elements)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $counts
            (i32.le_u (i32.add (local.get $from) (local.get $count)) (local.get $length))))
        (local.set $from (i32.add (local.get $from) (i32.const 5)))
        (br_if $froms (i32.le_u (local.get $from) (local.get $length))))
      (local.set $length (i32.add (local.get $length) (i32.const 3)))
      (br_if $lengths (i32.lt_u (local.get $length) (i32.const 40))))
    (local.get $wrong))
  (func (export "fill refs") (result i32)
    (local $a (ref $refs)) (local $length i32) (local $from i32) (local $count i32) (local $i i32) (local $in i32)
    (local $wrong i32)
    (loop $lengths
      (local.set $from (i32.const 0))
      (loop $froms
        (local.set $count (i32.const 0))
        (loop $counts
          (local.set $a (array.new $refs (global.get $two) (local.get $length)))
          (array.fill $refs (local.get $a) (local.get $from) (global.get $one) (local.get $count))
          (local.set $i (i32.const 0))
          (block $done
            (loop $elements
              (br_if $done (i32.eq (local.get $i) (local.get $length)))
              (local.set $in (i32.lt_u (i32.sub (local.get $i) (local.get $from)) (local.get $count)))
              (local.set $wrong (i32.add (local.get $wrong) (i32.eqz
                (ref.eq (array.get $refs (local.get $a) (local.get $i)) (select (result eqref) (global.get $one) (global.get $two) (local.get $in))))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $elements)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $counts
            (i32.le_u (i32.add (local.get $from) (local.get $count)) (local.get $length))))
        (local.set $from (i32.add (local.get $from) (i32.const 5)))
        (br_if $froms (i32.le_u (local.get $from) (local.get $length))))
      (local.set $length (i32.add (local.get $length) (i32.const 3)))
      (br_if $lengths (i32.lt_u (local.get $length) (i32.const 40))))
    (local.get $wrong))
  (func (export "fill funcs") (result i32)
    (local $a (ref $funcs)) (local $length i32) (local $from i32) (local $count i32) (local $i i32) (local $in i32)
    (local $wrong i32)
    (loop $lengths
      (local.set $from (i32.const 0))
      (loop $froms
        (local.set $count (i32.const 0))
        (loop $counts
          (local.set $a (array.new $funcs (ref.func $begin) (local.get $length)))
          (array.fill $funcs (local.get $a) (local.get $from) (ref.func $churn) (local.get $count))
          (local.set $i (i32.const 0))
          (block $done
            (loop $elements
              (br_if $done (i32.eq (local.get $i) (local.get $length)))
              (local.set $in (i32.lt_u (i32.sub (local.get $i) (local.get $from)) (local.get $count)))
              (local.set $wrong (i32.add (local.get $wrong) (i32.eqz
                (i32.ne (ref.is_null (array.get $funcs (local.get $a) (local.get $i))) (i32.const 1)))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $elements)))
          (local.set $count (i32.add (local.get $count) (i32.const 1)))
          (br_if $counts
            (i32.le_u (i32.add (local.get $from) (local.get $count)) (local.get $length))))
        (local.set $from (i32.add (local.get $from) (i32.const 5)))
        (br_if $froms (i32.le_u (local.get $from) (local.get $length))))
      (local.set $length (i32.add (local.get $length) (i32.const 3)))
      (br_if $lengths (i32.lt_u (local.get $length) (i32.const 40))))
    (local.get $wrong))

  ;; New arrays hold zeros where others lay before, about the sizes from which on the host makes them.
  (func $zeros (param $length i32) (result i64)
    (local $a (ref $i64)) (local $i i32) (local $any i64)
    (drop (array.new $i64 (i64.const -1) (local.get $length)))
    (local.set $a (array.new_default $i64 (local.get $length)))
    (block $done
      (loop $elements
        (br_if $done (i32.eq (local.get $i) (array.len (local.get $a))))
        (local.set $any (i64.or (local.get $any) (array.get $i64 (local.get $a) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $elements)))
    (i64.or (local.get $any) (i64.extend_i32_u (i32.ne (array.len (local.get $a)) (local.get $length)))))
  (func (export "zeros") (param $from i32) (param $to i32) (result i64)
    (local $any i64)
    (loop $again
      (local.set $any (i64.or (local.get $any) (call $zeros (local.get $from))))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br_if $again (i32.le_u (local.get $from) (local.get $to))))
    (local.get $any))

  ;; Segments. The arguments are looked at after the array has been.
  (func (export "new data") (param $from i32) (param $count i32) (param $at i32) (result i32)
    (array.get $i32 (array.new_data $i32 $bytes (local.get $from) (local.get $count)) (local.get $at)))
  (func (export "new data length") (param $from i32) (param $count i32) (result i32)
    (array.len (array.new_data $v128 $bytes (local.get $from) (local.get $count))))
  (func (export "init data") (param $to i32) (param $from i32) (param $count i32) (param $at i32) (result i32)
    (local $a (ref $i16))
    (local.set $a (array.new $i16 (i32.const 0xffff) (i32.const 10)))
    (array.init_data $i16 $bytes (local.get $a) (local.get $to) (local.get $from) (local.get $count))
    (array.get_u $i16 (local.get $a) (local.get $at)))
  (func (export "init data of null") (param $count i32)
    (array.init_data $i16 $bytes (ref.null $i16) (i32.const -1) (i32.const -1) (local.get $count)))
  (func (export "drop") (data.drop $dropped))
  (func (export "dropped") (param $from i32) (param $count i32) (result i32)
    (array.len (array.new_data $i8 $dropped (local.get $from) (local.get $count))))
  (func (export "init dropped") (param $from i32) (param $count i32)
    (array.init_data $i8 $dropped
      (array.new_default $i8 (i32.const 4)) (i32.const 0) (local.get $from) (local.get $count)))

  ;; Arrays that are old when young references are put into them: below the size of large ones, and above.
  (global $small (mut (ref null $refs)) (ref.null $refs))
  (global $large (mut (ref null $refs)) (ref.null $refs))
  (func $churn (param $count i32)
    (loop $again
      (drop (array.new $i8 (i32.const 0x77) (i32.const 4000)))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func $begin (export "begin")
    (global.set $small (array.new_default $refs (i32.const 100)))
    (global.set $large (array.new $refs (struct.new $node (i32.const 5)) (i32.const 5000)))
    (call $churn (i32.const 300)))
  (func (export "young into old") (param $from i32) (param $count i32) (result i32)
    (array.fill $refs (global.get $small) (local.get $from) (struct.new $node (i32.const 41)) (local.get $count))
    (call $churn (i32.const 300))
    (array.fill $refs (global.get $large) (local.get $from) (struct.new $node (i32.const 1)) (local.get $count))
    (call $churn (i32.const 300))
    (array.fill $refs (global.get $large) (i32.const 4000) (ref.null $node) (i32.const 1000))
    (call $churn (i32.const 300))
    (i32.add
      (i32.add
        (struct.get $node 0 (array.get $refs (global.get $large) (i32.const 3999)))
        (ref.is_null (array.get $refs (global.get $large) (i32.const 4000))))
      (i32.add
        (struct.get $node 0 (array.get $refs (global.get $small) (local.get $from)))
        (struct.get $node 0 (array.get $refs (global.get $large) (local.get $from))))))
  (func (export "fill refs at") (param $from i32) (param $count i32)
    (array.fill $refs (global.get $small) (local.get $from) (ref.null $node) (local.get $count)))
  (func (export "fill null refs") (param $from i32) (param $count i32)
    (array.fill $refs (ref.null $refs) (local.get $from) (global.get $one) (local.get $count))))

(assert_return (invoke "fill i8") (i32.const 0))
(assert_return (invoke "fill i16") (i32.const 0))
(assert_return (invoke "fill i32") (i32.const 0))
(assert_return (invoke "fill i64") (i32.const 0))
(assert_return (invoke "fill f32") (i32.const 0))
(assert_return (invoke "fill f64") (i32.const 0))
(assert_return (invoke "fill v128") (i32.const 0))
(assert_return (invoke "fill refs") (i32.const 0))
(assert_return (invoke "fill funcs") (i32.const 0))
(assert_return (invoke "zeros" (i32.const 0) (i32.const 70)) (i64.const 0))
(assert_return (invoke "zeros" (i32.const 1018) (i32.const 1026)) (i64.const 0))

(assert_return (invoke "new data" (i32.const 0) (i32.const 8) (i32.const 0)) (i32.const 0x03020100))
(assert_return (invoke "new data" (i32.const 5) (i32.const 4) (i32.const 2)) (i32.const 0x100f0e0d))
(assert_return (invoke "new data" (i32.const 28) (i32.const 1) (i32.const 0)) (i32.const 0x1f1e1d1c))
(assert_trap (invoke "new data" (i32.const 29) (i32.const 1) (i32.const 0)) "out of bounds memory access")
(assert_trap (invoke "new data" (i32.const 1) (i32.const 8) (i32.const 0)) "out of bounds memory access")
(assert_trap (invoke "new data" (i32.const -1) (i32.const 0) (i32.const 0)) "out of bounds memory access")
(assert_trap (invoke "new data" (i32.const 0) (i32.const 0x40000000) (i32.const 0)) "out of bounds memory access")
(assert_trap (invoke "new data" (i32.const 0) (i32.const -1) (i32.const 0)) "out of bounds memory access")
(assert_trap (invoke "new data" (i32.const 32) (i32.const 0) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "new data" (i32.const 33) (i32.const 0) (i32.const 0)) "out of bounds memory access")
(assert_return (invoke "new data length" (i32.const 0) (i32.const 2)) (i32.const 2))
(assert_return (invoke "new data length" (i32.const 32) (i32.const 0)) (i32.const 0))
(assert_trap (invoke "new data length" (i32.const 0) (i32.const 0x10000000)) "out of bounds memory access")
(assert_trap (invoke "new data length" (i32.const 0) (i32.const -1)) "out of bounds memory access")
(assert_return (invoke "init data" (i32.const 1) (i32.const 3) (i32.const 4) (i32.const 1)) (i32.const 0x0403))
(assert_return (invoke "init data" (i32.const 1) (i32.const 3) (i32.const 4) (i32.const 0)) (i32.const 0xffff))
(assert_return (invoke "init data" (i32.const 1) (i32.const 3) (i32.const 4) (i32.const 4)) (i32.const 0x0a09))
(assert_return (invoke "init data" (i32.const 1) (i32.const 3) (i32.const 4) (i32.const 5)) (i32.const 0xffff))
(assert_return (invoke "init data" (i32.const 10) (i32.const 32) (i32.const 0) (i32.const 9)) (i32.const 0xffff))
(assert_trap (invoke "init data" (i32.const 11) (i32.const 0) (i32.const 0) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "init data" (i32.const 10) (i32.const 33) (i32.const 0) (i32.const 0)) "out of bounds memory access")
(assert_trap (invoke "init data" (i32.const 7) (i32.const 30) (i32.const 4) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "init data" (i32.const 6) (i32.const 30) (i32.const 4) (i32.const 0)) "out of bounds memory access")
(assert_trap (invoke "init data" (i32.const -1) (i32.const -1) (i32.const 2) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "init data" (i32.const 0) (i32.const 0) (i32.const 0x80000000) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "init data of null" (i32.const 0)) "null array reference")
(assert_return (invoke "dropped" (i32.const 0) (i32.const 4)) (i32.const 4))
(invoke "init dropped" (i32.const 0) (i32.const 4))
(invoke "drop")
(assert_return (invoke "dropped" (i32.const 0) (i32.const 0)) (i32.const 0))
(assert_trap (invoke "dropped" (i32.const 0) (i32.const 1)) "out of bounds memory access")
(assert_trap (invoke "dropped" (i32.const 1) (i32.const 0)) "out of bounds memory access")
(assert_trap (invoke "init dropped" (i32.const 0) (i32.const 1)) "out of bounds memory access")
(invoke "init dropped" (i32.const 0) (i32.const 0))
(invoke "drop")

(invoke "begin")
(assert_return (invoke "young into old" (i32.const 0) (i32.const 1)) (i32.const 48))
(assert_return (invoke "young into old" (i32.const 99) (i32.const 1)) (i32.const 48))
(assert_return (invoke "young into old" (i32.const 1) (i32.const 99)) (i32.const 48))
(assert_trap (invoke "fill refs at" (i32.const 101) (i32.const 0)) "out of bounds array access")
(assert_trap (invoke "fill refs at" (i32.const 1) (i32.const 100)) "out of bounds array access")
(assert_trap (invoke "fill refs at" (i32.const -1) (i32.const 2)) "out of bounds array access")
(assert_trap (invoke "fill null refs" (i32.const 0) (i32.const 0)) "null array reference")

;; Beside more locals in registers than there are.
(module (type $n (struct)) (type $v (array (mut v128))) (type $r (array (mut (ref null $n)))) (type $i (array (mut i16))) (type $f (array (mut funcref))) (data $d "0123456789abcdef0123456789abcdef")
(func $f (export "f") (param $n i32) (result i32) (local $li320 i32) (local $li321 i32) (local $li322 i32) (local $li323 i32) (local $li324 i32) (local $li325 i32) (local $li326 i32) (local $li327 i32) (local $li328 i32) (local $li329 i32) (local $li640 i64) (local $li641 i64) (local $li642 i64) (local $li643 i64) (local $li644 i64) (local $li645 i64) (local $li646 i64) (local $li647 i64) (local $li648 i64) (local $li649 i64) (local $lf640 f64) (local $lf641 f64) (local $lf642 f64) (local $lf643 f64) (local $lf644 f64) (local $lf645 f64) (local $a (ref null $v)) (local $b (ref null $r)) (local $c (ref null $i)) (local $g (ref null $f))
(local.set $a (array.new $v (v128.const i64x2 1 2) (i32.const 20))) (local.set $b (array.new $r (struct.new $n) (i32.const 20))) (local.set $c (array.new_data $i $d (i32.const 0) (i32.const 10))) (local.set $g (array.new $f (ref.func $f) (i32.const 20)))
(loop $l
 (local.set $li320 (i32.add (local.get $li320) (i32.const 1)))
(local.set $li321 (i32.add (local.get $li321) (i32.const 1)))
(local.set $li322 (i32.add (local.get $li322) (i32.const 1)))
(local.set $li323 (i32.add (local.get $li323) (i32.const 1)))
(local.set $li324 (i32.add (local.get $li324) (i32.const 1)))
(local.set $li325 (i32.add (local.get $li325) (i32.const 1)))
(local.set $li326 (i32.add (local.get $li326) (i32.const 1)))
(local.set $li327 (i32.add (local.get $li327) (i32.const 1)))
(local.set $li328 (i32.add (local.get $li328) (i32.const 1)))
(local.set $li329 (i32.add (local.get $li329) (i32.const 1)))
(local.set $li640 (i64.add (local.get $li640) (i64.const 1)))
(local.set $li641 (i64.add (local.get $li641) (i64.const 1)))
(local.set $li642 (i64.add (local.get $li642) (i64.const 1)))
(local.set $li643 (i64.add (local.get $li643) (i64.const 1)))
(local.set $li644 (i64.add (local.get $li644) (i64.const 1)))
(local.set $li645 (i64.add (local.get $li645) (i64.const 1)))
(local.set $li646 (i64.add (local.get $li646) (i64.const 1)))
(local.set $li647 (i64.add (local.get $li647) (i64.const 1)))
(local.set $li648 (i64.add (local.get $li648) (i64.const 1)))
(local.set $li649 (i64.add (local.get $li649) (i64.const 1)))
(local.set $lf640 (f64.add (local.get $lf640) (f64.const 1)))
(local.set $lf641 (f64.add (local.get $lf641) (f64.const 1)))
(local.set $lf642 (f64.add (local.get $lf642) (f64.const 1)))
(local.set $lf643 (f64.add (local.get $lf643) (f64.const 1)))
(local.set $lf644 (f64.add (local.get $lf644) (f64.const 1)))
(local.set $lf645 (f64.add (local.get $lf645) (f64.const 1)))
(local.set $li320 (i32.add (local.get $li320) (i32.const 1)))
(local.set $li321 (i32.add (local.get $li321) (i32.const 1)))
(local.set $li322 (i32.add (local.get $li322) (i32.const 1)))
(local.set $li323 (i32.add (local.get $li323) (i32.const 1)))
(local.set $li324 (i32.add (local.get $li324) (i32.const 1)))
(local.set $li325 (i32.add (local.get $li325) (i32.const 1)))
(local.set $li326 (i32.add (local.get $li326) (i32.const 1)))
(local.set $li327 (i32.add (local.get $li327) (i32.const 1)))
(local.set $li328 (i32.add (local.get $li328) (i32.const 1)))
(local.set $li329 (i32.add (local.get $li329) (i32.const 1)))
(local.set $li640 (i64.add (local.get $li640) (i64.const 1)))
(local.set $li641 (i64.add (local.get $li641) (i64.const 1)))
(local.set $li642 (i64.add (local.get $li642) (i64.const 1)))
(local.set $li643 (i64.add (local.get $li643) (i64.const 1)))
(local.set $li644 (i64.add (local.get $li644) (i64.const 1)))
(local.set $li645 (i64.add (local.get $li645) (i64.const 1)))
(local.set $li646 (i64.add (local.get $li646) (i64.const 1)))
(local.set $li647 (i64.add (local.get $li647) (i64.const 1)))
(local.set $li648 (i64.add (local.get $li648) (i64.const 1)))
(local.set $li649 (i64.add (local.get $li649) (i64.const 1)))
(local.set $lf640 (f64.add (local.get $lf640) (f64.const 1)))
(local.set $lf641 (f64.add (local.get $lf641) (f64.const 1)))
(local.set $lf642 (f64.add (local.get $lf642) (f64.const 1)))
(local.set $lf643 (f64.add (local.get $lf643) (f64.const 1)))
(local.set $lf644 (f64.add (local.get $lf644) (f64.const 1)))
(local.set $lf645 (f64.add (local.get $lf645) (f64.const 1)))

 (array.fill $v (local.get $a) (i32.add (i32.const 1) (local.get $n)) (i64x2.splat (i64.extend_i32_u (local.get $n))) (i32.sub (i32.const 15) (local.get $n)))
 (array.fill $r (local.get $b) (i32.add (i32.const 1) (local.get $n)) (array.get $r (local.get $b) (local.get $n)) (i32.sub (i32.const 15) (local.get $n)))
 (array.fill $i (local.get $c) (i32.add (i32.const 1) (local.get $n)) (i32.mul (local.get $n) (local.get $n)) (i32.sub (i32.const 5) (local.get $n)))
 (array.fill $f (local.get $g) (i32.add (i32.const 1) (local.get $n)) (array.get $f (local.get $g) (local.get $n)) (i32.sub (i32.const 5) (local.get $n)))
 (array.init_data $i $d (local.get $c) (local.get $n) (local.get $n) (i32.add (local.get $n) (i32.const 1)))
 (array.copy $v $v (local.get $a) (local.get $n) (local.get $a) (i32.const 2) (i32.const 3))
 (local.set $g (array.new $f (ref.func $f) (i32.add (local.get $n) (i32.const 20))))
 (local.set $c (array.new_data $i $d (local.get $n) (i32.const 10)))
 (local.set $a (array.new $v (i64x2.splat (i64.const 3)) (i32.add (local.get $n) (i32.const 20))))
 (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
 (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (local.get $li320) (local.get $li321)) (local.get $li322)) (local.get $li323)) (local.get $li324)) (local.get $li325)) (local.get $li326)) (local.get $li327)) (local.get $li328)) (local.get $li329)) (i32.wrap_i64 (local.get $li640))) (i32.wrap_i64 (local.get $li641))) (i32.wrap_i64 (local.get $li642))) (i32.wrap_i64 (local.get $li643))) (i32.wrap_i64 (local.get $li644))) (i32.wrap_i64 (local.get $li645))) (i32.wrap_i64 (local.get $li646))) (i32.wrap_i64 (local.get $li647))) (i32.wrap_i64 (local.get $li648))) (i32.wrap_i64 (local.get $li649))) (i32.trunc_f64_s (local.get $lf640))) (i32.trunc_f64_s (local.get $lf641))) (i32.trunc_f64_s (local.get $lf642))) (i32.trunc_f64_s (local.get $lf643))) (i32.trunc_f64_s (local.get $lf644))) (i32.trunc_f64_s (local.get $lf645)))
 ))
(assert_return (invoke "f" (i32.const 4)) (i32.const 208))
