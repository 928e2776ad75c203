;; Bulk operations on arrays beside those on memories. Each function does one of them `count` times on `bytes`
;; bytes; `bytes` is at most 1 MiB.
(module
  (type $i8 (array (mut i8)))
  (type $i16 (array (mut i16)))
  (type $i32 (array (mut i32)))
  (type $i64 (array (mut i64)))
  (type $v128 (array (mut v128)))
  (memory (export "memory") 100)
  (data $bytes
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all...."
    "the quick brown fox jumps over the lazy dog, 64 bytes in all....")

  (func (export "copy_memory") (param $bytes i32) (param $count i32)
    (loop $again
      (memory.copy (i32.const 0) (i32.const 1200000) (local.get $bytes))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  ;; To places that move through 4 MiB, as those of new objects do.
  (func (export "copy_moving") (param $bytes i32) (param $count i32) (local $to i32)
    (loop $again
      (memory.copy (local.get $to) (i32.const 5000000) (local.get $bytes))
      (local.set $to (i32.and
        (i32.add (local.get $to) (i32.add (local.get $bytes) (i32.const 16)))
        (i32.const 0x3fffff)))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "copy_i8") (param $bytes i32) (param $count i32)
    (local $a (ref $i8)) (local $b (ref $i8))
    (local.set $a (array.new_default $i8 (local.get $bytes)))
    (local.set $b (array.new_default $i8 (local.get $bytes)))
    (loop $again
      (array.copy $i8 $i8 (local.get $a) (i32.const 0) (local.get $b) (i32.const 0) (local.get $bytes))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "copy_i32") (param $bytes i32) (param $count i32)
    (local $a (ref $i32)) (local $b (ref $i32)) (local $length i32)
    (local.set $length (i32.shr_u (local.get $bytes) (i32.const 2)))
    (local.set $a (array.new_default $i32 (local.get $length)))
    (local.set $b (array.new_default $i32 (local.get $length)))
    (loop $again
      (array.copy $i32 $i32 (local.get $a) (i32.const 0) (local.get $b) (i32.const 0) (local.get $length))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "copy_i64") (param $bytes i32) (param $count i32)
    (local $a (ref $i64)) (local $b (ref $i64)) (local $length i32)
    (local.set $length (i32.shr_u (local.get $bytes) (i32.const 3)))
    (local.set $a (array.new_default $i64 (local.get $length)))
    (local.set $b (array.new_default $i64 (local.get $length)))
    (loop $again
      (array.copy $i64 $i64 (local.get $a) (i32.const 0) (local.get $b) (i32.const 0) (local.get $length))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))

  (func (export "fill_memory") (param $bytes i32) (param $count i32)
    (loop $again
      (memory.fill (i32.const 0) (local.get $count) (local.get $bytes))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "fill_i8") (param $bytes i32) (param $count i32)
    (local $a (ref $i8))
    (local.set $a (array.new_default $i8 (local.get $bytes)))
    (loop $again
      (array.fill $i8 (local.get $a) (i32.const 0) (local.get $count) (local.get $bytes))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "fill_i16") (param $bytes i32) (param $count i32)
    (local $a (ref $i16)) (local $length i32)
    (local.set $length (i32.shr_u (local.get $bytes) (i32.const 1)))
    (local.set $a (array.new_default $i16 (local.get $length)))
    (loop $again
      (array.fill $i16 (local.get $a) (i32.const 0) (local.get $count) (local.get $length))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "fill_v128") (param $bytes i32) (param $count i32)
    (local $a (ref $v128)) (local $length i32)
    (local.set $length (i32.shr_u (local.get $bytes) (i32.const 4)))
    (local.set $a (array.new_default $v128 (local.get $length)))
    (loop $again
      (array.fill $v128 (local.get $a) (i32.const 0) (i32x4.splat (local.get $count)) (local.get $length))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "fill_i32") (param $bytes i32) (param $count i32)
    (local $a (ref $i32)) (local $length i32)
    (local.set $length (i32.shr_u (local.get $bytes) (i32.const 2)))
    (local.set $a (array.new_default $i32 (local.get $length)))
    (loop $again
      (array.fill $i32 (local.get $a) (i32.const 0) (local.get $count) (local.get $length))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "fill_i64") (param $bytes i32) (param $count i32)
    (local $a (ref $i64)) (local $length i32)
    (local.set $length (i32.shr_u (local.get $bytes) (i32.const 3)))
    (local.set $a (array.new_default $i64 (local.get $length)))
    (loop $again
      (array.fill $i64 (local.get $a) (i32.const 0) (i64.extend_i32_u (local.get $count)) (local.get $length))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))

  ;; At most 1 KiB of a segment.
  (func (export "init_memory") (param $bytes i32) (param $count i32)
    (loop $again
      (memory.init $bytes (i32.const 0) (i32.const 0) (local.get $bytes))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "new_data_i8") (param $bytes i32) (param $count i32)
    (loop $again
      (drop (array.new_data $i8 $bytes (i32.const 0) (local.get $bytes)))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "init_data_i8") (param $bytes i32) (param $count i32)
    (local $a (ref $i8))
    (local.set $a (array.new_default $i8 (local.get $bytes)))
    (loop $again
      (array.init_data $i8 $bytes (local.get $a) (i32.const 0) (i32.const 0) (local.get $bytes))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))

  ;; New arrays.
  (func (export "new_i32") (param $bytes i32) (param $count i32)
    (loop $again
      (drop (array.new $i32 (local.get $count) (i32.shr_u (local.get $bytes) (i32.const 2))))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
  (func (export "new_default_i32") (param $bytes i32) (param $count i32)
    (loop $again
      (drop (array.new_default $i32 (i32.shr_u (local.get $bytes) (i32.const 2))))
      (br_if $again (local.tee $count (i32.sub (local.get $count) (i32.const 1)))))))
