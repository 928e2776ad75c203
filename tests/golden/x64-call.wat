;;! tier = "baseline"
;; The upper half of a result is cleared before it is used.
(module
  (memory 1)
  (func $callee (param i32) (result i32) (local.get 0))
  (func (param i32) (result i32)
    (i32.load (call $callee (i32.add (local.get 0) (i32.const 1)))))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-40h]
;;        f  cmp rax, [r11]
;;       12  jb 2Fh
;;       18  sub rsp, 30h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov eax, esi
;;       2a  mov rsp, rbp
;;       2d  pop rbp
;;       2e  ret
;;       2f  ud2  ; may trap: call stack exhausted
;; wasm[0]::function[1]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-40h]
;;        f  cmp rax, [r11]
;;       12  jb 44h
;;       18  sub rsp, 30h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  lea eax, [rsi+1]
;;       2b  mov esi, eax
;;       2d  call 32h  ; Func(DefinedFuncIndex(0)) -4
;;       32  mov eax, eax
;;       34  mov rcx, [rbp-8]
;;       38  mov rcx, [rcx+10h]
;;       3c  mov eax, [rcx+rax]  ; may trap: out of bounds memory access
;;       3f  mov rsp, rbp
;;       42  pop rbp
;;       43  ret
;;       44  ud2  ; may trap: call stack exhausted
