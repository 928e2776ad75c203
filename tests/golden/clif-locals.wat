;;! tier = "cranelift"
;; Declared locals start as zero or null.
(module
  (func (result i32 i64 f32 f64 v128 funcref externref)
    (local i32 i64 f32 f64 v128 funcref externref)
    local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 local.get 6)
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i64) -> i32, i64, f32, f64 tail {
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     const0 = 0x00000000000000000000000000000000
;;
;;                                 block0(v0: i64, v1: i64):
;;                                     v2 = iconst.i32 0
;;                                     v3 = iconst.i64 0
;;                                     v4 = f32const 0.0
;;                                     v5 = f64const 0.0
;;                                     v6 = vconst.i8x16 const0
;;                                     v7 = iconst.i64 0
;;                                     v8 = iconst.i32 0
;; @003a                               store notrap v6, v1  ; v6 = const0
;; @003a                               store notrap v7, v1+16  ; v7 = 0
;; @003a                               store notrap v8, v1+32  ; v8 = 0
;; @003a                               return v2, v3, v4, v5  ; v2 = 0, v3 = 0, v4 = 0.0, v5 = 0.0
;; }
