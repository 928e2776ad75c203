;;! tier = "cranelift"
;; The base of a table that never grows does not change.
(module
  (type $t (func (param i32) (result i32)))
  (table 4 4 funcref)
  (func (param i32 i32) (result i32)
    (call_indirect (type $t) (local.get 0) (local.get 1)))
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 33554432 "table field"
;;     region2 = 67108864 "table"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64, i64) tail
;;     sig1 = (i64 vmctx, i64, i64, i64) tail
;;     sig2 = (i64 vmctx, i32) -> i32 tail
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32, v2: i32):
;; @002a                               v3 = uextend.i64 v2
;; @002a                               v4 = iconst.i64 4
;; @002a                               v5 = icmp uge v3, v4  ; v4 = 4
;; @002a                               v6 = uextend.i32 v5
;; @002a                               brif v6, block1, block2
;;
;;                                 block1 cold:
;; @002a                               v7 = symbol_value.i64 gv3
;; @002a                               v8 = load.i64 notrap aligned readonly can_move region0 v7
;; @002a                               v9 = iconst.i64 1280
;; @002a                               call_indirect sig0, v8(v0, v9, v3)  ; v9 = 1280
;; @002a                               trap user11
;;
;;                                 block2:
;; @002a                               v10 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @002a                               v11 = iconst.i64 3
;; @002a                               v12 = ishl.i64 v3, v11  ; v11 = 3
;; @002a                               v13 = iadd v10, v12
;; @002a                               v14 = iconst.i64 0
;; @002a                               v15 = select_spectre_guard v6, v14, v13  ; v14 = 0
;; @002a                               v16 = load.i64 notrap aligned region2 v15
;; @002a                               v17 = iconst.i64 0
;; @002a                               v18 = icmp eq v16, v17  ; v17 = 0
;; @002a                               v19 = uextend.i32 v18
;; @002a                               brif v19, block3, block4
;;
;;                                 block3 cold:
;; @002a                               v20 = symbol_value.i64 gv3
;; @002a                               v21 = load.i64 notrap aligned readonly can_move region0 v20
;; @002a                               v22 = iconst.i64 1536
;; @002a                               call_indirect sig0, v21(v0, v22, v3)  ; v22 = 1536
;; @002a                               trap user11
;;
;;                                 block4:
;; @002a                               v23 = load.i32 notrap aligned region0 v16+16
;; @002a                               v24 = symbol_value.i64 gv3
;; @002a                               v25 = load.i32 notrap aligned region0 v24+48
;; @002a                               v26 = icmp ne v23, v25
;; @002a                               v27 = uextend.i32 v26
;; @002a                               brif v27, block5, block6
;;
;;                                 block5 cold:
;; @002a                               v28 = symbol_value.i64 gv3
;; @002a                               v29 = load.i64 notrap aligned readonly can_move region0 v28
;; @002a                               v30 = iconst.i64 1792
;; @002a                               call_indirect sig1, v29(v0, v30, v3, v16)  ; v30 = 1792
;; @002a                               trap user11
;;
;;                                 block6:
;; @002a                               v31 = load.i64 notrap aligned region0 v16
;; @002a                               v32 = load.i64 notrap aligned region0 v16+8
;; @002a                               v34 = icmp eq v32, v0
;; @002a                               brif v34, block8(v0), block7
;;
;;                                 block7 cold:
;; @002a                               jump block8(v32)
;;
;;                                 block8(v33: i64):
;; @002a                               v35 = call_indirect.i64 sig2, v31(v33, v1)
;; @002d                               return v35
;; }
