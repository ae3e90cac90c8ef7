//! Tile IR to LLVM: the host JIT and NVPTX. The only crate that links LLVM.
