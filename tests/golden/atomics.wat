;;! tier = "record"
;; Alignment is checked first, of index and offset together, then bounds as ever.
(module
  (memory 1 1 shared) (memory $wide i64 1 1 shared)
  (func (param i32) (result i32) local.get 0 i32.atomic.load offset=5)
  (func (param i32 i64) local.get 0 local.get 1 i64.atomic.store8 offset=5)
  (func (param i32 i32 i64) (result i32)
    local.get 0 local.get 1 local.get 2 memory.atomic.wait32 offset=8)
  (func (param i64 i32) (result i32) local.get 0 local.get 1 memory.atomic.notify $wide)
  (func (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.copy)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = zero_extend v0
;;   v2 = const i64 0x1
;;   v3 = Add v1, v2
;;   v4 = const i64 0x3
;;   v5 = And v3, v4
;;   v6 = const i64 0x0
;;   v7 = compare Ne v5, v6
;;   trap_if v7 HeapMisaligned 0 ()
;;   v8 = memory_addr 0 v1 + 0x5
;;   v9 = atomic_load 0 Full(I32) v8 may fault
;;   return (v9)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = zero_extend v0
;;   v3 = memory_addr 0 v2 + 0x5
;;   atomic_store 0 Narrow { bits: 8, signed: false, to: I64 } v3, v1 may fault
;;   return ()
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   v3 = zero_extend v0
;;   v4 = const i64 0x3
;;   v5 = And v3, v4
;;   v6 = const i64 0x0
;;   v7 = compare Ne v5, v6
;;   trap_if v7 HeapMisaligned 0 ()
;;   v8 = const i64 0x8
;;   v9 = MemoryWait32[0, 0] (v3, v8, v1, v2)
;;   return (v9)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = const i64 0x3
;;   v3 = And v0, v2
;;   v4 = const i64 0x0
;;   v5 = compare Ne v3, v4
;;   trap_if v5 HeapMisaligned 1 ()
;;   v6 = const i64 0x0
;;   v7 = MemoryNotify[1, 0] (v0, v6, v1)
;;   return (v7)
;; wasm[0]::function[4]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   v3 = zero_extend v2
;;   v4 = zero_extend v1
;;   v5 = zero_extend v0
;;   MemoryCopy[0, 0] (v5, v4, v3)
;;   return ()
