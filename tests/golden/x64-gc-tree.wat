;;! tier = "baseline"
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
