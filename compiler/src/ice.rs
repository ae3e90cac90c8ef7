//! The boundary that our own bugs do not cross: a panic in the compiler becomes an error with a reproducer.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// An internal compiler error: a bug in Kiln, never the user's fault.
#[derive(Clone, Debug)]
pub struct Ice {
    /// What the compiler was doing.
    pub stage: String,
    /// The panic's message, with its place in the compiler where that is known.
    pub message: String,
    /// File that reproduces it.
    pub reproducer: Option<PathBuf>,
}

impl fmt::Display for Ice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "internal compiler error while {}: {}\nthis is a bug in kiln, not in your program", self.stage, self.message)?;
        match &self.reproducer {
            Some(path) => write!(f, "; please report it with {}", path.display()),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Ice {}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Keeps panics that are caught here from being printed as they happen, and remembers where they were. For programs such as the `kiln` command that show the
/// resulting error themselves.
pub fn quiet_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if GUARDED.get() {
            let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
            PLACE.with(|cell| *cell.borrow_mut() = place);
        } else {
            before(info);
        }
    }));
}

/// Runs `work`; a panic becomes an error. `reproduce` writes what is needed to see it again.
pub(crate) fn guard<T>(stage: &str, reproduce: impl FnOnce(&str) -> Option<PathBuf>, work: impl FnOnce() -> T) -> Result<T, Ice> {
    let outer = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    result.map_err(|panic| {
        let mut message = panic_message(&*panic);
        if let Some(place) = PLACE.take() {
            message = format!("{message} (at {place})");
        }
        let reproducer = reproduce(&message);
        Ice { stage: stage.to_owned(), message, reproducer }
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Writes a reproducer below `dir` and gives back its name; None where that fails, for the error itself matters more.
pub(crate) fn write_reproducer(dir: &Path, content: &str) -> Option<PathBuf> {
    let name = format!("kiln-ice-{}.txt", &blake3::hash(content.as_bytes()).to_hex()[..12]);
    let path = dir.join(name);
    std::fs::create_dir_all(dir).ok()?;
    std::fs::write(&path, content).ok()?;
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let write = |message: &str| write_reproducer(dir.path(), &format!("; {message}\nkernel text"));
        let ice = guard("testing", write, || panic!("boom {}", 3)).unwrap_err();
        assert!(ice.message.starts_with("boom 3"));
        let text = std::fs::read_to_string(ice.reproducer.as_ref().unwrap()).unwrap();
        assert!(text.contains("boom 3") && text.contains("kernel text"));
        assert!(ice.to_string().contains("not in your program"));
        assert_eq!(guard("testing", |_| None, || 7).unwrap(), 7);
    }
}
