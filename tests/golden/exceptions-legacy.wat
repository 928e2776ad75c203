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
    end))
