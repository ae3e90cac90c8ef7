//! Where diverged lanes meet again: the immediate postdominator of each branch.

use super::inst::{Guard, Op};
use super::program::Function;

/// No reconvergence point: lanes stay apart until they exit or meet at a convergent instruction.
pub const NEVER: u32 = u32::MAX;

/// Fills in the `reconverge` field of every branch.
pub fn reconvergence(function: &mut Function) {
    let n = function.insts.len();
    // Leaders and blocks.
    let mut leader = vec![false; n + 1];
    leader[0] = true;
    for (i, inst) in function.insts.iter().enumerate() {
        match &inst.op {
            Op::Bra { target, .. } => {
                leader[*target as usize] = true;
                leader[i + 1] = true;
            }
            Op::Brx { targets, .. } => {
                for t in targets.iter() {
                    leader[*t as usize] = true;
                }
                leader[i + 1] = true;
            }
            Op::Ret | Op::Exit | Op::Trap => leader[i + 1] = true,
            _ => {}
        }
    }
    let starts: Vec<usize> = (0..n).filter(|&i| leader[i]).collect();
    let mut block_of = vec![0usize; n];
    let mut block = 0;
    for i in 0..n {
        if i > 0 && leader[i] {
            block += 1;
        }
        block_of[i] = block;
    }
    let blocks = starts.len();
    let exit = blocks;
    let mut succs: Vec<Vec<usize>> = vec![vec![]; blocks + 1];
    for b in 0..blocks {
        let last = starts.get(b + 1).copied().unwrap_or(n) - 1;
        let inst = &function.insts[last];
        let guarded = inst.guard != Guard::default();
        let next = if last + 1 < n { block_of[last + 1] } else { exit };
        let list = &mut succs[b];
        match &inst.op {
            Op::Bra { target, .. } => list.push(block_of[*target as usize]),
            Op::Brx { targets, .. } => list.extend(targets.iter().map(|t| block_of[*t as usize])),
            Op::Ret | Op::Exit | Op::Trap => list.push(exit),
            _ => list.push(next),
        }
        if guarded && matches!(inst.op, Op::Bra { .. } | Op::Brx { .. } | Op::Ret | Op::Exit | Op::Trap) {
            list.push(next);
        }
    }

    // Postorder of the reverse graph from the exit, then the usual iteration (Cooper, Harvey, Kennedy).
    let mut preds: Vec<Vec<usize>> = vec![vec![]; blocks + 1];
    for (b, list) in succs.iter().enumerate() {
        for &s in list {
            preds[s].push(b);
        }
    }
    let mut order = vec![];
    let mut seen = vec![false; blocks + 1];
    let mut stack = vec![(exit, 0usize)];
    seen[exit] = true;
    while let Some((b, i)) = stack.pop() {
        if let Some(&p) = preds[b].get(i) {
            stack.push((b, i + 1));
            if !seen[p] {
                seen[p] = true;
                stack.push((p, 0));
            }
        } else {
            order.push(b);
        }
    }
    let mut number = vec![usize::MAX; blocks + 1];
    for (i, &b) in order.iter().enumerate() {
        number[b] = i;
    }
    let mut idom = vec![usize::MAX; blocks + 1];
    idom[exit] = exit;
    let mut changed = true;
    while changed {
        changed = false;
        for &b in order.iter().rev() {
            if b == exit {
                continue;
            }
            let mut new = usize::MAX;
            for &s in &succs[b] {
                if idom[s] == usize::MAX {
                    continue;
                }
                new = if new == usize::MAX { s } else { intersect(new, s, &idom, &number) };
            }
            if new != idom[b] {
                idom[b] = new;
                changed = true;
            }
        }
    }

    for i in 0..n {
        let b = block_of[i];
        let point = match idom[b] {
            d if d == usize::MAX || d == exit => NEVER,
            d => {
                let at = starts[d];
                let inst = &function.insts[at];
                // Meeting only to leave the kernel would make leavers wait for those still at work.
                let leaves = matches!(inst.op, Op::Ret | Op::Exit) && inst.guard == Guard::default();
                if leaves && function.is_entry { NEVER } else { at as u32 }
            }
        };
        match &mut function.insts[i].op {
            Op::Bra { reconverge, .. } | Op::Brx { reconverge, .. } => *reconverge = point,
            _ => {}
        }
    }
}

fn intersect(mut a: usize, mut b: usize, idom: &[usize], number: &[usize]) -> usize {
    while a != b {
        while number[a] < number[b] {
            a = idom[a];
        }
        while number[b] < number[a] {
            b = idom[b];
        }
    }
    a
}
