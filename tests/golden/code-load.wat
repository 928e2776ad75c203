;;! tier = "cranelift"
;;! show = "code"
;; The base of a memory that never moves is read once.
(module
  (memory 1)
  (func (param i32) (result i32) (i32.add (i32.load (local.get 0)) (i32.load offset=4 (local.get 0))))
)
;; wasm[0]::function[0]:
;;   pushq %rbp
;;   movq %rsp, %rbp
;; block0:
;;   movq 0x10(%rdi), %r8
;;   movl %esi, %edi
;;   movl (%r8, %rdi), %eax
;;   sequence_point
;;   addl 4(%r8, %rdi), %eax
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
