//! Writing what was compiled.

use std::path::Path;

use crate::archive::archive;
use crate::bundle::Error;
use crate::compile::Compiled;

/// Writes `NAME.rs`, `NAME.kilnbundle`, `libNAME_kernels.a` where there is machine code, and `NAME.h` where it was asked for.
pub fn write(compiled: &Compiled, dir: &Path) -> Result<(), Error> {
    let write = |name: String, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(|e| Error::Write { path, message: e.to_string() })
    };
    write(format!("{}.rs", compiled.name), compiled.rust.as_bytes())?;
    write(format!("{}.kilnbundle", compiled.name), &compiled.data)?;
    if compiled.has_host_code() {
        write(format!("lib{}.a", compiled.library()), &archive(&compiled.objects))?;
    }
    if let Some(header) = &compiled.header {
        write(format!("{}.h", compiled.name), header.as_bytes())?;
    }
    Ok(())
}
