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
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v30 -> v1
;;                                     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;                                     v3 = load.i64 notrap aligned readonly can_move region1 v2
;;                                     v4 = get_stack_pointer.i64
;;                                     v5 = icmp ult v4, v3
;;                                     trapnz v5, user1
;; @0020                               v6 = uextend.i64 v1
;; @0020                               v7 = iconst.i64 12
;; @0020                               v8 = iconst.i64 16
;; @0020                               v9 = iadd v6, v8  ; v8 = 16
;; @0020                               v10 = load.i64 notrap aligned region2 v0+24
;; @0020                               v11 = icmp ugt v9, v10
;; @0020                               v12 = uextend.i32 v11
;; @0020                               trapnz v12, user204
;; @0020                               v13 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @0020                               v14 = iadd v13, v6
;; @0020                               v15 = load.i32 notrap little region3 v14+12
;; @0028                               v16 = uextend.i64 v1
;; @0028                               v17 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @0028                               v18 = iadd v17, v16
;; @0028                               v19 = load.i32 notrap little region3 v18+8
;; @002b                               brif v19, block1, block2
;;
;;                                 block2:
;; @002f                               v20 = uextend.i64 v1
;; @002f                               v21 = iconst.i64 16
;; @002f                               v22 = iconst.i64 20
;; @002f                               v23 = iadd v20, v22  ; v22 = 20
;; @002f                               v24 = load.i64 notrap aligned region2 v0+24
;; @002f                               v25 = icmp ugt v23, v24
;; @002f                               v26 = uextend.i32 v25
;; @002f                               trapnz v26, user204
;; @002f                               v27 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @002f                               v28 = iadd v27, v20
;; @002f                               v29 = load.i32 notrap little region3 v28+16
;; @0033                               jump block1
;;
;;                                 block1:
;; @0036                               v31 = uextend.i64 v1
;; @0036                               v32 = iconst.i64 16
;; @0036                               v33 = iconst.i64 20
;; @0036                               v34 = iadd v31, v33  ; v33 = 20
;; @0036                               v35 = load.i64 notrap aligned region2 v0+24
;; @0036                               v36 = icmp ugt v34, v35
;; @0036                               v37 = uextend.i32 v36
;; @0036                               trapnz v37, user204
;; @0036                               v38 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @0036                               v39 = iadd v38, v31
;; @0036                               v40 = load.i32 notrap little region3 v39+16
;; @0039                               v41 = iconst.i32 0xfffc
;; @003d                               v42 = uextend.i64 v41  ; v41 = 0xfffc
;; @003d                               v43 = load.i64 notrap aligned readonly can_move region2 v0+16
;; @003d                               v44 = iadd v43, v42
;; @003d                               v45 = load.i32 notrap little region3 v44
;; @0040                               v46 = iadd v40, v45
;; @0041                               return v46
;; }
