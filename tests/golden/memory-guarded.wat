;;! tier = "record"
;; A 32-bit index into a fully reserved memory needs an extension and no check; past the guard it does.
(module
  (memory 1)
  (func (param i32) (result i32) local.get 0 i32.load8_u offset=12)
  (func (param i32 i64) local.get 0 local.get 1 i64.store32)
  (func (param i32) (result i32) local.get 0 i32.load offset=33554428)
  (func (param i32) (result i32) local.get 0 i32.load offset=33554429)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = zero_extend v0
;;   v2 = memory_addr 0 v1 + 0xc
;;   v3 = load 0 Narrow { bits: 8, signed: false, to: I32 } v2 may fault
;;   return (v3)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = zero_extend v0
;;   v3 = memory_addr 0 v2 + 0x0
;;   store 0 Narrow { bits: 32, signed: false, to: I64 } v3, v1 may fault
;;   return ()
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = zero_extend v0
;;   v2 = memory_addr 0 v1 + 0x1fffffc
;;   v3 = load 0 Full(I32) v2 may fault
;;   return (v3)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   v1 = zero_extend v0
;;   v2 = const i64 0x1fffffd
;;   v3 = const i64 0x2000001
;;   v4 = Add v1, v3
;;   v5 = load_field MemoryLength(MemoryIndex(0))
;;   v6 = compare GtU v4, v5
;;   trap_if v6 MemoryOutOfBounds 0 (v1, v2)
;;   v7 = memory_addr 0 v1 + 0x1fffffd
;;   v8 = guard_addr v6, v7
;;   v9 = load 0 Full(I32) v8
;;   return (v9)
