;;! tier = "cranelift"
;;! inline = "no"
;; Results past the return registers go through the pointer after the context; a tail call hands its
;; own on.
(module
  (type $t (func (param i32) (result i32 i64 f32 i32 v128 f64)))
  (import "" "" (func $import (type $t)))
  (func $f (type $t)
    i32.const 1 i64.const 2 f32.const 3 local.get 0 v128.const i64x2 4 5 f64.const 6)
  (func (type $t) local.get 0 call $f drop drop drop drop drop call $import)
  (func (type $t) local.get 0 return_call $f)
)
;; wasm[0]::function[1]:
;; function u0:0(i64 vmctx, i64, i32) -> i32, i64, f32, i8x16 tail {
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     const0 = 0x00000000000000050000000000000004
;;
;;                                 block0(v0: i64, v1: i64, v2: i32):
;; @0027                               v3 = iconst.i32 1
;; @0029                               v4 = iconst.i64 2
;; @002b                               v5 = f32const 0x1.800000p1
;; @0032                               v6 = vconst.i8x16 const0
;; @0044                               v7 = f64const 0x1.8000000000000p2
;; @004d                               store notrap v2, v1
;; @004d                               store notrap v7, v1+16  ; v7 = 0x1.8000000000000p2
;; @004d                               return v3, v4, v5, v6  ; v3 = 1, v4 = 2, v5 = 0x1.800000p1, v6 = const0
;; }
;; wasm[0]::function[2]:
;; function u0:1(i64 vmctx, i64, i32) -> i32, i64, f32, i8x16 tail {
;;     ss0 = explicit_slot 32, align = 16
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     sig0 = (i64 vmctx, i64, i32) -> i32, i64, f32, i8x16 tail
;;     fn0 = colocated u0:0 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i64, v2: i32):
;; @0052                               v3 = stack_addr.i64 ss0
;; @0052                               v4, v5, v6, v7 = call fn0(v0, v3, v2)
;; @0052                               v8 = load.i32 notrap v3
;; @0052                               v9 = load.f64 notrap v3+16
;; @0059                               v10 = load.i64 notrap aligned readonly can_move region0 v0+16
;; @0059                               v11 = load.i64 notrap aligned readonly can_move region0 v0+24
;; @0059                               v12 = stack_addr.i64 ss0
;; @0059                               v13, v14, v15, v16 = call_indirect sig0, v10(v11, v12, v4)
;; @0059                               v17 = load.i32 notrap v12
;; @0059                               v18 = load.f64 notrap v12+16
;; @005b                               store notrap v17, v1
;; @005b                               store notrap v18, v1+16
;; @005b                               return v13, v14, v15, v16
;; }
;; wasm[0]::function[3]:
;; function u0:2(i64 vmctx, i64, i32) -> i32, i64, f32, i8x16 tail {
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     sig0 = (i64 vmctx, i64, i32) -> i32, i64, f32, i8x16 tail
;;     fn0 = colocated u0:0 sig0
;;
;;                                 block0(v0: i64, v1: i64, v2: i32):
;; @0060                               return_call fn0(v0, v1, v2)
;; }
