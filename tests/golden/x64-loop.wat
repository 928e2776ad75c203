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
;;       12  jb 0A7h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rbx
;;       23  mov [rbp-10h], rdi
;;       27  mov ebx, esi
;;       29  sub dword ptr [rip-1], 1  ; ModuleTable +27
;;       30  js 92h
;;       36  mov qword ptr [rbp-28h], 0
;;       3e  sub dword ptr [rip-1], 1  ; ModuleTable +27
;;       45  js 63h
;;       4b  mov eax, [rbp-28h]
;;       4e  add eax, ebx
;;       50  mov [rbp-28h], eax
;;       53  sub ebx, 1
;;       56  test ebx, ebx
;;       58  jne short 3Eh
;;       5a  mov rbx, [rbp-8]
;;       5e  mov rsp, rbp
;;       61  pop rbp
;;       62  ret
;;       63  mov rdi, [rbp-10h]
;;       67  mov rsi, 1000000001h
;;       71  call qword ptr [rip]  ; ModuleTable -4
;;       77  test rax, rax
;;       7a  je 90h
;;       80  mov rcx, [rbp-10h]
;;       84  mov rcx, [rcx]
;;       87  mov rcx, [rcx+18h]
;;       8b  jmp 0A9h
;;       90  jmp short 4Bh
;;       92  mov rdi, [rbp-10h]
;;       96  mov esi, 1
;;       9b  call qword ptr [rip]  ; ModuleTable -4
;;       a1  mov rdi, [rbp-10h]
;;       a5  jmp short 36h
;;       a7  ud2  ; may trap: call stack exhausted
;;       a9  mov [rcx], ebx
;;       ab  mov edx, [rbp-28h]
;;       ae  mov [rcx+10h], edx
;;       b1  mov rdi, [rbp-10h]
;;       b5  mov rbx, [rbp-8]
;;       b9  mov rsp, rbp
;;       bc  pop rbp
;;       bd  jmp rax
