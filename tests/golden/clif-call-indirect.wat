;;! tier = "cranelift"
(module
  (type $t (func (result i32)))
  (table 1 funcref)
  (func (param i32) (result i32) local.get 0 call_indirect (type $t))
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 33554432 "table field"
;;     region2 = 67108864 "table"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64, i64) tail
;;     sig1 = (i64 vmctx, i64, i64, i64) tail
;;     sig2 = (i64 vmctx) -> i32 tail
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @0025                               v2 = uextend.i64 v1
;; @0025                               v3 = load.i64 notrap aligned region1 v0+24
;; @0025                               v4 = icmp uge v2, v3
;; @0025                               v5 = uextend.i32 v4
;; @0025                               brif v5, block1, block2
;;
;;                                 block1 cold:
;; @0025                               v6 = symbol_value.i64 gv3
;; @0025                               v7 = load.i64 notrap aligned readonly can_move region0 v6
;; @0025                               v8 = iconst.i64 1280
;; @0025                               call_indirect sig0, v7(v0, v8, v2)  ; v8 = 1280
;; @0025                               trap user11
;;
;;                                 block2:
;; @0025                               v9 = load.i64 notrap aligned region1 v0+16
;; @0025                               v10 = iconst.i64 3
;; @0025                               v11 = ishl.i64 v2, v10  ; v10 = 3
;; @0025                               v12 = iadd v9, v11
;; @0025                               v13 = iconst.i64 0
;; @0025                               v14 = select_spectre_guard v5, v13, v12  ; v13 = 0
;; @0025                               v15 = load.i64 notrap aligned region2 v14
;; @0025                               v16 = iconst.i64 0
;; @0025                               v17 = icmp eq v15, v16  ; v16 = 0
;; @0025                               v18 = uextend.i32 v17
;; @0025                               brif v18, block3, block4
;;
;;                                 block3 cold:
;; @0025                               v19 = symbol_value.i64 gv3
;; @0025                               v20 = load.i64 notrap aligned readonly can_move region0 v19
;; @0025                               v21 = iconst.i64 1536
;; @0025                               call_indirect sig0, v20(v0, v21, v2)  ; v21 = 1536
;; @0025                               trap user11
;;
;;                                 block4:
;; @0025                               v22 = load.i32 notrap aligned region0 v15+16
;; @0025                               v23 = symbol_value.i64 gv3
;; @0025                               v24 = load.i32 notrap aligned region0 v23+48
;; @0025                               v25 = icmp ne v22, v24
;; @0025                               v26 = uextend.i32 v25
;; @0025                               brif v26, block5, block6
;;
;;                                 block5 cold:
;; @0025                               v27 = symbol_value.i64 gv3
;; @0025                               v28 = load.i64 notrap aligned readonly can_move region0 v27
;; @0025                               v29 = iconst.i64 1792
;; @0025                               call_indirect sig1, v28(v0, v29, v2, v15)  ; v29 = 1792
;; @0025                               trap user11
;;
;;                                 block6:
;; @0025                               v30 = load.i64 notrap aligned region0 v15
;; @0025                               v31 = load.i64 notrap aligned region0 v15+8
;; @0025                               v33 = icmp eq v31, v0
;; @0025                               brif v33, block8(v0), block7
;;
;;                                 block7 cold:
;; @0025                               jump block8(v31)
;;
;;                                 block8(v32: i64):
;; @0025                               v34 = call_indirect.i64 sig2, v30(v32)
;; @0028                               return v34
;; }
