//! What a package whose build script uses `kiln-build` depends on.

use std::process::Command;

#[test]
fn the_compiler_is_the_build_scripts_alone() {
    let tree = |edges: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["tree", "--offline", "--package", env!("CARGO_PKG_NAME"), "--prefix", "none", "--edges", edges]);
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let program = tree("normal");
    assert!(program.lines().any(|line| line.starts_with("kiln-ir ")), "{program}");
    for absent in ["llvm", "inkwell", "kiln-compiler", "kiln-codegen", "kiln-sema", "kiln-syntax", "kiln-passes", "kiln-macros"] {
        assert!(!program.lines().any(|line| line.starts_with(absent)), "{absent} is in\n{program}");
    }
    assert!(tree("normal,build").contains("inkwell"));
}
