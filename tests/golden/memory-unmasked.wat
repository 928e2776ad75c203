;;! tier = "record"
;;! signals = "no"
;;! masks = "no"
(module
  (memory 1)
  (func (param i32) (result i64) local.get 0 i64.load)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = zero_extend v0
;;   v2 = const i64 0x0
;;   v3 = const i64 0x8
;;   v4 = Add v1, v3
;;   v5 = load_field MemoryLength(MemoryIndex(0))
;;   v6 = compare GtU v4, v5
;;   trap_if v6 MemoryOutOfBounds 0 (v1, v2)
;;   v7 = memory_addr 0 v1 + 0x0
;;   v8 = load 0 Full(I64) v7
;;   return (v8)
