;;! tier = "cranelift"
;;! inline = "no"
;; Every 32-bit index is extended right before its use, wherever it comes from.
(module
  (memory 1)
  (func $f (result i32) i32.const 0)
  (func (param i64) (result i32) local.get 0 i32.wrap_i64 i32.load)
  (func (param i32) (result i32) (i32.load (i32.shl (local.get 0) (i32.const 2))))
  (func (result i32) call $f i32.load8_s offset=3)
  (func (param i32) (result i32) (i32.load (i32.load (local.get 0))))
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx) -> i32 tail {
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;
;;                                 block0(v0: i64):
;; @002b                               v1 = iconst.i32 0
;; @002d                               return v1  ; v1 = 0
;; }
;; wasm[0]::function[1]:
;; function u0:1(i64 vmctx, i64) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 16777216 "memory field"
;;     region2 = 50331648 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;
;;                                 block0(v0: i64, v1: i64):
;; @0032                               v2 = ireduce.i32 v1
;; @0033                               v3 = uextend.i64 v2
;; @0033                               v4 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @0033                               v5 = iadd v4, v3
;; @0033                               v6 = load.i32 user2 little region2 v5
;; @0036                               return v6
;; }
;; wasm[0]::function[2]:
;; function u0:2(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 16777216 "memory field"
;;     region2 = 50331648 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;
;;                                 block0(v0: i64, v1: i32):
;; @003b                               v2 = iconst.i32 2
;; @003d                               v3 = ishl v1, v2  ; v2 = 2
;; @003e                               v4 = uextend.i64 v3
;; @003e                               v5 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @003e                               v6 = iadd v5, v4
;; @003e                               v7 = load.i32 user2 little region2 v6
;; @0041                               return v7
;; }
;; wasm[0]::function[3]:
;; function u0:3(i64 vmctx) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 16777216 "memory field"
;;     region2 = 50331648 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     sig0 = (i64 vmctx) -> i32 tail
;;     fn0 = colocated u0:0 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64):
;; @0044                               v1 = call fn0(v0)
;; @0046                               v2 = uextend.i64 v1
;; @0046                               v3 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @0046                               v4 = iadd v3, v2
;; @0046                               v5 = sload8.i32 user2 little region2 v4+3
;; @0049                               return v5
;; }
;; wasm[0]::function[4]:
;; function u0:4(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 16777216 "memory field"
;;     region2 = 50331648 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;
;;                                 block0(v0: i64, v1: i32):
;; @004e                               v2 = uextend.i64 v1
;; @004e                               v3 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @004e                               v4 = iadd v3, v2
;; @004e                               v5 = load.i32 user2 little region2 v4
;; @0051                               v6 = uextend.i64 v5
;; @0051                               v7 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @0051                               v8 = iadd v7, v6
;; @0051                               v9 = load.i32 user2 little region2 v8
;; @0054                               return v9
;; }
