;;! tier = "baseline"
;;! signals = "no"
;;! reservation = "0"
;; Without guards the index is compared with the length, and masked.
(module
  (memory 1)
  (func (param i32) (result i32)
    (i32.load offset=8 (local.get 0)))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-40h]
;;        f  cmp rax, [r11]
;;       12  jb 6Fh
;;       18  sub rsp, 30h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov rax, rsi
;;       2b  add rax, 0Ch
;;       2f  mov rcx, [rdi+18h]
;;       33  cmp rax, rcx
;;       36  ja 56h
;;       3c  mov rax, [rdi+10h]
;;       40  lea rcx, [rax+rsi+8]
;;       45  mov r11d, 0
;;       4b  cmova rcx, r11
;;       4f  mov eax, [rcx]
;;       51  mov rsp, rbp
;;       54  pop rbp
;;       55  ret
;;       56  mov rdx, rsi
;;       59  mov ecx, 8
;;       5e  mov rdi, [rbp-8]
;;       62  mov esi, 200h
;;       67  call qword ptr [rip]  ; ModuleTable -4
;;       6d  ud2
;;       6f  mov esi, 100h
;;       74  call qword ptr [rip]  ; ModuleTable -4
;;       7a  ud2
