;;! tier = "record"
;; Alignment is checked first, of index and offset together, then bounds as ever.
(module
  (memory 1 1 shared) (memory $wide i64 1 1 shared)
  (func (param i32) (result i32) local.get 0 i32.atomic.load offset=5)
  (func (param i32 i64) local.get 0 local.get 1 i64.atomic.store8 offset=5)
  (func (param i32 i32 i64) (result i32)
    local.get 0 local.get 1 local.get 2 memory.atomic.wait32 offset=8)
  (func (param i64 i32) (result i32) local.get 0 local.get 1 memory.atomic.notify $wide)
  (func (param i32 i32 i32) local.get 0 local.get 1 local.get 2 memory.copy)
)
