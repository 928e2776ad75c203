;;! tier = "record"
;;! signals = "no"
(module
  (type $t (func))
  (table $any 1 funcref)
  (func (param i32) local.get 0 call_indirect $any (type $t))
  (func (param (ref null $t)) local.get 0 call_ref $t)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = zero_extend v0
;;   v2 = load_field TableLength(TableIndex(0))
;;   v3 = compare GeU v1, v2
;;   trap_if v3 IndirectCallOutOfBounds 0 (v1)
;;   v4 = table_addr 0 v1
;;   v5 = guard_addr v3, v4
;;   v6 = table_load 0 v5
;;   v7 = is_null Func v6
;;   trap_if v7 IndirectCallToNull 0 (v1)
;;   v8 = load_func_ref TypeId v6
;;   v9 = load_field TypeId(TypeIndex(0))
;;   v10 = compare Ne v8, v9
;;   trap_if v10 BadSignature 0 (v1, v6)
;;   v11 = load_func_ref Code v6
;;   v12 = load_func_ref Context v6
;;   call code v11 context v12
;;   return ()
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = is_null Func v0
;;   trap_if v1 NullReference 0 ()
;;   v2 = load_func_ref Code v0
;;   v3 = load_func_ref Context v0
;;   call code v2 context v3
;;   return ()
