//! Writing what was compiled.

use std::path::Path;

use crate::archive::archive;
use crate::bundle::Error;
use crate::compile::Compiled;

impl Compiled {
    /// Writes `NAME.rs`, `NAME.kilnbundle`, `libNAME_kernels.a` where there is machine code, and `NAME.h` where it was asked for.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let write = |name: String, bytes: &[u8]| {
            let path = dir.join(name);
            std::fs::write(&path, bytes).map_err(|e| Error::Write { path, message: e.to_string() })
        };
        write(format!("{}.rs", self.name), self.rust.as_bytes())?;
        write(format!("{}.kilnbundle", self.name), &self.data)?;
        if self.has_host_code() {
            let file = format!("lib{}.a", self.library());
            let library = archive(&self.objects).map_err(|e| Error::Write { path: dir.join(&file), message: e.to_string() })?;
            write(file, &library)?;
        }
        if let Some(header) = &self.header {
            write(format!("{}.h", self.name), header.as_bytes())?;
        }
        Ok(())
    }
}
