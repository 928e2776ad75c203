;;! tier = "cranelift"
;; A label with several entries is reached through a block of its own.
(module
  (func (param i32) (result i32)
    (block (block (block (br_table 0 1 0 2 (local.get 0))) (return (i32.const 1)))
      (return (i32.const 2)))
    i32.const 3)
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;
;;                                 block0(v0: i64, v1: i32):
;; @0021                               br_table v1, block3, [block4, block2, block4]
;;
;;                                 block4:
;; @0021                               jump block1
;;
;;                                 block1:
;; @0028                               v2 = iconst.i32 1
;; @002a                               return v2  ; v2 = 1
;;
;;                                 block2:
;; @002c                               v3 = iconst.i32 2
;; @002e                               return v3  ; v3 = 2
;;
;;                                 block3:
;; @0030                               v4 = iconst.i32 3
;; @0032                               return v4  ; v4 = 3
;; }
