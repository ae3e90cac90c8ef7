//! Static libraries, without a tool for it, and the same bytes for the same objects.

use std::io::Cursor;

use ar_archive_writer::{ArchiveKind, DEFAULT_OBJECT_READER, NewArchiveMember, write_archive_to_stream};

/// A library of named objects, as GNU and LLVM linkers read it. The table of symbols is made from what the objects define.
///
/// # Errors
/// Where an object is none.
pub fn archive(objects: &[(String, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let members: Vec<NewArchiveMember<'_>> = objects
        .iter()
        .map(|(symbol, object)| NewArchiveMember::new(object, &DEFAULT_OBJECT_READER, format!("{symbol}.o")))
        .collect();
    let mut out = Cursor::new(vec![]);
    write_archive_to_stream(&mut out, &members, ArchiveKind::Gnu, false, None)?;
    Ok(out.into_inner())
}
