//! Stores that several machines share, given by URL: tuning records and compiled code, through opendal.
//!
//! `fs:///shared/kiln`, and with the feature `remote-s3` also `s3://bucket/prefix?region=eu-central-1`. Records lie below `tune/`, one object a writer, so that no two machines write one;
//! compiled code below `cache/`, by its hash. Without the feature `remote` this file knows only how to say so.

use std::sync::Arc;

use anyhow::{Context, Result};
use kiln::ProgramOptions;
use kiln::cache::{DiskCache, Remote};
use kiln::tuned::{Loaded, TuneStore};

/// Options of programs: the user's cache, with the store that `KILN_REMOTE` names behind it.
pub fn program_options() -> Result<ProgramOptions> {
    let options = ProgramOptions::from_env()?;
    let Some(url) = std::env::var("KILN_REMOTE").ok().filter(|url| !url.is_empty()) else { return Ok(options) };
    let cache = DiskCache::open_default()?.map(|cache| Ok::<_, anyhow::Error>(cache.with_remote(store(&url)?))).transpose()?;
    Ok(ProgramOptions { cache: cache.map(Arc::new), ..options })
}

/// A remote store, as the cache and the records use it.
pub trait Store: Remote {
    /// Names below a prefix.
    fn list(&self, prefix: &str) -> Result<Vec<String>>;
    /// An object that has to be there.
    fn read(&self, name: &str) -> Result<Vec<u8>>;
    /// Writes an object.
    fn write(&self, name: &str, bytes: Vec<u8>) -> Result<()>;
}

/// Opens the store of a URL.
#[cfg(not(feature = "remote"))]
pub fn store(url: &str) -> Result<Arc<dyn Store>> {
    anyhow::bail!(
        "`{url}`: this kiln was built without remote stores; build it with `--features remote` (and `remote-s3` for S3)"
    )
}

/// Opens the store of a URL.
#[cfg(feature = "remote")]
pub fn store(url: &str) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(through_opendal::Opendal::open(url)?))
}

/// Adds everything that the remote store has to the local one. Gives back how many records were new.
pub fn pull(url: &str, local: &TuneStore) -> Result<usize> {
    let remote = store(url)?;
    let mut found = Loaded::default();
    for name in remote.list("tune/")?.iter().filter(|name| name.ends_with(".jsonl")) {
        found = found.merge(Loaded::parse(&String::from_utf8_lossy(&remote.read(name)?)));
    }
    let known = local.load_all()?;
    let new: Vec<_> =
        found.records.iter().filter(|r| !known.records.iter().any(|k| k.same_trial(r) && k.unix >= r.unix)).collect();
    new.iter().try_for_each(|record| local.append(record))?;
    Ok(new.len())
}

/// Puts records into the remote store, as an object of their own. Gives back how many.
pub fn push(url: &str, records: &Loaded) -> Result<usize> {
    if records.records.is_empty() {
        return Ok(0);
    }
    let text = records.text();
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |t| t.as_nanos());
    let name = format!("tune/{}-{}-{now}.jsonl", host.trim(), std::process::id());
    store(url)?.write(&name, text.into_bytes()).with_context(|| format!("writing `{name}` to {url}"))?;
    Ok(records.records.len())
}

#[cfg(feature = "remote")]
mod through_opendal {
    use anyhow::{Context, Result};
    use kiln::cache::Remote;
    use opendal::blocking::Operator;
    use opendal::options::ListOptions;

    /// A store, and the threads that its input and output run on.
    #[derive(Debug)]
    pub struct Opendal {
        operator: Operator,
        _threads: tokio::runtime::Runtime,
    }

    impl Opendal {
        pub fn open(url: &str) -> Result<Opendal> {
            opendal::init_default_registry();
            let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            let inside = threads.enter();
            let operator =
                opendal::Operator::from_uri(url).and_then(Operator::new).with_context(|| format!("cannot open `{url}`"))?;
            drop(inside);
            Ok(Opendal { operator, _threads: threads })
        }
    }

    impl Remote for Opendal {
        fn get(&self, name: &str) -> Option<Vec<u8>> {
            self.operator.read(name).ok().map(|buffer| buffer.to_vec())
        }

        fn put(&self, name: &str, bytes: &[u8]) {
            // What the store does not take is compiled again elsewhere.
            let _ = self.operator.write(name, bytes.to_vec());
        }
    }

    impl super::Store for Opendal {
        fn list(&self, prefix: &str) -> Result<Vec<String>> {
            let entries = self.operator.list_options(prefix, ListOptions { recursive: true, ..ListOptions::default() })?;
            Ok(entries.into_iter().filter(|e| e.metadata().is_file()).map(|e| e.path().to_owned()).collect())
        }

        fn read(&self, name: &str) -> Result<Vec<u8>> {
            Ok(self.operator.read(name).with_context(|| format!("reading `{name}`"))?.to_vec())
        }

        fn write(&self, name: &str, bytes: Vec<u8>) -> Result<()> {
            self.operator.write(name, bytes)?;
            Ok(())
        }
    }
}
