;;! tier = "record"
;; A 64-bit index is compared in a form that cannot overflow; some offsets are always out of bounds.
(module
  (memory i64 1)
  (func (param i64) (result i32) local.get 0 i32.load offset=16)
  (func (param i64) (result i32) local.get 0 i32.load offset=18446744073709551612)
  (func (param i64) (result i32) local.get 0 i32.load offset=18446744073709551613 i32.eqz)
  (func (param i64) (result i64) local.get 0 memory.grow memory.size i64.add)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = const i64 0x10
;;   v2 = load_field MemoryLength(MemoryIndex(0))
;;   v3 = const i64 0x14
;;   v4 = compare LtU v2, v3
;;   v5 = const i64 0x14
;;   v6 = Sub v2, v5
;;   v7 = compare GtU v0, v6
;;   v8 = Or v4, v7
;;   trap_if v8 MemoryOutOfBounds 0 (v0, v1)
;;   v9 = memory_addr 0 v0 + 0x10
;;   v10 = guard_addr v8, v9
;;   v11 = load 0 Full(I32) v10
;;   return (v11)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = const i64 0xfffffffffffffffc
;;   v2 = const i32 0x1
;;   trap_if v2 MemoryOutOfBounds 0 (v0, v1)
;;   trap MemoryOutOfBounds 0
;;   return (unreachable)
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = const i64 0xfffffffffffffffd
;;   v2 = const i32 0x1
;;   trap_if v2 MemoryOutOfBounds 0 (v0, v1)
;;   trap MemoryOutOfBounds 0
;;   return (unreachable)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   v1 = MemoryGrow[0, 0] (v0)
;;   v2 = load_field MemoryLength(MemoryIndex(0))
;;   v3 = const i64 0x10
;;   v4 = ShrU v2, v3
;;   v5 = i64.add v1, v4
;;   return (v5)
