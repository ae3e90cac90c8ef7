//! CUDA C++ to PTX with NVRTC, loaded from the tools that `cargo xtask test` installs.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::{Library, Symbol};

/// The directory that holds the wheels, if there is one.
pub fn tools() -> Option<PathBuf> {
    let dir = match std::env::var_os("KILN_TOOLS") {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools"),
    };
    dir.join("nvidia").is_dir().then_some(dir)
}

fn find(dir: &Path, prefix: &str) -> Option<PathBuf> {
    let mut names: Vec<_> = std::fs::read_dir(dir).ok()?.filter_map(Result::ok).map(|e| e.path()).collect();
    names.sort();
    names.into_iter().find(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with(prefix)))
}

fn library() -> Option<&'static (Library, PathBuf)> {
    static LIBRARY: OnceLock<Option<(Library, PathBuf)>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            let nvidia = tools()?.join("nvidia");
            let roots: Vec<_> = std::fs::read_dir(nvidia).ok()?.filter_map(Result::ok).map(|e| e.path()).collect();
            let root = roots.into_iter().find(|r| find(&r.join("lib"), "libnvrtc.so").is_some())?;
            let path = find(&root.join("lib"), "libnvrtc.so")?;
            // SAFETY: NVRTC's initializers have no requirements.
            let library = unsafe { Library::new(path) }.ok()?;
            Some((library, root.join("include")))
        })
        .as_ref()
}

/// Whether NVRTC's tests are to run: where `KILN_TOOLS` promises it, found or not, and where it is found.
pub fn expected() -> bool {
    std::env::var_os("KILN_TOOLS").is_some() || library().is_some()
}

type Program = *mut c_void;

/// Compiles `source` for `arch` ("sm_90a") and returns the PTX.
pub fn compile(source: &str, arch: &str) -> String {
    let (library, include) = library().expect("NVRTC is not where KILN_TOOLS says; `cargo xtask test` installs it");
    let source = CString::new(source).expect("a source without NUL");
    let name = c"kernel.cu";
    let options: Vec<CString> = [
        format!("--gpu-architecture={}", arch.replace("sm_", "compute_")),
        format!("--include-path={}", include.display()),
        "--std=c++17".to_owned(),
        "-lineinfo".to_owned(),
    ]
    .into_iter()
    .map(|o| CString::new(o).expect("an option without NUL"))
    .collect();
    let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
    // SAFETY: the signatures are those of nvrtc.h; every pointer outlives its call, and buffers have the sizes
    // that NVRTC asked for.
    unsafe {
        type Create = unsafe extern "C" fn(
            *mut Program,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> c_int;
        type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
        type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
        type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
        let create: Symbol<Create> = library.get(b"nvrtcCreateProgram\0").expect("nvrtcCreateProgram");
        let run: Symbol<Compile> = library.get(b"nvrtcCompileProgram\0").expect("nvrtcCompileProgram");
        let text = |size: &[u8], get: &[u8], program: Program| {
            let size: Symbol<Size> = library.get(size).expect("size function");
            let get: Symbol<Get> = library.get(get).expect("get function");
            let mut n = 0;
            assert_eq!(size(program, &mut n), 0);
            let mut bytes = vec![0u8; n + 1];
            assert_eq!(get(program, bytes.as_mut_ptr().cast()), 0);
            CStr::from_bytes_until_nul(&bytes).expect("a C string").to_string_lossy().into_owned()
        };
        let mut program: Program = std::ptr::null_mut();
        let made = create(&mut program, source.as_ptr(), name.as_ptr(), 0, std::ptr::null(), std::ptr::null());
        assert_eq!(made, 0, "nvrtcCreateProgram");
        let result = run(program, pointers.len() as c_int, pointers.as_ptr());
        let log = text(b"nvrtcGetProgramLogSize\0", b"nvrtcGetProgramLog\0", program);
        assert_eq!(result, 0, "NVRTC: {log}");
        text(b"nvrtcGetPTXSize\0", b"nvrtcGetPTX\0", program)
    }
}
