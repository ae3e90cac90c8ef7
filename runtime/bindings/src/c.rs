//! Functions for C: exported ones in Rust, and the header that declares them.
//!
//! Kernel `scale` is `kiln_scale`, with the kernel's parameters in order: a tensor is a `kiln_tensor *` (NULL where it is absent), a scalar its value, or a pointer
//! to it where it may be left out (NULL). It returns 0, or another number and an error that `kiln_NAME_last_error` tells.

use std::fmt::Write as _;

use kiln_ir::ScalarType;
use kiln_ir::signature::{ConstType, KernelSignature, ParamKind, ParamSig, TypeClass, TypeRef};
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};

use crate::api::const_value;
use crate::docs;
use crate::names::{argument, is_required};

/// A number's type in C and in Rust.
struct CType {
    c: &'static str,
    rust: TokenStream,
}

/// The C type that holds a scalar: f16, bf16 and 8-bit floats travel as `float`, those of a type parameter as `double`, or `int64_t` for integers.
fn number(signature: &KernelSignature, ty: TypeRef) -> CType {
    use ScalarType::*;
    let concrete = match ty {
        TypeRef::Concrete(ty) => ty,
        TypeRef::Param(i) | TypeRef::AccOf(i) => match signature.type_params[i as usize].class {
            TypeClass::Int => I64,
            TypeClass::Float | TypeClass::Num | TypeClass::Any => F64,
        },
    };
    let (c, rust) = match concrete {
        Bool => ("bool", quote!(bool)),
        I8 => ("int8_t", quote!(i8)),
        I16 => ("int16_t", quote!(i16)),
        I32 => ("int32_t", quote!(i32)),
        I64 | Index => ("int64_t", quote!(i64)),
        U8 => ("uint8_t", quote!(u8)),
        U16 => ("uint16_t", quote!(u16)),
        U32 => ("uint32_t", quote!(u32)),
        U64 => ("uint64_t", quote!(u64)),
        F16 | BF16 | F32 | F8E4M3 | F8E5M2 => ("float", quote!(f32)),
        F64 => ("double", quote!(f64)),
    };
    CType { c, rust }
}

/// Words of C and C++ that are names in Kiln.
const C_WORDS: &[&str] = &[
    "alignas",
    "alignof",
    "and",
    "and_eq",
    "asm",
    "auto",
    "bitand",
    "bitor",
    "bool",
    "case",
    "catch",
    "char",
    "class",
    "compl",
    "concept",
    "const_cast",
    "consteval",
    "constexpr",
    "constinit",
    "decltype",
    "default",
    "delete",
    "double",
    "dynamic_cast",
    "explicit",
    "export",
    "float",
    "friend",
    "goto",
    "inline",
    "int",
    "long",
    "mutable",
    "namespace",
    "new",
    "noexcept",
    "not",
    "not_eq",
    "nullptr",
    "operator",
    "or",
    "or_eq",
    "private",
    "protected",
    "public",
    "register",
    "reinterpret_cast",
    "requires",
    "restrict",
    "short",
    "signed",
    "sizeof",
    "static_assert",
    "static_cast",
    "switch",
    "template",
    "this",
    "thread_local",
    "throw",
    "typedef",
    "typeid",
    "typename",
    "union",
    "unsigned",
    "using",
    "void",
    "volatile",
    "wchar_t",
    "xor",
    "xor_eq",
];

/// A parameter's name in the header.
fn c_name(name: &str) -> String {
    if C_WORDS.contains(&name) { format!("{name}_") } else { name.to_owned() }
}

/// What a parameter is in C: its declaration, its type in Rust, and the argument made of it.
fn param(signature: &KernelSignature, param: &ParamSig) -> (String, TokenStream, TokenStream) {
    let (name, in_c) = (format_ident!("{}", param.name), c_name(&param.name));
    match &param.kind {
        ParamKind::Tensor { .. } => (
            format!("const kiln_tensor *{in_c}"),
            quote!(*const ::kiln::capi::CTensor),
            quote!(::kiln::capi::CArg::Tensor(#name)),
        ),
        ParamKind::Ptr { mutable, pointee } => {
            let constness = if *mutable { "" } else { "const " };
            let pointee = match pointee {
                TypeRef::Concrete(ty) => {
                    let ty = Literal::u8_unsuffixed(*ty as u8);
                    quote!(#ty)
                }
                // The type of what is behind an untyped pointer is the type parameter's argument.
                TypeRef::Param(i) | TypeRef::AccOf(i) => {
                    let ty = type_arg(signature, *i as usize);
                    quote!(#ty as u8)
                }
            };
            let arg = quote!(::kiln::capi::CArg::Pointer(#pointee, #name as usize as u64));
            (format!("{constness}void *{in_c}"), quote!(*const ::core::ffi::c_void), arg)
        }
        ParamKind::Scalar { ty, .. } => {
            let CType { c, rust } = number(signature, *ty);
            if is_required(param) {
                (format!("{c} {in_c}"), rust, quote!(::kiln::capi::CArg::Number(::kiln::Number::from(#name))))
            } else {
                let arg = quote!(match #name.as_ref() {
                    Some(value) => ::kiln::capi::CArg::Number(::kiln::Number::from(*value)),
                    None => ::kiln::capi::CArg::Absent,
                });
                (format!("const {c} *{in_c}"), quote!(*const #rust), arg)
            }
        }
    }
}

/// The name of the argument that gives a type.
fn type_arg(signature: &KernelSignature, number: usize) -> Ident {
    format_ident!("{}", argument(signature, &format!("{}_type", signature.type_params[number].name), "of"))
}

/// Numbers of the types that no tensor determines.
fn type_args(signature: &KernelSignature) -> impl Iterator<Item = usize> + '_ {
    let determined = move |number: usize| {
        signature.params.iter().filter(|p| is_required(p)).any(|p| match &p.kind {
            ParamKind::Tensor { elem: kiln_ir::signature::ElemRef::Scalar(ty), .. } => *ty == TypeRef::Param(number as u32),
            _ => false,
        })
    };
    (0..signature.type_params.len()).filter(move |number| !determined(*number))
}

/// Constants that every launch has to give.
fn required_consts(signature: &KernelSignature) -> impl Iterator<Item = (usize, Ident, ConstType)> + '_ {
    let required = signature.const_params.iter().enumerate().filter(|(_, c)| c.default.is_none() && !c.from_dims);
    required.map(|(number, c)| (number, format_ident!("{}", argument(signature, &c.name, "const")), c.ty))
}

/// The exported functions of kernels whose typed functions [`crate::kernels`] made in the same scope.
pub fn exports(signatures: &[&KernelSignature], bundle: &str) -> TokenStream {
    let Some(first) = signatures.first() else { return TokenStream::new() };
    let program = format_ident!("__kiln_program_{}", first.name);
    let last_error = format_ident!("kiln_{bundle}_last_error");
    let functions = signatures.iter().map(|signature| {
        let name = format_ident!("kiln_{}", signature.name);
        let kernel_name = &signature.name;
        let (mut params, mut args) = (vec![], vec![]);
        for p in &signature.params {
            let (_, ty, arg) = param(signature, p);
            let ident = format_ident!("{}", p.name);
            params.push(quote!(#ident: #ty));
            args.push(arg);
        }
        let mut settings = vec![];
        for (number, ident, ty) in required_consts(signature) {
            let rust = if ty == ConstType::Bool { quote!(bool) } else { quote!(i64) };
            params.push(quote!(#ident: #rust));
            let number = Literal::usize_unsuffixed(number);
            let value = const_value(ty, &ident);
            settings.push(quote!(::kiln::capi::Setting::Const(#number, #value)));
        }
        for number in type_args(signature) {
            let ident = type_arg(signature, number);
            params.push(quote!(#ident: i32));
            let number = Literal::usize_unsuffixed(number);
            settings.push(quote!(::kiln::capi::Setting::Type(#number, #ident)));
        }
        let doc = format!("Kernel `{kernel_name}` for C.\n\n# Safety\n\nPointers are null or lead to what the header says.");
        quote! {
            #[doc = #doc]
            #[unsafe(no_mangle)]
            #[allow(non_snake_case, clippy::too_many_arguments)]
            pub unsafe extern "C" fn #name(#(#params),*) -> i32 {
                static __KERNEL: ::kiln::typed::StaticKernel = ::kiln::typed::StaticKernel::new(#program, #kernel_name);
                // SAFETY: the caller's promise: pointers are null or lead to what they are declared as.
                unsafe { ::kiln::capi::launch(&__KERNEL, &[#(#args),*], &[#(#settings),*]) }
            }
        }
    });
    quote! {
        /// What went wrong last on this thread, for C; null where nothing did.
        #[unsafe(no_mangle)]
        pub extern "C" fn #last_error() -> *const ::core::ffi::c_char {
            ::kiln::capi::last_error()
        }
        #(#functions)*
    }
}

/// The header.
pub fn header(bundle: &str, signatures: &[&KernelSignature]) -> String {
    let guard = format!("KILN_{}_H", bundle.to_uppercase());
    let mut out = format!("/* Generated by kiln-build. */\n#ifndef {guard}\n#define {guard}\n\n");
    out.push_str(
        "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n",
    );
    out.push_str("#ifndef KILN_TENSOR\n#define KILN_TENSOR\n/* Element types. */\nenum {\n");
    for ty in ScalarType::ALL.into_iter().filter(|ty| *ty != ScalarType::Index) {
        let _ = writeln!(out, "    KILN_{} = {},", ty.name().to_uppercase(), ty as u8);
    }
    out.push_str(
        "};\n\n/* Memory of the host that is seen as a tensor. Kernels write into the memory of those that the kernel declares `mut`; what a bool holds is 0 or 1. */\n\
         typedef struct kiln_tensor {\n    void *data;              /* the element with index 0 */\n    int32_t type;            /* KILN_F32, .. */\n    \
         int32_t rank;            /* 0 to 5 */\n    const int64_t *dims;     /* extents */\n    const int64_t *strides;  /* in elements; NULL: row-major, dense */\n\
         } kiln_tensor;\n#endif\n\n",
    );
    let _ = writeln!(
        out,
        "/* What went wrong last on this thread; NULL where nothing did. Good until the next call. */\nconst char *kiln_{bundle}_last_error(void);\n"
    );
    for signature in signatures {
        let mut params = vec![];
        let _ = writeln!(out, "/*");
        for line in signature.doc.lines() {
            let _ = writeln!(out, " *{}", line.replace("*/", "* /"));
        }
        for p in &signature.params {
            params.push(param(signature, p).0);
            let _ = writeln!(out, " * {}: {}", c_name(&p.name), docs::param_type(signature, p));
        }
        for (_, ident, ty) in required_consts(signature) {
            params.push(format!("{} {}", if ty == ConstType::Bool { "bool" } else { "int64_t" }, c_name(&ident.to_string())));
        }
        params.extend(type_args(signature).map(|number| format!("int32_t {}", type_arg(signature, number))));
        let params = if params.is_empty() { "void".to_owned() } else { params.join(", ") };
        let _ = writeln!(out, " * Returns 0, or another number: then kiln_{bundle}_last_error() says why.\n */");
        let _ = writeln!(out, "int32_t kiln_{}({params});\n", signature.name);
    }
    out.push_str("#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
    out
}
