//! Prints modules and functions; instructions are in `print_inst`.

use std::fmt::{self, Write};

use cranelift_entity::SecondaryMap;

use super::attrs;
use crate::entity::{Block, FuncRef, Inst, Value};
use crate::func::{Function, SrcLoc};
use crate::module::Module;
use crate::types::Type;

/// What the printer shows besides the program.
#[derive(Clone, Copy, Debug, Default)]
pub struct PrintOptions {
    /// Source places of instructions, and the table of files.
    pub spans: bool,
}

/// The text of a module.
pub fn print_module(module: &Module, options: PrintOptions) -> String {
    let mut out = String::new();
    if options.spans {
        for (number, file) in module.files.iter().enumerate() {
            let starts: Vec<String> = file.line_starts.iter().map(u32::to_string).collect();
            let _ = writeln!(out, "file {number} {} [{}]", attrs::quoted(&file.name), starts.join(", "));
        }
    }
    for (func_ref, func) in &module.funcs {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&print_function(func, func_ref, options));
    }
    out
}

/// The text of one function, which stands in its module as `func_ref`.
pub fn print_function(func: &Function, func_ref: FuncRef, options: PrintOptions) -> String {
    let mut printer = Printer::new(func, options);
    printer.function(func_ref);
    printer.out
}

/// One instruction on one line, without the blocks it owns, numbered as in the text of its function.
pub fn describe_inst(func: &Function, inst: Inst) -> String {
    let mut printer = Printer::new(func, PrintOptions::default());
    printer.brief = true;
    printer.number_block(func.body);
    printer.inst(inst);
    printer.out.trim().to_owned()
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print_module(self, PrintOptions::default()))
    }
}

/// Writes one function.
pub(super) struct Printer<'a> {
    pub(super) func: &'a Function,
    pub(super) out: String,
    options: PrintOptions,
    /// Number of each value in the text; `UNSEEN` for those that no reachable instruction defines.
    numbers: SecondaryMap<Value, u32>,
    next: u32,
    indent: usize,
    /// Leave out what is inside blocks.
    brief: bool,
}

const UNSEEN: u32 = u32::MAX;

impl<'a> Printer<'a> {
    fn new(func: &'a Function, options: PrintOptions) -> Self {
        Printer {
            func,
            out: String::new(),
            options,
            numbers: SecondaryMap::with_default(UNSEEN),
            next: 0,
            indent: 0,
            brief: false,
        }
    }

    fn function(&mut self, func_ref: FuncRef) {
        let func = self.func;
        self.number_block(func.body);
        let kind = if func.is_kernel { "kernel" } else { "fn" };
        self.put(format_args!("{kind} @{} {}(", func_ref.as_u32(), attrs::name(&func.name)));
        for (i, &value) in func.param_values().iter().enumerate() {
            self.put_str(if i == 0 { "" } else { ", " });
            self.definition(value);
            if let Some(info) = func.params.get(i) {
                let value_name = func.values[value].name.as_deref();
                self.put(format_args!(" {}", attrs::ParamText { info, value_name }));
            }
        }
        self.put_str(")");
        if !func.results.is_empty() {
            let types: Vec<String> = func.results.iter().map(Type::to_string).collect();
            self.put(format_args!(" -> ({})", types.join(", ")));
        }
        if func.is_kernel || func.grid_rank != 1 {
            self.put(format_args!(" grid {}", func.grid_rank));
        }
        self.put(format_args!(" index {}", func.index_bits));
        self.put(format_args!("{}", attrs::ScheduleText(&func.schedule)));
        self.loc(func.loc);
        self.put_str(" {\n");
        self.indent = 1;
        self.insts(func.body);
        self.put_str("}\n");
    }

    /// Numbers what a block and the blocks inside it define, in the order of the text: results of an instruction before its blocks.
    fn number_block(&mut self, block: Block) {
        let func = self.func;
        for &param in &func.blocks[block].params {
            self.number(param);
        }
        for &inst in &func.blocks[block].insts {
            for &result in func.results_of(inst) {
                self.number(result);
            }
            for inner in func.insts[inst].blocks() {
                self.number_block(inner);
            }
        }
    }

    fn number(&mut self, value: Value) {
        if self.numbers[value] == UNSEEN {
            self.numbers[value] = self.next;
            self.next += 1;
        }
    }

    fn insts(&mut self, block: Block) {
        let func = self.func;
        for &inst in &func.blocks[block].insts {
            self.inst(inst);
        }
    }

    fn inst(&mut self, inst: Inst) {
        for _ in 0..self.indent {
            self.out.push_str("    ");
        }
        let func = self.func;
        for (i, &result) in func.results_of(inst).iter().enumerate() {
            self.put_str(if i == 0 { "" } else { ", " });
            self.definition(result);
        }
        if !func.results_of(inst).is_empty() {
            self.put_str(" = ");
        }
        self.inst_data(inst);
        self.out.push('\n');
    }

    /// ` (v1: f32, v2: f32) {`, the instructions, `}`. The parameter list is left out when there are none.
    pub(super) fn block(&mut self, block: Block) {
        let func = self.func;
        let params = &func.blocks[block].params;
        if !params.is_empty() {
            self.put_str(" (");
            for (i, &param) in params.iter().enumerate() {
                self.put_str(if i == 0 { "" } else { ", " });
                self.definition(param);
            }
            self.put_str(")");
        }
        if self.brief {
            self.put_str(" {..}");
            return;
        }
        self.put_str(" {\n");
        self.indent += 1;
        self.insts(block);
        self.indent -= 1;
        for _ in 0..self.indent {
            self.out.push_str("    ");
        }
        self.put_str("}");
    }

    /// `v3.name: type`.
    fn definition(&mut self, value: Value) {
        self.value(value);
        let data = &self.func.values[value];
        if let Some(name) = &data.name {
            self.put(format_args!(".{}", attrs::name(name)));
        }
        self.put(format_args!(": {}", data.ty));
    }

    /// `v3`; `v?12` for value 12 of the function when no reachable instruction defines it.
    pub(super) fn value(&mut self, value: Value) {
        match self.numbers[value] {
            UNSEEN => self.put(format_args!("v?{}", value.as_u32())),
            number => self.put(format_args!("v{number}")),
        }
    }

    /// `v1, v2`.
    pub(super) fn values(&mut self, values: &[Value]) {
        for (i, &value) in values.iter().enumerate() {
            self.put_str(if i == 0 { "" } else { ", " });
            self.value(value);
        }
    }

    /// ` loc 0:12..20`, when spans are asked for and the place is known.
    pub(super) fn loc(&mut self, loc: SrcLoc) {
        if self.options.spans && loc.is_known() {
            self.put(format_args!(" loc {}:{}..{}", loc.file, loc.lo, loc.hi));
        }
    }

    pub(super) fn put(&mut self, args: fmt::Arguments<'_>) {
        let _ = self.out.write_fmt(args);
    }

    pub(super) fn put_str(&mut self, text: &str) {
        self.out.push_str(text);
    }
}
