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
;;       12  jb 57h
;;       18  sub rsp, 40h
;;       1f  mov [rbp-8], rbx
;;       23  mov [rbp-10h], rdi
;;       27  movaps xmm9, xmm0
;;       2b  mov ebx, esi
;;       2d  xorps xmm8, xmm8
;;       31  movaps xmm0, xmm8
;;       35  mulsd xmm0, xmm9
;;       3a  movaps xmm8, xmm0
;;       3e  addsd xmm8, xmm9
;;       43  sub ebx, 1
;;       46  test ebx, ebx
;;       48  jne short 31h
;;       4a  movaps xmm0, xmm8
;;       4e  mov rbx, [rbp-8]
;;       52  mov rsp, rbp
;;       55  pop rbp
;;       56  ret
;;       57  ud2  ; may trap: call stack exhausted
