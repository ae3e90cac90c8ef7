//! Fingerprints the compiler's sources, so that caches of one build are not used by another.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut files = vec![];
    collect(&root, &mut files);
    files.sort();
    // FNV-1a with 128 bits: no dependency, and nobody picks these inputs against us.
    let mut hash = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58du128;
    let mut eat = |bytes: &[u8]| {
        for b in bytes {
            hash = (hash ^ u128::from(*b)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    };
    for file in &files {
        eat(file.strip_prefix(&root).unwrap_or(file).to_string_lossy().as_bytes());
        eat(&fs::read(file).unwrap_or_default());
    }
    println!("cargo::rustc-env=KILN_FINGERPRINT={hash:032x}");
    println!("cargo::rerun-if-changed={}", root.display());
}

/// Rust and Kiln sources below `dir`, tests left out.
fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if !matches!(&*name, "tests" | "snapshots" | "target" | "proptest-regressions") {
                collect(&path, files);
            }
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("rs" | "kiln" | "lalrpop" | "toml")) {
            files.push(path);
        }
    }
}
