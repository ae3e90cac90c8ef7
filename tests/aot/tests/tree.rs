//! What a package whose build script uses `kiln-build` depends on.

use std::process::Command;

/// The packages of a tree, one a line.
fn tree(arguments: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo
        .args(["tree", "--offline", "--prefix", "none"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_compiler_is_the_build_scripts_alone() {
    let program = tree(&["--package", env!("CARGO_PKG_NAME"), "--edges", "normal"]);
    assert!(program.lines().any(|line| line.starts_with("kiln-ir ")), "{program}");
    for absent in ["llvm", "inkwell", "kiln-compiler", "kiln-codegen", "kiln-sema", "kiln-syntax", "kiln-passes", "kiln-macros"] {
        assert!(!program.lines().any(|line| line.starts_with(absent)), "{absent} is in\n{program}");
    }
    assert!(tree(&["--package", env!("CARGO_PKG_NAME"), "--edges", "normal,build"]).contains("inkwell"));
}
