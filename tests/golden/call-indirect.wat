;;! tier = "record"
;; Null is found by the fault of reading the type id.
(module
  (type $t (func (param i64) (result i32)))
  (table $any 1 funcref)
  (table $typed 1 (ref null $t))
  (table $filled 1 (ref $t) (ref.func $f))
  (func $f (type $t) i32.const 0)
  (func (param i64 i32) (result i32) local.get 0 local.get 1 call_indirect $any (type $t))
  (func (param i64 i32) (result i32) local.get 0 local.get 1 call_indirect $typed (type $t))
  (func (param i64 i32) (result i32) local.get 0 local.get 1 return_call_indirect $filled (type $t))
)
;; wasm[0]::function[0]:
;;   v0 = i32.const 0
;;   return (v0)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = zero_extend v1
;;   v3 = load_field TableLength(TableIndex(0))
;;   v4 = compare GeU v2, v3
;;   trap_if v4 IndirectCallOutOfBounds 0 (v2)
;;   v5 = table_addr 0 v2
;;   v6 = guard_addr v4, v5
;;   v7 = table_load 0 v6
;;   v8 = is_null Func v7
;;   trap_if v8 IndirectCallToNull 0 (v2)
;;   v9 = load_func_ref TypeId v7
;;   v10 = load_field TypeId(TypeIndex(0))
;;   v11 = compare Ne v9, v10
;;   trap_if v11 BadSignature 0 (v2, v7)
;;   v12 = load_func_ref Code v7
;;   v13 = load_func_ref Context v7
;;   v14 = call code v12 context v13 v0
;;   return (v14)
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = zero_extend v1
;;   v3 = load_field TableLength(TableIndex(1))
;;   v4 = compare GeU v2, v3
;;   trap_if v4 IndirectCallOutOfBounds 1 (v2)
;;   v5 = table_addr 1 v2
;;   v6 = guard_addr v4, v5
;;   v7 = table_load 1 v6
;;   v8 = is_null Func v7
;;   trap_if v8 IndirectCallToNull 1 (v2)
;;   v9 = load_func_ref Code v7
;;   v10 = load_func_ref Context v7
;;   v11 = call code v9 context v10 v0
;;   return (v11)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = zero_extend v1
;;   v3 = load_field TableLength(TableIndex(2))
;;   v4 = compare GeU v2, v3
;;   trap_if v4 IndirectCallOutOfBounds 2 (v2)
;;   v5 = table_addr 2 v2
;;   v6 = guard_addr v4, v5
;;   v7 = table_load 2 v6
;;   v8 = load_func_ref Code v7
;;   v9 = load_func_ref Context v7
;;   tail_call code v8 context v9 v0
;;   return (unreachable)
