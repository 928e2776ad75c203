;;! tier = "baseline"
;; Divisors are compared before the instruction.
(module
  (func (param i32 i32) (result i32)
    (i32.div_s (local.get 0) (local.get 1)))
  (func (param i64 i64) (result i64)
    (i64.rem_u (local.get 0) (local.get 1)))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 46h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], edx
;;       2b  mov edx, edx
;;       2d  mov r11d, edx
;;       30  mov eax, esi
;;       32  test r11d, r11d
;;       35  je 44h
;;       3b  cdq
;;       3c  idiv r11d  ; may trap: integer overflow
;;       3f  mov rsp, rbp
;;       42  pop rbp
;;       43  ret
;;       44  ud2  ; may trap: integer divide by zero
;;       46  ud2  ; may trap: call stack exhausted
;; wasm[0]::function[1]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 49h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], rsi
;;       27  mov [rbp-28h], rdx
;;       2b  mov r11, rdx
;;       2e  mov rax, rsi
;;       31  test r11, r11
;;       34  je 47h
;;       3a  xor edx, edx
;;       3c  div r11  ; may trap: integer divide by zero
;;       3f  mov rax, rdx
;;       42  mov rsp, rbp
;;       45  pop rbp
;;       46  ret
;;       47  ud2  ; may trap: integer divide by zero
;;       49  ud2  ; may trap: call stack exhausted
