//! From kernels' launch signatures to typed Rust functions.
//!
//! For every kernel `name`, [`kernels`] makes a function `name` that takes what every launch has to give, and a module `name` with the builder it returns
//! (`name::Launch`): one method for each thing that a launch may give (optional parameters, constants, functions, the schedule), and `launch`. Type parameters
//! become Rust generics bounded by the trait of their class. What the generated code stands on is `kiln::typed`.
#![deny(missing_docs)]

mod api;
pub mod c;
mod docs;
mod names;

use kiln_ir::SrcLoc;
use kiln_ir::signature::KernelSignature;
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};

use names::Names;

/// The Rust items of some kernels.
///
/// `program` is an expression of type `fn() -> Result<kiln::Program, kiln::Error>` that opens the program the kernels are of. `span` gives the place of a name in
/// Rust source, where there is one: errors about it, and a reader's "go to definition", then lead there.
pub fn kernels(signatures: &[&KernelSignature], program: &TokenStream, span: &dyn Fn(SrcLoc) -> Span) -> TokenStream {
    let Some(first) = signatures.first() else { return TokenStream::new() };
    // A function, and not a static in one of the modules: the macro may stand in a function's body, where modules do not see each other.
    let program_fn = format_ident!("__kiln_program_{}", first.name);
    let kernels = signatures.iter().map(|signature| api::kernel(signature, &program_fn, &Names::of(signature), span));
    quote! {
        #[doc(hidden)]
        #[allow(non_snake_case)]
        fn #program_fn() -> &'static ::kiln::typed::StaticProgram {
            static PROGRAM: ::kiln::typed::StaticProgram = ::kiln::typed::StaticProgram::new(#program);
            &PROGRAM
        }
        #(#kernels)*
    }
}
