//! The package that `kiln build --emit bundle` writes, used as its users do: from Rust, C and Python. What it links, and how large it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::Place;

/// Files that the tests are made of.
const KERNELS: &str = include_str!("bundle-program/kernels.kiln");
const RUST: &str = include_str!("bundle-program/main.rs");
const C: &str = "tests/cli/bundle-program/main.c";
const PYTHON: &str = "tests/cli/bundle-program/main.py";

/// What a stripped program may take, in bytes.
const MAX_BYTES: u64 = 5_000_000;

/// How the package and the program are built: quickly, and no larger than a release would be.
const PROFILE: [(&str, &str); 3] =
    [("CARGO_PROFILE_DEV_OPT_LEVEL", "1"), ("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_STRIP", "symbols")];

/// What cargo made of the package.
struct Built {
    /// The package, with the header.
    bundle: PathBuf,
    /// A program that depends on it.
    program: PathBuf,
    /// The same, built.
    executable: PathBuf,
    /// The package's library for C.
    library: PathBuf,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Cargo for a package of its own: its directory, with the workspace's versions of what it needs, and without what the workspace's tests run under.
fn cargo(package: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    let workspace = |name: &str| name.starts_with("CARGO_PKG") || name.starts_with("CARGO_MANIFEST") || name == "RUSTFLAGS";
    for (name, _) in std::env::vars().filter(|(name, _)| workspace(name)) {
        command.env_remove(name);
    }
    command.current_dir(package).envs(PROFILE);
    command
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

/// Writes a file, unless it is there: what has not changed is not built again.
fn put(path: &Path, text: &str) {
    if fs::read_to_string(path).ok().as_deref() != Some(text) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn build() -> Built {
    // Beside the directory of the profile, and kept: only the first build takes longer than a moment.
    let target = Path::new(env!("CARGO_BIN_EXE_kiln")).ancestors().nth(2).unwrap().join("bundle-program");
    let (bundle, program) = (target.join("bundle"), target.join("program"));
    put(&target.join("kernels.kiln"), KERNELS);
    let said = Place::new().ok(&[
        "build",
        target.join("kernels.kiln").to_str().unwrap(),
        "--emit",
        "bundle",
        "--target",
        "host,sm_80",
        "-o",
        bundle.to_str().unwrap(),
    ]);
    assert!(said.err.contains("Bundled"), "{}", said.err);
    let runtime = root().join("runtime").canonicalize().unwrap();
    let manifest = format!(
        "[package]\nname = \"program\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nkernels-kernels = {{ path = \"../bundle\" }}\n\
         kiln = {{ path = {runtime:?}, default-features = false }}\n\n[workspace]\n"
    );
    put(&program.join("Cargo.toml"), &manifest);
    put(&program.join("src/main.rs"), RUST);
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for package in [&bundle, &program] {
        if !package.join("Cargo.lock").exists() {
            put(&package.join("Cargo.lock"), &lock);
        }
        run(cargo(package).args(["build", "--offline", "--quiet", "--target-dir"]).arg(&target));
    }
    let debug = target.join("debug");
    let library = format!("{}kernels_kernels{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    Built { bundle, program, executable: debug.join("program"), library: debug.join(library) }
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(build)
}

#[test]
fn neither_llvm_nor_the_compiler_is_linked() {
    let tree = run(cargo(&built().program).args(["tree", "--offline", "--edges", "normal,build", "--prefix", "none"]));
    assert!(tree.contains("kiln-ir"), "{tree}");
    for absent in [
        "llvm",
        "inkwell",
        "kiln-compiler",
        "kiln-codegen",
        "kiln-sema",
        "kiln-syntax",
        "kiln-passes",
        "kiln-macros",
        "kiln-build",
    ] {
        assert!(!tree.lines().any(|line| line.starts_with(absent)), "{absent} is in\n{tree}");
    }
    for file in [&built().executable, &built().library] {
        let bytes = fs::read(file).unwrap();
        assert!(!bytes.windows(7).any(|w| w == b"libLLVM"), "{}", file.display());
        assert!(bytes.len() as u64 <= MAX_BYTES, "{}: {} bytes", file.display(), bytes.len());
    }
}

#[test]
fn the_program_runs() {
    for device in ["cpu", "emulator:sm_80"] {
        let said = run(Command::new(&built().executable).env("KILN_DEVICE", device));
        let (sum, refused) = said.split_once('\n').unwrap();
        assert_eq!(sum, "sum of a row: 1.000");
        assert!(refused.contains("K1030") && refused.contains("needs T = f64, BLOCK = 1024"), "{refused}");
    }
}

#[test]
fn functions_for_c() {
    let Built { bundle, library, .. } = built();
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("main");
    for (compiler, language) in [("cc", ["-x", "c", "-std=c99"]), ("c++", ["-x", "c++", "-std=c++17"])] {
        if compiler == "c++" && Command::new(compiler).arg("--version").output().is_err() {
            eprintln!("there is no {compiler}: the header was compiled as C alone");
            continue;
        }
        let mut command = Command::new(compiler);
        command.args(language).args(["-Wall", "-Wextra", "-Werror", "-I"]).arg(bundle).arg(root().join(C));
        run(command.args(["-x", "none"]).arg(library).arg("-lm").arg("-o").arg(&program));
        for device in ["cpu", "emulator:sm_80"] {
            let mut command = Command::new(&program);
            command.env("LD_LIBRARY_PATH", library.parent().unwrap()).env("KILN_DEVICE", device);
            assert_eq!(run(&mut command), "C is content\n");
        }
    }
}

#[test]
fn functions_for_python() {
    let header = fs::read_to_string(built().bundle.join("kernels.h")).unwrap();
    assert!(header.contains("KILN_F32 = 11,"), "{header}");
    let said = run(Command::new("python3").arg(root().join(PYTHON)).arg(&built().library).env("KILN_DEVICE", "cpu"));
    assert!(said.contains("dimension `M` is 2 in `x` (axis 0), but 4 in `y` (axis 0)"), "{said}");
}

/// The book's chapter shows parts of the repository's files, as they are.
#[test]
fn the_book_shows_what_is_tested() {
    let chapter = fs::read_to_string(root().join("docs/tutorial/ahead-of-time.md")).unwrap();
    let mut shown = 0;
    for part in chapter.split("<!-- ").skip(1) {
        let (file, rest) = part.split_once(" -->\n```").unwrap();
        let block = rest.split_once('\n').unwrap().1.split_once("```").unwrap().0;
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains(block), "{file} has not\n{block}");
        shown += 1;
    }
    assert_eq!(shown, 4);
}
