//! `kernels!` and `include_kernels!`: Kiln kernels in Rust programs.
//!
//! Both parse and check kernels while the Rust program is built, with the front end alone (no LLVM), and expand to typed functions that launch them; see
//! `kiln_bindings` for what those look like. A mistake in a kernel is an error of the Rust compiler at the token it is about.
//!
//! - `input` turns the macro's tokens back into the text they come from, so that the front end reads what it reads in a file;
//! - `load` opens, checks, and remembers which files were read;
//! - `report` turns diagnostics into errors and warnings of the Rust compiler;
//! - `expand` puts the expansion together.

mod expand;
mod input;
mod load;
mod report;

use proc_macro::TokenStream;

/// Kernels in the midst of Rust.
///
/// ```ignore
/// kiln::kernels! {
///     /// y = a * x + y
///     kernel axpy<T: float, const B: int = 1024>(a: T, x: tensor<T, [N]>, y: mut tensor<T, [N]>) grid [cdiv(N, B)] {
///         let n = program_id(0) * B;
///         y[n..+B] = a * x[n..+B] + y[n..+B];
///     }
/// }
///
/// axpy(2.0, &x, &mut y).launch(&device)?;
/// ```
///
/// Every kernel becomes a public function of its name, whose arguments are the kernel's parameters: `&Tensor<T>`, `&mut Tensor<T>`, numbers, raw pointers. What a launch
/// may leave out (optional parameters, scalars and constants with defaults, the schedule) are methods of the builder that the function returns. `use` names
/// `.kiln` files beside the Rust file.
#[proc_macro]
pub fn kernels(tokens: TokenStream) -> TokenStream {
    expand::inline(tokens.into()).into()
}

/// Kernels of a file: `include_kernels!("softmax.kiln")`, a path relative to the Rust file. Expands to what [`kernels!`] makes of the file's text; the program is built anew when the
/// file, or one that it uses, changes.
#[proc_macro]
pub fn include_kernels(tokens: TokenStream) -> TokenStream {
    expand::file(tokens.into()).into()
}
