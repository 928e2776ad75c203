;;! tier = "cranelift"
;; What is not likely lies in cold blocks.
(module
  (func (param i32) (result i32)
    block
      local.get 0 (@metadata.code.branch_hint "\00") br_if 0
      local.get 0 (@metadata.code.branch_hint "\01") if (result i32)
        i32.const 1
      else
        i32.const 2
      end
      return
    end
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
;; @0042                               brif v1, block3, block2
;;
;;                                 block3 cold:
;; @0042                               jump block1
;;
;;                                 block2:
;; @0046                               brif.i32 v1, block4, block5
;;
;;                                 block4:
;; @0048                               v2 = iconst.i32 1
;; @004a                               jump block6(v2)  ; v2 = 1
;;
;;                                 block5 cold:
;; @004b                               v4 = iconst.i32 2
;; @004d                               jump block6(v4)  ; v4 = 2
;;
;;                                 block6(v3: i32):
;; @004e                               return v3
;;
;;                                 block1:
;; @0050                               v5 = iconst.i32 3
;; @0052                               return v5  ; v5 = 3
;; }
