;;! tier = "cranelift"
(module
  (memory 1)
  (func (param i32 i32 i32)
    (memory.copy (local.get 0) (local.get 1) (local.get 2))
    (memory.fill (local.get 0) (local.get 1) (local.get 2)))
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32, i32, i32) tail {
;;     region0 = 0 "constant"
;;     region1 = 16777216 "memory field"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64, i64, i64) tail
;;     sig1 = (i64, i64, i64) system_v
;;     sig2 = (i64, i32, i64) system_v
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32, v2: i32, v3: i32):
;; @0025                               v4 = uextend.i64 v3
;; @0025                               v5 = uextend.i64 v2
;; @0025                               v6 = uextend.i64 v1
;; @0025                               v7 = iadd v5, v4
;; @0025                               v8 = load.i64 notrap aligned region1 v0+24
;; @0025                               v9 = icmp ugt v7, v8
;; @0025                               v10 = uextend.i32 v9
;; @0025                               brif v10, block1, block2
;;
;;                                 block1 cold:
;; @0025                               v11 = symbol_value.i64 gv3
;; @0025                               v12 = load.i64 notrap aligned readonly can_move region0 v11
;; @0025                               v13 = iconst.i64 512
;; @0025                               call_indirect sig0, v12(v0, v13, v5, v4)  ; v13 = 512
;; @0025                               trap user11
;;
;;                                 block2:
;; @0025                               v14 = iadd.i64 v6, v4
;; @0025                               v15 = load.i64 notrap aligned region1 v0+24
;; @0025                               v16 = icmp ugt v14, v15
;; @0025                               v17 = uextend.i32 v16
;; @0025                               brif v17, block3, block4
;;
;;                                 block3 cold:
;; @0025                               v18 = symbol_value.i64 gv3
;; @0025                               v19 = load.i64 notrap aligned readonly can_move region0 v18
;; @0025                               v20 = iconst.i64 512
;; @0025                               call_indirect sig0, v19(v0, v20, v6, v4)  ; v20 = 512
;; @0025                               trap user11
;;
;;                                 block4:
;; @0025                               v21 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @0025                               v22 = iadd v21, v5
;; @0025                               v23 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @0025                               v24 = iadd v23, v6
;; @0025                               v25 = symbol_value.i64 gv3
;; @0025                               v26 = load.i64 notrap aligned readonly can_move region0 v25+16
;; @0025                               call_indirect sig1, v26(v24, v22, v4)
;; @002f                               v27 = uextend.i64 v3
;; @002f                               v28 = uextend.i64 v1
;; @002f                               v29 = iadd v28, v27
;; @002f                               v30 = load.i64 notrap aligned region1 v0+24
;; @002f                               v31 = icmp ugt v29, v30
;; @002f                               v32 = uextend.i32 v31
;; @002f                               brif v32, block5, block6
;;
;;                                 block5 cold:
;; @002f                               v33 = symbol_value.i64 gv3
;; @002f                               v34 = load.i64 notrap aligned readonly can_move region0 v33
;; @002f                               v35 = iconst.i64 512
;; @002f                               call_indirect sig0, v34(v0, v35, v28, v27)  ; v35 = 512
;; @002f                               trap user11
;;
;;                                 block6:
;; @002f                               v36 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @002f                               v37 = iadd v36, v28
;; @002f                               v38 = symbol_value.i64 gv3
;; @002f                               v39 = load.i64 notrap aligned readonly can_move region0 v38+24
;; @002f                               call_indirect sig2, v39(v37, v2, v27)
;; @0032                               return
;; }
