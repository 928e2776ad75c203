;;! tier = "record"
;;! signals = "no"
(module
  (func (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
  (func (param i64 i64) (result i64) local.get 0 local.get 1 i64.rem_s)
  (func (param i64 i64) (result i64) local.get 0 local.get 1 i64.div_u)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = const i32 0x0
;;   v3 = compare Eq v1, v2
;;   trap_if v3 IntegerDivisionByZero 0 ()
;;   v4 = const i32 0xffffffff
;;   v5 = compare Eq v1, v4
;;   v6 = const i32 0x80000000
;;   v7 = compare Eq v0, v6
;;   v8 = And v5, v7
;;   trap_if v8 IntegerOverflow 0 ()
;;   v9 = i32.div_s v0, v1
;;   return (v9)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = const i64 0x0
;;   v3 = compare Eq v1, v2
;;   trap_if v3 IntegerDivisionByZero 0 ()
;;   v4 = i64.rem_s v0, v1
;;   return (v4)
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = local.get 1
;;   v2 = const i64 0x0
;;   v3 = compare Eq v1, v2
;;   trap_if v3 IntegerDivisionByZero 0 ()
;;   v4 = i64.div_u v0, v1
;;   return (v4)
