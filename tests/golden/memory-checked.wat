;;! tier = "record"
;;! signals = "no"
;;! reservation = "0"
(module
  (memory 1)
  (func (param i32) (result f64) local.get 0 f64.load offset=8)
  (func (param i32 v128) local.get 0 local.get 1 v128.store16_lane offset=4294967295 3)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = zero_extend v0
;;   v2 = const i64 0x8
;;   v3 = const i64 0x10
;;   v4 = Add v1, v3
;;   v5 = load_field MemoryLength(MemoryIndex(0))
;;   v6 = compare GtU v4, v5
;;   trap_if v6 MemoryOutOfBounds 0 (v1, v2)
;;   v7 = memory_addr 0 v1 + 0x8
;;   v8 = guard_addr v6, v7
;;   v9 = load 0 Full(F64) v8
;;   return (v9)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = zero_extend v0
;;   v3 = const i64 0xffffffff
;;   v4 = const i64 0x100000001
;;   v5 = Add v2, v4
;;   v6 = load_field MemoryLength(MemoryIndex(0))
;;   v7 = compare GtU v5, v6
;;   trap_if v7 MemoryOutOfBounds 0 (v2, v3)
;;   v8 = memory_addr 0 v2 + 0xffffffff
;;   v9 = guard_addr v7, v8
;;   v10 = extract_lane16 3 v1
;;   store 0 Narrow { bits: 16, signed: false, to: I32 } v9, v10
;;   return ()
