//! What machine code looks like where this crate changes what Cranelift would make of a function: copied
//! dispatch, constants that become offsets, loops with two bodies, indices that stay extended, loops without
//! copies, functions without a stack check.

#![forbid(unsafe_code)]

mod common;

use wardian_cranelift::{Compiler, Scratch};
use wardian_module::layout::{Linkage, VmLayout};

/// Machine code of the first function of a module, by line. What is compiled is also compiled as always,
/// checked where the checker is there.
fn lines(wat: &str) -> Vec<String> {
    let compiler = Compiler::with_cpu(&common::settings(), "x86-64").unwrap();
    common::compile_with(&compiler, wat).unwrap();
    let (module, bodies) = common::parse(wat);
    let layout = VmLayout::new(&module);
    let body = bodies.into_iter().next().unwrap();
    let text = compiler.disassembly(&module, &layout, body, &mut Scratch::new()).unwrap();
    text.lines().map(|line| line.trim().to_string()).collect()
}

fn count(lines: &[String], what: impl Fn(&str) -> bool) -> usize {
    lines.iter().filter(|line| what(line)).count()
}

/// A copy of a whole register, or of its low half.
fn is_copy(line: &str) -> bool {
    let Some(operands) = line.strip_prefix("movl ").or(line.strip_prefix("movq ")) else {
        return false;
    };
    let is_frame = operands.contains("%rsp") || operands.contains("%rbp");
    operands.trim().split(", ").all(|operand| operand.starts_with('%')) && !is_frame
}

const INTERPRETER: &str = r#"(module (memory 1) (func (param i32 i32) (result i32)
  loop $next
    block $end block $sub block $add
      local.get 0 i32.load8_u
      br_table $add $sub $end
    end
      local.get 1 local.get 0 i32.load offset=4 i32.add local.set 1
      local.get 0 i32.const 8 i32.add local.set 0
      br $next
    end
      local.get 1 local.get 0 i32.load offset=4 i32.sub local.set 1
      local.get 0 i32.const 8 i32.add local.set 0
      br $next
    end
  end
  local.get 1))"#;

#[test]
fn dispatch_is_copied_to_all_jumps_but_one() {
    let lines = lines(INTERPRETER);
    let dispatches = count(&lines, |line| line.starts_with("br_table"));
    assert_eq!(dispatches, 3, "{lines:#?}");
}

#[test]
fn long_tables_are_not_copied() {
    let arms = 700;
    let mut wat = String::from("(module (memory 1) (func (param i32) loop $next block $end ");
    wat += &"block ".repeat(arms);
    wat += "local.get 0 i32.load8_u br_table ";
    (0..=arms).for_each(|arm| wat += &format!("{arm} "));
    for arm in 0..arms {
        wat += &format!("end i32.const {arm} local.set 0 br $next ");
    }
    wat += "end end))";
    let lines = lines(&wat);
    assert_eq!(count(&lines, |line| line.starts_with("br_table")), 1);
}

#[test]
fn values_of_dispatch_reach_all_who_use_them() {
    // What the block of the dispatch computes is used in the arms, behind them, and in the next turn.
    let wat = r#"(module (memory 1) (func (param i32 i32) (result i32) (local i32 i32)
      loop $next
        block $join block $c block $b block $a
          local.get 0 i32.load16_u offset=2 local.tee 2
          local.get 1 i32.add local.set 3
          local.get 2 i32.const 7 i32.and br_table $a $b $c $join
        end
          local.get 3 i32.const 3 i32.mul local.set 1
          local.get 0 i32.const 4 i32.add local.set 0
          br $next
        end
          local.get 2 local.set 0
          br $next
        end
          local.get 3 local.get 2 i32.xor local.set 1
          local.get 2 local.set 0
          br $next
        end
        local.get 3 local.get 1 i32.sub local.set 1
        local.get 2 i32.const 9 i32.ne br_if $next
      end
      local.get 1 local.get 3 i32.add))"#;
    let lines = lines(wat);
    assert_eq!(count(&lines, |line| line.starts_with("br_table")), 4, "{lines:#?}");
}

#[test]
fn indices_of_loops_are_not_extended_at_each_turn() {
    // A list is followed, and a pointer moves on; the one way back needs no copy.
    let wat = r#"(module (memory 1) (func (param i32 i32) (result i32) (local i32)
      loop
        local.get 2 local.get 0 i32.load offset=4 i32.add local.set 2
        local.get 2 local.get 1 i32.load8_u i32.add local.set 2
        local.get 1 i32.const 1 i32.add local.set 1
        local.get 0 i32.load local.tee 0
        br_if 0
      end
      local.get 2))"#;
    let lines = lines(wat);
    let start = lines.iter().position(|line| line.starts_with("block1:")).expect("the loop");
    let end = lines.iter().skip(start).position(|line| line.starts_with('j')).expect("its end");
    let turn = &lines[start..start + end];
    assert_eq!(count(turn, is_copy), 0, "{lines:#?}");
}

#[test]
fn counters_die_where_their_next_value_is_made() {
    // The end is compared with the old value, and behind the loop the next value is made once more.
    let wat = r#"(module (memory 1) (func (param i32) (result i32) (local i32 i32)
      loop
        local.get 0 local.get 1 i32.add local.get 1 i32.store
        local.get 1 local.set 2
        local.get 1 i32.const 16 i32.add local.set 1
        local.get 2 i32.const 4080 i32.ne
        br_if 0
      end
      local.get 2 i32.const 16 i32.add))"#;
    let lines = lines(wat);
    assert_eq!(count(&lines, |line| line.contains("0x1000,")), 1, "{lines:#?}");
    let start = lines.iter().position(|line| line.starts_with("block1:")).expect("the loop");
    let end = lines.iter().skip(start).position(|line| line.starts_with('j')).expect("its end");
    assert_eq!(count(&lines[start..start + end], is_copy), 0, "{lines:#?}");
}

/// A loop over products of floats at `start + counter`, which ends as said.
fn products(end: &str) -> Vec<String> {
    let wat = r#"(module (memory 1) (func (param i32) (result f32) (local i32 f32)
      loop
        local.get 1 i32.const 1024 i32.add f32.load
        local.get 1 i32.const 2048 i32.add f32.load
        f32.mul local.get 2 f32.add local.set 2
        local.get 1 i32.const 4 i32.add local.tee 1
        END
        br_if 0
      end
      local.get 2))"#;
    lines(&wat.replace("END", end))
}

#[test]
fn constants_of_indices_that_cannot_wrap_are_offsets() {
    let constants = ["0x400(", "1024(", "0x800(", "2048("];
    let is_sum = |line: &str| {
        line.starts_with("lea") && constants.iter().any(|constant| line.contains(constant))
    };
    let sums = |end| count(&products(end), is_sum);
    assert_eq!(sums("i32.const 400 i32.ne"), 0);
    assert_eq!(sums("i32.const 399 i32.lt_u"), 0);
    assert_eq!(sums("i32.const 400 i32.lt_s"), 0);
    // These go on until the counter wraps, or nobody knows.
    assert_eq!(sums("i32.const 401 i32.ne"), 2);
    assert_eq!(sums("local.get 0 i32.ne"), 2);
    assert_eq!(sums("i32.const -400 i32.gt_s"), 2);
}

#[test]
fn small_loops_of_integers_have_two_bodies() {
    let text = |result: &str, end: &str| {
        let wat = r#"(module (memory 1) (func (param i32) (result i32) (local i32 i32)
          loop $turn
            local.get 1 i32.load8_u
            RESULT
            local.get 2 i32.mul local.set 2
            local.get 1 i32.const 1 i32.add local.tee 1
            END
            br_if $turn
          end
          local.get 2))"#;
        lines(&wat.replace("RESULT", result).replace("END", end))
    };
    let is_product = |line: &str| line.starts_with("imul");
    let is_test = |line: &str| line.starts_with("cmp");
    let known = text("", "local.get 0 i32.ne");
    assert_eq!((count(&known, is_product), count(&known, is_test)), (2, 2), "{known:#?}");
    // 100 turns end behind the second body.
    let even = text("", "i32.const 100 i32.ne");
    assert_eq!((count(&even, is_product), count(&even, is_test)), (2, 1), "{even:#?}");
    let odd = text("", "i32.const 101 i32.ne");
    assert_eq!((count(&odd, is_product), count(&odd, is_test)), (2, 2), "{odd:#?}");
    let calls = text("call 0", "local.get 0 i32.ne");
    assert_eq!(count(&calls, is_product), 1, "{calls:#?}");
    let floats = text("f32.convert_i32_s i32.trunc_sat_f32_s", "local.get 0 i32.ne");
    assert_eq!(count(&floats, is_product), 1, "{floats:#?}");
}

#[test]
fn functions_that_only_call_in_tail_position_do_not_check_the_stack() {
    let table = "(type $t (func (param i32) (result i32))) (table 4 4 funcref) (memory 1)";
    let tail = format!(
        "(module {table} (func (param i32) (result i32)
           local.get 0 local.get 0 i32.load return_call_indirect (type $t)))"
    );
    let call = tail.replace("return_call_indirect (type $t)", "call_indirect (type $t)");
    let checks = |wat| count(&lines(wat), |line| line.contains("stk_ovf"));
    assert_eq!((checks(&tail), checks(&call)), (0, 1));
}

#[test]
fn large_frames_are_checked_even_if_nothing_is_called() {
    // More than a thousand vectors live at once.
    let count = 600;
    let mut wat = String::from("(module (memory 1) (func (param i32) (result v128)");
    (0..count).for_each(|at| wat += &format!(" local.get 0 v128.load offset={}", 16 * at));
    (1..count).for_each(|_| wat += " i64x2.add");
    wat += "))";
    let compiler = Compiler::with_cpu(&common::settings(), "x86-64").unwrap();
    let image = common::compile_with(&compiler, &wat).unwrap();
    let overflow = wardian_module::Trap::StackOverflow;
    assert!(image.traps.iter().any(|site| site.trap == overflow));
    let _ = Linkage::Direct;
}

/// Processors with BMI1 take the complement and the mask, which lies behind the code, in one instruction. The
/// mask says that no check is needed, and the checker, if it is there, has to see that too.
#[test]
fn masks_behind_the_code_bound_an_index() {
    let wat = r#"(module (memory 1) (func (param i32)
      local.get 0 i32.const -1 i32.xor i32.const 0x7ff8 i32.and
      i64.const 0 i64.store offset=8))"#;
    for cpu in common::cpus() {
        for (mode, settings) in common::modes() {
            let compiler = Compiler::with_cpu(&settings, cpu).unwrap();
            let made = common::compile_with(&compiler, wat);
            made.unwrap_or_else(|error| panic!("{cpu}, {mode}: {error}"));
        }
    }
}
