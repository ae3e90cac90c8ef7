//! `as` between every pair of scalar types, and `bitcast` between types of one size.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::Bound;
use kiln_tests::case::{Case, int_range, wrap};
use kiln_tests::scalar::{Num, decode, encode, round_float};

use super::elementwise::{FLOATS, FRAMES, INTS, lanes_case, samples};

/// Rust's `as`.
fn cast(from: ScalarType, to: ScalarType, value: Num) -> Num {
    match (from.is_float(), to.is_float()) {
        (_, true) if from.is_float() || from == Bool => Num::Float(round_float(to, value.f64())),
        // Integer to float rounds once; i128 -> f32 and f64 in Rust are correctly rounded, narrower ones go through f32 exactly as the compiler must not:
        // their own rounding of the exact value is asked for.
        (_, true) => Num::Float(match to {
            F32 => f64::from(value.int() as f32),
            F64 => value.int() as f64,
            _ => round_float(to, value.int() as f32 as f64),
        }),
        (true, false) => {
            let (lo, hi) = int_range(to);
            let x = value.f64();
            Num::Int(if x.is_nan() {
                0
            } else if x <= lo as f64 {
                lo
            } else if x >= hi as f64 {
                hi
            } else {
                x as i128
            })
        }
        (false, false) => Num::Int(wrap(to, value.int())),
    }
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    for frame in &FRAMES {
        for from in FLOATS.into_iter().chain(INTS).chain([Bool]) {
            for to in FLOATS.into_iter().chain(INTS) {
                if from == to {
                    continue;
                }
                let values = samples(from, "cast", true);
                list.push(lanes_case(
                    &format!("cast::{from}::{to}"),
                    frame,
                    &format!("a as {to}"),
                    &[(from, values)],
                    to,
                    Bound::Exact,
                    &|v| cast(from, to, v[0]),
                ));
                if from.bytes() == to.bytes() && from != Bool {
                    let values: Vec<Num> = samples(from, "bitcast", false);
                    list.push(lanes_case(
                        &format!("bitcast::{from}::{to}"),
                        frame,
                        &format!("bitcast::<{to}>(a)"),
                        &[(from, values)],
                        to,
                        Bound::Exact,
                        &|v| {
                            let mut bytes = Vec::new();
                            encode(from, v[0], &mut bytes);
                            decode(to, &bytes)
                        },
                    ));
                }
            }
        }
    }
    list
}
