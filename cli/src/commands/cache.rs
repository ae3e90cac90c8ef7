//! `kiln cache`: the compilation cache.

use std::process::ExitCode;

use anyhow::Result;
use kiln::cache::DiskCache;

use crate::opts::{CacheAction, CacheOptions};
use crate::ui::Ui;

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

/// Does what was asked for.
pub fn run(options: &CacheOptions, ui: &Ui) -> Result<ExitCode> {
    let Some(cache) = DiskCache::open_default()? else {
        ui.out("the cache is off (KILN_CACHE_DIR=off)\n");
        return Ok(ExitCode::SUCCESS);
    };
    match options.action {
        CacheAction::Stat => {
            let usage = cache.usage()?;
            ui.out(&format!(
                "directory  {}\nentries    {}\nsize       {} of {}\n",
                cache.dir().display(),
                usage.entries,
                size(usage.bytes),
                size(cache.max_bytes())
            ));
        }
        CacheAction::Gc => {
            let gone = cache.gc()?;
            ui.out(&format!("removed {} entries, {}\n", gone.entries, size(gone.bytes)));
        }
        CacheAction::Clear => {
            let gone = cache.clear()?;
            ui.out(&format!("removed {} entries, {}\n", gone.entries, size(gone.bytes)));
        }
    }
    Ok(ExitCode::SUCCESS)
}
