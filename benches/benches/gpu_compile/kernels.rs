//! The kernels, each with the settings that both compilers get.

use kiln_compiler::{CompileOptions, GpuTarget, Session, Target};
use kiln_ir::ScalarType;
use kiln_ir::signature::{Assumptions, LaunchOptions, Specialization};

/// A kernel with its settings.
pub struct Work {
    /// Name in the tables.
    pub label: &'static str,
    /// Example and kernel in it.
    pub kernel: &'static str,
    /// Element type.
    pub elem: ScalarType,
    /// Constants; both compilers call them the same.
    pub consts: &'static [(&'static str, i64)],
    /// Constants that the kernel in Kiln takes from dimensions.
    pub dims: &'static [(&'static str, i64)],
    /// Optional parameters that are given.
    pub present: &'static [&'static str],
    /// Warps of a program.
    pub warps: i64,
    /// Stages of the pipeline; 1 where nothing is staged.
    pub stages: i64,
    /// Triton has a version that reads through tensor descriptors.
    pub descriptors: bool,
}

const F16: ScalarType = ScalarType::F16;

const PLAIN: Work =
    Work { label: "", kernel: "", elem: F16, consts: &[], dims: &[], present: &[], warps: 4, stages: 1, descriptors: false };

/// All of them.
pub const WORKS: &[Work] = &[
    Work { label: "vector_add f32, 1024", kernel: "vector_add", elem: ScalarType::F32, consts: &[("BLOCK", 1024)], ..PLAIN },
    Work {
        label: "softmax f32, row of 4096",
        kernel: "softmax",
        elem: ScalarType::F32,
        consts: &[("BLOCK", 4096)],
        warps: 8,
        ..PLAIN
    },
    Work {
        label: "layer_norm f16, row of 4096",
        kernel: "layer_norm",
        consts: &[("N", 4096)],
        present: &["w", "b"],
        warps: 8,
        ..PLAIN
    },
    matmul("matmul 128x128x64, 4 warps", &[("BM", 128), ("BN", 128), ("BK", 64)], 4),
    matmul("matmul 128x128x64, 8 warps", &[("BM", 128), ("BN", 128), ("BK", 64)], 8),
    matmul("matmul 128x256x64, 8 warps", &[("BM", 128), ("BN", 256), ("BK", 64)], 8),
    attention("attention 128x64, head of 64", &[("D", 64), ("CAUSAL", 0), ("BM", 128), ("BN", 64)], 4),
    attention("attention 128x64, head of 128", &[("D", 128), ("CAUSAL", 0), ("BM", 128), ("BN", 64)], 8),
    attention("attention 128x64, head of 128, causal", &[("D", 128), ("CAUSAL", 1), ("BM", 128), ("BN", 64)], 8),
];

const fn matmul(label: &'static str, consts: &'static [(&'static str, i64)], warps: i64) -> Work {
    Work { label, kernel: "matmul", consts, warps, stages: 3, descriptors: true, ..PLAIN }
}

const fn attention(label: &'static str, consts: &'static [(&'static str, i64)], warps: i64) -> Work {
    Work { label, kernel: "attention", consts, warps, stages: 2, descriptors: true, ..PLAIN }
}

impl Work {
    /// The example's kernel file, and its text.
    pub fn source(&self) -> Result<(String, String), String> {
        let name = self.kernel;
        let path = format!("{}/../dsl-examples/{name}/{name}.kiln", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        Ok((path, text))
    }

    /// What a launch of usual tensors asks for.
    pub fn specialization(&self, session: &Session) -> Result<Specialization, String> {
        let signature = session.kernel(self.kernel).map_err(|e| e.to_string())?;
        let pairs = |list: &[(&str, i64)]| -> Vec<(String, i64)> { list.iter().map(|&(n, v)| (n.to_owned(), v)).collect() };
        let options = LaunchOptions {
            types: vec![("T".to_owned(), self.elem)],
            consts: pairs(self.consts),
            schedule: vec![("warps".to_owned(), vec![self.warps]), ("stages".to_owned(), vec![self.stages])],
            num_sms: 132,
            shared_memory: 160 * 1024,
            ..LaunchOptions::default()
        };
        let assumptions =
            Assumptions { dims: pairs(self.dims), present: self.present.iter().map(|&name| name.to_owned()).collect() };
        signature.assume(&assumptions, &options).map_err(|e| format!("{}: {e:?}", self.label))
    }

    /// Arguments of `kiln build`.
    pub fn build_args(&self, target: GpuTarget) -> Result<Vec<String>, String> {
        let mut args = vec!["build".to_owned(), self.source()?.0, "--kernel".into(), self.kernel.into()];
        let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
        option("--target", target.name());
        option("--emit", "ptx".into());
        option("--type", format!("T={}", self.elem.name()));
        option("--schedule", format!("warps={}", self.warps));
        option("--schedule", format!("stages={}", self.stages));
        self.consts.iter().for_each(|(name, value)| option("--const", format!("{name}={value}")));
        self.dims.iter().for_each(|(name, value)| option("--dim", format!("{name}={value}")));
        self.present.iter().for_each(|name| option("--with", (*name).to_owned()));
        Ok(args)
    }

    /// The request to Triton for a version of the kernel.
    pub fn request(&self, target: GpuTarget, descriptors: bool) -> String {
        let consts: Vec<String> = self.consts.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let version = if descriptors { "_tma" } else { "" };
        format!("{}{version} {} {} {} {} {}", self.kernel, target.sm, self.warps, self.stages, self.elem.name(), consts.join(","))
    }
}

/// Options of a compilation for a GPU.
pub fn options(target: GpuTarget) -> CompileOptions {
    CompileOptions::new(Target::Gpu(target))
}
