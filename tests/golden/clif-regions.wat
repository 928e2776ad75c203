;;! tier = "cranelift"
;; Own objects have regions of their own, imported ones share theirs; constants are read only.
(module
  (import "" "m" (memory $imported 1)) (import "" "g" (global $imported_global (mut i32)))
  (memory $own 1) (memory $moving i64 1)
  (global $mutable (mut i64) (i64.const 0)) (global $constant f32 (f32.const 0))
  (func (param i32 i64)
    (i32.store $imported (local.get 0) (global.get $imported_global))
    (f32.store $own (local.get 0) (global.get $constant))
    (global.set $mutable (i64.load $moving (local.get 1))))
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32, i64) tail {
;;     region0 = 0 "constant"
;;     region1 = 6 "global"
;;     region2 = 2 "memory field"
;;     region3 = 4 "memory"
;;     region4 = 16777217 "memory field"
;;     region5 = 50331649 "memory"
;;     region6 = 16777218 "memory field"
;;     region7 = 50331650 "memory"
;;     region8 = 83886081 "global"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64, i64, i64) tail
;;
;;                                 block0(v0: i64, v1: i32, v2: i64):
;; @0041                               v3 = load.i64 notrap aligned readonly can_move region0 v0+88
;; @0041                               v4 = load.i32 notrap aligned region1 v3
;; @0043                               v5 = uextend.i64 v1
;; @0043                               v6 = load.i64 notrap aligned readonly can_move region0 v0+80
;; @0043                               v7 = load.i64 notrap aligned readonly can_move region2 v6
;; @0043                               v8 = iadd v7, v5
;; @0043                               store user100 little region3 v4, v8
;; @0048                               v9 = f32const 0.0
;; @004a                               v10 = uextend.i64 v1
;; @004a                               v11 = load.i64 notrap aligned readonly can_move region4 v0+16
;; @004a                               v12 = iadd v11, v10
;; @004a                               store user101 little region5 v9, v12  ; v9 = 0.0
;; @0050                               v13 = iconst.i64 0
;; @0050                               v14 = load.i64 notrap aligned region6 v0+40
;; @0050                               v15 = iconst.i64 8
;; @0050                               v16 = icmp ult v14, v15  ; v15 = 8
;; @0050                               v17 = uextend.i32 v16
;; @0050                               v18 = iconst.i64 8
;; @0050                               v19 = isub v14, v18  ; v18 = 8
;; @0050                               v20 = icmp ugt v2, v19
;; @0050                               v21 = uextend.i32 v20
;; @0050                               v22 = bor v17, v21
;; @0050                               brif v22, block1, block2
;;
;;                                 block1 cold:
;; @0050                               v23 = symbol_value.i64 gv3
;; @0050                               v24 = load.i64 notrap aligned readonly can_move region0 v23
;; @0050                               v25 = iconst.i64 0x0020_0000_0200
;; @0050                               call_indirect sig0, v24(v0, v25, v2, v13)  ; v25 = 0x0020_0000_0200, v13 = 0
;; @0050                               trap user11
;;
;;                                 block2:
;; @0050                               v26 = load.i64 notrap aligned region6 v0+32
;; @0050                               v27 = iadd v26, v2
;; @0050                               v28 = iconst.i64 0
;; @0050                               v29 = select_spectre_guard v22, v28, v27  ; v28 = 0
;; @0050                               v30 = load.i64 notrap little region7 v29
;; @0054                               store notrap aligned region8 v30, v0+48
;; @0056                               return
;; }
