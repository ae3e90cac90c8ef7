//! The disk cache: compiled artifacts by the hash of everything they depend on.
//!
//! An entry is a file named by its key, written to a temporary file and renamed, so that readers see all of it or nothing, whatever other processes do. It
//! carries its own checksum: a truncated or damaged entry counts as absent and is replaced. The directory must belong to this user and be writable by nobody
//! else, because what it holds is run. Entries that were not used for longest go first once the cache is larger than its bound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use thiserror::Error;

/// Name of an entry: the blake3 hash of what it was made from.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of the parts; their boundaries count.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Key(*hasher.finalize().as_bytes())
    }

    /// In hexadecimal.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

/// Why a directory is not used as cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// Others could put code there that this user would run.
    #[error("{path} can be written by others (mode {mode:o}): `chmod 700` it, or name another directory in KILN_CACHE_DIR")]
    Unsafe {
        /// The directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{path} belongs to another user: name another directory in KILN_CACHE_DIR")]
    ForeignOwner {
        /// The directory.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("cannot use {path} as cache: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no home directory to put it in.
    #[error("there is no directory for the cache: set KILN_CACHE_DIR, XDG_CACHE_HOME or HOME")]
    NoPlace,
    /// The size bound is malformed.
    #[error("KILN_CACHE_SIZE is `{0}`: give a number of bytes, or one with the suffix K, M or G")]
    BadSize(String),
}

/// What `stat` counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries.
    pub entries: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// A store behind the disk cache, which several machines share. What it holds is run: it has to be trusted as much as the machines that write to it.
pub trait Remote: Send + Sync + std::fmt::Debug {
    /// An entry; None where there is none, or the store cannot be reached: then it is made here.
    fn get(&self, name: &str) -> Option<Vec<u8>>;

    /// Keeps an entry. A store that cannot be reached is a slow one, not a failed launch.
    fn put(&self, name: &str, bytes: &[u8]);
}

/// A cache directory.
#[derive(Debug)]
pub struct DiskCache {
    dir: PathBuf,
    max_bytes: u64,
    writes: AtomicU32,
    remote: Option<Arc<dyn Remote>>,
}

const MAGIC: &[u8; 8] = b"kilncch1";
const HEADER: usize = MAGIC.len() + 32;

/// Bound where `KILN_CACHE_SIZE` says nothing: 2 GiB.
const DEFAULT_MAX_BYTES: u64 = 2 << 30;

/// Writes between two checks of the bound by one process.
const WRITES_PER_CHECK: u32 = 32;

/// An entry used this recently keeps its time stamp: reading stays reading.
const TOUCH_AFTER: Duration = Duration::from_secs(3600);

/// Temporary files older than this belong to processes that died.
const STALE_AFTER: Duration = Duration::from_secs(3600);

/// Where the user's cache is: `KILN_CACHE_DIR` (which may be `off`), else `kiln` in the system's cache directory. None where there is no home.
pub(crate) fn default_dir() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let system = || {
        let home = || set("HOME").map(|home| home.join(if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" }));
        set("XDG_CACHE_HOME").or_else(home).map(|dir| dir.join("kiln"))
    };
    set("KILN_CACHE_DIR").or_else(system)
}

impl DiskCache {
    /// The user's cache: `KILN_CACHE_DIR`, else `kiln` in the system's cache directory. None where `KILN_CACHE_DIR` is `off`.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn open_default() -> Result<Option<DiskCache>, CacheError> {
        let dir = default_dir().ok_or(CacheError::NoPlace)?;
        if dir == Path::new("off") {
            return Ok(None);
        }
        let max_bytes = match std::env::var("KILN_CACHE_SIZE") {
            Ok(text) => parse_size(&text).ok_or(CacheError::BadSize(text))?,
            Err(_) => DEFAULT_MAX_BYTES,
        };
        DiskCache::open(&dir, max_bytes).map(Some)
    }

    /// A cache in `dir`, which is made if it is not there, bounded to `max_bytes`.
    ///
    /// # Errors
    /// See [`CacheError`].
    pub fn open(dir: &Path, max_bytes: u64) -> Result<DiskCache, CacheError> {
        let fails = |source| CacheError::Io { path: dir.to_owned(), source };
        make_private_dir(dir).map_err(fails)?;
        check_owner(dir, &fs::metadata(dir).map_err(fails)?)?;
        Ok(DiskCache { dir: dir.to_owned(), max_bytes, writes: AtomicU32::new(0), remote: None })
    }

    /// The cache with a store behind it: what is not here is looked for there, and what is written goes there too.
    #[must_use]
    pub fn with_remote(self, remote: Arc<dyn Remote>) -> DiskCache {
        DiskCache { remote: Some(remote), ..self }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The bound in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    fn path(&self, key: &Key) -> PathBuf {
        let hex = key.hex();
        self.dir.join(&hex[..2]).join(&hex[2..])
    }

    /// The entry's content; None where there is none that is whole.
    pub fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(key);
        if let Ok(bytes) = fs::read(&path) {
            if is_whole(key, &bytes) {
                touch(&path);
                return Some(bytes[HEADER..].to_vec());
            }
            // Another process may have replaced it already; then its entry is made again, nothing worse.
            let _ = fs::remove_file(&path);
        }
        let bytes = self.remote.as_ref()?.get(&remote_name(key)).filter(|bytes| is_whole(key, bytes))?;
        // A directory that cannot be written is asked for again next time.
        let _ = self.write(key, &bytes);
        Some(bytes[HEADER..].to_vec())
    }

    /// Writes an entry. Where two processes write one, either stays.
    ///
    /// # Errors
    /// Where the system refuses. The cache stays as it was.
    pub fn put(&self, key: &Key, content: &[u8]) -> Result<(), CacheError> {
        let bytes = [MAGIC, blake3::keyed_hash(&key.0, content).as_bytes().as_slice(), content].concat();
        self.write(key, &bytes)?;
        if let Some(remote) = &self.remote {
            remote.put(&remote_name(key), &bytes);
        }
        if (self.writes.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(WRITES_PER_CHECK) {
            self.gc()?;
        }
        Ok(())
    }

    /// Writes the file of an entry.
    fn write(&self, key: &Key, bytes: &[u8]) -> Result<(), CacheError> {
        let path = self.path(key);
        let fails = |source| CacheError::Io { path: path.clone(), source };
        let parent = path.parent().expect("an entry lies in a folder of the cache");
        make_private_dir(parent).map_err(fails)?;
        let mut file = tempfile::Builder::new().prefix("tmp-").tempfile_in(parent).map_err(fails)?;
        file.write_all(bytes).map_err(fails)?;
        file.persist(&path).map_err(|e| fails(e.error))?;
        Ok(())
    }

    /// Entries and bytes.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn usage(&self) -> Result<Usage, CacheError> {
        let files = self.files()?;
        Ok(Usage { entries: files.len() as u64, bytes: files.iter().map(|f| f.bytes).sum() })
    }

    /// Removes what was not used for longest until the cache is a tenth below its bound, if it is above it; and what dead processes left. Gives back what
    /// went. One process at a time does this; another one that asks meanwhile finds nothing to do.
    ///
    /// # Errors
    /// Where the directory cannot be read or locked.
    pub fn gc(&self) -> Result<Usage, CacheError> {
        let lock_path = self.dir.join("lock");
        let fails = |source| CacheError::Io { path: lock_path.clone(), source };
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(fails)?;
        if lock.try_lock().is_err() {
            return Ok(Usage::default());
        }
        self.remove_stale()?;
        let mut files = self.files()?;
        let mut total: u64 = files.iter().map(|f| f.bytes).sum();
        let mut gone = Usage::default();
        if total > self.max_bytes {
            let goal = self.max_bytes - self.max_bytes / 10;
            files.sort_by_key(|f| f.used);
            for file in files {
                if total <= goal {
                    break;
                }
                if fs::remove_file(&file.path).is_ok() {
                    gone.entries += 1;
                    gone.bytes += file.bytes;
                }
                total -= file.bytes;
            }
        }
        Ok(gone)
    }

    /// Removes every entry. Gives back what went.
    ///
    /// # Errors
    /// Where the directory cannot be read.
    pub fn clear(&self) -> Result<Usage, CacheError> {
        let mut gone = Usage::default();
        for file in self.files()? {
            if fs::remove_file(&file.path).is_ok() {
                gone.entries += 1;
                gone.bytes += file.bytes;
            }
        }
        Ok(gone)
    }

    fn walk(&self, mut see: impl FnMut(&str, fs::DirEntry)) -> Result<(), CacheError> {
        let fails = |path: &Path| {
            let path = path.to_owned();
            move |source| CacheError::Io { path, source }
        };
        for folder in fs::read_dir(&self.dir).map_err(fails(&self.dir))? {
            let folder = folder.map_err(fails(&self.dir))?.path();
            let is_ours = folder.file_name().is_some_and(|n| n.len() == 2) && folder.is_dir();
            let entries = if is_ours { fs::read_dir(&folder) } else { continue };
            for entry in entries.map_err(fails(&folder))?.flatten() {
                let name = entry.file_name();
                if let Some(name) = name.to_str() {
                    see(name, entry);
                }
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<Vec<Entry>, CacheError> {
        let mut files = vec![];
        self.walk(|name, entry| {
            // Whatever else lies there is not ours to count or remove.
            if name.len() == 62
                && name.bytes().all(|b| b.is_ascii_hexdigit())
                && let Ok(meta) = entry.metadata()
            {
                files.push(Entry {
                    path: entry.path(),
                    bytes: meta.len(),
                    used: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                });
            }
        })?;
        Ok(files)
    }

    fn remove_stale(&self) -> Result<(), CacheError> {
        self.walk(|name, entry| {
            let old = |time: SystemTime| time.elapsed().is_ok_and(|age| age > STALE_AFTER);
            if name.starts_with("tmp-") && entry.metadata().and_then(|m| m.modified()).is_ok_and(old) {
                let _ = fs::remove_file(entry.path());
            }
        })
    }
}

/// Whether bytes are an entry of the key, undamaged.
fn is_whole(key: &Key, bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && bytes[..MAGIC.len()] == *MAGIC
        && bytes[MAGIC.len()..HEADER] == *blake3::keyed_hash(&key.0, &bytes[HEADER..]).as_bytes()
}

fn remote_name(key: &Key) -> String {
    let hex = key.hex();
    format!("cache/{}/{}", &hex[..2], &hex[2..])
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

/// Marks an entry as used now, unless it was marked lately. Best effort: on a read-only file system entries simply age.
fn touch(path: &Path) {
    let recent = |time: SystemTime| time.elapsed().is_ok_and(|age| age < TOUCH_AFTER);
    if fs::metadata(path).and_then(|m| m.modified()).is_ok_and(recent) {
        return;
    }
    if let Ok(file) = File::options().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.trim().parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

#[cfg(unix)]
fn check_owner(dir: &Path, meta: &fs::Metadata) -> Result<(), CacheError> {
    use std::os::unix::fs::MetadataExt;
    if meta.mode() & 0o022 != 0 {
        return Err(CacheError::Unsafe { path: dir.to_owned(), mode: meta.mode() & 0o7777 });
    }
    // A file made now belongs to this process's user: no system call of our own is needed to ask who that is.
    let probe = tempfile::tempfile_in(dir).and_then(|f| f.metadata());
    match probe {
        Ok(own) if own.uid() != meta.uid() => Err(CacheError::ForeignOwner { path: dir.to_owned() }),
        Ok(_) => Ok(()),
        Err(source) => Err(CacheError::Io { path: dir.to_owned(), source }),
    }
}

#[cfg(not(unix))]
fn check_owner(_dir: &Path, _meta: &fs::Metadata) -> Result<(), CacheError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> Key {
        Key::of([n.to_le_bytes().as_slice()])
    }

    #[test]
    fn keys_tell_boundaries_apart() {
        assert_ne!(Key::of([b"ab".as_slice(), b"c"]), Key::of([b"a".as_slice(), b"bc"]));
        assert_eq!(Key::of([b"ab".as_slice()]), Key::of([b"ab".as_slice()]));
    }

    #[test]
    fn damaged_entries_count_as_absent() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(&dir.path().join("c"), 1 << 20).unwrap();
        assert_eq!(cache.get(&key(1)), None);
        cache.put(&key(1), b"machine code").unwrap();
        assert_eq!(cache.get(&key(1)).as_deref(), Some(b"machine code".as_slice()));
        let path = cache.path(&key(1));
        let good = fs::read(&path).unwrap();
        for damage in [good[..good.len() - 1].to_vec(), good[..10].to_vec(), vec![], {
            let mut bytes = good.clone();
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        }] {
            fs::write(&path, damage).unwrap();
            assert_eq!(cache.get(&key(1)), None);
            assert!(!path.exists());
        }
        // An entry under another's name is not that one's.
        cache.put(&key(1), b"machine code").unwrap();
        let other = cache.path(&key(2));
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::copy(&path, other).unwrap();
        assert_eq!(cache.get(&key(2)), None);
    }

    /// A store in memory.
    #[derive(Debug, Default)]
    struct Shared(std::sync::Mutex<std::collections::HashMap<String, Vec<u8>>>);

    impl Remote for Shared {
        fn get(&self, name: &str) -> Option<Vec<u8>> {
            self.0.lock().unwrap().get(name).cloned()
        }

        fn put(&self, name: &str, bytes: &[u8]) {
            self.0.lock().unwrap().insert(name.to_owned(), bytes.to_owned());
        }
    }

    #[test]
    fn machines_share_what_one_has_made() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shared = Arc::new(Shared::default());
        let open = |dir: &Path| DiskCache::open(dir, 1 << 20).unwrap().with_remote(shared.clone());
        open(one.path()).put(&key(1), b"machine code").unwrap();
        assert_eq!(open(other.path()).get(&key(1)).as_deref(), Some(b"machine code".as_slice()));
        // Now it is here too.
        assert_eq!(DiskCache::open(other.path(), 1 << 20).unwrap().get(&key(1)).as_deref(), Some(b"machine code".as_slice()));
        // What is damaged on the way counts as absent.
        shared.0.lock().unwrap().values_mut().for_each(|bytes| bytes.truncate(HEADER + 3));
        let third = tempfile::tempdir().unwrap();
        assert_eq!(open(third.path()).get(&key(1)), None);
    }

    #[test]
    fn the_oldest_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let cache = DiskCache::open(dir.path(), 10_000).unwrap();
        for n in 0..20 {
            cache.put(&key(n), &[0; 960]).unwrap();
            let file = File::options().append(true).open(cache.path(&key(n))).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(100_000 - u64::from(n))).unwrap();
        }
        // Used now: stays although it is the oldest.
        assert!(cache.get(&key(0)).is_some());
        let gone = cache.gc().unwrap();
        assert_eq!(gone, Usage { entries: 11, bytes: 11_000 });
        assert!(cache.get(&key(0)).is_some() && cache.get(&key(19)).is_some() && cache.get(&key(1)).is_none());
        assert_eq!(cache.gc().unwrap(), Usage::default());
        assert_eq!(cache.clear().unwrap().entries, 9);
        assert_eq!(cache.usage().unwrap(), Usage::default());
    }

    #[cfg(unix)]
    #[test]
    fn directories_that_others_can_write_are_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o777, 0o770, 0o1777] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(DiskCache::open(dir.path(), 1), Err(CacheError::Unsafe { .. })), "{mode:o}");
        }
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(DiskCache::open(dir.path(), 1).is_ok());
        let new = dir.path().join("a/b");
        DiskCache::open(&new, 1).unwrap();
        assert_eq!(fs::metadata(new).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn many_writers_and_readers_never_see_half_an_entry() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for t in 0..4u8 {
                let dir = dir.path();
                scope.spawn(move || {
                    let cache = DiskCache::open(dir, 200_000).unwrap();
                    for round in 0..50u32 {
                        let k = key(round % 5);
                        cache.put(&k, &vec![t; 20_000 + round as usize]).unwrap();
                        if let Some(content) = cache.get(&k) {
                            assert!(content.iter().all(|b| *b == content[0]) && content.len() >= 20_000);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(parse_size("123"), Some(123));
        assert_eq!(parse_size(" 4k "), Some(4096));
        assert_eq!(parse_size("2G"), Some(2 << 30));
        for bad in ["", "x", "-1", "1T", "99999999999999G"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
