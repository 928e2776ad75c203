;;! tier = "baseline"
;; Locals of a loop live in registers that survive calls.
(module
  (func $f (param i32))
  (func (param i32 i32)
    (loop $again
      (call $f (local.get 1))
      (local.set 1 (i32.add (local.get 1) (local.get 0)))
      (br_if $again (i32.lt_u (local.get 1) (i32.const 1000)))))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-30h]
;;        f  cmp rax, [r11]
;;       12  jb 28h
;;       18  sub rsp, 20h
;;       1f  mov [rbp-8], rdi
;;       23  mov rsp, rbp
;;       26  pop rbp
;;       27  ret
;;       28  ud2  ; may trap: call stack exhausted
;; wasm[0]::function[1]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 59h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rbx
;;       23  mov [rbp-10h], r12
;;       27  mov [rbp-18h], r13
;;       2b  mov r12, rdi
;;       2e  mov r13d, esi
;;       31  mov ebx, edx
;;       33  mov rdi, r12
;;       36  mov esi, ebx
;;       38  call 3Dh  ; Func(DefinedFuncIndex(0)) -4
;;       3d  add ebx, r13d
;;       40  cmp ebx, 3E8h
;;       46  jb short 33h
;;       48  mov rbx, [rbp-8]
;;       4c  mov r12, [rbp-10h]
;;       50  mov r13, [rbp-18h]
;;       54  mov rsp, rbp
;;       57  pop rbp
;;       58  ret
;;       59  ud2  ; may trap: call stack exhausted
