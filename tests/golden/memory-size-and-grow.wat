;;! tier = "record"
(module
  (import "" "" (memory $imported 1)) (memory $own 1)
  (func (param i32) (result i32 i32) memory.size $imported local.get 0 memory.grow $own)
)
;; wasm[0]::function[0]:
;;   v0 = load_field MemoryLength(MemoryIndex(0))
;;   v1 = const i64 0x10
;;   v2 = ShrU v0, v1
;;   v3 = wrap v2
;;   v4 = local.get 0
;;   v5 = zero_extend v4
;;   v6 = MemoryGrow[1, 0] (v5)
;;   v7 = wrap v6
;;   return (v3, v7)
