//! The lexers in the sources are those that logos makes of their definitions (`*.logos`). They are kept there because the regular expressions of logos' derive
//! take longer to build than the lexers. After a change of a definition, `INSTA_UPDATE=always cargo test -p kiln-tests --test lexers` makes them anew.

use std::path::Path;

use quote::ToTokens;
use syn::Item;

/// Rust of a definition: the items that derive `Logos` without logos' attributes, and their lexers.
fn lexer(definition: &str) -> String {
    let mut file = syn::parse_file(definition).unwrap();
    let derives = |item: &Item| matches!(item, Item::Enum(item) if item.attrs.iter().any(|a| a.to_token_stream().to_string().contains("Logos")));
    let made = std::mem::take(&mut file.items).into_iter().flat_map(|item| {
        if !derives(&item) {
            return vec![item];
        }
        let tokens = item.into_token_stream();
        let plain = logos_codegen::strip_attributes(tokens.clone());
        let items = [plain, logos_codegen::generate(tokens)].map(|tokens| syn::parse2::<syn::File>(tokens).unwrap().items);
        items.concat()
    });
    file.items = made.collect();
    prettyplease::unparse(&file)
}

fn check(definition: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(definition);
    let name = path.file_name().unwrap().to_string_lossy();
    let made = format!("// Generated from {name} by logos.\n{}", lexer(&std::fs::read_to_string(&path).unwrap()));
    let kept = path.with_extension("rs");
    if std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always") {
        std::fs::write(&kept, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&kept).unwrap_or_default();
    assert!(kept == made, "the lexer beside {definition} is not what logos makes of it");
}

#[test]
fn kilns_lexer_is_its_definitions() {
    check("compiler/syntax/src/raw.logos");
}

#[test]
fn ptxs_lexer_is_its_definitions() {
    check("runtime/emulator/src/ptx/raw.logos");
}
