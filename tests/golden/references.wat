;;! tier = "record"
(module
  (func $f (result funcref externref) ref.func $f ref.null extern)
  (func (param funcref externref) (result i32 (ref extern))
    local.get 0 ref.is_null local.get 1 ref.as_non_null)
  (func (param externref) (result i32)
    (block $null (drop (br_on_null $null (local.get 0))) (return (i32.const 1))) i32.const 0)
  (func (param funcref) (result funcref)
    (block $some (result (ref func)) (br_on_non_null $some (local.get 0)) (unreachable)))
  (elem declare func $f)
)
;; wasm[0]::function[0]:
;;   v0 = func_ref 0
;;   v1 = const null ref
;;   return (v0, v1)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = is_null Func v0
;;   v2 = local.get 1
;;   v3 = is_null Extern v2
;;   trap_if v3 NullReference 0 ()
;;   return (v1, v2)
;; wasm[0]::function[2]:
;;   block () -> ()
;;     v0 = local.get 0
;;     v1 = is_null Extern v0
;;     br_if 0 v1 ()
;;     v2 = i32.const 1
;;     return (v2)
;;   end (unreachable)
;;   v3 = i32.const 0
;;   return (v3)
;; wasm[0]::function[3]:
;;   block () -> ((ref func))
;;     v0 = local.get 0
;;     v1 = is_null Func v0
;;     v2 = const i32 0x0
;;     v3 = compare Eq v1, v2
;;     br_if 0 v3 (v0)
;;     trap UnreachableCodeReached 0
;;   end (unreachable)
;;   v4 = results
;;   return (v4)
