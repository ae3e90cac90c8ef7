//! The expansions: errors and warnings, the program's text, and the functions that launch its kernels.

use std::path::{Path, PathBuf};

use kiln_ir::SrcLoc;
use kiln_ir::signature::KernelSignature;
use kiln_syntax::span::{FileId, Span as Place};
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::quote;

use crate::input;
use crate::load::{Loaded, display_name, load, normal};
use crate::report::{self, Shown};

/// `kernels! { .. }`.
pub fn inline(tokens: TokenStream) -> TokenStream {
    let input = input::read(tokens);
    let (name, dir) = this_file();
    let indent = input.lines_above + input.columns_before;
    let text = format!("{}{}{}", "\n".repeat(input.lines_above), " ".repeat(input.columns_before), input.text);
    let loaded = match load(&name, &text, &dir) {
        Ok(loaded) => loaded,
        Err(bug) => return internal(&bug, Span::call_site()),
    };
    let root = loaded.root;
    let find = |place: Place| {
        let inside = place.file == root;
        inside.then(|| input.tokens((place.lo as usize).saturating_sub(indent)..(place.hi as usize).saturating_sub(indent)))
    };
    let program = program(&loaded, &name, input.lines_above, input.columns_before, {
        let text = &input.text;
        quote!(#text)
    });
    let span = |loc: SrcLoc| {
        let place = Place { file: FileId(loc.file), lo: loc.lo, hi: loc.hi };
        let found = if loc.is_known() { find(place) } else { None };
        found.map_or(Span::call_site(), |(first, _)| Span::call_site().located_at(first))
    };
    items(&loaded, &program, &Shown::Tokens(&find), &span)
}

/// `include_kernels!("file.kiln")`.
pub fn file(tokens: TokenStream) -> TokenStream {
    let mut tokens = tokens.into_iter();
    let (path, at) = match (tokens.next(), tokens.next()) {
        (Some(TokenTree::Literal(literal)), None) => match string(&literal.to_string()) {
            Some(path) => (path, literal.span()),
            None => return usage(literal.span()),
        },
        (Some(other), None) => return usage(other.span()),
        (_, Some(extra)) => return usage(extra.span()),
        (None, None) => return usage(Span::call_site()),
    };
    let (_, dir) = this_file();
    let path = normal(&dir.join(path));
    let name = display_name(&path);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return report::error(&format!("cannot read `{name}`: {error}"), at, at),
    };
    let dir = path.parent().map(Path::to_owned).unwrap_or_default();
    let loaded = match load(&name, &text, &dir) {
        Ok(loaded) => loaded,
        Err(bug) => return internal(&bug, at),
    };
    let path = path.to_string_lossy();
    let program = program(&loaded, &name, 0, 0, quote!(::core::include_str!(#path)));
    items(&loaded, &program, &Shown::At(at), &|_| Span::call_site().located_at(at))
}

/// The text of a plain string literal without escapes.
fn string(literal: &str) -> Option<String> {
    let text = literal.strip_prefix('"')?.strip_suffix('"')?;
    (!text.is_empty() && !text.contains(['\\', '"'])).then(|| text.to_owned())
}

fn usage(at: Span) -> TokenStream {
    report::error(
        "`include_kernels!` takes the path of a kernel file, from this Rust file: `include_kernels!(\"softmax.kiln\")`",
        at,
        at,
    )
}

fn internal(bug: &str, at: Span) -> TokenStream {
    report::error(&format!("internal compiler error: {bug}\nthis is a bug in kiln, not in your program"), at, at)
}

/// What messages call the Rust file of this macro call, and the folder it lies in.
fn this_file() -> (String, PathBuf) {
    let span = Span::call_site().unwrap();
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    // Editors that expand macros without the compiler may know no file: then the package's folder has to do.
    let Some(file) = span.local_file() else { return (span.file(), package) };
    let absolute = std::path::absolute(&file).unwrap_or(file);
    let dir = absolute.parent().filter(|dir| dir.is_dir()).map_or(package, Path::to_owned);
    (display_name(&normal(&absolute)), normal(&dir))
}

/// Errors, warnings, and the items of the program's own kernels.
fn items(loaded: &Loaded, program: &TokenStream, shown: &Shown<'_>, span: &dyn Fn(SrcLoc) -> Span) -> TokenStream {
    let mut out: TokenStream = loaded.diagnostics.iter().map(|d| report::tokens(d, &loaded.sources, shown)).collect();
    let own = |signature: &&KernelSignature| signature.loc.file == loaded.root.0;
    let signatures: Vec<&KernelSignature> = loaded.program.kernels().filter(own).collect();
    out.extend(kiln_bindings::kernels(&signatures, program, span));
    out
}

/// The function that opens the program when the first of its kernels is launched.
fn program(loaded: &Loaded, name: &str, lines_above: usize, columns_before: usize, text: TokenStream) -> TokenStream {
    let files = loaded.files.iter().map(|file| {
        let (name, path) = (&file.name, file.path.to_string_lossy());
        // Cargo builds the program anew when a file that is included changes.
        quote!((#name, ::core::include_str!(#path)))
    });
    let uses = loaded.uses.iter().map(|(from, path, number)| quote!((#from, #path, #number)));
    quote! {
        || {
            ::kiln::typed::Embedded {
                name: #name,
                lines_above: #lines_above,
                columns_before: #columns_before,
                text: #text,
                files: ::kiln::typed::EmbeddedFiles { files: &[#(#files),*], uses: &[#(#uses),*] },
            }
            .open()
        }
    }
}
