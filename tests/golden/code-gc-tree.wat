;;! tier = "cranelift"
;;! show = "code"
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
;; wasm[0]::function[0]:
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq (%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x30, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;;   subq $0x20, %rsp
;;   movq %rbx, 0x10(%rsp)
;;   movq %r12, 0x18(%rsp)
;; block0:
;;   movq %rdi, %r12
;;   testl %esi, %esi
;;   jz      label5; j label1
;; block1:
;;   subl $0x1, %esi
;;   movq %rsi, %rbx
;;   movq %r12, %rdi
;;   call    User(userextname1)
;;   movl %eax, <offset:1>+(%rsp)
;;   movq %rbx, %rsi
;;   movq %r12, %rdi
;;   call    User(userextname1)
;;   ; UserStackMap { by_type: [(types::I32, CompoundBitSet {0})], sp_to_sized_stack_slots: None }
;;   movq %rax, %rsi
;;   movl <offset:1>+(%rsp), %r11d
;;   movq %r12, %rdi
;;   movq (%rdi), %rbx
;;   movq 0x40(%rbx), %rax
;;   movq 0x48(%rbx), %rcx
;;   leaq 0x10(%rax), %rdx
;;   cmpq %rcx, %rdx
;;   jnbe    label3; j label2
;; block2:
;;   leaq 0x10(%rax), %rcx
;;   movq %rcx, 0x40(%rbx)
;;   movq %r12, %rdi
;;   movq 0x10(%rdi), %rcx
;;   movq 0x38(%rbx), %rdx
;;   movl %eax, %eax
;;   movq %rcx, (%rdx, %rax)
;;   movq %rsi, %r8
;;   jmp     label4
;; block4:
;;   movq 0x38(%rbx), %rcx
;;   movl %r8d, 0xc(%rcx, %rax)
;;   movl %r11d, 8(%rcx, %rax)
;;   jmp     label9
;; block5:
;;   movq %r12, %rdi
;;   movq (%rdi), %rbx
;;   movq 0x40(%rbx), %rax
;;   movq 0x48(%rbx), %rcx
;;   leaq 0x10(%rax), %rdx
;;   cmpq %rcx, %rdx
;;   jnbe    label7; j label6
;; block6:
;;   leaq 0x10(%rax), %rcx
;;   movq %rcx, 0x40(%rbx)
;;   movq %r12, %rdi
;;   movq 0x10(%rdi), %rcx
;;   movq 0x38(%rbx), %rdx
;;   movl %eax, %eax
;;   movq %rcx, (%rdx, %rax)
;;   jmp     label8
;; block8:
;;   movq 0x38(%rbx), %rcx
;;   movl $0x0, 8(%rcx, %rax)
;;   movl $0x0, 0xc(%rcx, %rax)
;;   jmp     label9
;; block9:
;;   movq 0x10(%rsp), %rbx
;;   movq 0x18(%rsp), %r12
;;   addq $0x20, %rsp
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block3:
;;   movq %rsi, %r8
;;   movl %r8d, <offset:1>+4(%rsp)
;;   load_ext_name userextname0+0, %rax
;;   movq (%rax), %rax
;;   movl $0x16, %esi
;;   movq %r12, %rdi
;;   call    *%rax
;;   ; UserStackMap { by_type: [(types::I32, CompoundBitSet {0, 4})], sp_to_sized_stack_slots: None }
;;   movl <offset:1>+(%rsp), %r11d
;;   movl <offset:1>+4(%rsp), %r8d
;;   movl %eax, %eax
;;   jmp     label4
;; block7:
;;   load_ext_name userextname0+0, %rax
;;   movq (%rax), %rax
;;   movl $0x16, %esi
;;   movq %r12, %rdi
;;   call    *%rax
;;   movl %eax, %eax
;;   jmp     label8
;; wasm[0]::function[1]:
;;   pushq %rbp
;;   movq %rsp, %rbp
;;   movq (%rdi), %r10
;;   movq (%r10), %r10
;;   addq $0x60, %r10
;;   cmpq %rsp, %r10
;;   jnbe #trap=stk_ovf
;;   subq $0x50, %rsp
;;   movq %rbx, 0x20(%rsp)
;;   movq %r12, 0x28(%rsp)
;;   movq %r13, 0x30(%rsp)
;;   movq %r14, 0x38(%rsp)
;;   movq %r15, 0x40(%rsp)
;; block0:
;;   movl %esi, %r11d
;;   movq (%rdi), %r15
;;   movq 0x10(%rdi), %r13
;;   movq %rdi, <offset:1>+0x10(%rsp)
;;   movq %r13, <offset:1>+0x18(%rsp)
;;   movq 0x38(%r15), %r12
;;   load_ext_name userextname0+0, %rax
;;   movq (%rax), %r13
;;   movq %rdx, %r14
;;   jmp     label1
;; block1:
;;   testl %r14d, %r14d
;;   jz      label6; j label2
;; block2:
;;   movl %r11d, <offset:1>+(%rsp)
;;   movq %r14, %rbx
;;   subl $0x1, %ebx
;;   movq %rbx, %rsi
;;   movq <offset:1>+0x10(%rsp), %rdi
;;   call    User(userextname1)
;;   ; UserStackMap { by_type: [(types::I32, CompoundBitSet {0})], sp_to_sized_stack_slots: None }
;;   movl <offset:1>+(%rsp), %ecx
;;   movl %eax, <offset:1>+8(%rsp)
;;   movq %rbx, %rsi
;;   movq <offset:1>+0x10(%rsp), %rdi
;;   call    User(userextname1)
;;   ; UserStackMap { by_type: [(types::I32, CompoundBitSet {0, 8})], sp_to_sized_stack_slots: None }
;;   movl <offset:1>+(%rsp), %r11d
;;   movl <offset:1>+8(%rsp), %ecx
;;   movq 0x40(%r15), %rdx
;;   movq 0x48(%r15), %rdi
;;   leaq 0x10(%rdx), %rsi
;;   cmpq %rdi, %rsi
;;   jnbe    label4; j label3
;; block3:
;;   movq %rsi, 0x40(%r15)
;;   movl %edx, %edx
;;   movq <offset:1>+0x18(%rsp), %rbx
;;   movq %rbx, (%r12, %rdx)
;;   jmp     label5
;; block5:
;;   movl %eax, 0xc(%r12, %rdx)
;;   movl %ecx, 8(%r12, %rdx)
;;   jmp     label10
;; block6:
;;   movq <offset:1>+0x18(%rsp), %rbx
;;   movq 0x40(%r15), %rax
;;   movq 0x48(%r15), %rdx
;;   leaq 0x10(%rax), %rcx
;;   cmpq %rdx, %rcx
;;   jnbe    label8; j label7
;; block7:
;;   movq %rcx, 0x40(%r15)
;;   movl %eax, %eax
;;   movq %rbx, (%r12, %rax)
;;   jmp     label9
;; block9:
;;   movl $0x0, 8(%r12, %rax)
;;   movl $0x0, 0xc(%r12, %rax)
;;   jmp     label10
;; block10:
;;   testl %r14d, %r14d
;;   jnz     label11; j label12
;; block11:
;;   movq %rbx, <offset:1>+0x18(%rsp)
;;   jmp     label1
;; block12:
;;   movl 0xc(%r12, %r11), %eax
;;   movq 0x20(%rsp), %rbx
;;   movq 0x28(%rsp), %r12
;;   movq 0x30(%rsp), %r13
;;   movq 0x38(%rsp), %r14
;;   movq 0x40(%rsp), %r15
;;   addq $0x50, %rsp
;;   movq %rbp, %rsp
;;   popq %rbp
;;   retq
;; block4:
;;   movq <offset:1>+0x18(%rsp), %rbx
;;   movl %eax, <offset:1>+0xc(%rsp)
;;   movl $0x16, %esi
;;   movq <offset:1>+0x10(%rsp), %rdi
;;   call    *%r13
;;   ; UserStackMap { by_type: [(types::I32, CompoundBitSet {0, 8, 12})], sp_to_sized_stack_slots: None }
;;   movl <offset:1>+(%rsp), %r11d
;;   movl <offset:1>+8(%rsp), %ecx
;;   movl <offset:1>+0xc(%rsp), %edx
;;   movq %rdx, %rsi
;;   movl %eax, %edx
;;   movq %rsi, %rax
;;   jmp     label5
;; block8:
;;   movl %r11d, <offset:1>+(%rsp)
;;   movl $0x16, %esi
;;   movq <offset:1>+0x10(%rsp), %rdi
;;   call    *%r13
;;   ; UserStackMap { by_type: [(types::I32, CompoundBitSet {0})], sp_to_sized_stack_slots: None }
;;   movl <offset:1>+(%rsp), %r11d
;;   movl %eax, %eax
;;   jmp     label9
