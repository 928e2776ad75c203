;;! tier = "record"
;; `try` becomes a block with landings; an exception that is thrown again is kept in a local.
(module
  (tag $t (param i32))
  (func $f)
  (func (result i32)
    try (result i32)
      call $f
      i32.const 0
    catch $t
    end)
  (func
    try
      call $f
    catch_all
      call $f
      rethrow 0
    end)
  (func
    try
      try
        call $f
      delegate 0
    catch_all
    end)
)
;; wasm[0]::function[0]:
;;   return ()
;; wasm[0]::function[1]:
;;   block () -> (i32)
;;     scope 0 [tag 0]
;;     call func 0 in scope 0
;;     v0 = i32.const 0
;;     br 0 (v0)
;;     landing 0.0
;;     v1 = load_payload 0 I32
;;   end (v1)
;;   v2 = results
;;   return (v2)
;; wasm[0]::function[2]:
;;   local exnref * 1
;;   block () -> ()
;;     scope 0 [all]
;;     call func 0 in scope 0
;;     br 0 ()
;;     landing 0.0
;;     v0 = ExnNew[0, 0] ()
;;     local.set 0 v0
;;     call func 0
;;     v1 = local.get 0
;;     v2 = is_null Exn v1
;;     trap_if v2 NullReference 0 ()
;;     v3 = ExnThrow[0, 0] (v1)
;;     throw v3
;;   end (unreachable)
;;   return ()
;; wasm[0]::function[3]:
;;   block () -> ()
;;     scope 0 [all]
;;     block () -> ()
;;       call func 0 in scope 0
;;     end ()
;;     br 0 ()
;;     landing 0.0
;;   end ()
;;   return ()
