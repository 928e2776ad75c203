;;! tier = "baseline"
;; 64-bit operations, constants that do not fit an instruction.
(module
  (func (param i64 i64) (result i64)
    (i64.xor (i64.mul (local.get 0) (i64.const 0x123456789abcdef))
             (i64.shr_u (local.get 1) (i64.const 3))))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 4Eh
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], rsi
;;       27  mov [rbp-28h], rdx
;;       2b  mov rax, 123456789ABCDEFh
;;       35  mov rcx, rsi
;;       38  imul rcx, rax
;;       3c  mov rax, rdx
;;       3f  shr rax, 3
;;       43  xor rcx, rax
;;       46  mov rax, rcx
;;       49  mov rsp, rbp
;;       4c  pop rbp
;;       4d  ret
;;       4e  ud2  ; may trap: call stack exhausted
