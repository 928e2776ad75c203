;;! tier = "baseline"
(module
  (memory 1)
  (func (param i32 i32 i32)
    (memory.copy (local.get 0) (local.get 1) (local.get 2))
    (memory.fill (local.get 0) (local.get 1) (local.get 2)))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-60h]
;;        f  cmp rax, [r11]
;;       12  jb 0E5h
;;       18  sub rsp, 50h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], edx
;;       2b  mov edx, edx
;;       2d  mov [rbp-30h], ecx
;;       30  mov ecx, ecx
;;       32  mov rax, rdx
;;       35  add rax, rcx
;;       38  mov r8, [rdi+18h]
;;       3c  cmp rax, r8
;;       3f  ja 0D4h
;;       45  mov rax, rsi
;;       48  add rax, rcx
;;       4b  mov r8, [rdi+18h]
;;       4f  cmp rax, r8
;;       52  ja 0C0h
;;       58  mov rax, [rdi+10h]
;;       5c  lea r8, [rax+rsi]
;;       60  lea r9, [rax+rdx]
;;       64  mov rdi, r8
;;       67  mov rdx, rcx
;;       6a  mov rsi, r9
;;       6d  call qword ptr [rip]  ; ModuleTable +12
;;       73  mov eax, [rbp-30h]
;;       76  mov ecx, [rbp-20h]
;;       79  mov rdx, rcx
;;       7c  add rdx, rax
;;       7f  mov rsi, [rbp-8]
;;       83  mov rdi, [rsi+18h]
;;       87  cmp rdx, rdi
;;       8a  ja 0A9h
;;       90  mov rdx, [rsi+10h]
;;       94  lea rdi, [rdx+rcx]
;;       98  mov rdx, rax
;;       9b  mov esi, [rbp-28h]
;;       9e  call qword ptr [rip]  ; ModuleTable +20
;;       a4  mov rsp, rbp
;;       a7  pop rbp
;;       a8  ret
;;       a9  mov rdx, rcx
;;       ac  mov rcx, rax
;;       af  mov rdi, [rbp-8]
;;       b3  mov esi, 200h
;;       b8  call qword ptr [rip]  ; ModuleTable -4
;;       be  ud2
;;       c0  mov rdx, rsi
;;       c3  mov rdi, [rbp-8]
;;       c7  mov esi, 200h
;;       cc  call qword ptr [rip]  ; ModuleTable -4
;;       d2  ud2
;;       d4  mov rdi, [rbp-8]
;;       d8  mov esi, 200h
;;       dd  call qword ptr [rip]  ; ModuleTable -4
;;       e3  ud2
;;       e5  ud2  ; may trap: call stack exhausted
