;;! tier = "record"
(module
  (type $s (struct (field i8) (field (mut i64)) (field (mut anyref)) (field (mut funcref))))
  (type $a (array (mut i16)))
  (type $r (array (mut (ref null $s))))
  (func (param i32 i64 anyref funcref) (result (ref $s))
    (struct.new $s (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (result (ref $s)) (struct.new_default $s))
  (func (param (ref null $s)) (result i32 i64 funcref)
    (struct.get_s $s 0 (local.get 0)) (struct.get $s 1 (local.get 0)) (struct.get $s 3 (local.get 0)))
  (func (param (ref null $s) anyref)
    (struct.set $s 2 (local.get 0) (local.get 1))
    (struct.set $s 2 (local.get 0) (ref.null any)))
  (func (param (ref $a) i32) (result i32) (array.get_u $a (local.get 0) (local.get 1)))
  (func (param (ref $r) i32 (ref $s)) (array.set $r (local.get 0) (local.get 1) (local.get 2)))
  (func (param i32 i32) (result (ref $a)) (array.new $a (local.get 0) (local.get 1)))
  (func (param (ref null $s)) (result (ref $r)) (array.new_fixed $r 2 (local.get 0) (ref.null $s)))
  (func (param (ref null $a) i32) (array.fill $a (local.get 0) (local.get 1) (i32.const 7) (i32.const 9)))
  (func (param i32) (result i32) (i31.get_s (ref.i31 (local.get 0))))
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   v3 = local.get 3
;;   v4 = allocate type 0 32
;;   v5 = is_null Func v3
;;   v6 = const i32 0x0
;;   v7 = compare Eq v5, v6
;;   v8 = const i32 0x0
;;   v9 = slow v7 FuncToId[0] (v3) else v8
;;   heap_store ObjectField(28) Full(I32) v4 + 28, v9
;;   heap_store ObjectField(24) Full(Ref) v4 + 24, v2
;;   heap_store ObjectField(16) Full(I64) v4 + 16, v1
;;   heap_store ObjectField(8) Narrow { bits: 8, signed: false, to: I32 } v4 + 8, v0
;;   return (v4)
;; wasm[0]::function[1]:
;;   v0 = allocate type 0 32
;;   v1 = const i32 0x0
;;   heap_store ObjectField(8) Narrow { bits: 8, signed: false, to: I32 } v0 + 8, v1
;;   v2 = const i64 0x0
;;   heap_store ObjectField(16) Full(I64) v0 + 16, v2
;;   v3 = const i32 0x0
;;   heap_store ObjectField(24) Full(Ref) v0 + 24, v3
;;   v4 = const i32 0x0
;;   heap_store ObjectField(28) Full(I32) v0 + 28, v4
;;   return (v0)
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = heap_load ObjectField(8) Narrow { bits: 8, signed: true, to: I32 } v0 + 8 or null trap
;;   v2 = local.get 0
;;   v3 = heap_load ObjectField(16) Full(I64) v2 + 16 or null trap
;;   v4 = local.get 0
;;   v5 = heap_load ObjectField(28) Full(I32) v4 + 28 or null trap
;;   v6 = zero_extend v5
;;   v7 = load_field FuncIdsLength
;;   v8 = compare GeU v6, v7
;;   trap_if v8 NullReference 0 ()
;;   v9 = func_of_id v6
;;   return (v1, v3, v9)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   heap_store ObjectField(24) Full(Ref) v0 + 24, v1 or null trap
;;   v2 = heap_load ObjectHead Full(I32) v0 + 4
;;   v3 = const i32 0x1
;;   v4 = And v2, v3
;;   v5 = const i32 0x0
;;   v6 = compare Eq v4, v5
;;   slow v6 GcRemember[0] (v0)
;;   v7 = local.get 0
;;   v8 = const null ref
;;   heap_store ObjectField(24) Full(Ref) v7 + 24, v8 or null trap
;;   v9 = heap_load ObjectHead Full(I32) v7 + 4
;;   v10 = const i32 0x1
;;   v11 = And v9, v10
;;   v12 = const i32 0x0
;;   v13 = compare Eq v11, v12
;;   slow v13 GcRemember[0] (v7)
;;   return ()
;; wasm[0]::function[4]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = heap_load ObjectHead Full(I32) v0 + 8 or null trap
;;   v3 = compare GeU v1, v2
;;   trap_if v3 ArrayOutOfBounds 0 ()
;;   v4 = const i32 0x1
;;   v5 = Shl v1, v4
;;   v6 = Add v5, v0
;;   v7 = heap_load ArrayElements(2) Narrow { bits: 16, signed: false, to: I32 } v6 + 16 or null trap
;;   return (v7)
;; wasm[0]::function[5]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   v3 = heap_load ObjectHead Full(I32) v0 + 8 or null trap
;;   v4 = compare GeU v1, v3
;;   trap_if v4 ArrayOutOfBounds 0 ()
;;   v5 = const i32 0x2
;;   v6 = Shl v1, v5
;;   v7 = Add v6, v0
;;   heap_store ArrayElements(4) Full(Ref) v7 + 16, v2 or null trap
;;   v8 = heap_load ObjectHead Full(I32) v0 + 4
;;   v9 = const i32 0x1
;;   v10 = And v8, v9
;;   v11 = const i32 0x0
;;   v12 = compare Eq v10, v11
;;   slow v12 GcRemember[0] (v0)
;;   return ()
;; wasm[0]::function[6]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = allocate type 1 [v1] of 2 bytes
;;   v3 = zero_extend v1
;;   v4 = const i64 0x1
;;   v5 = Shl v3, v4
;;   v6 = zero_extend v0
;;   v7 = const i64 0xffff
;;   v8 = And v6, v7
;;   v9 = const i64 0x1000100010001
;;   v10 = i64.mul v8, v9
;;   v11 = const i64 0x0
;;   v12 = Or v10, v11
;;   v13 = zero_extend v2
;;   v14 = heap_addr v13 + 16
;;   fill_elements v14, v12, v12, v5
;;   return (v2)
;; wasm[0]::function[7]:
;;   v0 = local.get 0
;;   v1 = const null ref
;;   v2 = allocate type 2 24 [2]
;;   v3 = const i32 0x2
;;   heap_store ObjectHead Full(I32) v2 + 8, v3
;;   heap_store ArrayElements(4) Full(Ref) v2 + 20, v1
;;   heap_store ArrayElements(4) Full(Ref) v2 + 16, v0
;;   return (v2)
;; wasm[0]::function[8]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = i32.const 7
;;   v3 = i32.const 9
;;   v4 = zero_extend v3
;;   v5 = zero_extend v2
;;   v6 = const i64 0xffff
;;   v7 = And v5, v6
;;   v8 = const i64 0x1000100010001
;;   v9 = i64.mul v7, v8
;;   v10 = const i64 0x0
;;   v11 = Or v9, v10
;;   v12 = heap_load ObjectHead Full(I32) v0 + 8 or null trap
;;   v13 = zero_extend v12
;;   v14 = zero_extend v1
;;   v15 = Add v14, v4
;;   v16 = compare GtU v15, v13
;;   trap_if v16 ArrayOutOfBounds 0 ()
;;   v17 = zero_extend v0
;;   v18 = const i64 0x1
;;   v19 = Shl v14, v18
;;   v20 = Add v19, v17
;;   v21 = const i64 0x1
;;   v22 = Shl v4, v21
;;   v23 = Add v20, v22
;;   v24 = const i64 0x100000000
;;   v25 = compare GtU v23, v24
;;   trap_if v25 ArrayOutOfBounds 0 ()
;;   v26 = const i64 0x1
;;   v27 = Shl v4, v26
;;   v28 = heap_addr v20 + 16
;;   fill_elements v28, v11, v11, v27
;;   return ()
;; wasm[0]::function[9]:
;;   v0 = local.get 0
;;   v1 = const i32 0x1
;;   v2 = Shl v0, v1
;;   v3 = const i32 0x1
;;   v4 = Or v2, v3
;;   v5 = is_null Any v4
;;   trap_if v5 NullReference 0 ()
;;   v6 = const i32 0x1
;;   v7 = ShrS v4, v6
;;   return (v7)
