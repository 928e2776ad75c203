;;! tier = "objdump"
;;! options = "addresses bytes traps address-map"
(module
  (memory 1)
  (func $leaf (param i32) (result i32) (i32.mul (local.get 0) (i32.const 5)))
  (func $far (param i32) (result i32)
    (if (local.get 0) (then (return (call $far (i32.sub (local.get 0) (i32.const 1))))))
    (memory.grow (i32.const 1)))
  (func (export "run") (param i32) (result i32)
    (i32.store offset=16 (local.get 0) (call $leaf (local.get 0)))
    (i32.div_u (call $far (local.get 0)) (local.get 0)))
)
;; 00000000 wasm[0]::function[0]::leaf:
;;          0: 55                          push rbp
;;          1: 48 89 e5                    mov rbp, rsp
;;                                         ╰─╼ addrmap: 0x2d
;;          4: 6b c6 05                    imul eax, esi, 5
;;                                         ╰─╼ addrmap: 0x2e
;;          7: 48 89 ec                    mov rsp, rbp
;;          a: 5d                          pop rbp
;;          b: c3                          ret
;;
;; 0000000c wasm[0]::function[1]::far:
;;          c: 55                          push rbp
;;          d: 48 89 e5                    mov rbp, rsp
;;         10: 4c 8b 17                    mov r10, [rdi]
;;         13: 4d 8b 12                    mov r10, [r10]
;;         16: 49 83 c2 10                 add r10, 0x10
;;         1a: 4c 3b d4                    cmp r10, rsp
;;         1d: 0f 87 31 00 00 00           ja 0x54
;;                                         ╰─╼ addrmap: 0x33
;;         23: 85 f6                       test esi, esi
;;         25: 0f 85 1c 00 00 00           jne 0x47
;;                                         ╰─╼ addrmap: 0x40
;;         2b: 4c 8d 1d ce ef ff ff        lea r11, [module table]
;;         32: 4d 8b 1b                    mov r11, [r11]
;;         35: be 02 00 00 00              mov esi, 2
;;         3a: ba 01 00 00 00              mov edx, 1
;;                                         ╰─╼ addrmap: 0x40
;;         3f: 41 ff d3                    call r11
;;                                         ╰─╼ addrmap: 0x42
;;         42: 48 89 ec                    mov rsp, rbp
;;         45: 5d                          pop rbp
;;         46: c3                          ret
;;                                         ╰─╼ addrmap: 0x39
;;         47: 83 ee 01                    sub esi, 1
;;                                         ╰─╼ addrmap: 0x3a
;;         4a: e8 bd ff ff ff              call 0xc
;;                                         ╰─╼ addrmap: 0x3c
;;         4f: 48 89 ec                    mov rsp, rbp
;;         52: 5d                          pop rbp
;;         53: c3                          ret
;;         54: 0f 0b                       ud2
;;                                         ╰─╼ trap: call stack exhausted
;;
;; 00000056 wasm[0]::function[2]::run:
;;         56: 55                          push rbp
;;         57: 48 89 e5                    mov rbp, rsp
;;         5a: 4c 8b 17                    mov r10, [rdi]
;;         5d: 4d 8b 12                    mov r10, [r10]
;;         60: 49 83 c2 20                 add r10, 0x20
;;         64: 4c 3b d4                    cmp r10, rsp
;;         67: 0f 87 58 00 00 00           ja 0xc5
;;         6d: 48 83 ec 10                 sub rsp, 0x10
;;         71: 48 89 1c 24                 mov [rsp], rbx
;;                                         ╰─╼ addrmap: 0x49, inlined func 0
;;         75: 6b c6 05                    imul eax, esi, 5
;;                                         ╰─╼ addrmap: 0x4b
;;         78: 48 8b 4f 10                 mov rcx, [rdi + 0x10]
;;         7c: 8b d6                       mov edx, esi
;;         7e: 89 44 11 10                 mov [rcx + rdx + 0x10], eax
;;                                         ╰─╼ trap: out of bounds memory access
;;                                         ╰─╼ addrmap: 0x50, inlined func 1
;;         82: 85 f6                       test esi, esi
;;         84: 48 89 f3                    mov rbx, rsi
;;         87: 0f 85 1b 00 00 00           jne 0xa8
;;         8d: 48 8d 05 6c ef ff ff        lea rax, [module table]
;;         94: 48 8b 00                    mov rax, [rax]
;;         97: be 02 00 00 00              mov esi, 2
;;         9c: ba 01 00 00 00              mov edx, 1
;;                                         ╰─╼ addrmap: 0x50, inlined func 1
;;         a1: ff d0                       call rax
;;         a3: e9 0b 00 00 00              jmp 0xb3
;;         a8: 48 89 de                    mov rsi, rbx
;;                                         ╰─╼ addrmap: 0x50, inlined func 1
;;         ab: 83 ee 01                    sub esi, 1
;;         ae: e8 59 ff ff ff              call func 1
;;                                         ╰─╼ addrmap: 0x54
;;         b3: 48 33 d2                    xor rdx, rdx
;;         b6: f7 f3                       div ebx
;;                                         ╰─╼ trap: integer divide by zero
;;                                         ╰─╼ addrmap: 0x55
;;         b8: 48 8b 1c 24                 mov rbx, [rsp]
;;         bc: 48 83 c4 10                 add rsp, 0x10
;;         c0: 48 89 ec                    mov rsp, rbp
;;         c3: 5d                          pop rbp
;;         c4: c3                          ret
;;         c5: 0f 0b                       ud2
;;                                         ╰─╼ trap: call stack exhausted
