//! The package by itself: what it links, how large it is, and its functions from C and Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What cargo made of the package alone: without the features that the rest of the workspace asks `kiln` for.
struct Built {
    program: PathBuf,
    library: PathBuf,
    out_dir: PathBuf,
}

fn cargo() -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("RUSTFLAGS");
    command
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    output
}

fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = run(cargo().args(["build", "--quiet", "--package", "kiln-aot-example", "--message-format=json"]));
        let mut built = Built { program: PathBuf::new(), library: PathBuf::new(), out_dir: PathBuf::new() };
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let message: serde_json::Value = serde_json::from_str(line).unwrap();
            if !message["package_id"].as_str().is_some_and(|id| id.contains("tests/aot")) {
                continue;
            }
            if let Some(dir) = message["out_dir"].as_str() {
                built.out_dir = dir.into();
            }
            if let Some(path) = message["executable"].as_str() {
                built.program = path.into();
            }
            for file in message["filenames"].as_array().into_iter().flatten().filter_map(|f| f.as_str()) {
                let is_library = [".so", ".dylib"].iter().any(|end| file.ends_with(end));
                if is_library {
                    built.library = file.into();
                }
            }
        }
        built
    })
}

#[test]
fn neither_llvm_nor_the_compiler_is_linked() {
    let tree = run(cargo().args(["tree", "--package", "kiln-aot-example", "--edges", "normal", "--prefix", "none"]));
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("kiln-ir"), "{tree}");
    for absent in
        ["llvm", "inkwell", "kiln-compiler", "kiln-codegen", "kiln-sema", "kiln-syntax", "kiln-passes", "kiln-macros"]
    {
        assert!(!tree.lines().any(|line| line.contains(absent)), "{absent} is in\n{tree}");
    }
    let program = std::fs::read(&built().program).unwrap();
    let mentions = |text: &str| program.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(!mentions("libLLVM"));
    // The kernels' code is there.
    assert!(mentions("kiln_softmax_softmax_"));
}

#[test]
fn the_program_runs() {
    let output = run(Command::new(&built().program).env("KILN_DEVICE", "cpu"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "sum of a row: 1.000\n");
}

/// What is loaded of an ELF file: its segments, without debug information.
#[cfg(target_os = "linux")]
#[test]
fn the_program_is_small() {
    let bytes = std::fs::read(&built().program).unwrap();
    let word = |at: usize, len: usize| bytes[at..at + len].iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b)) as usize;
    let (table, size, count) = (word(32, 8), word(54, 2), word(56, 2));
    let segments = (0..count).map(|i| table + i * size).filter(|at| word(*at, 4) == 1);
    let loaded: usize = segments.map(|at| word(at + 32, 8)).sum();
    assert!(loaded < 5 << 20, "{loaded} bytes");
}

const C_PROGRAM: &str = r#"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "softmax.h"

int main(void) {
    float x[2000], y[2000];
    for (int i = 0; i < 2000; i++) x[i] = (float)(i % 7);
    int64_t dims[2] = {2, 1000};
    kiln_tensor tx = {x, KILN_F32, 2, dims, NULL}, ty = {y, KILN_F32, 2, dims, NULL};
    if (kiln_softmax(&tx, &ty) != 0) { printf("%s\n", kiln_softmax_last_error()); return 1; }
    double sum = 0;
    for (int i = 0; i < 1000; i++) sum += y[i];
    if (fabs(sum - 1.0) > 1e-5) { printf("sum %g\n", sum); return 2; }
    /* Strides: every other element, backwards. */
    int64_t n[1] = {1000}, step[1] = {-2};
    kiln_tensor back = {x + 1998, KILN_F32, 1, n, step}, out = {y, KILN_F32, 1, n, NULL};
    float factor = 10.0f;
    if (kiln_affine(&back, NULL, &out, &factor) != 0) { printf("%s\n", kiln_softmax_last_error()); return 3; }
    if (y[0] != 10.0f * x[1998] || y[999] != 10.0f * x[0]) return 4;
    /* A mistake is a message. */
    kiln_tensor none = {NULL, KILN_F32, 1, n, NULL};
    if (kiln_affine(&none, NULL, &out, NULL) == 0 || strstr(kiln_softmax_last_error(), "NULL") == NULL) return 5;
    n[0] = 999;
    if (kiln_affine(&back, NULL, &out, NULL) != 0 || kiln_softmax_last_error() != NULL) return 6;
    puts("C is content");
    return 0;
}
"#;

#[test]
fn functions_for_c() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("main.c");
    std::fs::write(&source, C_PROGRAM).unwrap();
    let program = dir.path().join("main");
    let compile = |compiler: &str, source: &Path, standard: &str| {
        let mut command = Command::new(compiler);
        command.args([standard, "-Wall", "-Werror", "-I"]).arg(&built().out_dir).arg(source).arg("-o").arg(&program);
        run(command.arg(&built().library).arg("-lm"));
    };
    compile("cc", &source, "-std=c99");
    let library_dir = built().library.parent().unwrap();
    let output = run(Command::new(&program).env("LD_LIBRARY_PATH", library_dir).env("KILN_DEVICE", "cpu"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "C is content\n");
}

const PYTHON_PROGRAM: &str = r#"
import ctypes, sys
from array import array

class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("type", ctypes.c_int32), ("rank", ctypes.c_int32),
                ("dims", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64))]

F32 = 11
lib = ctypes.CDLL(sys.argv[1])
lib.kiln_softmax_last_error.restype = ctypes.c_char_p

def tensor(values, *dims):
    return Tensor(values.buffer_info()[0], F32, len(dims), (ctypes.c_int64 * len(dims))(*dims), None)

x, y = array("f", [i % 5 for i in range(2000)]), array("f", bytes(8000))
status = lib.kiln_softmax(ctypes.byref(tensor(x, 2, 1000)), ctypes.byref(tensor(y, 2, 1000)))
assert status == 0, lib.kiln_softmax_last_error()
assert abs(sum(y[:1000]) - 1) < 1e-5
assert lib.kiln_softmax(ctypes.byref(tensor(x, 2, 1000)), ctypes.byref(tensor(y, 4, 500))) != 0
print(lib.kiln_softmax_last_error().decode())
"#;

#[test]
fn functions_for_python() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3");
        return;
    }
    let header = std::fs::read_to_string(built().out_dir.join("softmax.h")).unwrap();
    assert!(header.contains("KILN_F32 = 11,"), "{header}");
    let output = run(Command::new("python3").args(["-c", PYTHON_PROGRAM]).arg(&built().library).env("KILN_DEVICE", "cpu"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("dimension `M` is 2 in `x` (axis 0), but 4 in `y` (axis 0)"), "{said}");
}

/// The book's chapter shows parts of this package's files, as they are.
#[test]
fn the_book_shows_this_package() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let chapter = std::fs::read_to_string(root.join("docs/tutorial/ahead-of-time.md")).unwrap();
    let mut shown = 0;
    for part in chapter.split("<!-- ").skip(1) {
        let (file, rest) = part.split_once(" -->\n```").unwrap();
        let block = rest.split_once('\n').unwrap().1.split_once("```").unwrap().0;
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        assert!(text.contains(block), "{file} has not\n{block}");
        shown += 1;
    }
    assert_eq!(shown, 4);
}
