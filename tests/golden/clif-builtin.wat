;;! tier = "cranelift"
(module
  (memory 1)
  (func (param i32) (result i32) local.get 0 memory.grow)
  (func unreachable)
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64, i64) -> i64 tail
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @0024                               v2 = uextend.i64 v1
;; @0024                               v3 = symbol_value.i64 gv3
;; @0024                               v4 = load.i64 notrap aligned readonly can_move region0 v3
;; @0024                               v5 = iconst.i64 2
;; @0024                               v6 = call_indirect sig0, v4(v0, v5, v2)  ; v5 = 2
;; @0024                               v7 = ireduce.i32 v6
;; @0026                               return v7
;; }
;; wasm[0]::function[1]:
;; function u0:1(i64 vmctx) tail {
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64) tail
;;
;;                                 block0(v0: i64):
;; @0029                               v1 = symbol_value.i64 gv3
;; @0029                               v2 = load.i64 notrap aligned readonly can_move region0 v1
;; @0029                               v3 = iconst.i64 2816
;; @0029                               call_indirect sig0, v2(v0, v3)  ; v3 = 2816
;; @0029                               trap user11
;; }
