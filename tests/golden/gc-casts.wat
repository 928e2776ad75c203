;;! tier = "record"
(module
  (type $a (sub (struct)))
  (type $b (sub $a (struct (field i32))))
  (type $c (sub final $b (struct (field i32) (field i32))))
  (type $f (sub (func)))
  (table $t 1 funcref)
  (func (param anyref) (result i32) (ref.test (ref $b) (local.get 0)))
  (func (param anyref) (result (ref null $c)) (ref.cast (ref null $c) (local.get 0)))
  (func (param (ref $a)) (result i32) (ref.test (ref $c) (local.get 0)))
  (func (param anyref) (result i32) (ref.test (ref eq) (local.get 0)))
  (func (param eqref) (result i32) (ref.test i31ref (local.get 0)))
  (func (param anyref) (result (ref struct))
    (block $l (result anyref) (br_on_cast_fail $l anyref (ref struct) (local.get 0)) (return)) unreachable)
  (func (param funcref) (result i32) (ref.test (ref $f) (local.get 0)))
  (func (param i32) (call_indirect $t (type $f) (local.get 0)))
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = ref_test v0 type 1 at 1, null false, i31 false
;;   return (v1)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   ref_cast v0 type 2, null true, i31 false or CastFailure
;;   return (v0)
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = ref_test v0 type 2
;;   return (v1)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   v1 = ref_test v0 kind at most 2, null false, i31 true
;;   return (v1)
;; wasm[0]::function[4]:
;;   v0 = local.get 0
;;   v1 = ref_test v0 no object, null true, i31 true
;;   return (v1)
;; wasm[0]::function[5]:
;;   block () -> (anyref)
;;     v0 = local.get 0
;;     v1 = ref_test v0 kind 1, null false, i31 false
;;     v2 = const i32 0x0
;;     v3 = compare Eq v1, v2
;;     br_if 0 v3 (v0)
;;     return (v0)
;;   end (unreachable)
;;   v4 = results
;;   trap UnreachableCodeReached 0
;;   return (unreachable)
;; wasm[0]::function[6]:
;;   v0 = local.get 0
;;   v1 = is_null Func v0
;;   v2 = const i32 0x0
;;   v3 = compare Eq v1, v2
;;   v4 = const i32 0x0
;;   v5 = slow v3 FuncIs[3] (v0) else v4
;;   return (v5)
;; wasm[0]::function[7]:
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
;;   v9 = load_field TypeId(TypeIndex(3))
;;   v10 = compare Ne v8, v9
;;   v11 = const i32 0x1
;;   v12 = slow v10 IsSubtype[3] (v8) else v11
;;   v13 = const i32 0x0
;;   v14 = compare Eq v12, v13
;;   trap_if v14 BadSignature 3 (v1, v6)
;;   v15 = load_func_ref Code v6
;;   v16 = load_func_ref Context v6
;;   call code v15 context v16
;;   return ()
