;;! tier = "baseline"
;;! linkage = "slots"
;; A loop counts at its head, and the condition stays in the flags.
(module
  (func (param i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (local.get 0)))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get $sum))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 0BEh
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rbx
;;       23  mov [rbp-10h], r12
;;       27  mov [rbp-20h], rdi
;;       2b  mov ebx, esi
;;       2d  sub dword ptr [rip-1], 8  ; ModuleTable +75
;;       34  js 0A6h
;;       3a  mov r11d, [rip]  ; ModuleTable +76
;;       41  mov [rbp-18h], r11d
;;       45  xor r12d, r12d
;;       48  sub dword ptr [rbp-18h], 1
;;       4c  js 6Ch
;;       52  add r12d, ebx
;;       55  sub ebx, 1
;;       58  test ebx, ebx
;;       5a  jne short 48h
;;       5c  mov eax, r12d
;;       5f  mov rbx, [rbp-8]
;;       63  mov r12, [rbp-10h]
;;       67  mov rsp, rbp
;;       6a  pop rbp
;;       6b  ret
;;       6c  mov rdi, [rbp-20h]
;;       70  mov rsi, 1000000001h
;;       7a  call qword ptr [rip]  ; ModuleTable -4
;;       80  test rax, rax
;;       83  je 99h
;;       89  mov rcx, [rbp-20h]
;;       8d  mov rcx, [rcx]
;;       90  mov rcx, [rcx+18h]
;;       94  jmp 0C0h
;;       99  mov r11d, [rip]  ; ModuleTable +76
;;       a0  mov [rbp-18h], r11d
;;       a4  jmp short 52h
;;       a6  mov rdi, [rbp-20h]
;;       aa  mov esi, 1
;;       af  call qword ptr [rip]  ; ModuleTable -4
;;       b5  mov rdi, [rbp-20h]
;;       b9  jmp 3Ah
;;       be  ud2  ; may trap: call stack exhausted
;;       c0  mov [rcx], ebx
;;       c2  mov [rcx+10h], r12d
;;       c6  mov rdi, [rbp-20h]
;;       ca  mov rbx, [rbp-8]
;;       ce  mov r12, [rbp-10h]
;;       d2  mov rsp, rbp
;;       d5  pop rbp
;;       d6  jmp rax
