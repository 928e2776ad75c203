;;! tier = "record"
;;! signals = "no"
;; NaN first, then the exact bounds of each conversion.
(module
  (func (param f32) (result i32) local.get 0 i32.trunc_f32_s)
  (func (param f32) (result i32) local.get 0 i32.trunc_f32_u)
  (func (param f64) (result i32) local.get 0 i32.trunc_f64_s)
  (func (param f64) (result i32) local.get 0 i32.trunc_f64_u)
  (func (param f32) (result i64) local.get 0 i64.trunc_f32_s)
  (func (param f32) (result i64) local.get 0 i64.trunc_f32_u)
  (func (param f64) (result i64) local.get 0 i64.trunc_f64_s)
  (func (param f64) (result i64) local.get 0 i64.trunc_f64_u)
)
;; wasm[0]::function[0]:
;;   v0 = local.get 0
;;   v1 = compare Ne v0, v0
;;   trap_if v1 BadConversionToInteger 0 ()
;;   v2 = const f32 -2147483600
;;   v3 = compare LtU v0, v2
;;   v4 = const f32 2147483600
;;   v5 = compare GeU v0, v4
;;   v6 = Or v3, v5
;;   trap_if v6 IntegerOverflow 0 ()
;;   v7 = i32.trunc_f32_s v0
;;   return (v7)
;; wasm[0]::function[1]:
;;   v0 = local.get 0
;;   v1 = compare Ne v0, v0
;;   trap_if v1 BadConversionToInteger 0 ()
;;   v2 = const f32 -1
;;   v3 = compare LeU v0, v2
;;   v4 = const f32 4294967300
;;   v5 = compare GeU v0, v4
;;   v6 = Or v3, v5
;;   trap_if v6 IntegerOverflow 0 ()
;;   v7 = i32.trunc_f32_u v0
;;   return (v7)
;; wasm[0]::function[2]:
;;   v0 = local.get 0
;;   v1 = compare Ne v0, v0
;;   trap_if v1 BadConversionToInteger 0 ()
;;   v2 = const f64 -2147483649
;;   v3 = compare LeU v0, v2
;;   v4 = const f64 2147483648
;;   v5 = compare GeU v0, v4
;;   v6 = Or v3, v5
;;   trap_if v6 IntegerOverflow 0 ()
;;   v7 = i32.trunc_f64_s v0
;;   return (v7)
;; wasm[0]::function[3]:
;;   v0 = local.get 0
;;   v1 = compare Ne v0, v0
;;   trap_if v1 BadConversionToInteger 0 ()
;;   v2 = const f64 -1
;;   v3 = compare LeU v0, v2
;;   v4 = const f64 4294967296
;;   v5 = compare GeU v0, v4
;;   v6 = Or v3, v5
;;   trap_if v6 IntegerOverflow 0 ()
;;   v7 = i32.trunc_f64_u v0
;;   return (v7)
;; wasm[0]::function[4]:
;;   v0 = local.get 0
;;   v1 = compare Ne v0, v0
;;   trap_if v1 BadConversionToInteger 0 ()
;;   v2 = const f32 -9223372000000000000
;;   v3 = compare LtU v0, v2
;;   v4 = const f32 9223372000000000000
;;   v5 = compare GeU v0, v4
;;   v6 = Or v3, v5
;;   trap_if v6 IntegerOverflow 0 ()
;;   v7 = i64.trunc_f32_s v0
;;   return (v7)
;; wasm[0]::function[5]:
;;   v0 = local.get 0
;;   v1 = compare Ne v0, v0
;;   trap_if v1 BadConversionToInteger 0 ()
;;   v2 = const f32 -1
;;   v3 = compare LeU v0, v2
;;   v4 = const f32 18446744000000000000
;;   v5 = compare GeU v0, v4
;;   v6 = Or v3, v5
;;   trap_if v6 IntegerOverflow 0 ()
;;   v7 = i64.trunc_f32_u v0
;;   return (v7)
;; wasm[0]::function[6]:
;;   v0 = local.get 0
;;   v1 = compare Ne v0, v0
;;   trap_if v1 BadConversionToInteger 0 ()
;;   v2 = const f64 -9223372036854776000
;;   v3 = compare LtU v0, v2
;;   v4 = const f64 9223372036854776000
;;   v5 = compare GeU v0, v4
;;   v6 = Or v3, v5
;;   trap_if v6 IntegerOverflow 0 ()
;;   v7 = i64.trunc_f64_s v0
;;   return (v7)
;; wasm[0]::function[7]:
;;   v0 = local.get 0
;;   v1 = compare Ne v0, v0
;;   trap_if v1 BadConversionToInteger 0 ()
;;   v2 = const f64 -1
;;   v3 = compare LeU v0, v2
;;   v4 = const f64 18446744073709552000
;;   v5 = compare GeU v0, v4
;;   v6 = Or v3, v5
;;   trap_if v6 IntegerOverflow 0 ()
;;   v7 = i64.trunc_f64_u v0
;;   return (v7)
