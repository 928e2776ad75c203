;;! tier = "cranelift"
;;! signals = "no"
;; The reservation confines speculation, so nothing is masked; what was checked is not checked again,
;; but for an access past it, and after the end of a block that can be left before the check.
(module
  (memory 1)
  (func (param i32) (result i32)
    local.get 0 i32.load offset=12
    drop
    block
      local.get 0 i32.load offset=8
      br_if 0
      local.get 0 i32.load offset=16
      drop
    end
    local.get 0 i32.load offset=16
    i32.const 65532 i32.load
    i32.add)
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
;;                                     v39 -> v1
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
;; @0020                               v10 = iconst.i64 12
;; @0020                               v11 = iconst.i64 16
;; @0020                               v12 = iadd v9, v11  ; v11 = 16
;; @0020                               v13 = load.i64 notrap aligned region2 v0+24
;; @0020                               v14 = icmp ugt v12, v13
;; @0020                               v15 = uextend.i32 v14
;; @0020                               brif v15, block3, block4
;;
;;                                 block3 cold:
;; @0020                               v16 = symbol_value.i64 gv0
;; @0020                               v17 = load.i64 notrap aligned readonly can_move region0 v16
;; @0020                               v18 = iconst.i64 512
;; @0020                               call_indirect sig1, v17(v0, v18, v9, v10)  ; v18 = 512, v10 = 12
;; @0020                               trap user11
;;
;;                                 block4:
;; @0020                               v19 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @0020                               v20 = iadd v19, v9
;; @0020                               v21 = load.i32 notrap little region3 v20+12
;; @0028                               v22 = uextend.i64 v1
;; @0028                               v23 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @0028                               v24 = iadd v23, v22
;; @0028                               v25 = load.i32 notrap little region3 v24+8
;; @002b                               brif v25, block5, block6
;;
;;                                 block6:
;; @002f                               v26 = uextend.i64 v1
;; @002f                               v27 = iconst.i64 16
;; @002f                               v28 = iconst.i64 20
;; @002f                               v29 = iadd v26, v28  ; v28 = 20
;; @002f                               v30 = load.i64 notrap aligned region2 v0+24
;; @002f                               v31 = icmp ugt v29, v30
;; @002f                               v32 = uextend.i32 v31
;; @002f                               brif v32, block7, block8
;;
;;                                 block7 cold:
;; @002f                               v33 = symbol_value.i64 gv0
;; @002f                               v34 = load.i64 notrap aligned readonly can_move region0 v33
;; @002f                               v35 = iconst.i64 512
;; @002f                               call_indirect sig1, v34(v0, v35, v26, v27)  ; v35 = 512, v27 = 16
;; @002f                               trap user11
;;
;;                                 block8:
;; @002f                               v36 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @002f                               v37 = iadd v36, v26
;; @002f                               v38 = load.i32 notrap little region3 v37+16
;; @0033                               jump block5
;;
;;                                 block5:
;; @0036                               v40 = uextend.i64 v1
;; @0036                               v41 = iconst.i64 16
;; @0036                               v42 = iconst.i64 20
;; @0036                               v43 = iadd v40, v42  ; v42 = 20
;; @0036                               v44 = load.i64 notrap aligned region2 v0+24
;; @0036                               v45 = icmp ugt v43, v44
;; @0036                               v46 = uextend.i32 v45
;; @0036                               brif v46, block9, block10
;;
;;                                 block9 cold:
;; @0036                               v47 = symbol_value.i64 gv0
;; @0036                               v48 = load.i64 notrap aligned readonly can_move region0 v47
;; @0036                               v49 = iconst.i64 512
;; @0036                               call_indirect sig1, v48(v0, v49, v40, v41)  ; v49 = 512, v41 = 16
;; @0036                               trap user11
;;
;;                                 block10:
;; @0036                               v50 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @0036                               v51 = iadd v50, v40
;; @0036                               v52 = load.i32 notrap little region3 v51+16
;; @0039                               v53 = iconst.i32 0xfffc
;; @003d                               v54 = uextend.i64 v53  ; v53 = 0xfffc
;; @003d                               v55 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @003d                               v56 = iadd v55, v54
;; @003d                               v57 = load.i32 notrap little region3 v56
;; @0040                               v58 = iadd v52, v57
;; @0041                               return v58
;; }
