;;! tier = "cranelift"
(module
  (memory i64 1)
  (func (param i64 i64) local.get 0 local.get 1 i64.store offset=4294967296)
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i64, i64) tail {
;;     region0 = 0 "constant"
;;     region1 = 16777216 "memory field"
;;     region2 = 50331648 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64, i64, i64) tail
;;
;;                                 block0(v0: i64, v1: i64, v2: i64):
;; @0022                               v3 = iconst.i64 0x0001_0000_0000
;; @0022                               v4 = load.i64 notrap aligned region1 v0+24
;; @0022                               v5 = iconst.i64 0x0001_0000_0008
;; @0022                               v6 = icmp ult v4, v5  ; v5 = 0x0001_0000_0008
;; @0022                               v7 = uextend.i32 v6
;; @0022                               v8 = iconst.i64 0x0001_0000_0008
;; @0022                               v9 = isub v4, v8  ; v8 = 0x0001_0000_0008
;; @0022                               v10 = icmp ugt v1, v9
;; @0022                               v11 = uextend.i32 v10
;; @0022                               v12 = bor v7, v11
;; @0022                               brif v12, block1, block2
;;
;;                                 block1 cold:
;; @0022                               v13 = symbol_value.i64 gv3
;; @0022                               v14 = load.i64 notrap aligned readonly can_move region0 v13
;; @0022                               v15 = iconst.i64 512
;; @0022                               call_indirect sig0, v14(v0, v15, v1, v3)  ; v15 = 512, v3 = 0x0001_0000_0000
;; @0022                               trap user11
;;
;;                                 block2:
;; @0022                               v16 = load.i64 notrap aligned region1 v0+16
;; @0022                               v17 = iadd v16, v1
;; @0022                               v18 = iconst.i64 0x0001_0000_0000
;; @0022                               v19 = iadd v17, v18  ; v18 = 0x0001_0000_0000
;; @0022                               v20 = iconst.i64 0
;; @0022                               v21 = select_spectre_guard v12, v20, v19  ; v20 = 0
;; @0022                               store.i64 notrap little region2 v2, v21
;; @0029                               return
;; }
