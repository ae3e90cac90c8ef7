//! Where IR goes. In generic code, and after the first error, nothing is emitted and values have no IR.

use kiln_ir::{Block, Function, Inst, InstData, SrcLoc, Type, Value};
use kiln_syntax::span::Span;

use crate::types::TileTy;

/// The function being written, with a cursor at the end of a block.
#[derive(Debug)]
pub struct Sink {
    func: Function,
    block: Block,
    loc: SrcLoc,
    live: bool,
    /// A value without an IR type or definition was met though no error was reported: our mistake.
    broken: bool,
}

/// More instructions than this are refused: functions are expanded where they are called.
const MAX_INSTS: usize = 400_000;

impl Sink {
    /// A sink that writes.
    pub fn live(func: Function) -> Sink {
        let block = func.body;
        Sink { func, block, loc: SrcLoc::UNKNOWN, live: true, broken: false }
    }

    /// A sink that writes nothing.
    pub fn off() -> Sink {
        Sink { live: false, ..Sink::live(Function::new("", false)) }
    }

    /// Whether instructions are written.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Stops writing.
    pub fn kill(&mut self) {
        self.live = false;
    }

    /// Whether something was missing though no error was reported.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the function has grown beyond what is compiled.
    pub fn is_too_large(&self) -> bool {
        self.func.insts.len() > MAX_INSTS
    }

    /// The finished function.
    pub fn finish(self) -> Function {
        self.func
    }

    /// The function so far.
    pub fn func(&mut self) -> &mut Function {
        &mut self.func
    }

    /// The source place given to new instructions; the one before is returned.
    pub fn set_loc(&mut self, span: Span) -> SrcLoc {
        std::mem::replace(&mut self.loc, SrcLoc { file: span.file.0, lo: span.lo, hi: span.hi })
    }

    /// Back to an earlier place.
    pub fn restore_loc(&mut self, loc: SrcLoc) {
        self.loc = loc;
    }

    fn fail<T>(&mut self) -> Option<T> {
        self.broken = true;
        self.live = false;
        None
    }

    /// Appends an instruction with the given result types.
    pub fn emit(&mut self, data: InstData, results: &[Type]) -> Option<Inst> {
        self.live.then(|| self.func.append(self.block, data, results, self.loc))
    }

    /// Appends an instruction with one result.
    pub fn one(&mut self, data: InstData, ty: &TileTy) -> Option<Value> {
        if !self.live {
            return None;
        }
        let Some(ty) = ty.ir() else { return self.fail() };
        self.one_typed(data, ty)
    }

    /// Appends an instruction with one result of an IR type.
    pub fn one_typed(&mut self, data: InstData, ty: Type) -> Option<Value> {
        let inst = self.emit(data, &[ty])?;
        Some(self.func.result(inst))
    }

    /// All of the values, or nothing where the sink is off.
    pub fn all<C: FromIterator<Value>>(&mut self, values: impl IntoIterator<Item = Option<Value>>) -> Option<C> {
        if !self.live {
            return None;
        }
        match values.into_iter().collect() {
            Some(list) => Some(list),
            None => self.fail(),
        }
    }

    /// The value, which must be there when the sink is live.
    pub fn need(&mut self, value: Option<Value>) -> Option<Value> {
        match value {
            Some(v) if self.live => Some(v),
            None if self.live => self.fail(),
            _ => None,
        }
    }

    /// Opens a new block and moves the cursor into it; the block left is returned.
    pub fn enter_block(&mut self) -> (Block, Block) {
        let block = self.func.add_block();
        (block, std::mem::replace(&mut self.block, block))
    }

    /// Moves the cursor to the end of a block.
    pub fn set_block(&mut self, block: Block) -> Block {
        std::mem::replace(&mut self.block, block)
    }

    /// Adds a parameter to a block.
    pub fn block_param(&mut self, block: Block, ty: &TileTy, name: Option<std::sync::Arc<str>>) -> Option<Value> {
        if !self.live {
            return None;
        }
        let Some(ty) = ty.ir() else { return self.fail() };
        Some(self.func.add_block_param(block, ty, name))
    }

    /// Ends the current block.
    pub fn yield_(&mut self, args: kiln_ir::ValueList) {
        self.emit(InstData::Yield { args }, &[]);
    }

    /// Results of an instruction.
    pub fn results(&self, inst: Option<Inst>, number: usize) -> Vec<Option<Value>> {
        match inst {
            Some(inst) => self.func.results_of(inst).iter().copied().map(Some).collect(),
            None => vec![None; number],
        }
    }

    /// Gives a value the name it has in the source.
    pub fn name_value(&mut self, value: Option<Value>, name: &std::sync::Arc<str>) {
        if let Some(value) = value.filter(|_| self.live) {
            let data = &mut self.func.values[value];
            if data.name.is_none() {
                data.name = Some(name.clone());
            }
        }
    }
}

impl Sink {
    /// All entries of a view's index list.
    pub fn all_indices(
        &mut self,
        list: impl IntoIterator<Item = Option<kiln_ir::ViewIndex>>,
    ) -> Option<smallvec::SmallVec<[kiln_ir::ViewIndex; 4]>> {
        match list.into_iter().collect() {
            Some(list) => Some(list),
            None => {
                if self.live {
                    self.fail()
                } else {
                    None
                }
            }
        }
    }
}
