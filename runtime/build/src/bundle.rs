//! The builder that build scripts use.

use std::env;
use std::path::{Path, PathBuf};

use kiln_compiler::CompileError;

use crate::compile::{Compiled, compile};
use crate::specialize::Specialize;

/// What can go wrong.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The kernels, or a specialization that they cannot have.
    #[error(transparent)]
    Compile(Box<CompileError>),
    /// A target, a kernel or a type that there is not, or the build script's surroundings.
    #[error("{0}")]
    Request(String),
    /// A file cannot be written.
    #[error("cannot write `{}`: {message}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why, in the system's words.
        message: String,
    },
}

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Error {
        Error::Compile(Box::new(error))
    }
}

/// Kernels of a file that are to be compiled ahead of time.
#[derive(Clone, Debug)]
pub struct Bundle {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) targets: Vec<String>,
    pub(crate) specializations: Vec<Specialize>,
    pub(crate) c_api: bool,
    pub(crate) only_specialized: bool,
}

impl Bundle {
    /// The kernels of a file. The bundle has the file's name, without its extension.
    pub fn new(path: impl AsRef<Path>) -> Bundle {
        let path = path.as_ref().to_owned();
        let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        Bundle { path, name, targets: vec![], specializations: vec![], c_api: false, only_specialized: false }
    }

    /// Another name than the file's.
    #[must_use]
    pub fn name(mut self, name: &str) -> Bundle {
        self.name = name.to_owned();
        self
    }

    /// Something to compile for: a GPU (`sm_80`, `sm_90a`; the PTX for one without `a` also runs on later ones), or a level of the processor (`x86-64`, `x86-64-v2`,
    /// `x86-64-v3`, `x86-64-v4`, or `generic` on other processors). A launch on the CPU takes the best level that the processor has. `host`, and no target at
    /// all, mean `x86-64-v3`, or `generic`.
    #[must_use]
    pub fn target(mut self, target: &str) -> Bundle {
        self.targets.push(target.to_owned());
        self
    }

    /// Compiles a kernel for some types and constants; may be said several times. A kernel that nothing is said about is compiled once, with its defaults.
    #[must_use]
    pub fn specialize(mut self, kernel: &str, choose: impl FnOnce(Specialize) -> Specialize) -> Bundle {
        self.specializations.push(choose(Specialize::new(kernel)));
        self
    }

    /// Leaves out kernels that nothing is said about.
    #[must_use]
    pub fn only_specialized(mut self) -> Bundle {
        self.only_specialized = true;
        self
    }

    /// Also functions for C, and their header beside the generated Rust. A package of type `cdylib` or `staticlib` is then a library that C, C++ and Python can use.
    #[must_use]
    pub fn c_api(mut self) -> Bundle {
        self.c_api = true;
        self
    }

    /// Compiles everything and keeps it in memory.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn compile(&self) -> Result<Compiled, Error> {
        compile(self)
    }

    /// For build scripts: compiles everything, writes what `kiln::include_bundle!` reads into `OUT_DIR`, and tells cargo what to link and when to run again. On a
    /// mistake it shows it and ends the build.
    pub fn build(&self) {
        if let Err(error) = self.try_build() {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }

    /// [`Bundle::build`], with mistakes as errors. The header, where there is one, is `OUT_DIR/NAME.h`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn try_build(&self) -> Result<(), Error> {
        let var =
            |name: &str| env::var(name).map_err(|_| Error::Request(format!("{name} is not set: `build` is for build scripts")));
        let out_dir = PathBuf::from(var("OUT_DIR")?);
        let (arch, os) = (var("CARGO_CFG_TARGET_ARCH")?, var("CARGO_CFG_TARGET_OS")?);
        let compiled = self.compile()?;
        if compiled.has_host_code() && (arch != env::consts::ARCH || os != env::consts::OS) {
            return Err(Error::Request(format!(
                "kernels for the CPU are compiled for the system that builds them: {} {}, and not {arch} {os}",
                env::consts::ARCH,
                env::consts::OS
            )));
        }
        compiled.write(&out_dir)?;
        for file in &compiled.files {
            println!("cargo::rerun-if-changed={}", file.display());
        }
        for warning in compiled.warnings.lines() {
            println!("cargo::warning={warning}");
        }
        if compiled.has_host_code() {
            println!("cargo::rustc-link-search=native={}", out_dir.display());
            println!("cargo::rustc-link-lib=static={}", compiled.library());
        }
        Ok(())
    }
}
