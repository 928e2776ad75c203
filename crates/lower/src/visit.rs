//! One instruction: decoded, validated and lowered in a single dispatch.
//!
//! Invariant: each visiting method first lets the validator visit, with the very same immediates, and
//! lowers nothing that it refuses.

use crate::driver::{Failure, Immediates, Lowering};
use crate::emit::{BlockKind, Emit};
use wasmparser::{FrameKind, FrameStack, Operator, VisitOperator, VisitSimdOperator};

/// The instruction at `offset` of the module's bytes.
pub(crate) struct Visit<'v, 'a, E: Emit> {
    pub(crate) lowering: &'v mut Lowering<'a, E>,
    pub(crate) offset: u64,
}

/// Defines the visiting methods. The rules that begin with `+` say how an instruction is lowered.
macro_rules! visits {
    (with $validator:ident:
     $(@$proposal:ident $op:ident $({ $($arg:ident: $ty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        $(
            #[inline]
            #[allow(unused_variables)]
            fn $visit(&mut self $($(, $arg: $ty)*)?) -> Self::Output {
                let operand = visits!(@before self $op);
                let validator = &mut self.lowering.validator;
                validator.$validator(self.offset).$visit($($($arg.clone()),*)?)?;
                visits!(+ self $proposal $op $visit [$($($arg)*)?] operand)
            }
        )*
    };
    // Instructions that consume a reference without naming its type.
    (@before $v:ident RefIsNull) => { $v.lowering.top_operand() };
    (@before $v:ident BrOnNonNull) => { $v.lowering.top_operand() };
    (@before $v:ident RefTestNonNull) => { $v.lowering.top_operand() };
    (@before $v:ident RefTestNullable) => { $v.lowering.top_operand() };
    (@before $v:ident RefCastNonNull) => { $v.lowering.top_operand() };
    (@before $v:ident RefCastNullable) => { $v.lowering.top_operand() };
    (@before $v:ident $op:ident) => { None::<wasmparser::ValType> };

    (+ $v:ident mvp Block $visit:ident [$ty:ident] $operand:ident) => {
        visits!(@enter $v Block $ty $operand)
    };
    (+ $v:ident mvp Loop $visit:ident [$ty:ident] $operand:ident) => {
        visits!(@enter $v Loop $ty $operand)
    };
    (+ $v:ident mvp If $visit:ident [$ty:ident] $operand:ident) => {
        visits!(@enter $v If $ty $operand)
    };
    (@enter $v:ident $kind:ident $ty:ident $operand:ident) => {
        $v.lowering.enter(BlockKind::$kind, $ty, $v.offset as u32)
    };
    (+ $v:ident mvp Else $visit:ident [] $operand:ident) => {{
        $v.lowering.else_($v.offset as u32);
        Ok(())
    }};
    (+ $v:ident mvp End $visit:ident [] $operand:ident) => {{
        $v.lowering.end($v.offset as u32);
        Ok(())
    }};

    (+ $v:ident exceptions TryTable $visit:ident [$table:ident] $operand:ident) => {
        $v.lowering.enter_try_table(&$table, $v.offset as u32)
    };
    (+ $v:ident legacy_exceptions Try $visit:ident [$ty:ident] $operand:ident) => {
        $v.lowering.enter_try($ty, $v.offset as u32)
    };
    (+ $v:ident legacy_exceptions Catch $visit:ident [$tag:ident] $operand:ident) => {{
        $v.lowering.start_catch($v.offset as u32);
        Ok(())
    }};
    (+ $v:ident legacy_exceptions CatchAll $visit:ident [] $operand:ident) => {{
        $v.lowering.start_catch($v.offset as u32);
        Ok(())
    }};
    (+ $v:ident legacy_exceptions Delegate $visit:ident [$depth:ident] $operand:ident) => {{
        $v.lowering.end($v.offset as u32);
        Ok(())
    }};

    (+ $v:ident mvp LocalGet $visit:ident [$local:ident] $operand:ident) => {
        visits!(@local $v local_get $local $operand)
    };
    (+ $v:ident mvp LocalSet $visit:ident [$local:ident] $operand:ident) => {
        visits!(@local $v local_set $local $operand)
    };
    (+ $v:ident mvp LocalTee $visit:ident [$local:ident] $operand:ident) => {
        visits!(@local $v local_tee $local $operand)
    };
    (@local $v:ident $method:ident $local:ident $operand:ident) => {{
        $v.lowering.$method($local, $v.offset);
        Ok(())
    }};

    // What has no immediates, but is more than arithmetic.
    (+ $v:ident mvp Unreachable $($rest:tt)*) => { visits!(@other $v Unreachable $($rest)*) };
    (+ $v:ident mvp Nop $($rest:tt)*) => { visits!(@other $v Nop $($rest)*) };
    (+ $v:ident mvp Return $($rest:tt)*) => { visits!(@other $v Return $($rest)*) };
    (+ $v:ident mvp Drop $($rest:tt)*) => {{
        $v.lowering.drop_top($v.offset);
        Ok(())
    }};
    (+ $v:ident mvp Select $($rest:tt)*) => { visits!(@other $v Select $($rest)*) };

    (+ $v:ident mvp GlobalGet $visit:ident [$global:ident] $operand:ident) => {{
        $v.lowering.global_get($global, $v.offset);
        Ok(())
    }};
    (+ $v:ident mvp GlobalSet $visit:ident [$global:ident] $operand:ident) => {{
        $v.lowering.global_set($global, $v.offset);
        Ok(())
    }};
    (+ $v:ident mvp Br $visit:ident [$depth:ident] $operand:ident) => {{
        $v.lowering.br($depth, $v.offset);
        Ok(())
    }};
    (+ $v:ident mvp BrIf $visit:ident [$depth:ident] $operand:ident) => {{
        $v.lowering.br_if($depth, $v.offset);
        Ok(())
    }};
    (+ $v:ident mvp Call $visit:ident [$func:ident] $operand:ident) => {
        $v.lowering.call_op($func, $v.offset)
    };

    // Arithmetic.
    (+ $v:ident mvp $op:ident $visit:ident [] $operand:ident) => {
        visits!(@numeric $v $op $visit [] $operand)
    };
    (+ $v:ident mvp I32Const $($rest:tt)*) => { visits!(@numeric $v I32Const $($rest)*) };
    (+ $v:ident mvp I64Const $($rest:tt)*) => { visits!(@numeric $v I64Const $($rest)*) };
    (+ $v:ident mvp F32Const $($rest:tt)*) => { visits!(@numeric $v F32Const $($rest)*) };
    (+ $v:ident mvp F64Const $($rest:tt)*) => { visits!(@numeric $v F64Const $($rest)*) };
    (+ $v:ident sign_extension $($rest:tt)*) => { visits!(@numeric $v $($rest)*) };
    (+ $v:ident saturating_float_to_int $($rest:tt)*) => { visits!(@numeric $v $($rest)*) };
    (+ $v:ident wide_arithmetic $($rest:tt)*) => { visits!(@numeric $v $($rest)*) };
    (+ $v:ident relaxed_simd $op:ident $visit:ident $args:tt $operand:ident) => {
        visits!(@forward vector $v $op $args)
    };
    // Vectors: all but loads and stores.
    (+ $v:ident simd $op:ident $visit:ident $args:tt $operand:ident) => {
        visits!(@vector $args $v $op $visit $args $operand)
    };
    (@vector [memarg $($lane:ident)?] $($rest:tt)*) => { visits!(@other $($rest)*) };
    (@vector $args:tt $v:ident $op:ident $visit:ident $same:tt $operand:ident) => {
        visits!(@forward vector $v $op $args)
    };
    (@numeric $v:ident $op:ident $visit:ident $args:tt $operand:ident) => {
        visits!(@forward numeric $v $op $args)
    };
    (@forward $way:ident $v:ident $op:ident [$($arg:ident)*]) => {
        $v.lowering.$way(&Operator::$op { $($arg),* }, $v.offset, visits!(@immediates $op [$($arg)*]))
    };

    (@immediates $op:ident []) => { Immediates::None };
    (@immediates $op:ident [memarg]) => { Immediates::Memarg };
    (@immediates $op:ident $args:tt) => { Immediates::Other };

    // All else. The common forms of loads and stores have a way of their own in `short`.
    (+ $v:ident $proposal:ident $op:ident $($rest:tt)*) => { visits!(@other $v $op $($rest)*) };
    (@other $v:ident $op:ident $visit:ident [$($arg:ident)*] $operand:ident) => {
        $v.lowering.other(&Operator::$op { $($arg),* }, $v.offset, visits!(@immediates $op [$($arg)*]), $operand)
    };
}

impl<E: Emit> FrameStack for Visit<'_, '_, E> {
    fn current_frame(&self) -> Option<FrameKind> {
        self.lowering.validator.get_control_frame(0).map(|frame| frame.kind)
    }
}

macro_rules! visits_scalar {
    ($($all:tt)*) => { visits!(with visitor: $($all)*); };
}

macro_rules! visits_vector {
    ($($all:tt)*) => { visits!(with simd_visitor: $($all)*); };
}

impl<'a, E: Emit> VisitOperator<'a> for Visit<'_, '_, E> {
    type Output = Result<(), Failure>;

    fn simd_visitor(&mut self) -> Option<&mut dyn VisitSimdOperator<'a, Output = Self::Output>> {
        Some(self)
    }

    wasmparser::for_each_visit_operator!(visits_scalar);
}

impl<'a, E: Emit> VisitSimdOperator<'a> for Visit<'_, '_, E> {
    wasmparser::for_each_visit_simd_operator!(visits_vector);
}
