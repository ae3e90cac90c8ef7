//! A directory of records: one file a kernel, one JSON object a line.
//!
//! Lines are only ever added, each by one write under a lock, so that any number of processes can tune at once. A line that a killed process left unfinished is skipped by
//! readers, and the next writer begins on a line of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::record::{Record, merged};

/// What can be wrong with a store.
#[derive(Clone, Debug, Error)]
pub enum TuneError {
    /// The system refuses.
    #[error("cannot {what} {}: {message}", path.display())]
    Io {
        /// `read` or `write`.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why, in the system's words.
        message: String,
    },
    /// There is no home directory to put it in.
    #[error("there is no directory for tuning records: set KILN_TUNE_DIR, KILN_CACHE_DIR, XDG_CACHE_HOME or HOME")]
    NoPlace,
}

/// What is in a file of records.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The records, each trial once.
    pub records: Vec<Record>,
    /// Lines that are none: cut off by a killed process, or damaged.
    pub skipped: usize,
}

impl Loaded {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Loaded {
        let mut skipped = 0;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let records: Vec<Record> = lines
            .filter_map(|line| {
                let record = serde_json::from_str(line).ok();
                skipped += usize::from(record.is_none());
                record
            })
            .collect();
        Loaded { records: merged(records), skipped }
    }

    /// Reads a file; one that is not there is empty.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn read(path: &Path) -> Result<Loaded, TuneError> {
        match fs::read(path) {
            Ok(bytes) => Ok(Loaded::parse(&String::from_utf8_lossy(&bytes))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Loaded::default()),
            Err(e) => Err(TuneError::Io { what: "read", path: path.to_owned(), message: e.to_string() }),
        }
    }

    /// Both, each trial once.
    #[must_use]
    pub fn merge(self, other: Loaded) -> Loaded {
        Loaded { records: merged(self.records.into_iter().chain(other.records)), skipped: self.skipped + other.skipped }
    }

    /// The text of a file with these records: the same records give the same text.
    pub fn text(&self) -> String {
        self.records.iter().filter_map(|r| Some(serde_json::to_string(r).ok()? + "\n")).collect()
    }
}

/// A directory of records.
#[derive(Clone, Debug)]
pub struct TuneStore {
    dir: PathBuf,
}

impl TuneStore {
    /// The user's store: `KILN_TUNE_DIR`, else `tune` in the cache's directory (which emptying the cache leaves alone). None where either is `off`.
    ///
    /// # Errors
    /// Where there is no home directory.
    pub fn open_default() -> Result<Option<TuneStore>, TuneError> {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        match set("KILN_TUNE_DIR") {
            Some(dir) if dir == Path::new("off") => Ok(None),
            Some(dir) => Ok(Some(TuneStore::open(&dir))),
            None => match crate::cache::default_dir() {
                Some(dir) if dir == Path::new("off") => Ok(None),
                Some(dir) => Ok(Some(TuneStore::open(&dir.join("tune")))),
                None => Err(TuneError::NoPlace),
            },
        }
    }

    /// The store in a directory, which is made when something is written.
    pub fn open(dir: &Path) -> TuneStore {
        TuneStore { dir: dir.to_owned() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of a kernel.
    pub fn file(&self, kernel: &str) -> PathBuf {
        self.dir.join(format!("{kernel}.jsonl"))
    }

    /// The records of a kernel.
    ///
    /// # Errors
    /// Where its file cannot be read.
    pub fn load(&self, kernel: &str) -> Result<Loaded, TuneError> {
        Loaded::read(&self.file(kernel))
    }

    /// Every file of the store.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn load_all(&self) -> Result<Loaded, TuneError> {
        let fails = |e: io::Error| TuneError::Io { what: "read", path: self.dir.clone(), message: e.to_string() };
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
            Err(e) => return Err(fails(e)),
        };
        let mut all = Loaded::default();
        for entry in entries {
            let path = entry.map_err(fails)?.path();
            if path.extension().is_some_and(|e| e == "jsonl") {
                all = all.merge(Loaded::read(&path)?);
            }
        }
        Ok(all)
    }

    /// Adds a record.
    ///
    /// # Errors
    /// Where the system refuses. Nothing but a whole line is ever added that readers would take for a record.
    pub fn append(&self, record: &Record) -> Result<(), TuneError> {
        let path = self.file(&record.subject.kernel);
        let fails = |e: io::Error| TuneError::Io { what: "write", path: path.clone(), message: e.to_string() };
        fs::create_dir_all(&self.dir).map_err(fails)?;
        let mut line = serde_json::to_string(record).map_err(|e| fails(e.into()))?;
        line.push('\n');
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(fails)?;
        file.lock().map_err(fails)?;
        if !ends_a_line(&mut file).map_err(fails)? {
            line.insert(0, '\n');
        }
        // The lock goes with the file.
        file.write_all(line.as_bytes()).map_err(fails)
    }
}

/// Whether the next write begins a line.
fn ends_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last[0] == b'\n')
}
