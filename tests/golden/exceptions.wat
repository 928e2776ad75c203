;;! tier = "record"
;; A throw to a handler of the same function is a branch; others go by the shim, with the scope in force.
;; Landings lie behind the body.
(module
  (tag $t (param i32))
  (tag $u)
  (func $throw (param i32) (throw $t (local.get 0)))
  (func (param i32) (result i32)
    (block $h (result i32)
      (try_table (result i32) (catch $t $h)
        (throw $t (local.get 0)))))
  (func (param i32) (result i32)
    (block $all
      (block $h (result i32)
        (try_table (result i32) (catch $t $h) (catch_all $all)
          (call $throw (local.get 0))
          (i32.const 0)))
      (return))
    (i32.const 1))
  (func (param i32) (result exnref)
    (block $h (result exnref)
      (try_table (catch_ref $u $h) (call $throw (local.get 0)))
      (ref.null exn)))
  (func (param exnref)
    (try_table (catch_all 0) (throw_ref (local.get 0))))
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   store_payload 0 I32, v0
;;   v1 = load_field TagId(TagIndex(0))
;;   throw v1
;;   return (unreachable)
;; wasm[0]::function[1]:
;;   block () -> (i32)
;;     block () -> (i32)
;;       scope 0 [tag 0]
;;       v0 = local.get 0
;;       br 1 (v0)
;;     end (unreachable) and nothing follows
;;   end (unreachable)
;;   v1 = results
;;   return (v1)
;; wasm[0]::function[2]:
;;   block () -> ()
;;     block () -> (i32)
;;       block () -> (i32)
;;         scope 0 [tag 0, all]
;;         v0 = local.get 0
;;         call func 0 in scope 0 v0
;;         v1 = i32.const 0
;;         br 0 (v1)
;;         landing 0.0
;;         v2 = load_payload 0 I32
;;         br 1 (v2)
;;         landing 0.1
;;         br 2 ()
;;       end (unreachable)
;;       v3 = results
;;     end (v3)
;;     v4 = results
;;     return (v4)
;;   end (unreachable)
;;   v5 = i32.const 1
;;   return (v5)
;; wasm[0]::function[3]:
;;   block () -> (exnref)
;;     block () -> ()
;;       scope 0 [tag 1]
;;       v0 = local.get 0
;;       call func 0 in scope 0 v0
;;       br 0 ()
;;       landing 0.0
;;       v1 = ExnNew[0, 0] ()
;;       br 1 (v1)
;;     end (unreachable)
;;     v2 = const null ref
;;   end (v2)
;;   v3 = results
;;   return (v3)
;; wasm[0]::function[4]:
;;   block () -> ()
;;     scope 0 [all]
;;     v0 = local.get 0
;;     v1 = is_null Exn v0
;;     trap_if v1 NullReference 0 ()
;;     v2 = ExnThrow[0, 0] (v0)
;;     throw v2 in scope 0
;;     landing 0.0
;;     br 1 ()
;;   end (unreachable) and nothing follows
;;   return (unreachable)
