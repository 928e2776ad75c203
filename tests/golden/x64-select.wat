;;! tier = "baseline"
;; The comparison stays in the flags.
(module
  (func (param i32 i32) (result i32)
    (select (local.get 0) (local.get 1) (i32.lt_s (local.get 0) (local.get 1))))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-60h]
;;        f  cmp rax, [r11]
;;       12  jb 39h
;;       18  sub rsp, 50h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], edx
;;       2b  mov edx, edx
;;       2d  cmp esi, edx
;;       2f  mov eax, esi
;;       31  cmovge eax, edx
;;       34  mov rsp, rbp
;;       37  pop rbp
;;       38  ret
;;       39  ud2  ; may trap: call stack exhausted
