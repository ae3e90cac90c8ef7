//! Atomics for every type they accept: on elements from many programs, on slices, masked and gathered; orders and scopes; locks.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound};
use kiln_tests::case::{Arg, Case, Expected, Placement, wrap};
use kiln_tests::scalar::Num;

fn tensor(ty: ScalarType, shape: &[usize], values: Vec<Num>) -> Arg {
    Arg::Tensor { array: Array::new(ty, shape, values), placement: Placement::Dense }
}

fn number(ty: ScalarType, v: i64) -> Num {
    if ty.is_float() { Num::Float(v as f64) } else { Num::Int(wrap(ty, v.into())) }
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    let mut push = |name: String, source: String, args: Vec<Arg>, expected: Vec<(usize, Vec<Num>)>| {
        let expected = expected.into_iter().map(|(arg, values)| Expected { arg, values, bound: Bound::Exact }).collect();
        list.push(Case { name, source, args, expected, cpu_only: None });
    };
    let programs = 100i64;
    let given: Vec<i64> = (0..programs).map(|i| (i * 37 + 11) % 64).collect();
    for ty in [I8, U8, I16, U16, I32, U32, I64, U64, F16, BF16, F32, F64] {
        let input = tensor(ty, &[100], given.iter().map(|&v| number(ty, v)).collect());
        let ints = !ty.is_float();
        let mut ops = vec!["add"];
        if ints || matches!(ty, F32 | F64) {
            ops.extend(["max", "min"]);
        }
        if ints {
            ops.extend(["and", "or", "xor"]);
        }
        for op in ops {
            let start = 40i64;
            // Halves and bf16 add exactly only while the sum fits their mantissa: use ones.
            let small = matches!(ty, F16 | BF16);
            let values: Vec<i64> = if small { vec![1; 100] } else { given.clone() };
            let input = if small { tensor(ty, &[100], vec![number(ty, 1); 100]) } else { input.clone() };
            let end = values.iter().fold(start, |a, &v| match op {
                "add" => a + v,
                "max" => a.max(v),
                "min" => a.min(v),
                "and" => a & v,
                "or" => a | v,
                _ => a ^ v,
            });
            for order in [
                "",
                ", order = relaxed",
                ", order = acq_rel",
                ", order = acquire, scope = system",
                ", order = release, scope = device",
            ] {
                let source = format!(
                    "kernel k(x: tensor<{ty}, [N]>, y: mut tensor<{ty}, [1]>) grid [N] {{ atomic_{op}(y[0], x[program_id(0)]{order}); }}\n"
                );
                let tag = order.replace(", ", "_").replace(" = ", "_");
                push(
                    format!("atomic::{op}::{ty}::element{tag}"),
                    source,
                    vec![input.clone(), tensor(ty, &[1], vec![number(ty, start)])],
                    vec![(1, vec![number(ty, end)])],
                );
            }
            // A gathered slice with repeats, positions outside, a mask; the old values of lanes that take no part are 0.
            let source = format!(
                "kernel k(id: tensor<i32, [8]>, x: tensor<{ty}, [8]>, y: mut tensor<{ty}, [4]>, old: mut tensor<{ty}, [8]>) grid [1] {{\n    let i = arange(0, 8);\n    \
                 old[0..+8] = atomic_{op}(y[id[0..+8]].mask(i != 2), x[0..+8]);\n}}\n"
            );
            let ids = [0i64, 3, 1, -1, 2, 9, 1, 7];
            let x = [1i64, 2, 3, 4, 5, 6, 7, 8];
            let mut y = [10i64, 20, 30, 40];
            let mut old = [0i64; 8];
            for (lane, (&i, &v)) in ids.iter().zip(&x).enumerate() {
                if lane != 2 && (0..4).contains(&i) {
                    let slot = &mut y[i as usize];
                    old[lane] = *slot;
                    *slot = match op {
                        "add" => *slot + v,
                        "max" => (*slot).max(v),
                        "min" => (*slot).min(v),
                        "and" => *slot & v,
                        "or" => *slot | v,
                        _ => *slot ^ v,
                    };
                }
            }
            push(
                format!("atomic::{op}::{ty}::slice"),
                source,
                vec![
                    tensor(I32, &[8], ids.iter().map(|&v| Num::Int(v.into())).collect()),
                    tensor(ty, &[8], x.iter().map(|&v| number(ty, v)).collect()),
                    tensor(ty, &[4], [10, 20, 30, 40].iter().map(|&v| number(ty, v)).collect()),
                    tensor(ty, &[8], vec![number(ty, 0); 8]),
                ],
                vec![(2, y.iter().map(|&v| number(ty, v)).collect()), (3, old.iter().map(|&v| number(ty, v)).collect())],
            );
        }
        if ints {
            let source = format!(
                "kernel k(y: mut tensor<{ty}, [2]>, won: mut tensor<i32, [1]>) grid [50] {{\n    \
                 if atomic_cas(y[0], 0, 7, order = acq_rel) == 0 {{ atomic_add(won[0], 1); }}\n    atomic_xchg(y[1], 5, order = relaxed);\n}}\n"
            );
            push(
                format!("atomic::cas_xchg::{ty}"),
                source,
                vec![tensor(ty, &[2], vec![number(ty, 0); 2]), tensor(I32, &[1], vec![Num::Int(0)])],
                vec![(0, vec![number(ty, 7), number(ty, 5)]), (1, vec![Num::Int(1)])],
            );
            let source = format!(
                "kernel k(lock: mut tensor<{ty}, [1]>, n: mut tensor<i32, [1]>) grid [200] {{\n    \
                 while atomic_cas(lock[0], 0, 1, order = acquire) != 0 {{}}\n    n[0] = n[0] + 1;\n    atomic_store(lock[0], 0, order = release);\n}}\n"
            );
            push(
                format!("atomic::lock::{ty}"),
                source,
                vec![tensor(ty, &[1], vec![number(ty, 0)]), tensor(I32, &[1], vec![Num::Int(0)])],
                vec![(0, vec![number(ty, 0)]), (1, vec![Num::Int(200)])],
            );
        }
        if ty.bits() < 32 {
            continue;
        }
        let source = format!(
            "kernel k(x: mut tensor<{ty}, [4]>, y: mut tensor<{ty}, [4]>) grid [1] {{\n    atomic_store(x[0..+4], 3 as {ty}, order = release);\n    \
             y[0..+4] = atomic_load(x[0..+4], order = acquire);\n}}\n"
        );
        push(
            format!("atomic::load_store::{ty}"),
            source,
            vec![tensor(ty, &[4], vec![number(ty, 0); 4]), tensor(ty, &[4], vec![number(ty, 0); 4])],
            vec![(0, vec![number(ty, 3); 4]), (1, vec![number(ty, 3); 4])],
        );
    }
    list
}
