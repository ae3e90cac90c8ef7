//! Kernels that were compiled when this package was built. The package links neither LLVM nor Kiln's compiler.

kiln::include_bundle!("softmax");
