;;! tier = "cranelift"
(module
  (type $tree (struct (field (ref null $tree)) (field (ref null $tree))))
  (func $make (param i32) (result (ref $tree))
    (if (result (ref $tree)) (i32.eqz (local.get 0))
      (then (struct.new_default $tree))
      (else
        (struct.new $tree
          (call $make (i32.sub (local.get 0) (i32.const 1)))
          (call $make (i32.sub (local.get 0) (i32.const 1)))))))
  (func (param (ref null $tree) i32) (result (ref null $tree)) (local (ref null $tree))
    (loop $l
      (local.set 2 (call $make (local.get 1)))
      (br_if $l (local.get 1)))
    (struct.get $tree 1 (local.get 0)))
)
;; wasm[0]::function[0]:
;; function u0:0(i64 vmctx, i32) -> i32 tail {
;;     ss0 = explicit_slot 8, align = 8
;;     region0 = 0 "constant"
;;     region1 = 1 "store"
;;     region2 = 8 "object"
;;     region3 = 100663304 "object"
;;     region4 = 100663308 "object"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64) -> i32 tail
;;     sig1 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u0:0 sig1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32):
;; @002d                               v2 = iconst.i32 0
;; @002d                               v3 = icmp eq v1, v2  ; v2 = 0
;; @002d                               v4 = uextend.i32 v3
;; @002e                               brif v4, block1, block2
;;
;;                                 block1:
;; @0031                               v5 = iconst.i64 16
;; @0031                               v6 = load.i64 notrap aligned readonly can_move region0 v0
;; @0031                               v7 = load.i64 notrap aligned region1 v6+72
;; @0031                               v8 = iadd v7, v5  ; v5 = 16
;; @0031                               v9 = load.i64 notrap aligned readonly can_move region0 v0
;; @0031                               v10 = load.i64 notrap aligned region1 v9+80
;; @0031                               v11 = icmp ugt v8, v10
;; @0031                               brif v11, block3, block4
;;
;;                                 block3 cold:
;; @0031                               v12 = symbol_value.i64 gv3
;; @0031                               v13 = load.i64 notrap aligned readonly can_move region0 v12
;; @0031                               v14 = iconst.i64 22
;; @0031                               v15 = call_indirect sig0, v13(v0, v14)  ; v14 = 22
;; @0031                               jump block5(v15)
;;
;;                                 block4:
;; @0031                               v16 = load.i64 notrap aligned readonly can_move region0 v0
;; @0031                               store.i64 notrap aligned region1 v8, v16+72
;; @0031                               v17 = ireduce.i32 v7
;; @0031                               v18 = load.i64 notrap aligned readonly can_move region0 v0+16
;; @0031                               v19 = load.i64 notrap aligned readonly can_move region0 v0
;; @0031                               v20 = load.i64 notrap aligned readonly can_move region1 v19+64
;; @0031                               v21 = uextend.i64 v17
;; @0031                               v22 = iadd v20, v21
;; @0031                               store notrap aligned region2 v18, v22
;; @0031                               jump block5(v17)
;;
;;                                 block5(v23: i32):
;; @0031                               v24 = iconst.i32 0
;; @0031                               v25 = load.i64 notrap aligned readonly can_move region0 v0
;; @0031                               v26 = load.i64 notrap aligned readonly can_move region1 v25+64
;; @0031                               v27 = uextend.i64 v23
;; @0031                               v28 = iadd v26, v27
;; @0031                               store notrap aligned region3 v24, v28+8  ; v24 = 0
;; @0031                               v29 = iconst.i32 0
;; @0031                               v30 = load.i64 notrap aligned readonly can_move region0 v0
;; @0031                               v31 = load.i64 notrap aligned readonly can_move region1 v30+64
;; @0031                               v32 = uextend.i64 v23
;; @0031                               v33 = iadd v31, v32
;; @0031                               store notrap aligned region4 v29, v33+12  ; v29 = 0
;; @0034                               jump block6(v23)
;;
;;                                 block2:
;; @0037                               v35 = iconst.i32 1
;; @0039                               v36 = isub.i32 v1, v35  ; v35 = 1
;; @003a                               v37 = call fn0(v0, v36)
;; @003e                               v38 = iconst.i32 1
;; @0040                               v39 = isub.i32 v1, v38  ; v38 = 1
;; @0041                               v40 = stack_addr.i64 ss0
;; @0041                               store notrap aligned v37, v40
;; @0041                               v41 = call fn0(v0, v39), stack_map=[i32 @ ss0+0]
;; @0041                               v42 = stack_addr.i64 ss0
;; @0041                               v43 = load.i32 notrap aligned v42
;; @0043                               v44 = iconst.i64 16
;; @0043                               v45 = load.i64 notrap aligned readonly can_move region0 v0
;; @0043                               v46 = load.i64 notrap aligned region1 v45+72
;; @0043                               v47 = iadd v46, v44  ; v44 = 16
;; @0043                               v48 = load.i64 notrap aligned readonly can_move region0 v0
;; @0043                               v49 = load.i64 notrap aligned region1 v48+80
;; @0043                               v50 = icmp ugt v47, v49
;; @0043                               brif v50, block7, block8
;;
;;                                 block7 cold:
;; @0043                               v51 = stack_addr.i64 ss0
;; @0043                               v52 = stack_addr.i64 ss0+4
;; @0043                               store.i32 notrap aligned v41, v52
;; @0043                               v53 = symbol_value.i64 gv3
;; @0043                               v54 = load.i64 notrap aligned readonly can_move region0 v53
;; @0043                               v55 = iconst.i64 22
;; @0043                               v56 = call_indirect sig0, v54(v0, v55), stack_map=[i32 @ ss0+0, i32 @ ss0+4]  ; v55 = 22
;; @0043                               v57 = stack_addr.i64 ss0
;; @0043                               v58 = load.i32 notrap aligned v57
;; @0043                               v59 = stack_addr.i64 ss0+4
;; @0043                               v60 = load.i32 notrap aligned v59
;; @0043                               jump block9(v56, v58, v60)
;;
;;                                 block8:
;; @0043                               v61 = load.i64 notrap aligned readonly can_move region0 v0
;; @0043                               store.i64 notrap aligned region1 v47, v61+72
;; @0043                               v62 = ireduce.i32 v46
;; @0043                               v63 = load.i64 notrap aligned readonly can_move region0 v0+16
;; @0043                               v64 = load.i64 notrap aligned readonly can_move region0 v0
;; @0043                               v65 = load.i64 notrap aligned readonly can_move region1 v64+64
;; @0043                               v66 = uextend.i64 v62
;; @0043                               v67 = iadd v65, v66
;; @0043                               store notrap aligned region2 v63, v67
;; @0043                               jump block9(v62, v43, v41)
;;
;;                                 block9(v68: i32, v69: i32, v70: i32):
;; @0043                               v71 = load.i64 notrap aligned readonly can_move region0 v0
;; @0043                               v72 = load.i64 notrap aligned readonly can_move region1 v71+64
;; @0043                               v73 = uextend.i64 v68
;; @0043                               v74 = iadd v72, v73
;; @0043                               store notrap aligned region4 v70, v74+12
;; @0043                               v75 = load.i64 notrap aligned readonly can_move region0 v0
;; @0043                               v76 = load.i64 notrap aligned readonly can_move region1 v75+64
;; @0043                               v77 = uextend.i64 v68
;; @0043                               v78 = iadd v76, v77
;; @0043                               store notrap aligned region3 v69, v78+8
;; @0046                               jump block6(v68)
;;
;;                                 block6(v34: i32):
;; @0047                               return v34
;; }
;; wasm[0]::function[1]:
;; function u0:1(i64 vmctx, i32, i32) -> i32 tail {
;;     ss0 = explicit_slot 16, align = 8
;;     region0 = 0 "constant"
;;     region1 = 1 "store"
;;     region2 = 8 "object"
;;     region3 = 100663304 "object"
;;     region4 = 100663308 "object"
;;     gv0 = vmctx
;;     gv1 = load.i64 notrap aligned readonly can_move region0 gv0
;;     gv2 = load.i64 notrap aligned readonly can_move region0 gv1
;;     gv3 = symbol colocated userextname0
;;     sig0 = (i64 vmctx, i64) -> i32 tail
;;     sig1 = (i64 vmctx, i32) -> i32 tail
;;     fn0 = colocated u0:0 sig1
;;     stack_limit = gv2
;;
;;                                 block0(v0: i64, v1: i32, v2: i32):
;;                                     v4 -> v2
;;                                     v108 -> v4
;;                                     v109 -> v4
;;                                     v110 -> v4
;;                                     v3 = iconst.i32 0
;; @004d                               jump block1(v1)
;;
;;                                 block1(v15: i32):
;; @80000001                           v5 = iconst.i32 0
;; @80000001                           v6 = icmp.i32 eq v4, v5  ; v5 = 0
;; @80000001                           v7 = uextend.i32 v6
;; @80000002                           brif v7, block2, block3
;;
;;                                 block2:
;; @80000003                           v8 = iconst.i64 16
;; @80000003                           v9 = load.i64 notrap aligned readonly can_move region0 v0
;; @80000003                           v10 = load.i64 notrap aligned region1 v9+72
;; @80000003                           v11 = iadd v10, v8  ; v8 = 16
;; @80000003                           v12 = load.i64 notrap aligned readonly can_move region0 v0
;; @80000003                           v13 = load.i64 notrap aligned region1 v12+80
;; @80000003                           v14 = icmp ugt v11, v13
;; @80000003                           brif v14, block4, block5
;;
;;                                 block4 cold:
;; @80000003                           v16 = stack_addr.i64 ss0
;; @80000003                           store.i32 notrap aligned v15, v16
;; @80000003                           v18 = stack_addr.i64 ss0+4
;; @80000003                           v19 = symbol_value.i64 gv3
;; @80000003                           v20 = load.i64 notrap aligned readonly can_move region0 v19
;; @80000003                           v21 = iconst.i64 22
;; @80000003                           v22 = call_indirect sig0, v20(v0, v21), stack_map=[i32 @ ss0+0]  ; v21 = 22
;; @80000003                           v23 = stack_addr.i64 ss0
;; @80000003                           v24 = load.i32 notrap aligned v23
;; @80000003                           v25 = stack_addr.i64 ss0+4
;; @80000003                           jump block6(v22, v24)
;;
;;                                 block5:
;; @80000003                           v27 = load.i64 notrap aligned readonly can_move region0 v0
;; @80000003                           store.i64 notrap aligned region1 v11, v27+72
;; @80000003                           v28 = ireduce.i32 v10
;; @80000003                           v29 = load.i64 notrap aligned readonly can_move region0 v0+16
;; @80000003                           v30 = load.i64 notrap aligned readonly can_move region0 v0
;; @80000003                           v31 = load.i64 notrap aligned readonly can_move region1 v30+64
;; @80000003                           v32 = uextend.i64 v28
;; @80000003                           v33 = iadd v31, v32
;; @80000003                           store notrap aligned region2 v29, v33
;; @80000003                           jump block6(v28, v15)
;;
;;                                 block6(v34: i32, v112: i32):
;; @80000003                           v35 = iconst.i32 0
;; @80000003                           v36 = load.i64 notrap aligned readonly can_move region0 v0
;; @80000003                           v37 = load.i64 notrap aligned readonly can_move region1 v36+64
;; @80000003                           v38 = uextend.i64 v34
;; @80000003                           v39 = iadd v37, v38
;; @80000003                           store notrap aligned region3 v35, v39+8  ; v35 = 0
;; @80000003                           v40 = iconst.i32 0
;; @80000003                           v41 = load.i64 notrap aligned readonly can_move region0 v0
;; @80000003                           v42 = load.i64 notrap aligned readonly can_move region1 v41+64
;; @80000003                           v43 = uextend.i64 v34
;; @80000003                           v44 = iadd v42, v43
;; @80000003                           store notrap aligned region4 v40, v44+12  ; v40 = 0
;; @80000004                           jump block7(v112)
;;
;;                                 block3:
;; @80000006                           v46 = iconst.i32 1
;; @80000007                           v47 = isub.i32 v4, v46  ; v46 = 1
;; @80000008                           v48 = stack_addr.i64 ss0
;; @80000008                           store.i32 notrap aligned v15, v48
;; @80000008                           v49 = stack_addr.i64 ss0+4
;; @80000008                           v50 = call fn0(v0, v47), stack_map=[i32 @ ss0+0]
;; @80000008                           v51 = stack_addr.i64 ss0
;; @80000008                           v52 = load.i32 notrap aligned v51
;; @80000008                           v53 = stack_addr.i64 ss0+4
;; @8000000a                           v55 = iconst.i32 1
;; @8000000b                           v56 = isub.i32 v4, v55  ; v55 = 1
;; @8000000c                           v57 = stack_addr.i64 ss0
;; @8000000c                           v58 = stack_addr.i64 ss0+4
;; @8000000c                           v59 = stack_addr.i64 ss0+8
;; @8000000c                           store notrap aligned v50, v59
;; @8000000c                           v60 = call fn0(v0, v56), stack_map=[i32 @ ss0+0, i32 @ ss0+8]
;; @8000000c                           v61 = stack_addr.i64 ss0
;; @8000000c                           v62 = load.i32 notrap aligned v61
;; @8000000c                           v63 = stack_addr.i64 ss0+4
;; @8000000c                           v65 = stack_addr.i64 ss0+8
;; @8000000c                           v66 = load.i32 notrap aligned v65
;; @8000000d                           v67 = iconst.i64 16
;; @8000000d                           v68 = load.i64 notrap aligned readonly can_move region0 v0
;; @8000000d                           v69 = load.i64 notrap aligned region1 v68+72
;; @8000000d                           v70 = iadd v69, v67  ; v67 = 16
;; @8000000d                           v71 = load.i64 notrap aligned readonly can_move region0 v0
;; @8000000d                           v72 = load.i64 notrap aligned region1 v71+80
;; @8000000d                           v73 = icmp ugt v70, v72
;; @8000000d                           brif v73, block8, block9
;;
;;                                 block8 cold:
;; @8000000d                           v74 = stack_addr.i64 ss0
;; @8000000d                           v75 = stack_addr.i64 ss0+4
;; @8000000d                           v76 = stack_addr.i64 ss0+8
;; @8000000d                           v77 = stack_addr.i64 ss0+12
;; @8000000d                           store.i32 notrap aligned v60, v77
;; @8000000d                           v78 = symbol_value.i64 gv3
;; @8000000d                           v79 = load.i64 notrap aligned readonly can_move region0 v78
;; @8000000d                           v80 = iconst.i64 22
;; @8000000d                           v81 = call_indirect sig0, v79(v0, v80), stack_map=[i32 @ ss0+0, i32 @ ss0+8, i32 @ ss0+12]  ; v80 = 22
;; @8000000d                           v82 = stack_addr.i64 ss0
;; @8000000d                           v83 = load.i32 notrap aligned v82
;; @8000000d                           v84 = stack_addr.i64 ss0+4
;; @8000000d                           v86 = stack_addr.i64 ss0+8
;; @8000000d                           v87 = load.i32 notrap aligned v86
;; @8000000d                           v88 = stack_addr.i64 ss0+12
;; @8000000d                           v89 = load.i32 notrap aligned v88
;; @8000000d                           jump block10(v81, v87, v89, v83)
;;
;;                                 block9:
;; @8000000d                           v90 = load.i64 notrap aligned readonly can_move region0 v0
;; @8000000d                           store.i64 notrap aligned region1 v70, v90+72
;; @8000000d                           v91 = ireduce.i32 v69
;; @8000000d                           v92 = load.i64 notrap aligned readonly can_move region0 v0+16
;; @8000000d                           v93 = load.i64 notrap aligned readonly can_move region0 v0
;; @8000000d                           v94 = load.i64 notrap aligned readonly can_move region1 v93+64
;; @8000000d                           v95 = uextend.i64 v91
;; @8000000d                           v96 = iadd v94, v95
;; @8000000d                           store notrap aligned region2 v92, v96
;; @8000000d                           jump block10(v91, v66, v60, v62)
;;
;;                                 block10(v97: i32, v98: i32, v99: i32, v113: i32):
;; @8000000d                           v100 = load.i64 notrap aligned readonly can_move region0 v0
;; @8000000d                           v101 = load.i64 notrap aligned readonly can_move region1 v100+64
;; @8000000d                           v102 = uextend.i64 v97
;; @8000000d                           v103 = iadd v101, v102
;; @8000000d                           store notrap aligned region4 v99, v103+12
;; @8000000d                           v104 = load.i64 notrap aligned readonly can_move region0 v0
;; @8000000d                           v105 = load.i64 notrap aligned readonly can_move region1 v104+64
;; @8000000d                           v106 = uextend.i64 v97
;; @8000000d                           v107 = iadd v105, v106
;; @8000000d                           store notrap aligned region3 v98, v107+8
;; @8000000e                           jump block7(v113)
;;
;;                                 block7(v111: i32):
;; @0057                               brif.i32 v4, block1(v111), block11
;;
;;                                 block11:
;; @005c                               v114 = load.i64 notrap aligned readonly can_move region0 v0
;; @005c                               v115 = load.i64 notrap aligned readonly can_move region1 v114+64
;; @005c                               v116 = uextend.i64 v111
;; @005c                               v117 = iadd v115, v116
;; @005c                               v118 = load.i32 user12 aligned region4 v117+12
;; @0060                               return v118
;; }
