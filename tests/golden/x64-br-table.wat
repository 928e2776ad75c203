;;! tier = "baseline"
;; The index is clamped without a branch.
(module
  (func (param i32) (result i32)
    (block (block (block (br_table 0 1 2 (local.get 0)))
      (return (i32.const 10)))
      (return (i32.const 20)))
    (i32.const 30))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-40h]
;;        f  cmp rax, [r11]
;;       12  jb 72h
;;       18  sub rsp, 30h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov eax, esi
;;       2a  mov r11d, 2
;;       30  cmp eax, r11d
;;       33  cmovae eax, r11d
;;       37  lea r11, [rip+0Ah]
;;       3e  movsxd rax, [r11+rax*4]
;;       42  add r11, rax
;;       45  jmp r11
;;       48  or al, 0
;;       4a  add [rax], al
;;       4c  (bad)
;;       4e  add [rax], al
;;       50  and [rax], al
;;       52  add [rax], al
;;       54  mov eax, 0Ah
;;       59  jmp 6Dh
;;       5e  mov eax, 14h
;;       63  jmp 6Dh
;;       68  mov eax, 1Eh
;;       6d  mov rsp, rbp
;;       70  pop rbp
;;       71  ret
;;       72  ud2  ; may trap: call stack exhausted
