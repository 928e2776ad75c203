;;! tier = "baseline"
(module
  (type $tree (struct (field (ref null $tree)) (field (ref null $tree))))
  (func $make (param i32) (result (ref $tree))
    (if (result (ref $tree)) (i32.eqz (local.get 0))
      (then (struct.new_default $tree))
      (else
        (struct.new $tree
          (call $make (i32.sub (local.get 0) (i32.const 1)))
          (call $make (i32.sub (local.get 0) (i32.const 1)))))))
  (func (param (ref null $tree) i32) (result (ref null $tree)) (local (ref null $tree))
    (loop $l
      (local.set 2 (call $make (local.get 1)))
      (br_if $l (local.get 1)))
    (struct.get $tree 1 (local.get 0)))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 12Dh
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rdi
;;       23  mov [rbp-20h], esi
;;       26  mov esi, esi
;;       28  test esi, esi
;;       2a  jne 84h
;;       30  mov r11, rdi
;;       33  mov r11, [r11]
;;       36  mov rax, [r11+40h]
;;       3a  lea rcx, [rax+10h]
;;       3e  cmp rcx, [r11+48h]
;;       42  ja 117h
;;       48  mov [r11+40h], rcx
;;       4c  mov eax, eax
;;       4e  mov rcx, [r11+38h]
;;       52  mov r11, rdi
;;       55  mov rdx, [r11+10h]
;;       59  mov [rcx+rax], rdx
;;       5d  mov rcx, [rbp-8]
;;       61  mov rdx, [rcx]
;;       64  mov rdx, [rdx+38h]
;;       68  mov dword ptr [rdx+rax+8], 0
;;       70  mov rdx, [rcx]
;;       73  mov rdx, [rdx+38h]
;;       77  mov dword ptr [rdx+rax+0Ch], 0
;;       7f  jmp 0FFh
;;       84  mov eax, [rbp-20h]
;;       87  sub eax, 1
;;       8a  mov esi, eax
;;       8c  mov rdi, [rbp-8]
;;       90  call 95h  ; Func(DefinedFuncIndex(0)) -4
;;       95  mov eax, eax
;;       97  mov ecx, [rbp-20h]
;;       9a  sub ecx, 1
;;       9d  mov [rbp-28h], eax
;;       a0  mov esi, ecx
;;       a2  mov rdi, [rbp-8]
;;       a6  call 0ABh  ; Func(DefinedFuncIndex(0)) -4
;;       ab  mov eax, eax
;;       ad  mov [rbp-30h], eax
;;       b0  mov r11, [rbp-8]
;;       b4  mov r11, [r11]
;;       b7  mov rax, [r11+40h]
;;       bb  lea rcx, [rax+10h]
;;       bf  cmp rcx, [r11+48h]
;;       c3  ja 104h
;;       c9  mov [r11+40h], rcx
;;       cd  mov eax, eax
;;       cf  mov rcx, [r11+38h]
;;       d3  mov r11, [rbp-8]
;;       d7  mov rdx, [r11+10h]
;;       db  mov [rcx+rax], rdx
;;       df  mov ecx, [rbp-30h]
;;       e2  mov rdx, [rbp-8]
;;       e6  mov rsi, [rdx]
;;       e9  mov rsi, [rsi+38h]
;;       ed  mov [rsi+rax+0Ch], ecx
;;       f1  mov ecx, [rbp-28h]
;;       f4  mov rsi, [rdx]
;;       f7  mov rsi, [rsi+38h]
;;       fb  mov [rsi+rax+8], ecx
;;       ff  mov rsp, rbp
;;      102  pop rbp
;;      103  ret
;;      104  mov rdi, [rbp-8]
;;      108  mov esi, 16h
;;      10d  call qword ptr [rip]  ; ModuleTable -4
;;      113  mov eax, eax
;;      115  jmp short 0DFh
;;      117  mov rdi, [rbp-8]
;;      11b  mov esi, 16h
;;      120  call qword ptr [rip]  ; ModuleTable -4
;;      126  mov eax, eax
;;      128  jmp 5Dh
;;      12d  ud2  ; may trap: call stack exhausted
;; wasm[0]::function[1]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 6Ah
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rbx
;;       23  mov [rbp-10h], r12
;;       27  mov r12, rdi
;;       2a  mov [rbp-28h], esi
;;       2d  mov esi, esi
;;       2f  mov ebx, edx
;;       31  mov qword ptr [rbp-30h], 0
;;       39  mov rdi, r12
;;       3c  mov esi, ebx
;;       3e  call 43h  ; Func(DefinedFuncIndex(0)) -4
;;       43  mov eax, eax
;;       45  mov [rbp-30h], eax
;;       48  test ebx, ebx
;;       4a  jne short 39h
;;       4c  mov ecx, [rbp-28h]
;;       4f  mov rdx, [r12]
;;       53  mov rdx, [rdx+38h]
;;       57  mov edx, [rdx+rcx+0Ch]  ; may trap: null reference
;;       5b  mov eax, edx
;;       5d  mov rbx, [rbp-8]
;;       61  mov r12, [rbp-10h]
;;       65  mov rsp, rbp
;;       68  pop rbp
;;       69  ret
;;       6a  ud2  ; may trap: call stack exhausted
