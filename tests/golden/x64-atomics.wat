;;! tier = "baseline"
;; One instruction each, but for those that the processor has no instruction for.
(module
  (memory 1 1 shared)
  (func (param i32 i32) (result i32) local.get 0 local.get 1 i32.atomic.rmw.add)
  (func (param i32 i64) (result i64) local.get 0 local.get 1 i64.atomic.rmw16.xor_u offset=2)
  (func (param i32 i32 i32) (result i32) local.get 0 local.get 1 local.get 2 i32.atomic.rmw8.cmpxchg_u)
  (func (param i32 i64) local.get 0 local.get 1 i64.atomic.store atomic.fence)
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 56h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], edx
;;       2b  mov edx, edx
;;       2d  mov rax, rsi
;;       30  and rax, 3
;;       34  test rax, rax
;;       37  jne 54h
;;       3d  mov rax, [rdi+10h]
;;       41  mov rax, [rax]
;;       44  mov ecx, edx
;;       46  lock xadd [rax+rsi], ecx  ; may trap: out of bounds memory access
;;       4b  mov ecx, ecx
;;       4d  mov eax, ecx
;;       4f  mov rsp, rbp
;;       52  pop rbp
;;       53  ret
;;       54  ud2  ; may trap: unaligned atomic
;;       56  ud2  ; may trap: call stack exhausted
;; wasm[0]::function[1]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 63h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], rdx
;;       2c  mov rax, rsi
;;       2f  and rax, 1
;;       33  test rax, rax
;;       36  jne 61h
;;       3c  mov rax, [rdi+10h]
;;       40  mov rax, [rax]
;;       43  lea rcx, [rax+rsi+2]
;;       48  movzx eax, word ptr [rcx]  ; may trap: out of bounds memory access
;;       4b  mov r11, rax
;;       4e  xor r11, rdx
;;       51  lock cmpxchg [rcx], r11w  ; may trap: out of bounds memory access
;;       57  jne short 4Bh
;;       59  movzx eax, ax
;;       5c  mov rsp, rbp
;;       5f  pop rbp
;;       60  ret
;;       61  ud2  ; may trap: unaligned atomic
;;       63  ud2  ; may trap: call stack exhausted
;; wasm[0]::function[2]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-60h]
;;        f  cmp rax, [r11]
;;       12  jb 4Ch
;;       18  sub rsp, 50h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], edx
;;       2b  mov edx, edx
;;       2d  mov [rbp-30h], ecx
;;       30  mov ecx, ecx
;;       32  mov rax, [rdi+10h]
;;       36  mov rax, [rax]
;;       39  lea r8, [rax+rsi]
;;       3d  mov eax, edx
;;       3f  lock cmpxchg [r8], cl  ; may trap: out of bounds memory access
;;       44  movzx eax, al
;;       47  mov rsp, rbp
;;       4a  pop rbp
;;       4b  ret
;;       4c  ud2  ; may trap: call stack exhausted
;; wasm[0]::function[3]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 54h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  mov [rbp-28h], rdx
;;       2c  mov rax, rsi
;;       2f  and rax, 7
;;       33  test rax, rax
;;       36  jne 52h
;;       3c  mov rax, [rdi+10h]
;;       40  mov rax, [rax]
;;       43  mov rcx, rdx
;;       46  xchg [rax+rsi], rcx  ; may trap: out of bounds memory access
;;       4a  mfence
;;       4d  mov rsp, rbp
;;       50  pop rbp
;;       51  ret
;;       52  ud2  ; may trap: unaligned atomic
;;       54  ud2  ; may trap: call stack exhausted
