;;! tier = "cranelift"
;;! loop = "1"
;; A frame is taken over in the inner loop: the start is abandoned, the outer loop is not.
(module
  (func (param $n i32) (result i64) (local $sum i64)
    i64.const 5
    loop $outer (param i64) (result i64)
      f32.const 1.5
      local.get $n
      loop $inner (param i32)
        i32.const 1
        i32.sub
        local.tee $n
        local.get $n
        br_if $inner
        drop
      end
      i64.trunc_f32_s
      i64.add
      local.tee $sum
      local.get $n
      br_if $outer
    end)
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32) -> i64 tail {
;;     region0 = 0 "constant"
;;     region1 = 1 "store"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     jump block1
;;
;;                                 block1:
;; @002f                               v7 = load.i64 notrap aligned readonly can_move region0 v0
;; @002f                               v8 = load.i64 notrap aligned region1 v7+24
;; @002f                               v9 = load.i32 notrap v8
;; @002f                               v10 = load.i64 notrap v8+16
;; @002f                               v11 = load.i64 notrap v8+32
;; @002f                               v12 = load.f32 notrap v8+48
;; @002f                               v13 = load.i32 notrap v8+64
;; @002f                               jump block4(v13, v12, v11)
;;
;;                                 block2:
;; @0024                               v2 = iconst.i64 5
;; @0026                               jump block3(v2, v1)  ; v2 = 5
;;
;;                                 block3(v3: i64, v5: i32):
;; @0028                               v4 = f32const 0x1.800000p0
;; @002f                               jump block4(v5, v4, v3)  ; v4 = 0x1.800000p0
;;
;;                                 block4(v6: i32, v16: f32, v18: i64):
;; @0031                               v14 = iconst.i32 1
;; @0033                               v15 = isub v6, v14  ; v14 = 1
;; @0038                               brif v15, block4(v15, v16, v18), block5
;;
;;                                 block5:
;; @003c                               v17 = fcvt_to_sint.i64 v16
;; @003d                               v19 = iadd.i64 v18, v17
;; @0042                               brif.i32 v15, block3(v19, v15), block6
;;
;;                                 block6:
;; @0045                               return v19
;; }
