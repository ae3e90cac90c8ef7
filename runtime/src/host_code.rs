//! Machine code of the processor, wherever it came from.

#[cfg(feature = "jit")]
use kiln_compiler::HostKernel;
use kiln_ir::abi::{HostContext, HostEntry};

/// Machine code that can be called.
pub(crate) enum HostCode {
    /// Linked into the process by the compiler.
    #[cfg(feature = "jit")]
    Loaded(HostKernel),
    /// Part of the program.
    InProgram(HostEntry),
}

impl HostCode {
    /// Runs the programs with linear ids `begin..end`.
    ///
    /// # Safety
    /// As [`HostEntry::call`].
    pub unsafe fn call(&self, args: *const u64, context: *const HostContext, begin: i64, end: i64) {
        let entry = match self {
            #[cfg(feature = "jit")]
            HostCode::Loaded(kernel) => kernel.entry(),
            HostCode::InProgram(entry) => *entry,
        };
        // SAFETY: the caller's promise; the code is there for as long as `self` is.
        unsafe { entry.call(args, context, begin, end) }
    }
}

/// Whether this processor runs code for `cpu`: a level of x86-64, or `generic`.
pub(crate) fn runs(cpu: &str) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let v2 = || has!("sse3") && has!("ssse3") && has!("sse4.1") && has!("sse4.2") && has!("popcnt") && has!("cmpxchg16b");
        let v3 = || {
            v2() && has!("avx")
                && has!("avx2")
                && has!("bmi1")
                && has!("bmi2")
                && has!("f16c")
                && has!("fma")
                && has!("lzcnt")
                && has!("movbe")
                && has!("xsave")
        };
        let v4 = || v3() && has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
        match cpu {
            "x86-64" => true,
            "x86-64-v2" => v2(),
            "x86-64-v3" => v3(),
            "x86-64-v4" => v4(),
            _ => false,
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        cpu == "generic"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_build_on_each_other() {
        let levels = ["x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4"];
        let known: Vec<bool> = levels.iter().map(|level| runs(level)).collect();
        assert!(known.windows(2).all(|pair| pair[0] || !pair[1]), "{known:?}");
        assert_eq!(runs("x86-64"), cfg!(target_arch = "x86_64"));
        assert!(!runs("pentium") && !runs(""));
    }
}
