;;! tier = "record"
(module
  (func (param i32 i64) (result i64)
    local.get 1 local.get 0
    (if (param i64) (result i64) (then i64.eqz i64.extend_i32_u) (else (i64.const 2) i64.mul)))
  (func (param i32) (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
  (func (param i32) (result i32)
    (block (result i32) (block (result i32) (br_table 0 1 0 (i32.const 7) (local.get 0)))))
)
;; wasm[0]::function[0]:
;;   v0 = local.get 1
;;   v1 = local.get 0
;;   if v1 (i64) -> (i64)
;;     v2 = i64.eqz v0
;;     v3 = i64.extend_i32_u v2
;;   else (v3)
;;     v4 = params
;;     v5 = i64.const 2
;;     v6 = i64.mul v4, v5
;;   end (v6)
;;   v7 = results
;;   return (v7)
;; wasm[0]::function[1]:
;;   loop () -> ()
;;     v0 = local.get 0
;;     v1 = i32.const 1
;;     v2 = i32.sub v0, v1
;;     local.set 0 v2
;;     br_if 0 v2 ()
;;   end ()
;;   return ()
;; wasm[0]::function[2]:
;;   block () -> (i32)
;;     block () -> (i32)
;;       v0 = i32.const 7
;;       v1 = local.get 0
;;       br_table v1 [0 1] 0 (v0)
;;     end (unreachable)
;;     v2 = results
;;   end (v2)
;;   v3 = results
;;   return (v3)
