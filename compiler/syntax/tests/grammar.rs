//! The parser in the sources is the one that lalrpop makes of the grammar. It is kept there because making it takes longer than everything else that a program
//! with kernels needs to build. After a change of the grammar, `INSTA_UPDATE=always cargo test -p kiln-syntax --test grammar` makes it anew.

use std::path::Path;

#[test]
fn the_parser_is_the_grammars() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let made = tempfile::tempdir().unwrap();
    let input = made.path().join("grammar.lalrpop");
    std::fs::copy(sources.join("grammar.lalrpop"), &input).unwrap();
    lalrpop::Configuration::new().set_in_dir(made.path()).set_out_dir(made.path()).process().unwrap();
    let made = std::fs::read_to_string(made.path().join("grammar.rs")).unwrap();
    let kept = sources.join("grammar.rs");
    if std::env::var("INSTA_UPDATE").is_ok_and(|v| v == "always") {
        std::fs::write(&kept, &made).unwrap();
    }
    assert!(std::fs::read_to_string(&kept).unwrap() == made, "`{}` is not what lalrpop makes of the grammar", kept.display());
}
