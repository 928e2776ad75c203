;; An interpreter whose instructions are functions that call each other in tail position: place and registers
;; are parameters, and each finds the next by a table. `run` runs the program below, whose loop turns as often
;; as its argument says, nine instructions a turn.
(module
  (type $op (func (param $pc i32) (param $regs i32) (result i32)))
  (memory (export "memory") 16)
  ;; Registers are 32 bits each, from 256 on. An instruction is an opcode, three registers and a number.
  (data (i32.const 1024)
    "\01\00\00\00\39\30\00\00" ;; r0 = 12345
    "\01\05\00\00\6d\4e\c6\41" ;; r5 = 1103515245
    "\04\00\00\05\00\00\00\00" ;; 2: r0 = r0 * r5
    "\07\00\00\00\39\30\00\00" ;; r0 = r0 + 12345
    "\06\02\00\00\10\00\00\00" ;; r2 = r0 >> 16
    "\08\03\02\00\00\00\00\00" ;; r3 = cells[r2]
    "\02\03\03\00\00\00\00\00" ;; r3 = r3 + r0
    "\09\03\02\00\00\00\00\00" ;; cells[r2] = r3
    "\05\04\04\03\00\00\00\00" ;; r4 = r4 ^ r3
    "\07\01\01\00\ff\ff\ff\ff" ;; r1 = r1 - 1
    "\0a\01\00\00\02\00\00\00" ;; if r1 != 0 goto 2
    "\02\00\04\03\00\00\00\00" ;; r0 = r4 + r3
    "\00\00\00\00\00\00\00\00" ;; halt
  )
  (table 11 11 funcref)
  (elem (i32.const 0) $halt $const $add $sub $mul $xor $shr $add_const $load $store $branch)

  (func (export "run") (param $turns i32) (result i32)
    (i32.store (i32.const 260) (local.get $turns))
    (return_call $const (i32.const 1024) (i32.const 256)))

  (func $halt (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.load (local.get $regs)))

  (func $const (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.store (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))
      (i32.load offset=4 (local.get $pc)))
    (return_call_indirect (type $op)
      (i32.add (local.get $pc) (i32.const 8)) (local.get $regs)
      (i32.load8_u offset=8 (local.get $pc))))

  (func $add (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.store (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))
      (i32.add
        (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=2 (local.get $pc)) (i32.const 2))))
        (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=3 (local.get $pc)) (i32.const 2))))))
    (return_call_indirect (type $op)
      (i32.add (local.get $pc) (i32.const 8)) (local.get $regs)
      (i32.load8_u offset=8 (local.get $pc))))

  (func $sub (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.store (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))
      (i32.sub
        (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=2 (local.get $pc)) (i32.const 2))))
        (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=3 (local.get $pc)) (i32.const 2))))))
    (return_call_indirect (type $op)
      (i32.add (local.get $pc) (i32.const 8)) (local.get $regs)
      (i32.load8_u offset=8 (local.get $pc))))

  (func $mul (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.store (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))
      (i32.mul
        (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=2 (local.get $pc)) (i32.const 2))))
        (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=3 (local.get $pc)) (i32.const 2))))))
    (return_call_indirect (type $op)
      (i32.add (local.get $pc) (i32.const 8)) (local.get $regs)
      (i32.load8_u offset=8 (local.get $pc))))

  (func $xor (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.store (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))
      (i32.xor
        (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=2 (local.get $pc)) (i32.const 2))))
        (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=3 (local.get $pc)) (i32.const 2))))))
    (return_call_indirect (type $op)
      (i32.add (local.get $pc) (i32.const 8)) (local.get $regs)
      (i32.load8_u offset=8 (local.get $pc))))

  (func $shr (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.store (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))
      (i32.shr_u (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=2 (local.get $pc)) (i32.const 2))))
        (i32.load offset=4 (local.get $pc))))
    (return_call_indirect (type $op)
      (i32.add (local.get $pc) (i32.const 8)) (local.get $regs)
      (i32.load8_u offset=8 (local.get $pc))))

  (func $add_const (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.store (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))
      (i32.add (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=2 (local.get $pc)) (i32.const 2))))
        (i32.load offset=4 (local.get $pc))))
    (return_call_indirect (type $op)
      (i32.add (local.get $pc) (i32.const 8)) (local.get $regs)
      (i32.load8_u offset=8 (local.get $pc))))

  (func $load (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.store (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))
      (i32.load offset=65536
        (i32.shl (i32.and (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=2 (local.get $pc)) (i32.const 2)))) (i32.const 0xffff)) (i32.const 2))))
    (return_call_indirect (type $op)
      (i32.add (local.get $pc) (i32.const 8)) (local.get $regs)
      (i32.load8_u offset=8 (local.get $pc))))

  (func $store (type $op) (param $pc i32) (param $regs i32) (result i32)
    (i32.store offset=65536
      (i32.shl (i32.and (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=2 (local.get $pc)) (i32.const 2)))) (i32.const 0xffff)) (i32.const 2))
      (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))))
    (return_call_indirect (type $op)
      (i32.add (local.get $pc) (i32.const 8)) (local.get $regs)
      (i32.load8_u offset=8 (local.get $pc))))

  (func $branch (type $op) (param $pc i32) (param $regs i32) (result i32)
    (local $target i32)
    (local.set $target
      (i32.add (i32.const 1024) (i32.shl (i32.load offset=4 (local.get $pc)) (i32.const 3))))
    (if (i32.eqz (i32.load (i32.add (local.get $regs) (i32.shl (i32.load8_u offset=1 (local.get $pc)) (i32.const 2)))))
      (then (local.set $target (i32.add (local.get $pc) (i32.const 8)))))
    (return_call_indirect (type $op)
      (local.get $target) (local.get $regs) (i32.load8_u (local.get $target))))
)
