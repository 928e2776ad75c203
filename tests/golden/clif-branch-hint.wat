;;! tier = "cranelift"
;; What is not likely lies in cold blocks.
(module
  (func (param i32) (result i32)
    block
      local.get 0 (@metadata.code.branch_hint "\00") br_if 0
      local.get 0 (@metadata.code.branch_hint "\01") if (result i32)
        i32.const 1
      else
        i32.const 2
      end
      return
    end
    i32.const 3)
)
