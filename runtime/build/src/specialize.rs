//! What a kernel is compiled for, as a build script says it.

use kiln_ir::ScalarType;
use kiln_ir::signature::{Assumptions, LaunchOptions};

/// What a kernel is compiled for. What is not said takes the kernel's own defaults; type parameters without one are f32 (`int` ones i32).
#[derive(Clone, Debug, Default)]
pub struct Specialize {
    pub(crate) kernel: String,
    pub(crate) options: LaunchOptions,
    pub(crate) assumptions: Assumptions,
    /// The first name that is no type.
    pub(crate) bad_type: Option<String>,
}

impl Specialize {
    pub(crate) fn new(kernel: &str) -> Specialize {
        Specialize { kernel: kernel.to_owned(), ..Specialize::default() }
    }

    /// A type for a type parameter: `f32`, `bf16`.
    pub fn type_param(mut self, name: &str, ty: &str) -> Specialize {
        match ScalarType::from_name(ty) {
            Some(ty) => self.options.types.push((name.to_owned(), ty)),
            None => {
                self.bad_type.get_or_insert_with(|| ty.to_owned());
            }
        }
        self
    }

    /// A value for a constant (bools as 0 or 1).
    pub fn constant(mut self, name: &str, value: i64) -> Specialize {
        self.options.consts.push((name.to_owned(), value));
        self
    }

    /// A function for a function parameter, by its path.
    pub fn function(mut self, name: &str, path: &str) -> Specialize {
        self.options.fns.push((name.to_owned(), path.to_owned()));
        self
    }

    /// A schedule field (bools as 0 or 1).
    pub fn schedule(mut self, field: &str, values: &[i64]) -> Specialize {
        self.options.schedule.push((field.to_owned(), values.to_vec()));
        self
    }

    /// The extent of a named dimension: only for constants whose default depends on it. Launches may have other extents, as long as the constants come out the
    /// same.
    pub fn dim(mut self, name: &str, extent: i64) -> Specialize {
        self.assumptions.dims.push((name.to_owned(), extent));
        self
    }

    /// An optional parameter that launches give; those that are not named are absent.
    pub fn with(mut self, param: &str) -> Specialize {
        self.assumptions.present.push(param.to_owned());
        self
    }
}
