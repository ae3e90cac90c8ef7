//! The items of one kernel: its function, its module with the builder.

use kiln_ir::signature::{ConstType, ElemRef, KernelSignature, ParamKind, ParamSig, Schedule, TypeClass, TypeRef};
use kiln_ir::{ScalarType, SrcLoc};
use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote};

use crate::docs;
use crate::names::{Names, argument, is_required};

/// The trait whose types are those of a class.
fn class_trait(class: TypeClass) -> TokenStream {
    match class {
        TypeClass::Float => quote!(::kiln::Float),
        TypeClass::Int => quote!(::kiln::Int),
        TypeClass::Num => quote!(::kiln::Num),
        TypeClass::Any => quote!(::kiln::Element),
    }
}

/// The Rust type of a scalar type.
fn scalar(ty: ScalarType) -> TokenStream {
    match ty {
        ScalarType::Bool => quote!(bool),
        ScalarType::I8 => quote!(i8),
        ScalarType::I16 => quote!(i16),
        ScalarType::I32 => quote!(i32),
        ScalarType::I64 | ScalarType::Index => quote!(i64),
        ScalarType::U8 => quote!(u8),
        ScalarType::U16 => quote!(u16),
        ScalarType::U32 => quote!(u32),
        ScalarType::U64 => quote!(u64),
        ScalarType::F16 => quote!(::kiln::f16),
        ScalarType::BF16 => quote!(::kiln::bf16),
        ScalarType::F32 => quote!(f32),
        ScalarType::F64 => quote!(f64),
        ScalarType::F8E4M3 => quote!(::kiln::F8E4M3),
        ScalarType::F8E5M2 => quote!(::kiln::F8E5M2),
    }
}

/// One kernel's view of the generator.
struct Kernel<'a> {
    signature: &'a KernelSignature,
    names: &'a Names,
    generics: Vec<Ident>,
    span: &'a dyn Fn(SrcLoc) -> Span,
}

impl Kernel<'_> {
    fn rust_type(&self, ty: TypeRef) -> TokenStream {
        match ty {
            TypeRef::Concrete(ty) => scalar(ty),
            TypeRef::Param(i) => {
                let name = &self.generics[i as usize];
                quote!(#name)
            }
            TypeRef::AccOf(i) => {
                let name = &self.generics[i as usize];
                quote!(<#name as ::kiln::Element>::Acc)
            }
        }
    }

    fn ident(&self, param: &ParamSig) -> Ident {
        Ident::new(&param.name, (self.span)(param.loc))
    }

    /// The Rust type of a parameter, and the launch's argument made of `value`.
    fn argument(&self, param: &ParamSig, value: &Ident) -> (TokenStream, TokenStream) {
        let into = |value: TokenStream| quote!(::kiln::IntoArg::into_arg(#value));
        match &param.kind {
            ParamKind::Tensor { elem: ElemRef::Scalar(ty), mutable, .. } => {
                let elem = self.rust_type(*ty);
                let reference = if *mutable { quote!(&'a mut) } else { quote!(&'a) };
                (quote!(#reference ::kiln::Tensor<#elem>), into(quote!(#value)))
            }
            ParamKind::Tensor { elem: ElemRef::Ptr { .. }, mutable, .. } => {
                let reference = if *mutable { quote!(&'a mut) } else { quote!(&'a) };
                (quote!(#reference ::kiln::AnyTensor), into(quote!(#value)))
            }
            ParamKind::Ptr { pointee, mutable } => {
                let pointee = self.rust_type(*pointee);
                let pointer = if *mutable { quote!(*mut) } else { quote!(*const) };
                let arg = quote! {
                    ::kiln::Arg::Pointer { pointee: <#pointee as ::kiln::Element>::TYPE, address: #value as usize as u64 }
                };
                (quote!(#pointer #pointee), arg)
            }
            ParamKind::Scalar { ty, .. } => (self.rust_type(*ty), quote!(::kiln::typed::number(#value))),
        }
    }

    /// Whether an argument that every launch gives determines a type parameter.
    fn is_determined(&self, number: usize) -> bool {
        self.signature.params.iter().filter(|p| is_required(p)).any(|p| {
            let ty = match &p.kind {
                ParamKind::Tensor { elem: ElemRef::Scalar(ty), .. } => ty,
                ParamKind::Tensor { elem: ElemRef::Ptr { pointee, .. }, .. } | ParamKind::Ptr { pointee, .. } => pointee,
                ParamKind::Scalar { ty, .. } => ty,
            };
            *ty == TypeRef::Param(number as u32)
        })
    }

    /// Methods of parameters that a launch may leave out.
    fn param_methods(&self) -> TokenStream {
        let params = self.signature.params.iter().zip(&self.names.params).enumerate();
        let methods = params.filter_map(|(number, (param, name))| {
            let method = Ident::new(name.as_ref()?, (self.span)(param.loc));
            let value = format_ident!("value");
            let (ty, arg) = self.argument(param, &value);
            let safety = safety(&param.kind);
            let doc = docs::optional_param(self.signature, param) + if safety.is_empty() { "" } else { SAFETY };
            let number = Literal::usize_unsuffixed(number);
            Some(quote! {
                #[doc = #doc]
                pub #safety fn #method(mut self, value: #ty) -> Self {
                    self.launch.argument(#number, #arg);
                    self
                }
            })
        });
        methods.collect()
    }

    /// Methods of constants and functions that have defaults.
    fn generic_methods(&self) -> TokenStream {
        let consts =
            self.signature.const_params.iter().zip(&self.names.consts).enumerate().filter_map(|(number, (param, name))| {
                let method = format_ident!("{}", name.as_ref()?);
                let doc = docs::constant(self.signature, number);
                let (ty, argument) = (const_type(param.ty), const_value(param.ty, &format_ident!("value")));
                let number = Literal::usize_unsuffixed(number);
                Some(quote! {
                    #[doc = #doc]
                    pub fn #method(mut self, value: #ty) -> Self {
                        self.launch.constant(#number, #argument);
                        self
                    }
                })
            });
        let fns = self.names.fns.iter().enumerate().filter_map(|(number, name)| {
            let method = format_ident!("{}", name.as_ref()?);
            let doc = docs::function_param(self.signature, number);
            let number = Literal::usize_unsuffixed(number);
            Some(quote! {
                #[doc = #doc]
                pub fn #method(mut self, path: &str) -> Self {
                    self.launch.function(#number, path);
                    self
                }
            })
        });
        consts.chain(fns).collect()
    }

    fn schedule_methods(&self) -> TokenStream {
        let methods = Schedule::FIELDS.iter().zip(&self.names.schedule).enumerate().map(|(number, (field, name))| {
            let method = format_ident!("{name}");
            let doc = docs::schedule(field);
            let number = Literal::usize_unsuffixed(number);
            let (ty, values) = match *field {
                "cluster" => (quote!([u32; 3]), quote!(value)),
                "warps" | "stages" | "group" | "split_k" | "max_regs" => (quote!(u32), quote!([value])),
                _ => (quote!(bool), quote!([u32::from(value)])),
            };
            quote! {
                #[doc = #doc]
                pub fn #method(mut self, value: #ty) -> Self {
                    self.launch.schedule(#number, &#values);
                    self
                }
            }
        });
        methods.collect()
    }
}

fn const_type(ty: ConstType) -> TokenStream {
    match ty {
        ConstType::Int => quote!(i64),
        ConstType::Bool => quote!(bool),
    }
}

/// A constant as the number that a launch takes.
pub fn const_value(ty: ConstType, value: &Ident) -> TokenStream {
    match ty {
        ConstType::Int => quote!(#value),
        ConstType::Bool => quote!(i64::from(#value)),
    }
}

/// `unsafe` where a raw pointer is taken.
fn safety(kind: &ParamKind) -> TokenStream {
    if matches!(kind, ParamKind::Ptr { .. }) { quote!(unsafe) } else { quote!() }
}

const SAFETY: &str = "\n\n# Safety\n\nThe kernel accesses what it likes behind the pointers: it must be there until the launch is done, and nothing else may use it \
     meanwhile.";

/// The items of a kernel. `program` is the function that gives the program.
pub fn kernel(signature: &KernelSignature, program: &Ident, names: &Names, span: &dyn Fn(SrcLoc) -> Span) -> TokenStream {
    let generics: Vec<Ident> = signature.type_params.iter().map(|t| format_ident!("{}", t.name)).collect();
    let bounds: Vec<TokenStream> = signature.type_params.iter().map(|t| class_trait(t.class)).collect();
    let kernel = Kernel { signature, names, generics: generics.clone(), span };
    let name = Ident::new(&signature.name, span(signature.loc));
    let kernel_name = &signature.name;

    let (mut params, mut sets) = (vec![], vec![]);
    for (number, param) in signature.params.iter().enumerate().filter(|(_, p)| is_required(p)) {
        let ident = kernel.ident(param);
        let (ty, arg) = kernel.argument(param, &ident);
        let number = Literal::usize_unsuffixed(number);
        params.push(quote!(#ident: #ty));
        sets.push(quote!(__launch.argument(#number, #arg);));
    }
    // What is neither given by tensors nor has a default is an argument, too.
    for (number, param) in signature.const_params.iter().enumerate().filter(|(_, c)| c.default.is_none() && !c.from_dims) {
        let (ident, ty) = (format_ident!("{}", argument(signature, &param.name, "const")), const_type(param.ty));
        let number = Literal::usize_unsuffixed(number);
        params.push(quote!(#ident: #ty));
        let value = const_value(param.ty, &ident);
        sets.push(quote!(__launch.constant(#number, #value);));
    }
    for (number, param) in signature.fn_params.iter().enumerate().filter(|(_, f)| f.default.is_none()) {
        let ident = format_ident!("{}", argument(signature, &param.name, "fn"));
        let number = Literal::usize_unsuffixed(number);
        params.push(quote!(#ident: &str));
        sets.push(quote!(__launch.function(#number, #ident);));
    }
    for (number, ident) in generics.iter().enumerate().filter(|(number, _)| !kernel.is_determined(*number)) {
        let number = Literal::usize_unsuffixed(number);
        sets.push(quote!(__launch.type_param(#number, <#ident as ::kiln::Element>::TYPE);));
    }

    let takes_pointers = signature.params.iter().any(|p| is_required(p) && matches!(p.kind, ParamKind::Ptr { .. }));
    let unsafety = if takes_pointers { quote!(unsafe) } else { quote!() };
    let mut doc = docs::function(signature, names);
    if takes_pointers {
        doc.push_str(SAFETY);
    }
    let module_doc = format!("Launches of kernel [`{kernel_name}`](fn@super::{kernel_name}).");
    let launch_doc = format!("A launch of kernel [`{kernel_name}`](fn@super::{kernel_name}) that is being put together.");
    let (param_methods, generic_methods, schedule_methods) =
        (kernel.param_methods(), kernel.generic_methods(), kernel.schedule_methods());
    quote! {
        #[doc = #doc]
        #[allow(non_snake_case, rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags, clippy::too_many_arguments)]
        pub #unsafety fn #name<'a #(, #generics: #bounds)*>(#(#params),*) -> #name::Launch<'a #(, #generics)*> {
            static __KERNEL: ::kiln::typed::StaticKernel = ::kiln::typed::StaticKernel::new(#program, #kernel_name);
            let mut __launch = ::kiln::typed::TypedLaunch::new(&__KERNEL);
            #(#sets)*
            #name::Launch::__of(__launch)
        }

        #[doc = #module_doc]
        #[allow(non_snake_case, non_camel_case_types, rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]
        pub mod #name {
            #[doc = #launch_doc]
            #[derive(Debug)]
            #[must_use = "nothing runs until `.launch(..)`"]
            pub struct Launch<'a #(, #generics)*> {
                launch: ::kiln::typed::TypedLaunch<'a>,
                types: ::core::marker::PhantomData<fn() -> (#(#generics,)*)>,
            }

            impl<'a #(, #generics: #bounds)*> Launch<'a #(, #generics)*> {
                #[doc(hidden)]
                pub fn __of(launch: ::kiln::typed::TypedLaunch<'a>) -> Self {
                    Launch { launch, types: ::core::marker::PhantomData }
                }
                #param_methods
                #generic_methods
                #schedule_methods

                /// Runs the kernel on a device, and waits until it is done; or gives it to a stream, and does not wait.
                ///
                /// # Errors
                /// Where the arguments do not fit the kernel, it does not compile, a tensor is in use elsewhere, or an assertion fails.
                pub fn launch(self, on: &impl ::kiln::LaunchTarget) -> ::core::result::Result<::kiln::Launched, ::kiln::Error> {
                    self.launch.run(on)
                }

                /// Everything up to the run itself: binds, checks and compiles.
                ///
                /// # Errors
                /// As `launch`.
                pub fn prepare(self, device: &::kiln::Device) -> ::core::result::Result<::kiln::Launched, ::kiln::Error> {
                    self.launch.prepare(device)
                }
            }
        }
    }
}
