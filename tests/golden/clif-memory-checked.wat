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
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v2 = load.i64 notrap aligned readonly can_move region0 v0
;;                                     v3 = load.i64 notrap aligned readonly can_move region1 v2
;;                                     v4 = get_stack_pointer.i64
;;                                     v5 = icmp ult v4, v3
;;                                     trapnz v5, user1
;; @0020                               v6 = uextend.i64 v1
;; @0020                               v7 = iconst.i64 4
;; @0020                               v8 = iconst.i64 8
;; @0020                               v9 = iadd v6, v8  ; v8 = 8
;; @0020                               v10 = load.i64 notrap aligned region2 v0+24
;; @0020                               v11 = icmp ugt v9, v10
;; @0020                               v12 = uextend.i32 v11
;; @0020                               trapnz v12, user204
;; @0020                               v13 = load.i64 notrap aligned region2 v0+16
;; @0020                               v14 = iadd v13, v6
;; @0020                               v15 = iconst.i64 4
;; @0020                               v16 = iadd v14, v15  ; v15 = 4
;; @0020                               v17 = iconst.i64 0
;; @0020                               v18 = select_spectre_guard v12, v17, v16  ; v17 = 0
;; @0020                               v19 = load.i32 notrap little region3 v18
;; @0023                               return v19
;; }
