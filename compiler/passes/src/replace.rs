//! Pending replacements of values: recorded while a pass walks a function in order, applied to each instruction as the walk reaches it.

use cranelift_entity::SecondaryMap;
use cranelift_entity::packed_option::PackedOption;
use kiln_ir::{Function, Inst, Value};

/// A map from replaced values to what replaces them.
#[derive(Default)]
pub(crate) struct Replacements(SecondaryMap<Value, PackedOption<Value>>);

impl Replacements {
    /// What stands for `value` now.
    pub fn resolve(&self, mut value: Value) -> Value {
        while let Some(new) = self.0[value].expand() {
            value = new;
        }
        value
    }

    /// From now on `new` stands for `old`. The source's name moves along where `new` has none.
    pub fn set(&mut self, func: &mut Function, old: Value, new: Value) {
        let new = self.resolve(new);
        if old == new {
            return;
        }
        if func.values[new].name.is_none() {
            func.values[new].name = func.values[old].name.clone();
        }
        self.0[old] = new.into();
    }

    /// Brings the operands of an instruction (not those inside its blocks) up to date.
    pub fn apply(&self, func: &mut Function, inst: Inst) {
        func.insts[inst].visit_operands_mut(|v| *v = self.resolve(*v));
    }
}
