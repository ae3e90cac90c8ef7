//! Kiln's cross-crate tests: conformance, filetests, third-party, cli, gpu.
