;;! tier = "record"
;; Addresses are extended, values are not; a length has the shorter of two index types.
(module
  (memory $narrow 1) (memory $wide i64 1) (data $d "x")
  (func (param i32 i64 i32) local.get 0 local.get 1 local.get 2 memory.copy $narrow $wide)
  (func (param i64 i64 i64) local.get 0 local.get 1 local.get 2 memory.copy $wide $wide)
  (func (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.fill $narrow)
  (func (param i64 i32 i32) local.get 0 local.get 1 local.get 2 memory.init $wide $d data.drop $d)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   v3 = zero_extend v2
;;   v4 = zero_extend v0
;;   MemoryCopy[0, 1] (v4, v1, v3)
;;   return ()
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   MemoryCopy[1, 1] (v0, v1, v2)
;;   return ()
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   v3 = zero_extend v2
;;   v4 = zero_extend v0
;;   v5 = Add v4, v3
;;   v6 = load_field MemoryLength(MemoryIndex(0))
;;   v7 = compare GtU v5, v6
;;   trap_if v7 MemoryOutOfBounds 0 (v4, v3)
;;   v8 = memory_addr 0 v4 + 0x0
;;   fill_bytes v8, v1, v3
;;   return ()
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   MemoryInit[1, 0] (v0, v1, v2)
;;   DataDrop[0, 0] ()
;;   return ()
