;;! tier = "record"
(module
  (table $funcs 1 funcref) (table $externs i64 1 externref) (elem $e func)
  (func (param i32) (result funcref) local.get 0 table.get $funcs)
  (func (param i64 externref) local.get 0 local.get 1 table.set $externs)
  (func (param externref i64) (result i64) local.get 0 local.get 1 table.grow $externs)
  (func (param funcref i32) (result i32) local.get 0 local.get 1 table.grow $funcs)
  (func (result i32 i64) table.size $funcs table.size $externs)
  (func (param i32 funcref i32) local.get 0 local.get 1 local.get 2 table.fill $funcs)
  (func (param i32 i32 i32) local.get 0 local.get 1 local.get 2 table.init $funcs $e elem.drop $e)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = zero_extend v0
;;   v2 = load_field TableLength(TableIndex(0))
;;   v3 = compare GeU v1, v2
;;   trap_if v3 TableOutOfBounds 0 (v1)
;;   v4 = table_addr 0 v1
;;   v5 = guard_addr v3, v4
;;   v6 = table_load 0 v5
;;   return (v6)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = load_field TableLength(TableIndex(1))
;;   v3 = compare GeU v0, v2
;;   trap_if v3 TableOutOfBounds 1 (v0)
;;   v4 = table_addr 1 v0
;;   v5 = guard_addr v3, v4
;;   table_store 1 v5, v1
;;   return ()
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = TableGrowRef[1, 0] (v0, v1)
;;   return (v2)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = zero_extend v1
;;   v3 = TableGrowFunc[0, 0] (v0, v2)
;;   v4 = wrap v3
;;   return (v4)
;; wasm[0]::function[4]:
;;   v0 = load_field TableLength(TableIndex(0))
;;   v1 = wrap v0
;;   v2 = load_field TableLength(TableIndex(1))
;;   return (v1, v2)
;; wasm[0]::function[5]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   v3 = zero_extend v2
;;   v4 = zero_extend v0
;;   TableFillFunc[0, 0] (v4, v1, v3)
;;   return ()
;; wasm[0]::function[6]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = local.get 2
;;   v3 = zero_extend v0
;;   TableInit[0, 0] (v3, v1, v2)
;;   ElemDrop[0, 0] ()
;;   return ()
