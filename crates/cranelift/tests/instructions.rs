//! Every instruction compiles in every mode on every kind of processor, with the code generator's
//! verifier on and without a call of any library.

#![forbid(unsafe_code)]

mod common;

use common::{cpus, errors, modes};
use std::fmt::Write;
use wardian_cranelift::Compiler;

/// Numeric instructions by type. Immediates stand in the text.
const NUMERIC: &[(&str, &str, &str)] = &[
    ("i32", "i32", "i32.eqz;i32.clz;i32.ctz;i32.popcnt;i32.extend8_s;i32.extend16_s"),
    (
        "i32 i32",
        "i32",
        "i32.eq;i32.ne;i32.lt_s;i32.lt_u;i32.gt_s;i32.gt_u;i32.le_s;i32.le_u;i32.ge_s;i32.ge_u;\
         i32.add;i32.sub;i32.mul;i32.div_s;i32.div_u;i32.rem_s;i32.rem_u;i32.and;i32.or;i32.xor;\
         i32.shl;i32.shr_s;i32.shr_u;i32.rotl;i32.rotr",
    ),
    ("i64", "i32", "i64.eqz;i32.wrap_i64"),
    ("i64", "i64", "i64.clz;i64.ctz;i64.popcnt;i64.extend8_s;i64.extend16_s;i64.extend32_s"),
    (
        "i64 i64",
        "i32",
        "i64.eq;i64.ne;i64.lt_s;i64.lt_u;i64.gt_s;i64.gt_u;i64.le_s;i64.le_u;i64.ge_s;i64.ge_u",
    ),
    (
        "i64 i64",
        "i64",
        "i64.add;i64.sub;i64.mul;i64.div_s;i64.div_u;i64.rem_s;i64.rem_u;i64.and;i64.or;i64.xor;\
         i64.shl;i64.shr_s;i64.shr_u;i64.rotl;i64.rotr",
    ),
    ("f32", "f32", "f32.abs;f32.neg;f32.ceil;f32.floor;f32.trunc;f32.nearest;f32.sqrt"),
    ("f64", "f64", "f64.abs;f64.neg;f64.ceil;f64.floor;f64.trunc;f64.nearest;f64.sqrt"),
    ("f32 f32", "f32", "f32.add;f32.sub;f32.mul;f32.div;f32.min;f32.max;f32.copysign"),
    ("f64 f64", "f64", "f64.add;f64.sub;f64.mul;f64.div;f64.min;f64.max;f64.copysign"),
    ("f32 f32", "i32", "f32.eq;f32.ne;f32.lt;f32.gt;f32.le;f32.ge"),
    ("f64 f64", "i32", "f64.eq;f64.ne;f64.lt;f64.gt;f64.le;f64.ge"),
    (
        "f32",
        "i32",
        "i32.trunc_f32_s;i32.trunc_f32_u;i32.trunc_sat_f32_s;i32.trunc_sat_f32_u;i32.reinterpret_f32",
    ),
    ("f64", "i32", "i32.trunc_f64_s;i32.trunc_f64_u;i32.trunc_sat_f64_s;i32.trunc_sat_f64_u"),
    ("f32", "i64", "i64.trunc_f32_s;i64.trunc_f32_u;i64.trunc_sat_f32_s;i64.trunc_sat_f32_u"),
    (
        "f64",
        "i64",
        "i64.trunc_f64_s;i64.trunc_f64_u;i64.trunc_sat_f64_s;i64.trunc_sat_f64_u;i64.reinterpret_f64",
    ),
    ("i32", "i64", "i64.extend_i32_s;i64.extend_i32_u"),
    ("i32", "f32", "f32.convert_i32_s;f32.convert_i32_u;f32.reinterpret_i32"),
    ("i64", "f32", "f32.convert_i64_s;f32.convert_i64_u"),
    ("i32", "f64", "f64.convert_i32_s;f64.convert_i32_u"),
    ("i64", "f64", "f64.convert_i64_s;f64.convert_i64_u;f64.reinterpret_i64"),
    ("f64", "f32", "f32.demote_f64"),
    ("f32", "f64", "f64.promote_f32"),
    (
        "",
        "v128",
        "v128.const i64x2 1 2;v128.const i32x4 0 0 0 0;v128.const i8x16 -1 -1 -1 -1 -1 -1 -1 -1 -1 \
         -1 -1 -1 -1 -1 -1 -1",
    ),
    (
        "v128",
        "v128",
        "v128.not;i8x16.abs;i16x8.abs;i32x4.abs;i64x2.abs;i8x16.neg;i16x8.neg;i32x4.neg;i64x2.neg;\
         i8x16.popcnt;i16x8.extadd_pairwise_i8x16_s;i16x8.extadd_pairwise_i8x16_u;\
         i32x4.extadd_pairwise_i16x8_s;i32x4.extadd_pairwise_i16x8_u;\
         i16x8.extend_low_i8x16_s;i16x8.extend_high_i8x16_s;i16x8.extend_low_i8x16_u;\
         i16x8.extend_high_i8x16_u;i32x4.extend_low_i16x8_s;i32x4.extend_high_i16x8_s;\
         i32x4.extend_low_i16x8_u;i32x4.extend_high_i16x8_u;i64x2.extend_low_i32x4_s;\
         i64x2.extend_high_i32x4_s;i64x2.extend_low_i32x4_u;i64x2.extend_high_i32x4_u;\
         f32x4.ceil;f32x4.floor;f32x4.trunc;f32x4.nearest;f32x4.abs;f32x4.neg;f32x4.sqrt;\
         f64x2.ceil;f64x2.floor;f64x2.trunc;f64x2.nearest;f64x2.abs;f64x2.neg;f64x2.sqrt;\
         i32x4.trunc_sat_f32x4_s;i32x4.trunc_sat_f32x4_u;f32x4.convert_i32x4_s;\
         f32x4.convert_i32x4_u;i32x4.trunc_sat_f64x2_s_zero;i32x4.trunc_sat_f64x2_u_zero;\
         f64x2.convert_low_i32x4_s;f64x2.convert_low_i32x4_u;f32x4.demote_f64x2_zero;\
         f64x2.promote_low_f32x4;i32x4.relaxed_trunc_f32x4_s;i32x4.relaxed_trunc_f32x4_u;\
         i32x4.relaxed_trunc_f64x2_s_zero;i32x4.relaxed_trunc_f64x2_u_zero",
    ),
    (
        "v128 v128",
        "v128",
        "i8x16.shuffle 0 17 2 19 4 21 6 23 8 25 10 27 12 29 14 31;\
         i8x16.shuffle 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1 0;i8x16.swizzle;i8x16.relaxed_swizzle;\
         i8x16.eq;i8x16.ne;i8x16.lt_s;i8x16.lt_u;i8x16.gt_s;i8x16.gt_u;i8x16.le_s;i8x16.le_u;\
         i8x16.ge_s;i8x16.ge_u;i16x8.eq;i16x8.ne;i16x8.lt_s;i16x8.lt_u;i16x8.gt_s;i16x8.gt_u;\
         i16x8.le_s;i16x8.le_u;i16x8.ge_s;i16x8.ge_u;i32x4.eq;i32x4.ne;i32x4.lt_s;i32x4.lt_u;\
         i32x4.gt_s;i32x4.gt_u;i32x4.le_s;i32x4.le_u;i32x4.ge_s;i32x4.ge_u;i64x2.eq;i64x2.ne;\
         i64x2.lt_s;i64x2.gt_s;i64x2.le_s;i64x2.ge_s;f32x4.eq;f32x4.ne;f32x4.lt;f32x4.gt;f32x4.le;\
         f32x4.ge;f64x2.eq;f64x2.ne;f64x2.lt;f64x2.gt;f64x2.le;f64x2.ge;v128.and;v128.andnot;\
         v128.or;v128.xor;i8x16.narrow_i16x8_s;i8x16.narrow_i16x8_u;i16x8.narrow_i32x4_s;\
         i16x8.narrow_i32x4_u;i8x16.add;i8x16.add_sat_s;i8x16.add_sat_u;i8x16.sub;i8x16.sub_sat_s;\
         i8x16.sub_sat_u;i8x16.min_s;i8x16.min_u;i8x16.max_s;i8x16.max_u;i8x16.avgr_u;\
         i16x8.q15mulr_sat_s;i16x8.add;i16x8.add_sat_s;i16x8.add_sat_u;i16x8.sub;i16x8.sub_sat_s;\
         i16x8.sub_sat_u;i16x8.mul;i16x8.min_s;i16x8.min_u;i16x8.max_s;i16x8.max_u;i16x8.avgr_u;\
         i16x8.extmul_low_i8x16_s;i16x8.extmul_high_i8x16_s;i16x8.extmul_low_i8x16_u;\
         i16x8.extmul_high_i8x16_u;i32x4.add;i32x4.sub;i32x4.mul;i32x4.min_s;i32x4.min_u;\
         i32x4.max_s;i32x4.max_u;i32x4.dot_i16x8_s;i32x4.extmul_low_i16x8_s;\
         i32x4.extmul_high_i16x8_s;i32x4.extmul_low_i16x8_u;i32x4.extmul_high_i16x8_u;i64x2.add;\
         i64x2.sub;i64x2.mul;i64x2.extmul_low_i32x4_s;i64x2.extmul_high_i32x4_s;\
         i64x2.extmul_low_i32x4_u;i64x2.extmul_high_i32x4_u;f32x4.add;f32x4.sub;f32x4.mul;\
         f32x4.div;f32x4.min;f32x4.max;f32x4.pmin;f32x4.pmax;f64x2.add;f64x2.sub;f64x2.mul;\
         f64x2.div;f64x2.min;f64x2.max;f64x2.pmin;f64x2.pmax;f32x4.relaxed_min;f32x4.relaxed_max;\
         f64x2.relaxed_min;f64x2.relaxed_max;i16x8.relaxed_q15mulr_s;\
         i16x8.relaxed_dot_i8x16_i7x16_s",
    ),
    (
        "v128 v128 v128",
        "v128",
        "v128.bitselect;i8x16.relaxed_laneselect;i16x8.relaxed_laneselect;i32x4.relaxed_laneselect;\
         i64x2.relaxed_laneselect;f32x4.relaxed_madd;f32x4.relaxed_nmadd;f64x2.relaxed_madd;\
         f64x2.relaxed_nmadd;i32x4.relaxed_dot_i8x16_i7x16_add_s",
    ),
    (
        "v128 i32",
        "v128",
        "i8x16.shl;i8x16.shr_s;i8x16.shr_u;i16x8.shl;i16x8.shr_s;i16x8.shr_u;i32x4.shl;i32x4.shr_s;\
         i32x4.shr_u;i64x2.shl;i64x2.shr_s;i64x2.shr_u;i8x16.replace_lane 15;\
         i16x8.replace_lane 7;i32x4.replace_lane 3",
    ),
    ("v128 i64", "v128", "i64x2.replace_lane 1"),
    ("v128 f32", "v128", "f32x4.replace_lane 2"),
    ("v128 f64", "v128", "f64x2.replace_lane 0"),
    ("i32", "v128", "i8x16.splat;i16x8.splat;i32x4.splat"),
    ("i64", "v128", "i64x2.splat"),
    ("f32", "v128", "f32x4.splat"),
    ("f64", "v128", "f64x2.splat"),
    (
        "v128",
        "i32",
        "v128.any_true;i8x16.all_true;i16x8.all_true;i32x4.all_true;i64x2.all_true;i8x16.bitmask;\
         i16x8.bitmask;i32x4.bitmask;i64x2.bitmask;i8x16.extract_lane_s 3;i8x16.extract_lane_u 15;\
         i16x8.extract_lane_s 0;i16x8.extract_lane_u 7;i32x4.extract_lane 2",
    ),
    ("v128", "i64", "i64x2.extract_lane 1"),
    ("v128", "f32", "f32x4.extract_lane 3"),
    ("v128", "f64", "f64x2.extract_lane 1"),
];

const LOADS: &[(&str, &str)] = &[
    ("i32", "i32.load;i32.load8_s;i32.load8_u;i32.load16_s;i32.load16_u"),
    ("i64", "i64.load;i64.load8_s;i64.load8_u;i64.load16_s;i64.load16_u;i64.load32_s;i64.load32_u"),
    ("f32", "f32.load"),
    ("f64", "f64.load"),
    (
        "v128",
        "v128.load;v128.load8x8_s;v128.load8x8_u;v128.load16x4_s;v128.load16x4_u;v128.load32x2_s;\
         v128.load32x2_u;v128.load8_splat;v128.load16_splat;v128.load32_splat;v128.load64_splat;\
         v128.load32_zero;v128.load64_zero",
    ),
];

const STORES: &[(&str, &str)] = &[
    ("i32", "i32.store;i32.store8;i32.store16"),
    ("i64", "i64.store;i64.store8;i64.store16;i64.store32"),
    ("f32", "f32.store"),
    ("f64", "f64.store"),
    ("v128", "v128.store"),
];

/// The instruction on parameters, on constants-to-be (`param + 1` folds) and on values from a call.
fn numeric_module() -> String {
    let mut wat = String::from("(module\n");
    for (params, results, list) in NUMERIC {
        for op in list.split(';') {
            write!(wat, "(func (param {params}) (result {results})").unwrap();
            for param in 0..params.split_whitespace().count() {
                write!(wat, " local.get {param}").unwrap();
            }
            writeln!(wat, " {op})").unwrap();
        }
    }
    // Divisors and shift amounts that the optimizer knows.
    for constant in [0i64, 1, -1, 2, -2, 3, 7, 10, 255, 1 << 31, i64::MIN] {
        for op in ["div_s", "div_u", "rem_s", "rem_u", "shl", "shr_s", "rotl"] {
            writeln!(
                wat,
                "(func (param i32) (result i32) local.get 0 i32.const {} i32.{op})\n\
                 (func (param i64) (result i64) local.get 0 i64.const {constant} i64.{op})",
                constant as i32
            )
            .unwrap();
        }
        writeln!(
            wat,
            "(func (param v128) (result v128) local.get 0 i32.const {} i64x2.shr_s)",
            constant as i32
        )
        .unwrap();
    }
    wat + ")"
}

fn memory_module() -> String {
    let mut wat = String::from(
        "(module (import \"\" \"m\" (memory $imported 1)) (memory $own 1) (memory $wide i64 1)\n\
         (memory $fixed 1 1) (data $d \"abc\")\n",
    );
    let memories = [("imported", "i32"), ("own", "i32"), ("wide", "i64"), ("fixed", "i32")];
    for (memory, index) in memories {
        let offsets: &[u64] = match index {
            "i32" => &[0, 1, 65535, 65536, 1 << 31, u32::MAX as u64],
            _ => &[0, 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX],
        };
        for offset in offsets {
            for (ty, list) in LOADS {
                for op in list.split(';') {
                    writeln!(
                        wat,
                        "(func (param {index}) (result {ty}) local.get 0 {op} ${memory} offset={offset})"
                    )
                    .unwrap();
                }
            }
            for (ty, list) in STORES {
                for op in list.split(';') {
                    writeln!(
                        wat,
                        "(func (param {index} {ty}) local.get 0 local.get 1 {op} ${memory} offset={offset})"
                    )
                    .unwrap();
                }
            }
            for bits in [8, 16, 32, 64] {
                let lane = 128 / bits - 1;
                writeln!(
                    wat,
                    "(func (param {index} v128) (result v128) local.get 0 local.get 1 \
                     v128.load{bits}_lane ${memory} offset={offset} {lane})\n\
                     (func (param {index} v128) local.get 0 local.get 1 \
                     v128.store{bits}_lane ${memory} offset={offset} {lane})"
                )
                .unwrap();
            }
        }
        writeln!(
            wat,
            "(func (result {index}) memory.size ${memory})\n\
             (func (param {index}) (result {index}) local.get 0 memory.grow ${memory})\n\
             (func (param {index} i32 {index}) local.get 0 local.get 1 local.get 2 memory.fill ${memory})\n\
             (func (param {index} i32 i32) local.get 0 local.get 1 local.get 2 memory.init ${memory} $d)"
        )
        .unwrap();
        for (source, source_index) in memories {
            let length = if (index, source_index) == ("i64", "i64") { "i64" } else { "i32" };
            writeln!(
                wat,
                "(func (param {index} {source_index} {length}) local.get 0 local.get 1 local.get 2 \
                 memory.copy ${memory} ${source})"
            )
            .unwrap();
        }
    }
    wat + "(func data.drop $d))"
}

const REFERENCES: &str = r#"(module
  (type $unary (func (param i32) (result i32)))
  (type $many (func (param i32 i64 f32 f64 v128 i32 i64 f32 f64 v128 i32 i64 i32 i64)
    (result i32 i64 f32 f64 v128 i32 i64 f32 f64 v128)))
  (import "" "f" (func $import (type $unary)))
  (import "" "g" (func $import_many (type $many)))
  (import "" "t" (table $imported 1 funcref))
  (import "" "x" (global $imported_global (mut i64)))
  (import "" "c" (global $imported_constant v128))
  (table $funcs 10 20 funcref) (table $externs i64 10 externref) (table $typed 5 (ref null $unary))
  (table $exact 5 (ref $unary) (ref.func $f))
  (global $i32 (mut i32) (i32.const 0)) (global $v128 (mut v128) (v128.const i64x2 0 0))
  (global $f64 f64 (f64.const 1)) (global $ref (mut funcref) (ref.null func))
  (global $extern (mut externref) (ref.null extern))
  (elem $e func $f $import) (elem $x externref (ref.null extern)) (elem declare func $m)
  (func $f (type $unary) local.get 0)
  (func $m (type $many)
    local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 local.get 6 local.get 7
    local.get 8 local.get 9)
  (func (param i32) (result funcref) local.get 0 table.get $funcs)
  (func (param i64) (result externref) local.get 0 table.get $externs)
  (func (param i32) (result (ref null $unary)) local.get 0 table.get $typed)
  (func (param i32 funcref) local.get 0 local.get 1 table.set $imported)
  (func (param i64 externref) local.get 0 local.get 1 table.set $externs)
  (func (result i32 i64 i32) table.size $funcs table.size $externs table.size $imported)
  (func (param funcref i32) (result i32) local.get 0 local.get 1 table.grow $funcs)
  (func (param externref i64) (result i64) local.get 0 local.get 1 table.grow $externs)
  (func (param i32 funcref i32) local.get 0 local.get 1 local.get 2 table.fill $funcs)
  (func (param i64 externref i64) local.get 0 local.get 1 local.get 2 table.fill $externs)
  (func (param i32 i32 i32) local.get 0 local.get 1 local.get 2 table.copy $funcs $imported)
  (func (param i64 i64 i64) local.get 0 local.get 1 local.get 2 table.copy $externs $externs)
  (func (param i32 i32 i32) local.get 0 local.get 1 local.get 2 table.init $funcs $e)
  (func (param i64 i32 i32) local.get 0 local.get 1 local.get 2 table.init $externs $x)
  (func elem.drop $e)
  (func (result funcref externref (ref null $unary))
    ref.null func ref.null extern ref.null $unary)
  (func (result (ref $unary) (ref $many) funcref) ref.func $f ref.func $m ref.func $import)
  (func (param funcref externref) (result i32 i32)
    local.get 0 ref.is_null local.get 1 ref.is_null)
  (func (param funcref externref) (result (ref func) (ref extern))
    local.get 0 ref.as_non_null local.get 1 ref.as_non_null)
  (func (param (ref null $unary)) (result i32)
    (block $null (return (call_ref $unary (i32.const 1) (br_on_null $null (local.get 0)))))
    i32.const 2)
  (func (param externref) (result externref i32)
    (block $some (result (ref extern)) (br_on_non_null $some (local.get 0))
      (return (ref.null extern) (i32.const 0)))
    i32.const 1)
  (func (param i32 funcref funcref) (result funcref)
    (select (result funcref) (local.get 1) (local.get 2) (local.get 0)))
  (func (param i32 v128 v128) (result v128)
    (select (result v128) (local.get 1) (local.get 2) (local.get 0)))
  (func (param i32 (ref $unary) (ref null $unary)) (result (ref null $unary))
    (select (result (ref null $unary)) (local.get 1) (local.get 2) (local.get 0)))
  (func (result i32 v128 f64 funcref externref i64 v128)
    global.get $i32 global.get $v128 global.get $f64 global.get $ref global.get $extern
    global.get $imported_global global.get $imported_constant)
  (func (param i32 v128 funcref externref i64)
    (global.set $i32 (local.get 0)) (global.set $v128 (local.get 1))
    (global.set $ref (local.get 2)) (global.set $extern (local.get 3))
    (global.set $imported_global (local.get 4)))
  (func (type $unary) local.get 0 call $f call $import)
  (func (type $unary) local.get 0 local.get 0 call_indirect $funcs (type $unary))
  (func (type $unary) local.get 0 local.get 0 call_indirect $imported (type $unary))
  (func (type $unary) local.get 0 local.get 0 call_indirect $typed (type $unary))
  (func (type $unary) local.get 0 local.get 0 call_indirect $exact (type $unary))
  (func (param (ref null $unary)) (result i32) i32.const 1 local.get 0 call_ref $unary)
  (func (type $unary) local.get 0 return_call $f)
  (func (type $unary) local.get 0 return_call $import)
  (func (type $unary) local.get 0 local.get 0 return_call_indirect $funcs (type $unary))
  (func (param i32 (ref $unary)) (result i32) local.get 0 local.get 1 return_call_ref $unary)
  (func $all (type $many)
    local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 local.get 6 local.get 7
    local.get 8 local.get 9 local.get 10 local.get 11 local.get 12 local.get 13 call $m
    local.get 10 local.get 11 local.get 12 local.get 13 call $import_many
    local.get 10 local.get 11 local.get 12 local.get 13 return_call $m)
  (func (type $many)
    local.get 0 local.get 1 local.get 2 local.get 3 local.get 4 local.get 5 local.get 6 local.get 7
    local.get 8 local.get 9 local.get 10 local.get 11 local.get 12 local.get 13
    i32.const 1 return_call_indirect $funcs (type $many))
  (func (param i32) (result i32 i64 f32 f64 v128 i32 i64 f32 f64 v128)
    local.get 0 i64.const 1 f32.const 2 f64.const 3 v128.const i64x2 4 5 i32.const 6 i64.const 7
    f32.const 8 f64.const 9 v128.const i64x2 1 2 i32.const 1 i64.const 2 i32.const 3 i64.const 4
    return_call $all)
)"#;

const CONTROL: &str = r#"(module
  (type $pair (func (param i32 i64) (result i64 i32)))
  (func (param i32) (result i32)
    (block (result i32) (loop (result i32) (br_if 1 (local.get 0) (i32.const 1)) (br 0))))
  (func (param i32) (result i32)
    (if (result i32) (local.get 0) (then (i32.const 1)) (else (return (i32.const 2)))))
  (func (param i32) (result i32)
    (if (result i32) (local.get 0) (then (unreachable)) (else (unreachable))))
  (func (param i32) (if (local.get 0) (then (return))) (if (local.get 0) (then)))
  (func (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (br_if 0 (i32.const 7) (local.get 0))) (else (br 0 (i32.const 1)))))
  (func (param i32 i64) (result i64 i32)
    local.get 0 local.get 1
    (block (type $pair) (loop (type $pair)
      (br_if 0 (i32.wrap_i64 (i64.const 1)))
      (block (param i64) drop) (block (param i32) drop) (i64.const 3) (i32.const 1))))
  (func (param i32 i64) (result i32 i64)
    local.get 0 local.get 1 local.get 0 (if (param i32 i64) (result i32 i64) (then)))
  (func (param i32 i64) (result i32 i64)
    local.get 0 local.get 1 local.get 0
    (if (param i32 i64) (result i32 i64) (then (br_if 0 (local.get 0))) (else (br 0))))
  (func (param i32) (result i32)
    (block (block (block (br_table 0 1 2 0 1 0 (local.get 0)) ) (return (i32.const 1)))
      (return (i32.const 2))) i32.const 3)
  (func (param i32) (result i32)
    (loop $l (result i32) (block $b (result i32)
      (br_table $b $b 2 $b 2 (i32.const 9) (local.get 0)))))
  (func (param i32) (loop $l (br_table $l $l $l $l (local.get 0))))
  (func (param i32) (br_table 0 0 0 (local.get 0)))
  (func (result i32) unreachable i32.add drop (block (param i32) (br 0)) (loop br 0) i32.const 1)
  (func (result i32) (block (result i32) i32.const 1 br 0 (if (then) (else)) (block (loop))
    i32.const 3 drop))
  (func (result i32) (loop (result i32) (br 0)) )
  (func (param i32) (result i32) (local i32 i64 f32 f64 v128 funcref externref)
    (loop (local.set 1 (i32.add (local.get 1) (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
      (local.set 5 (i8x16.splat (local.get 1)))
      (br_if 0 (local.get 0)))
    (i32.add (local.get 1) (i8x16.extract_lane_u 1 (local.get 5))))
  (func nop)
)"#;

fn check(name: &str, wat: &str) {
    let mut failures = String::new();
    for (mode, settings) in modes() {
        for cpu in cpus() {
            let compiler = Compiler::with_cpu(&settings, cpu).unwrap();
            for error in errors(&compiler, wat) {
                writeln!(failures, "{name}, {mode}, {cpu}: {error}").unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn numeric_instructions() {
    check("numeric", &numeric_module());
}

#[test]
fn memory_instructions() {
    check("memory", &memory_module());
}

#[test]
fn reference_instructions() {
    check("references", REFERENCES);
}

#[test]
fn control_instructions() {
    check("control", CONTROL);
}

#[test]
fn flipped_bytes_are_refused_or_compile() {
    // An internal error would be a panic of the code generator or code that its verifier refuses.
    let settings = wardian_module::Settings {
        opt_level: wardian_module::OptLevel::None,
        ..common::settings()
    };
    let compiler = Compiler::new(&settings).unwrap();
    for wat in [REFERENCES, CONTROL] {
        let wasm = wat::parse_str(wat).unwrap();
        for at in 0..wasm.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut flipped = wasm.clone();
                flipped[at] ^= flip;
                for error in common::errors_in(&compiler, flipped, at) {
                    let internal = matches!(error, wardian_cranelift::CompileError::Internal(_));
                    assert!(!internal, "byte {at} with {flip:#x}: {error}");
                }
            }
        }
    }
}

#[test]
fn features_that_the_processor_lacks_are_refused() {
    let error = Compiler::with_cpu(&common::settings(), "nonsense").err().unwrap();
    assert!(error.contains("unknown cpu `nonsense`"), "{error}");
}

#[test]
fn keys_tell_processors_and_settings_apart() {
    let key = |settings, cpu| Compiler::with_cpu(&settings, cpu).unwrap().isa_key();
    let plain = key(common::settings(), "x86-64");
    assert_eq!(plain, key(common::settings(), "x86-64"));
    assert!(plain.contains("has_sse41=0"), "{plain}");
    let unoptimized = wardian_module::Settings {
        opt_level: wardian_module::OptLevel::None,
        ..common::settings()
    };
    assert_ne!(plain, key(unoptimized, "x86-64"));
}
