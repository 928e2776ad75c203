;;! tier = "record"
;; Code that cannot be reached is not forwarded, whatever blocks it has.
(module
  (func (result i32) unreachable (block (param i32) (br 0)) i32.add)
  (func (result i32) (block (result i32) i32.const 1 br 0 (if (then) (else)) i32.const 2 drop))
  (func (param i32) (result i32)
    (if (result i32) (local.get 0) (then (return (i32.const 1))) (else (i32.const 2))))
  (func (param i32) (if (local.get 0) (then (return))))
  (func (result i32) (loop (result i32) (br 0)) i32.eqz)
  (func (block (block (br 1)) (unreachable)))
)
;; wasm[0]::function[0]:
;;   trap UnreachableCodeReached 0
;;   return (unreachable)
;; wasm[0]::function[1]:
;;   block () -> (i32)
;;     v0 = i32.const 1
;;     br 0 (v0)
;;   end (unreachable)
;;   v1 = results
;;   return (v1)
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   if v0 () -> (i32)
;;     v1 = i32.const 1
;;     return (v1)
;;   else (unreachable)
;;     v2 = i32.const 2
;;   end (v2)
;;   v3 = results
;;   return (v3)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   if v0 () -> ()
;;     return ()
;;   end (unreachable)
;;   return ()
;; wasm[0]::function[4]:
;;   loop () -> (i32)
;;     br 0 ()
;;   end (unreachable) and nothing follows
;;   return (unreachable)
;; wasm[0]::function[5]:
;;   block () -> ()
;;     block () -> ()
;;       br 1 ()
;;     end (unreachable) and nothing follows
;;   end (unreachable)
;;   return ()
