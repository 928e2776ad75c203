;;! tier = "cranelift"
;;! signals = "no"
;;! reservation = "0"
(module
  (memory 1)
  (func (param i32) (result i32) local.get 0 i32.load offset=4)
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 1 "store"
;;     region2 = 16777216 "memory field"
;;     region3 = 50331648 "memory"
;;     gv0 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64) tail
;;     sig1 = (i64 vmctx, i64, i64, i64) tail
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;                                     v3 = load.i64 notrap aligned readonly can_move region1 v2
;;                                     v4 = get_stack_pointer.i64
;;                                     v5 = icmp ult v4, v3
;;                                     brif v5, block1, block2
;;
;;                                 block1 cold:
;;                                     v6 = symbol_value.i64 gv0
;;                                     v7 = load.i64 notrap aligned readonly can_move region0 v6
;;                                     v8 = iconst.i64 256
;;                                     call_indirect sig0, v7(v0, v8)  ; v8 = 256
;;                                     trap user11
;;
;;                                 block2:
;; @0020                               v9 = uextend.i64 v1
;; @0020                               v10 = iconst.i64 4
;; @0020                               v11 = iconst.i64 8
;; @0020                               v12 = iadd v9, v11  ; v11 = 8
;; @0020                               v13 = load.i64 notrap aligned region2 v0+24
;; @0020                               v14 = icmp ugt v12, v13
;; @0020                               v15 = uextend.i32 v14
;; @0020                               brif v15, block3, block4
;;
;;                                 block3 cold:
;; @0020                               v16 = symbol_value.i64 gv0
;; @0020                               v17 = load.i64 notrap aligned readonly can_move region0 v16
;; @0020                               v18 = iconst.i64 512
;; @0020                               call_indirect sig1, v17(v0, v18, v9, v10)  ; v18 = 512, v10 = 4
;; @0020                               trap user11
;;
;;                                 block4:
;; @0020                               v19 = load.i64 notrap aligned region2 v0+16
;; @0020                               v20 = iadd v19, v9
;; @0020                               v21 = iconst.i64 4
;; @0020                               v22 = iadd v20, v21  ; v21 = 4
;; @0020                               v23 = iconst.i64 0
;; @0020                               v24 = select_spectre_guard v15, v23, v22  ; v23 = 0
;; @0020                               v25 = load.i32 notrap little region3 v24
;; @0023                               return v25
;; }
