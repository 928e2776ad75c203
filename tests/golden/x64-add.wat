;;! tier = "baseline"
;; Operands are read where the arguments arrive.
(module
  (func (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 35h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], edx
;;       2b  mov edx, edx
;;       2d  lea eax, [rsi+rdx]
;;       30  mov rsp, rbp
;;       33  pop rbp
;;       34  ret
;;       35  ud2  ; may trap: call stack exhausted
