//! The way to the stand-in driver (`tests/driver-stand-in`): a directory in which it has the driver's name, for the dynamic loader's search path.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// A directory that holds the stand-in as `libcuda.so.1`. None where cargo did not build it: outside of the workspace's tests.
///
/// # Panics
/// Where the build directory cannot be written.
pub fn directory() -> Option<PathBuf> {
    let built = std::env::current_exe().ok()?.parent()?.join("libkiln_driver_stand_in.so");
    if !cfg!(target_os = "linux") || !built.is_file() {
        return None;
    }
    let directory = built.parent()?.parent()?.join("stand-in-driver");
    let name = directory.join("libcuda.so.1");
    if std::fs::read_link(&name).ok().as_ref() != Some(&built) {
        std::fs::create_dir_all(&directory).expect("the build directory can be written");
        // Made beside and renamed, as other test programs do the same.
        let mine = directory.join(format!("libcuda.{}", std::process::id()));
        let _ = std::fs::remove_file(&mine);
        #[cfg(unix)]
        std::os::unix::fs::symlink(&built, &mine).expect("the build directory can be written");
        std::fs::rename(&mine, &name).expect("the build directory can be written");
    }
    Some(directory)
}

/// Has a command find the stand-in as its driver, with some of its words (`sm=80`). False where there is no stand-in.
///
/// Machine code of a real ptxas is nothing that it could run, so none is used.
///
/// A program that was packed (`cargo xtask gpu-bundle`) has nothing of cargo's beside it; `already_there`: its driver is the stand-in.
pub fn give_to(command: &mut Command, words: &str, already_there: bool) -> bool {
    let Some(directory) = directory() else {
        if already_there {
            command.env("KILN_STAND_IN", words).env("KILN_PTXAS", "off");
        }
        return already_there;
    };
    let mut path = OsString::from(directory);
    if let Some(others) = std::env::var_os("LD_LIBRARY_PATH") {
        path.push(":");
        path.push(others);
    }
    command.env("LD_LIBRARY_PATH", path).env("KILN_STAND_IN", words).env("KILN_PTXAS", "off");
    true
}
