//! `%` on floats: the exact remainder with the sign of the dividend, as C's `fmod`.
//!
//! LLVM would compute `x - trunc(x / y) * y`, which is wrong once the quotient has more bits than the mantissa. Here both
//! mantissas are integers, and the dividend's is shifted up to the divisor's exponent as many bits at a time as an integer of
//! 64 bits holds, reduced after each step. That is a loop, so it is a function of its own.

use super::emit::Emitter;
use super::text::{Ty, Val};

impl Emitter<'_> {
    /// `a % b` of two f32 or two f64.
    pub(super) fn float_rem(&mut self, a: Val, b: Val) -> Val {
        let name = if a.ty == Ty::F64 { "kiln$fmod.f64" } else { "kiln$fmod.f32" };
        self.functions.entry(name).or_insert_with(|| definition(name, a.ty));
        let text = format!("call {ty} @\"{name}\"({}, {})", a.typed(), b.typed(), ty = a.ty.llvm());
        self.w.value(a.ty, &text)
    }
}

/// The function's definition.
fn definition(name: &str, ty: Ty) -> String {
    // Bits of the mantissa with its leading one; numbers are m * 2^(exponent - bias) for integers m.
    let (float, int, digits, infinity, step) = match ty {
        Ty::F64 => ("double", "i64", 53, 0x7ff0_0000_0000_0000u64, 11),
        _ => ("float", "i32", 24, 0x7f80_0000, 40),
    };
    let bits = if ty == Ty::F64 { 64 } else { 32 };
    let fraction_bits = digits - 1;
    let sign = 1u64 << (bits - 1);
    let magnitude = sign - 1;
    let fraction = (1u64 << fraction_bits) - 1;
    let one = fraction + 1;
    let (to_64, from_64) = if ty == Ty::F64 {
        ("or i64 %MX, 0".to_owned(), "or i64 %r, 0".to_owned())
    } else {
        ("zext i32 %MX to i64".to_owned(), "trunc i64 %r to i32".to_owned())
    };
    let nan = infinity | one >> 1;
    let signed = |v: u64| if bits == 64 { v as i64 } else { i64::from(v as u32 as i32) };
    let integer = |which: &str| {
        format!(
            "  %e{which}.raw = lshr {int} %a{which}, {fraction_bits}\n\
             \x20 %f{which} = and {int} %a{which}, {fraction}\n\
             \x20 %n{which} = icmp ne {int} %e{which}.raw, 0\n\
             \x20 %l{which} = or {int} %f{which}, {one}\n\
             \x20 %m{which} = select i1 %n{which}, {int} %l{which}, {int} %f{which}\n\
             \x20 %e{which} = select i1 %n{which}, {int} %e{which}.raw, {int} 1\n"
        )
    };
    format!(
        "define internal {float} @\"{name}\"({float} %x, {float} %y) #3 {{\n\
         start:\n\
         \x20 %bx = bitcast {float} %x to {int}\n\
         \x20 %by = bitcast {float} %y to {int}\n\
         \x20 %sign = and {int} %bx, {sign}\n\
         \x20 %ax = and {int} %bx, {magnitude}\n\
         \x20 %ay = and {int} %by, {magnitude}\n\
         \x20 %zero = icmp eq {int} %ay, 0\n\
         \x20 %endless = icmp uge {int} %ax, {infinity}\n\
         \x20 %nan = icmp ugt {int} %ay, {infinity}\n\
         \x20 %bad0 = or i1 %zero, %endless\n\
         \x20 %bad = or i1 %bad0, %nan\n\
         \x20 br i1 %bad, label %none, label %numbers\n\
         none:\n\
         \x20 %q = bitcast {int} {nan} to {float}\n\
         \x20 ret {float} %q\n\
         numbers:\n\
         \x20 %less = icmp ult {int} %ax, %ay\n\
         \x20 br i1 %less, label %same, label %split\n\
         same:\n\
         \x20 ret {float} %x\n\
         split:\n\
         {x}{y}\
         \x20 %d = sub {int} %ex, %ey\n\
         \x20 %mx64 = {mx64}\n\
         \x20 %my64 = {my64}\n\
         \x20 %r0 = urem i64 %mx64, %my64\n\
         \x20 br label %head\n\
         head:\n\
         \x20 %left = phi {int} [ %d, %split ], [ %rest, %body ]\n\
         \x20 %r = phi i64 [ %r0, %split ], [ %r2, %body ]\n\
         \x20 %more = icmp sgt {int} %left, 0\n\
         \x20 br i1 %more, label %body, label %done\n\
         body:\n\
         \x20 %big = icmp sgt {int} %left, {step}\n\
         \x20 %s = select i1 %big, {int} {step}, {int} %left\n\
         \x20 %s64 = {s64}\n\
         \x20 %r1 = shl i64 %r, %s64\n\
         \x20 %r2 = urem i64 %r1, %my64\n\
         \x20 %rest = sub {int} %left, %s\n\
         \x20 br label %head\n\
         done:\n\
         \x20 %ri = {ri}\n\
         \x20 %rf = uitofp {int} %ri to {float}\n\
         \x20 %normal = icmp ugt {int} %ey, {fraction_bits}\n\
         \x20 %pe = sub {int} %ey, {fraction_bits}\n\
         \x20 %pn = shl {int} %pe, {fraction_bits}\n\
         \x20 %ps0 = sub {int} %ey, 1\n\
         \x20 %ps1 = select i1 %normal, {int} 0, {int} %ps0\n\
         \x20 %ps = shl {int} 1, %ps1\n\
         \x20 %pb = select i1 %normal, {int} %pn, {int} %ps\n\
         \x20 %p = bitcast {int} %pb to {float}\n\
         \x20 %v = fmul {float} %rf, %p\n\
         \x20 %vb = bitcast {float} %v to {int}\n\
         \x20 %vs = or {int} %vb, %sign\n\
         \x20 %result = bitcast {int} %vs to {float}\n\
         \x20 ret {float} %result\n\
         }}\n",
        sign = signed(sign),
        x = integer("x"),
        y = integer("y"),
        mx64 = to_64.replace("MX", "mx"),
        my64 = to_64.replace("MX", "my"),
        s64 = to_64.replace("MX", "s"),
        ri = from_64,
    )
}
