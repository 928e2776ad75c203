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
;;       12  jb 0BAh
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], edx
;;       2b  mov edx, edx
;;       2d  mov rax, [rdi+18h]
;;       31  cmp rdx, rax
;;       34  jae 0A9h
;;       3a  mov rax, [rdi+10h]
;;       3e  lea rcx, [rax+rdx*8]
;;       42  mov r11d, 0
;;       48  cmovae rcx, r11
;;       4c  mov rax, [rcx]
;;       4f  test rax, rax
;;       52  je 98h
;;       58  mov ecx, [rax+10h]
;;       5b  mov r8d, [rip]  ; ModuleTable +44
;;       62  cmp ecx, r8d
;;       65  jne 84h
;;       6b  mov rcx, [rax]
;;       6e  mov rax, [rax+8]
;;       72  mov r8, rax
;;       75  mov rax, rcx
;;       78  mov rdi, r8
;;       7b  call rax
;;       7d  mov eax, eax
;;       7f  mov rsp, rbp
;;       82  pop rbp
;;       83  ret
;;       84  mov rcx, rax
;;       87  mov rdi, [rbp-8]
;;       8b  mov esi, 700h
;;       90  call qword ptr [rip]  ; ModuleTable -4
;;       96  ud2
;;       98  mov rdi, [rbp-8]
;;       9c  mov esi, 600h
;;       a1  call qword ptr [rip]  ; ModuleTable -4
;;       a7  ud2
;;       a9  mov rdi, [rbp-8]
;;       ad  mov esi, 500h
;;       b2  call qword ptr [rip]  ; ModuleTable -4
;;       b8  ud2
;;       ba  ud2  ; may trap: call stack exhausted
