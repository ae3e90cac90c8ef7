//! Layout documents: text with places where lines may break, and the printer that decides where they do.
//!
//! A group is printed on one line where it fits and has to break nothing; otherwise the breaks that belong to it (not those of inner groups)
//! become newlines. After Wadler's "prettier printer", with comments: a line comment makes the next text start a new line.

/// A piece of layout.
#[derive(Clone, Debug)]
pub(super) enum Doc {
    /// Text, mostly one token. May hold newlines (block comments, strings), which are printed as they are.
    Text(String),
    /// A blank, or a newline where the group is broken.
    Line,
    /// Nothing, or a newline where the group is broken.
    SoftLine,
    /// A newline; with an empty line in front of it where `blank`.
    HardLine { blank: bool },
    /// A newline unless the line is still empty; with an empty line in front of it where `blank`.
    FreshLine { blank: bool },
    /// What follows must start a new line: stands behind a line comment.
    EndOfLine,
    /// Text that is only there where the group is broken.
    IfBroken(&'static str),
    /// One level deeper.
    Nest(Box<Doc>),
    /// One decision whether to break; true where it must.
    Group(Box<Doc>, bool),
    /// As many parts on a line as fit, blanks between them.
    Fill(Vec<Doc>),
    /// One after the other.
    Concat(Vec<Doc>),
}

impl Doc {
    pub(super) fn text(text: impl Into<String>) -> Doc {
        Doc::Text(text.into())
    }

    pub(super) fn nil() -> Doc {
        Doc::Concat(vec![])
    }

    pub(super) fn nest(self) -> Doc {
        Doc::Nest(Box::new(self))
    }

    pub(super) fn group(self) -> Doc {
        let hard = self.is_hard();
        Doc::Group(Box::new(self), hard)
    }

    /// A group that breaks.
    pub(super) fn broken(self) -> Doc {
        Doc::Group(Box::new(self), true)
    }

    /// Whether it cannot be printed on one line.
    pub(super) fn is_hard(&self) -> bool {
        match self {
            Doc::HardLine { .. } | Doc::FreshLine { .. } | Doc::EndOfLine => true,
            Doc::Text(text) => text.contains('\n'),
            Doc::Line | Doc::SoftLine | Doc::IfBroken(_) => false,
            Doc::Group(_, hard) => *hard,
            Doc::Nest(doc) => doc.is_hard(),
            Doc::Fill(docs) | Doc::Concat(docs) => docs.iter().any(Doc::is_hard),
        }
    }

    /// Columns it takes on one line.
    pub(super) fn flat_width(&self) -> usize {
        match self {
            Doc::Text(text) => text.chars().count(),
            Doc::Line => 1,
            Doc::IfBroken(text) => text.len(),
            Doc::SoftLine | Doc::HardLine { .. } | Doc::FreshLine { .. } | Doc::EndOfLine => 0,
            Doc::Group(doc, _) | Doc::Nest(doc) => doc.flat_width(),
            Doc::Fill(docs) => docs.iter().map(|d| d.flat_width() + 1).sum::<usize>().saturating_sub(1),
            Doc::Concat(docs) => docs.iter().map(Doc::flat_width).sum(),
        }
    }
}

impl From<Vec<Doc>> for Doc {
    fn from(docs: Vec<Doc>) -> Doc {
        Doc::Concat(docs)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Flat,
    Broken,
}

/// Blanks a level.
const INDENT: usize = 4;

struct Printer {
    width: usize,
    out: String,
    column: usize,
    /// Nothing but the pending indentation stands on the line.
    line_empty: bool,
    indent: usize,
    /// A line comment was printed last.
    line_ended: bool,
}

/// What is still to be printed.
#[derive(Clone, Copy)]
enum Todo<'d> {
    Doc(&'d Doc),
    /// The parts of a fill from the given one on.
    Fill(&'d [Doc], usize),
}

/// Indentation, mode and what is to be printed.
type Command<'d> = (usize, Mode, Todo<'d>);

/// The document as text; lines are at most `width` columns where that is possible. Ends in a newline unless it is empty.
pub(super) fn print(doc: &Doc, width: usize) -> String {
    let mut printer = Printer { width, out: String::new(), column: 0, line_empty: true, indent: 0, line_ended: false };
    printer.run(doc);
    let text = printer.out.trim_end();
    if text.is_empty() { String::new() } else { format!("{text}\n") }
}

impl Printer {
    fn run(&mut self, doc: &Doc) {
        let mut stack: Vec<Command<'_>> = vec![(0, Mode::Broken, Todo::Doc(doc))];
        while let Some((indent, mode, todo)) = stack.pop() {
            let doc = match todo {
                Todo::Doc(doc) => doc,
                Todo::Fill(docs, at) => {
                    let Some(doc) = docs.get(at) else { continue };
                    let joins = !self.line_ended && !doc.is_hard() && self.column + 1 + doc.flat_width() <= self.width;
                    match (at, joins) {
                        (0, _) => {}
                        (_, true) => self.text(" ", indent),
                        (_, false) => self.newline(indent, false),
                    }
                    stack.push((indent, mode, Todo::Fill(docs, at + 1)));
                    stack.push((indent, mode, Todo::Doc(doc)));
                    continue;
                }
            };
            match doc {
                Doc::Text(text) => self.text(text, indent),
                Doc::Line if mode == Mode::Flat => self.text(" ", indent),
                Doc::SoftLine if mode == Mode::Flat => {}
                Doc::Line | Doc::SoftLine => self.newline(indent, false),
                Doc::HardLine { blank } => self.newline(indent, *blank),
                Doc::FreshLine { blank } => {
                    if !self.line_empty {
                        self.newline(indent, *blank);
                    } else if *blank && !self.out.is_empty() && !self.out.ends_with("\n\n") {
                        self.out.push('\n');
                    }
                }
                Doc::EndOfLine => self.line_ended = true,
                Doc::IfBroken(text) => {
                    if mode == Mode::Broken {
                        self.text(text, indent);
                    }
                }
                Doc::Nest(doc) => stack.push((indent + INDENT, mode, Todo::Doc(doc))),
                Doc::Group(doc, hard) => {
                    let flat = !hard && self.fits((indent, Mode::Flat, Todo::Doc(doc)), &stack);
                    stack.push((indent, if flat { Mode::Flat } else { Mode::Broken }, Todo::Doc(doc)));
                }
                Doc::Fill(docs) => stack.push((indent, mode, Todo::Fill(docs, 0))),
                Doc::Concat(docs) => stack.extend(docs.iter().rev().map(|d| (indent, mode, Todo::Doc(d)))),
            }
        }
    }

    fn text(&mut self, text: &str, indent: usize) {
        if text.is_empty() {
            return;
        }
        if self.line_ended {
            self.newline(indent, false);
        }
        if self.line_empty {
            if text.trim().is_empty() {
                return;
            }
            self.out.extend(std::iter::repeat_n(' ', self.indent));
            self.column = self.indent;
            self.line_empty = false;
        }
        self.out.push_str(text);
        match text.rsplit_once('\n') {
            Some((_, last)) => self.column = last.chars().count(),
            None => self.column += text.chars().count(),
        }
    }

    fn newline(&mut self, indent: usize, blank: bool) {
        let kept = self.out.trim_end_matches(' ').len();
        self.out.truncate(kept);
        if !self.out.is_empty() {
            self.out.push('\n');
            if blank {
                self.out.push('\n');
            }
        }
        self.column = 0;
        self.indent = indent;
        self.line_empty = true;
        self.line_ended = false;
    }

    /// Whether `next`, and what follows it up to the first possible newline, fits on the line.
    fn fits(&self, next: Command<'_>, rest: &[Command<'_>]) -> bool {
        let start = if self.line_empty { self.indent } else { self.column };
        let Some(mut room) = self.width.checked_sub(start) else { return false };
        let mut commands = vec![next];
        let mut rest = rest.iter().rev();
        loop {
            let Some((indent, mode, todo)) = commands.pop().or_else(|| rest.next().copied()) else { return true };
            let doc = match todo {
                Todo::Doc(doc) => doc,
                // The line can break in front of every part but the first.
                Todo::Fill(..) if mode == Mode::Broken => return true,
                Todo::Fill(docs, at) => {
                    let Some(doc) = docs.get(at) else { continue };
                    commands.push((indent, mode, Todo::Fill(docs, at + 1)));
                    commands.push((indent, mode, Todo::Doc(doc)));
                    if at > 0 {
                        commands.push((indent, mode, Todo::Doc(&Doc::Line)));
                    }
                    continue;
                }
            };
            let taken = match doc {
                Doc::Text(text) => match text.split_once('\n') {
                    Some((first, _)) => return first.chars().count() <= room,
                    None => text.chars().count(),
                },
                Doc::Line if mode == Mode::Flat => 1,
                Doc::SoftLine if mode == Mode::Flat => 0,
                Doc::Line | Doc::SoftLine | Doc::HardLine { .. } | Doc::FreshLine { .. } | Doc::EndOfLine => {
                    return true;
                }
                Doc::IfBroken(text) => match mode {
                    Mode::Flat => 0,
                    Mode::Broken => text.len(),
                },
                Doc::Nest(doc) => {
                    commands.push((indent, mode, Todo::Doc(doc)));
                    0
                }
                Doc::Group(doc, hard) => {
                    commands.push((indent, if *hard { Mode::Broken } else { mode }, Todo::Doc(doc)));
                    0
                }
                Doc::Fill(docs) => {
                    commands.push((indent, Mode::Flat, Todo::Fill(docs, 0)));
                    0
                }
                Doc::Concat(docs) => {
                    commands.extend(docs.iter().rev().map(|d| (indent, mode, Todo::Doc(d))));
                    0
                }
            };
            match room.checked_sub(taken) {
                Some(left) => room = left,
                None => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(parts: &[&str]) -> Doc {
        let mut inner = vec![Doc::SoftLine];
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                inner.extend([Doc::text(","), Doc::Line]);
            }
            inner.push(Doc::text(*part));
        }
        inner.push(Doc::IfBroken(","));
        Doc::from(vec![Doc::text("f("), Doc::from(inner).nest(), Doc::SoftLine]).group()
    }

    #[test]
    fn breaks_only_what_does_not_fit() {
        let doc = Doc::from(vec![list(&["aa", "bb"]), Doc::text(")")]);
        assert_eq!(print(&doc, 9), "f(aa, bb)\n");
        assert_eq!(print(&doc, 8), "f(\n    aa,\n    bb,\n)\n");
    }

    #[test]
    fn a_line_comment_ends_the_line() {
        let doc =
            Doc::from(vec![Doc::text("a // c"), Doc::EndOfLine, Doc::text("b"), Doc::HardLine { blank: true }, Doc::text("c")]);
        assert_eq!(print(&doc, 80), "a // c\nb\n\nc\n");
    }

    #[test]
    fn fill_packs_lines() {
        let parts = (0..6).map(|i| Doc::text(format!("{i}{i},"))).collect();
        let doc =
            Doc::from(vec![Doc::text("["), Doc::from(vec![Doc::SoftLine, Doc::Fill(parts)]).nest(), Doc::SoftLine]).broken();
        assert_eq!(print(&doc, 12), "[\n    00, 11,\n    22, 33,\n    44, 55,\n");
    }
}
