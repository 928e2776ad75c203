;;! tier = "cranelift"
;; Locals of the callee are its own and start at zero; `return` goes behind the call; a call in the
;; callee that leads back is a call.
(module
  (memory 1)
  (func $load (param i32) (result i32)
    local.get 0
    i32.load offset=4)
  (func $clamp (param i32) (result i32) (local i32)
    local.get 0
    i32.eqz
    if
      local.get 1
      return
    end
    local.get 0
    call $load)
  (func $caller (param i32 i32) (result i32)
    local.get 0
    local.get 1
    call $clamp
    i32.add)
  (func $down (param i32) (result i32)
    local.get 0
    i32.eqz
    if (result i32)
      i32.const 0
    else
      local.get 0
      call $up
    end)
  (func $up (param i32) (result i32)
    local.get 0
    i32.const 1
    i32.sub
    call $down)
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 16777216 "memory field"
;;     region2 = 50331648 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;
;;                                 block0(v0: i64, v1: i32):
;; @002a                               v2 = uextend.i64 v1
;; @002a                               v3 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @002a                               v4 = iadd v3, v2
;; @002a                               v5 = load.i32 user2 little region2 v4+4
;; @002d                               return v5
;; }
;; wasm[0]::function[1]:
;; function u0:1(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 16777216 "memory field"
;;     region2 = 50331648 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;
;;                                 block0(v0: i64, v1: i32):
;;                                     v2 = iconst.i32 0
;; @0034                               v3 = iconst.i32 0
;; @0034                               v4 = icmp eq v1, v3  ; v3 = 0
;; @0034                               v5 = uextend.i32 v4
;; @0035                               brif v5, block1, block2
;;
;;                                 block1:
;; @0039                               return v2  ; v2 = 0
;;
;;                                 block2:
;; @80000001                           v6 = uextend.i64 v1
;; @80000001                           v7 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @80000001                           v8 = iadd v7, v6
;; @80000001                           v9 = load.i32 user2 little region2 v8+4
;; @003f                               return v9
;; }
;; wasm[0]::function[2]:
;; function u0:2(i64 vmctx, i32, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     region1 = 16777216 "memory field"
;;     region2 = 50331648 "memory"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;
;;                                 block0(v0: i64, v1: i32, v2: i32):
;; @0046                               v3 = iconst.i32 0
;; @80000001                           v4 = iconst.i32 0
;; @80000001                           v5 = icmp eq v2, v4  ; v4 = 0
;; @80000001                           v6 = uextend.i32 v5
;; @80000002                           brif v6, block1, block2
;;
;;                                 block1:
;; @80000004                           jump block3(v3)  ; v3 = 0
;;
;;                                 block2:
;; @80000009                           v8 = uextend.i64 v2
;; @80000009                           v9 = load.i64 notrap aligned readonly can_move region1 v0+16
;; @80000009                           v10 = iadd v9, v8
;; @80000009                           v11 = load.i32 user2 little region2 v10+4
;; @8000000b                           jump block3(v11)
;;
;;                                 block3(v7: i32):
;; @0048                               v12 = iadd.i32 v1, v7
;; @0049                               return v12
;; }
;; wasm[0]::function[3]:
;; function u0:3(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u0:3 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @004e                               v2 = iconst.i32 0
;; @004e                               v3 = icmp eq v1, v2  ; v2 = 0
;; @004e                               v4 = uextend.i32 v3
;; @004f                               brif v4, block1, block2
;;
;;                                 block1:
;; @0051                               v5 = iconst.i32 0
;; @0053                               jump block3(v5)  ; v5 = 0
;;
;;                                 block2:
;; @80000001                           v7 = iconst.i32 1
;; @80000002                           v8 = isub.i32 v1, v7  ; v7 = 1
;; @80000003                           v9 = call fn0(v0, v8)
;; @0058                               jump block3(v9)
;;
;;                                 block3(v6: i32):
;; @0059                               return v6
;; }
;; wasm[0]::function[4]:
;; function u0:4(i64 vmctx, i32) -> i32 tail {
;;     region0 = 0 "constant"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     sig0 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u0:4 sig0
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @005e                               v2 = iconst.i32 1
;; @0060                               v3 = isub v1, v2  ; v2 = 1
;; @80000001                           v4 = iconst.i32 0
;; @80000001                           v5 = icmp eq v3, v4  ; v4 = 0
;; @80000001                           v6 = uextend.i32 v5
;; @80000002                           brif v6, block1, block2
;;
;;                                 block1:
;; @80000003                           v7 = iconst.i32 0
;; @80000004                           jump block3(v7)  ; v7 = 0
;;
;;                                 block2:
;; @80000006                           v9 = call fn0(v0, v3)
;; @80000007                           jump block3(v9)
;;
;;                                 block3(v8: i32):
;; @0063                               return v8
;; }
