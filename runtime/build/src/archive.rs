//! Static libraries: the `ar` format with a symbol table, as GNU and LLVM linkers read it. Written here, so that a build needs no tool for it, and so that the same
//! objects give the same bytes.

/// A library of objects, each of which defines one symbol.
pub fn archive(objects: &[(String, Vec<u8>)]) -> Vec<u8> {
    // The symbol table: count and offsets, big-endian, then the names.
    let names: usize = objects.iter().map(|(symbol, _)| symbol.len() + 1).sum();
    let table = 4 + 4 * objects.len() + names;
    // Names of members are longer than the header's field: they stand in a table of their own.
    let files: Vec<String> = objects.iter().map(|(symbol, _)| format!("{symbol}.o/\n")).collect();
    let file_names: String = files.concat();
    let mut at = 8 + member_len(table) + member_len(file_names.len());
    let mut index = (objects.len() as u32).to_be_bytes().to_vec();
    for (_, object) in objects {
        index.extend((at as u32).to_be_bytes());
        at += member_len(object.len());
    }
    for (symbol, _) in objects {
        index.extend(symbol.as_bytes());
        index.push(0);
    }
    let mut out = b"!<arch>\n".to_vec();
    member(&mut out, "/", &index);
    member(&mut out, "//", file_names.as_bytes());
    let mut name_at = 0;
    for ((_, object), file) in objects.iter().zip(&files) {
        member(&mut out, &format!("/{name_at}"), object);
        name_at += file.len();
    }
    out
}

/// Bytes of a member with its header, and the one that makes it even.
fn member_len(content: usize) -> usize {
    60 + content.next_multiple_of(2)
}

fn member(out: &mut Vec<u8>, name: &str, content: &[u8]) {
    // Name, time, owner, group, mode, size, and the header's end.
    out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "644", content.len()).as_bytes());
    out.extend(content);
    if content.len() % 2 == 1 {
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_lead_to_members() {
        let objects = [("first".to_owned(), vec![1u8; 5]), ("second".to_owned(), vec![2u8; 8])];
        let bytes = archive(&objects);
        assert_eq!(&bytes[..8], b"!<arch>\n");
        let table = &bytes[8 + 60..];
        let word = |at: usize| u32::from_be_bytes(table[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!(word(0), 2);
        for (i, (_, object)) in objects.iter().enumerate() {
            let at = word(4 + 4 * i);
            assert_eq!(&bytes[at + 58..at + 60], b"`\n");
            assert_eq!(&bytes[at + 60..at + 60 + object.len()], object.as_slice());
        }
        assert!(bytes.windows(9).any(|w| w == b"first.o/\n"));
        assert_eq!(bytes.len() % 2, 0);
    }
}
