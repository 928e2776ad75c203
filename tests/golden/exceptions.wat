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
    (try_table (catch_all 0) (throw_ref (local.get 0)))))
