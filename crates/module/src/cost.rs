//! What instructions cost in fuel: a number for each, and one for each byte, element or page of those whose
//! work grows with an operand. When it is paid, `lower::metering` says.

use std::sync::{Arc, LazyLock};
use wasmparser::Operator;

macro_rules! variable_costs {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        /// What instructions cost by size, beside what [`OperatorCost`] says of them.
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        pub struct VariableOperatorCost {
            $($(#[$doc])* pub $name: u8,)*
        }

        impl VariableOperatorCost {
            /// 1 for everything.
            pub const fn new() -> VariableOperatorCost {
                VariableOperatorCost { $($name: 1,)* }
            }

            /// All of them, in order.
            fn all(&self) -> Vec<u8> {
                vec![$(self.$name),*]
            }
        }
    };
}

variable_costs! {
    /// For each byte of `memory.copy`.
    memory_copy_per_byte;
    /// For each byte of `memory.fill`.
    memory_fill_per_byte;
    /// For each byte of `memory.init`.
    memory_init_per_byte;
    /// For each page that `memory.grow` asks for.
    memory_grow_per_page;
    /// For each element of `table.copy`.
    table_copy_per_element;
    /// For each element of `table.fill`.
    table_fill_per_element;
    /// For each element of `table.init`.
    table_init_per_element;
    /// For each element that `table.grow` asks for.
    table_grow_per_element;
    /// For each element of `array.copy`.
    array_copy_per_element;
    /// For each element of `array.fill`.
    array_fill_per_element;
    /// For each element of `array.new_data`.
    array_new_data_per_element;
    /// For each element of `array.init_data`.
    array_init_data_per_element;
    /// For each element of `array.new_elem`.
    array_new_elem_per_element;
    /// For each element of `array.init_elem`.
    array_init_elem_per_element;
    /// For each element of `array.new_default`.
    array_new_default_per_element;
    /// For each element of `array.new` and `array.new_fixed`.
    array_new_per_element;
}

impl Default for VariableOperatorCost {
    fn default() -> Self {
        VariableOperatorCost::new()
    }
}

macro_rules! operator_costs {
    ($(@$proposal:ident $op:ident $({ $($arg:ident: $argty:ty),* })? => $visit:ident ($($ann:tt)*))*) => {
        /// What each instruction costs, whatever its operands.
        #[derive(Clone, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs, non_snake_case, reason = "named as the instructions are elsewhere")]
        pub struct OperatorCost {
            $(pub $op: u8,)*
            /// What is paid by size.
            pub variable: VariableOperatorCost,
        }

        impl OperatorCost {
            /// 1 for every instruction but those that stand for no work.
            pub const fn new() -> OperatorCost {
                let mut cost = OperatorCost { $($op: 1,)* variable: VariableOperatorCost::new() };
                // What stands for no work is free.
                cost.Nop = 0;
                cost.Drop = 0;
                cost.Block = 0;
                cost.Loop = 0;
                cost.TryTable = 0;
                cost.Try = 0;
                cost.Catch = 0;
                cost.CatchAll = 0;
                cost.Delegate = 0;
                cost.Unreachable = 0;
                cost.Return = 0;
                cost.Else = 0;
                cost.End = 0;
                cost
            }

            /// What `op` costs.
            #[doc(hidden)]
            pub fn cost(&self, op: &Operator<'_>) -> u32 {
                let cost = match op {
                    $(Operator::$op { .. } => self.$op,)*
                    // The list is the decoder's own.
                    _ => 1,
                };
                let elements = match op {
                    Operator::ArrayNewFixed { array_size, .. } => *array_size,
                    _ => 0,
                };
                let by_size = elements.saturating_mul(self.variable.array_new_per_element.into());
                by_size.saturating_add(cost.into())
            }

            /// Names and costs of what is not as by default, for keys.
            #[doc(hidden)]
            pub fn differences(&self) -> String {
                static DEFAULT: OperatorCost = OperatorCost::new();
                let mut text = String::new();
                $(if self.$op != DEFAULT.$op {
                    text += &format!("{} {} ", stringify!($op), self.$op);
                })*
                if self.variable != DEFAULT.variable {
                    text += &format!("by size {:?}", self.variable.all());
                }
                if text.is_empty() { "default".to_owned() } else { text }
            }
        }
    };
}

wasmparser::for_each_operator!(operator_costs);

impl Default for OperatorCost {
    fn default() -> Self {
        OperatorCost::new()
    }
}

impl OperatorCost {
    /// The default, one for all.
    #[doc(hidden)]
    pub fn shared() -> Arc<OperatorCost> {
        static SHARED: LazyLock<Arc<OperatorCost>> = LazyLock::new(Arc::default);
        SHARED.clone()
    }
}
