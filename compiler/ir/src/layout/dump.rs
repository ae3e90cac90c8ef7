//! A module with its layouts as text: `kiln build --emit layouts`, and the filetests of layout assignment.
//!
//! Layout ids are numbers of the process. A dump numbers the layouts by their first appearance and lists them at the head, so
//! that it depends on the module alone.

use std::fmt::Write as _;

use cranelift_entity::EntityRef;

use crate::entity::LayoutId;
use crate::module::Module;

/// The name of a layout before its number, as types print it.
const PREFIX: &str = "#layout";

/// The text of `module`, its layouts renumbered and listed before it.
pub fn dump(module: &Module) -> String {
    let text = module.to_string();
    let mut order: Vec<LayoutId> = Vec::new();
    let mut body = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(PREFIX) {
        let (before, after) = rest.split_at(at + PREFIX.len());
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        body.push_str(before);
        if let Ok(number) = after[..digits].parse::<usize>() {
            let id = LayoutId::new(number);
            let place = order.iter().position(|&known| known == id).unwrap_or_else(|| {
                order.push(id);
                order.len() - 1
            });
            let _ = write!(body, "{place}");
        }
        rest = &after[digits..];
    }
    body.push_str(rest);
    let mut dump = String::new();
    for (number, id) in order.iter().enumerate() {
        let _ = writeln!(dump, "; {PREFIX}{number} = {}", id.layout());
    }
    dump + &body
}

#[cfg(test)]
mod tests {
    use super::super::{mma_accumulator, mma_operand_a};
    use super::*;
    use crate::builder::Builder;
    use crate::func::Function;
    use crate::types::{ScalarType, Type};

    #[test]
    fn layouts_are_numbered_by_appearance() {
        let mut func = Function::new("k", true);
        let body = func.body;
        let mut b = Builder::new(&mut func, body);
        // On 16 x 16 the operand and the accumulator are one map: the accumulator is given another extent.
        let tile =
            |shape: &[u32], layout: crate::layout::Layout| Type::tile(ScalarType::F32, shape).with_layout(Some(layout.intern()));
        b.zero(tile(&[16, 16], mma_operand_a([16, 16], 2, [1, 1])));
        b.zero(tile(&[16, 8], mma_accumulator([16, 8], [1, 1])));
        b.zero(tile(&[16, 16], mma_operand_a([16, 16], 2, [1, 1])));
        b.yield_(&[]);
        let mut module = Module::default();
        module.funcs.push(func);
        let text = dump(&module);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("; #layout0 = {}", mma_operand_a([16, 16], 2, [1, 1])));
        assert_eq!(lines[1], format!("; #layout1 = {}", mma_accumulator([16, 8], [1, 1])));
        assert!(lines[3].contains("#layout0") && lines[4].contains("#layout1") && lines[5].contains("#layout0"), "{text}");
    }
}
