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
;;       12  jb 0A8h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rbx
;;       23  mov [rbp-10h], r12
;;       27  mov [rbp-18h], rdi
;;       2b  mov ebx, esi
;;       2d  sub dword ptr [rip-1], 1  ; ModuleTable +59
;;       34  js 93h
;;       3a  xor r12d, r12d
;;       3d  sub dword ptr [rip-1], 1  ; ModuleTable +59
;;       44  js 64h
;;       4a  add r12d, ebx
;;       4d  sub ebx, 1
;;       50  test ebx, ebx
;;       52  jne short 3Dh
;;       54  mov eax, r12d
;;       57  mov rbx, [rbp-8]
;;       5b  mov r12, [rbp-10h]
;;       5f  mov rsp, rbp
;;       62  pop rbp
;;       63  ret
;;       64  mov rdi, [rbp-18h]
;;       68  mov rsi, 1000000001h
;;       72  call qword ptr [rip]  ; ModuleTable -4
;;       78  test rax, rax
;;       7b  je 91h
;;       81  mov rcx, [rbp-18h]
;;       85  mov rcx, [rcx]
;;       88  mov rcx, [rcx+18h]
;;       8c  jmp 0AAh
;;       91  jmp short 4Ah
;;       93  mov rdi, [rbp-18h]
;;       97  mov esi, 1
;;       9c  call qword ptr [rip]  ; ModuleTable -4
;;       a2  mov rdi, [rbp-18h]
;;       a6  jmp short 3Ah
;;       a8  ud2  ; may trap: call stack exhausted
;;       aa  mov [rcx], ebx
;;       ac  mov [rcx+10h], r12d
;;       b0  mov rdi, [rbp-18h]
;;       b4  mov rbx, [rbp-8]
;;       b8  mov r12, [rbp-10h]
;;       bc  mov rsp, rbp
;;       bf  pop rbp
;;       c0  jmp rax
