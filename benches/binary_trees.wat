;; Binary trees of structs, all of them made, counted and dropped: depth 18.
;;
;; A tree of depth 19 that dies at once, one of depth 18 that lives to the end, and beside it, for each even
;; depth from 4 to 18, as many trees as make about 2^23 nodes in all. The counts are checked.
(module
  (type $node (struct (field (ref null $node)) (field (ref null $node))))
  (memory (export "memory") 1)

  (func $make (param $depth i32) (result (ref $node))
    (if (i32.eqz (local.get $depth))
      (then (return (struct.new $node (ref.null $node) (ref.null $node)))))
    (struct.new $node
      (call $make (i32.sub (local.get $depth) (i32.const 1)))
      (call $make (i32.sub (local.get $depth) (i32.const 1)))))

  (func $count (param $tree (ref $node)) (result i32)
    (local $left (ref null $node))
    (local.set $left (struct.get $node 0 (local.get $tree)))
    (if (result i32) (ref.is_null (local.get $left))
      (then (i32.const 1))
      (else
        (i32.add
          (i32.const 1)
          (i32.add
            (call $count (ref.as_non_null (local.get $left)))
            (call $count (ref.as_non_null (struct.get $node 1 (local.get $tree)))))))))

  ;; Traps unless a tree has all its nodes.
  (func $expect (param $tree (ref $node)) (param $depth i32)
    (if (i32.ne
          (call $count (local.get $tree))
          (i32.sub (i32.shl (i32.const 2) (local.get $depth)) (i32.const 1)))
      (then (unreachable))))

  (func (export "_start")
    (local $long_lived (ref $node)) (local $depth i32) (local $left i32)
    (call $expect (call $make (i32.const 19)) (i32.const 19))
    (local.set $long_lived (call $make (i32.const 18)))
    (local.set $depth (i32.const 4))
    (loop $depths
      (local.set $left (i32.shl (i32.const 1) (i32.sub (i32.const 22) (local.get $depth))))
      (loop $trees
        (call $expect (call $make (local.get $depth)) (local.get $depth))
        (br_if $trees (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (local.set $depth (i32.add (local.get $depth) (i32.const 2)))
      (br_if $depths (i32.le_u (local.get $depth) (i32.const 18))))
    (call $expect (local.get $long_lived) (i32.const 18))))
