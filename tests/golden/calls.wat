;;! tier = "record"
(module
  (type $t (func (param i32) (result i32)))
  (import "" "" (func $import (type $t)))
  (func $f (type $t) local.get 0 call $import call $f)
  (func (type $t) local.get 0 return_call $f)
  (func (type $t) local.get 0 return_call $import)
  (func (param (ref null $t)) (result i32) i32.const 1 local.get 0 call_ref $t)
)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = call import 0 v0
;;   v2 = call func 1 v1
;;   return (v2)
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   tail_call func 1 v0
;;   return (unreachable)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   tail_call import 0 v0
;;   return (unreachable)
;; wasm[0]::function[4]:
;;   v0 = i32.const 1
;;   v1 = local.get 0
;;   v2 = load_func_ref Code v1 or NullReference
;;   v3 = load_func_ref Context v1
;;   v4 = call code v2 context v3 v0
;;   return (v4)
