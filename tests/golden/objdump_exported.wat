;;! tier = "objdump"
;;! options = "exported"
(module
  (func (result i32) (i32.const 1))
  (func $switch (export "s") (param i32) (result i32)
    (block (block (block (block (br_table 0 1 2 3 0 1 2 3 (local.get 0)))
      (return (i32.const 10))) (return (i32.const 11))) (return (i32.const 13)))
    (unreachable))
)
;; wasm[0]::function[1]::switch:
;;             push rbp
;;             mov rbp, rsp
;;             mov r11d, 7
;;             mov eax, esi
;;             cmp eax, r11d
;;             cmovb r11d, eax
;;             lea rcx, [0x31]
;;             movsxd rax, [rcx + r11*4]
;;             add rcx, rax
;;             jmp rcx
;;             case → 0x6a
;;             case → 0x60
;;             case → 0x56
;;             case → 0x74
;;             case → 0x6a
;;             case → 0x60
;;             case → 0x56
;;             case → 0x74
;;             not reached: e9 1e 00 00 00
;;             mov eax, 0xd
;;             mov rsp, rbp
;;             pop rbp
;;             ret
;;             mov eax, 0xb
;;             mov rsp, rbp
;;             pop rbp
;;             ret
;;             mov eax, 0xa
;;             mov rsp, rbp
;;             pop rbp
;;             ret
;;             lea rax, [module table]
;;             mov rax, [rax]
;;             mov esi, 0xb00
;;             call rax
;;             ud2
