;;! tier = "baseline"
;; One instruction each, but for those that the processor has no instruction for.
(module
  (memory 1 1 shared)
  (func (param i32 i32) (result i32) local.get 0 local.get 1 i32.atomic.rmw.add)
  (func (param i32 i64) (result i64) local.get 0 local.get 1 i64.atomic.rmw16.xor_u offset=2)
  (func (param i32 i32 i32) (result i32) local.get 0 local.get 1 local.get 2 i32.atomic.rmw8.cmpxchg_u)
  (func (param i32 i64) local.get 0 local.get 1 i64.atomic.store atomic.fence)
)
