;;! tier = "baseline"
;; Bounds, null and signature are checked.
(module
  (type $t (func (param i32) (result i32)))
  (table 4 funcref)
  (func (param i32 i32) (result i32)
    (call_indirect (type $t) (local.get 0) (local.get 1)))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 0A0h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], edx
;;       2b  mov edx, edx
;;       2d  mov rax, [rdi+18h]
;;       31  cmp rdx, rax
;;       34  jae 8Fh
;;       3a  mov rax, [rdi+10h]
;;       3e  lea rcx, [rax+rdx*8]
;;       42  mov r11d, 0
;;       48  cmovae rcx, r11
;;       4c  mov rax, [rcx]
;;       4f  mov ecx, [rax+10h]  ; may trap: uninitialized element
;;       52  mov r8d, [rip]  ; ModuleTable +12
;;       59  cmp ecx, r8d
;;       5c  jne 7Bh
;;       62  mov rcx, [rax]
;;       65  mov rax, [rax+8]
;;       69  mov r8, rax
;;       6c  mov rax, rcx
;;       6f  mov rdi, r8
;;       72  call rax
;;       74  mov eax, eax
;;       76  mov rsp, rbp
;;       79  pop rbp
;;       7a  ret
;;       7b  mov rcx, rax
;;       7e  mov rdi, [rbp-8]
;;       82  mov esi, 700h
;;       87  call qword ptr [rip]  ; ModuleTable -4
;;       8d  ud2
;;       8f  mov rdi, [rbp-8]
;;       93  mov esi, 500h
;;       98  call qword ptr [rip]  ; ModuleTable -4
;;       9e  ud2
;;       a0  ud2  ; may trap: call stack exhausted
