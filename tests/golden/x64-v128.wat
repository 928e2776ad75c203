;;! tier = "baseline"
;; Vectors, on a processor without SSE4.
(module
  (memory 1)
  (func (param i32) (result v128)
    (i32x4.add (v128.load (local.get 0)) (v128.const i32x4 1 2 3 4)))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 40h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov rax, [rdi+10h]
;;       2c  movups xmm0, [rax+rsi]  ; may trap: out of bounds memory access
;;       30  movaps xmm1, [rip+19h]
;;       37  paddd xmm0, xmm1
;;       3b  mov rsp, rbp
;;       3e  pop rbp
;;       3f  ret
;;       40  ud2  ; may trap: call stack exhausted
;;       42  int3
;;       43  int3
;;       44  int3
;;       45  int3
;;       46  int3
;;       47  int3
;;       48  int3
;;       49  int3
;;       4a  int3
;;       4b  int3
;;       4c  int3
;;       4d  int3
;;       4e  int3
;;       4f  int3
;;       50  add [rax], eax
;;       52  add [rax], al
;;       54  add al, [rax]
;;       56  add [rax], al
;;       58  add eax, [rax]
;;       5a  add [rax], al
;;       5c  add al, 0
;;       5e  add [rax], al
