;;! tier = "baseline"
;; Floats are pinned where no call is in the way.
(module
  (func (param f64 i32) (result f64) (local $sum f64)
    (loop $again
      (local.set $sum (f64.add (f64.mul (local.get $sum) (local.get 0)) (local.get 0)))
      (br_if $again (local.tee 1 (i32.sub (local.get 1) (i32.const 1)))))
    (local.get $sum))
)
;; wasm[0]::function[0]:
;;        0  push rbp
;;        1  mov rbp, rsp
;;        4  mov r11, [rdi]
;;        7  lea rax, [rsp-50h]
;;        f  cmp rax, [r11]
;;       12  jb 59h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rbx
;;       23  mov [rbp-10h], rdi
;;       27  movaps xmm8, xmm0
;;       2b  mov ebx, esi
;;       2d  mov qword ptr [rbp-30h], 0
;;       35  movsd xmm0, [rbp-30h]
;;       3a  mulsd xmm0, xmm8
;;       3f  addsd xmm0, xmm8
;;       44  movsd [rbp-30h], xmm0
;;       49  sub ebx, 1
;;       4c  test ebx, ebx
;;       4e  jne short 35h
;;       50  mov rbx, [rbp-8]
;;       54  mov rsp, rbp
;;       57  pop rbp
;;       58  ret
;;       59  ud2  ; may trap: call stack exhausted
