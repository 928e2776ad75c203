;;! tier = "baseline"
;; A 32-bit index is used as it is: its upper half is zero. Where it comes from an i64 it is cut.
(module
  (memory 1)
  (func (param i32 i64) (result i32)
    (i32.store8 offset=4 (local.get 0) (i32.const 7))
    (i32.load offset=8 (i32.wrap_i64 (local.get 1))))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 42h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], rdx
;;       2c  mov rax, [rdi+10h]
;;       30  mov byte ptr [rax+rsi+4], 7  ; may trap: out of bounds memory access
;;       35  mov ecx, edx
;;       37  mov ecx, [rax+rcx+8]  ; may trap: out of bounds memory access
;;       3b  mov eax, ecx
;;       3d  mov rsp, rbp
;;       40  pop rbp
;;       41  ret
;;       42  ud2  ; may trap: call stack exhausted
