//! Just enough of Rust's lexer to see code and not comments or strings: identifiers, `::` and other
//! punctuation with their lines, and the paths that code names.

/// A piece of code. Comments, strings, characters, lifetimes and numbers are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) line: usize,
    pub(crate) text: &'a str,
}

/// A path such as `std::fs::read`, with the group of a `use` multiplied out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path<'a> {
    pub(crate) line: usize,
    pub(crate) segments: Vec<&'a str>,
    /// What a `use` does with it; absent for a path in an expression or a type.
    pub(crate) import: Option<Import<'a>>,
}

/// What a `use` brings into its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Import<'a> {
    /// The name that it binds: the last one of the path, that after `as`, or `*`.
    pub(crate) name: &'a str,
    /// The line of the word `use`.
    pub(crate) line: usize,
    /// Whether others may take the name from here (`pub use`, `pub(crate) use`).
    pub(crate) public: bool,
    /// Whether that is so for other crates (`pub use`).
    pub(crate) exported: bool,
}

/// Splits source text into its tokens. Text that is not Rust gives odd tokens but never a panic.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
    };
    let mut tokens = Vec::new();
    while let Some(token) = lexer.next_token() {
        tokens.push(token);
    }
    tokens
}

/// Every path of at least two segments that the code names, imports included.
pub(crate) fn paths<'a>(tokens: &[Token<'a>]) -> Vec<Path<'a>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "use" {
            let import = Import {
                name: "",
                line: tokens[at].line,
                public: at > 0 && matches!(tokens[at - 1].text, "pub" | ")"),
                exported: at > 0 && tokens[at - 1].text == "pub",
            };
            at = use_tree(tokens, at + 1, &[], import, &mut found);
        } else if is_identifier(tokens[at].text) {
            let line = tokens[at].line;
            let (segments, next) = segments(tokens, at);
            if segments.len() > 1 {
                found.push(Path {
                    line,
                    segments,
                    import: None,
                });
            }
            at = next;
        } else {
            at += 1;
        }
    }
    found
}

/// The identifiers joined by `::` from `at` on, and the token after them.
fn segments<'a>(tokens: &[Token<'a>], mut at: usize) -> (Vec<&'a str>, usize) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut segments = Vec::new();
    while is_identifier(text(at)) {
        segments.push(text(at));
        at += 1;
        if text(at) != "::" || !is_identifier(text(at + 1)) {
            break;
        }
        at += 1;
    }
    (segments, at)
}

/// Reads one tree of a `use` (`a::b`, `a::{b, c as d}`, `a::*`) and returns the token after it.
fn use_tree<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    prefix: &[&'a str],
    import: Import<'a>,
    found: &mut Vec<Path<'a>>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    if text(at) == "::" {
        at += 1;
    }
    let line = tokens.get(at).map_or(0, |token| token.line);
    let (own, next) = segments(tokens, at);
    at = next;
    let mut path: Vec<&str> = prefix.iter().copied().chain(own).collect();
    if text(at) == "::" {
        at += 1;
    }
    let mut alias = None;
    match text(at) {
        "{" => {
            at += 1;
            while at < tokens.len() && text(at) != "}" {
                let before = at;
                at = use_tree(tokens, at, &path, import, found);
                // Not Rust, but no reason to stand still.
                at += usize::from(text(at) == "," || at == before);
            }
            return at + 1;
        }
        "*" => {
            path.push("*");
            at += 1;
        }
        "as" => {
            alias = tokens.get(at + 1).map(|token| token.text);
            at += 2;
        }
        _ => {}
    }
    if path.last() == Some(&"self") && path.len() > 1 {
        path.pop();
    }
    // `use<'a>` in a return type is no import and names nothing.
    if let Some(last) = path.last() {
        let name = alias.unwrap_or(last);
        found.push(Path {
            line,
            segments: path,
            import: Some(Import { name, ..import }),
        });
    }
    at
}

fn is_identifier(text: &str) -> bool {
    text != "as" && text.starts_with(starts_identifier)
}

fn starts_identifier(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

fn continues_identifier(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Moves over `bytes` bytes, which must end on a character, and counts their lines.
    fn skip(&mut self, bytes: usize) -> &'a str {
        let text = &self.rest()[..bytes];
        self.line += text.matches('\n').count();
        self.at += bytes;
        text
    }

    fn skip_while(&mut self, mut keep: impl FnMut(char) -> bool) -> &'a str {
        let rest = self.rest();
        self.skip(rest.find(|c| !keep(c)).unwrap_or(rest.len()))
    }

    fn next_token(&mut self) -> Option<Token<'a>> {
        loop {
            self.skip_while(char::is_whitespace);
            let rest = self.rest();
            let first = rest.chars().next()?;
            if rest.starts_with("//") {
                self.skip_while(|c| c != '\n');
            } else if rest.starts_with("/*") {
                self.skip_block_comment();
            } else if first == '"' {
                self.skip_string();
            } else if first == '\'' {
                self.skip_character_or_lifetime();
            } else if first.is_ascii_digit() {
                self.skip_while(continues_identifier);
            } else if starts_identifier(first) {
                if let Some(token) = self.identifier() {
                    return Some(token);
                }
            } else {
                let line = self.line;
                let length = if rest.starts_with("::") {
                    2
                } else {
                    first.len_utf8()
                };
                let text = self.skip(length);
                return Some(Token { line, text });
            }
        }
    }

    /// An identifier, or nothing where the letters were the prefix of a string.
    fn identifier(&mut self) -> Option<Token<'a>> {
        let line = self.line;
        let text = self.skip_while(continues_identifier);
        let hashes = self.rest().bytes().take_while(|b| *b == b'#').count();
        let after = self.rest()[hashes..].chars().next();
        match (text, after) {
            ("r" | "br" | "cr", Some('"')) => {
                self.skip_raw_string(hashes);
                None
            }
            ("r", Some(c)) if hashes == 1 && starts_identifier(c) => {
                self.skip(1);
                let text = self.skip_while(continues_identifier);
                Some(Token { line, text })
            }
            ("b" | "c", Some('"')) if hashes == 0 => {
                self.skip_string();
                None
            }
            ("b", Some('\'')) if hashes == 0 => {
                self.skip_character_or_lifetime();
                None
            }
            _ => Some(Token { line, text }),
        }
    }

    fn skip_block_comment(&mut self) {
        let mut depth = 0;
        loop {
            if self.rest().starts_with("/*") {
                depth += 1;
                self.skip(2);
            } else if self.rest().starts_with("*/") {
                depth -= 1;
                self.skip(2);
                if depth == 0 {
                    return;
                }
            } else if let Some(c) = self.rest().chars().next() {
                self.skip(c.len_utf8());
            } else {
                return;
            }
        }
    }

    fn skip_string(&mut self) {
        self.skip(1);
        let mut escaped = false;
        self.skip_while(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            !closes
        });
        self.skip(usize::from(!self.rest().is_empty()));
    }

    fn skip_raw_string(&mut self, hashes: usize) {
        self.skip(hashes + 1);
        let end = format!("\"{}", "#".repeat(hashes));
        let rest = self.rest();
        self.skip(rest.find(&end).map_or(rest.len(), |at| at + end.len()));
    }

    fn skip_character_or_lifetime(&mut self) {
        self.skip(1);
        let mut ahead = self.rest().chars();
        match (ahead.next(), ahead.next()) {
            (Some('\\'), Some(escaped)) => {
                self.skip(1 + escaped.len_utf8());
                self.skip_while(|c| c != '\'' && c != '\n');
                self.skip(usize::from(self.rest().starts_with('\'')));
            }
            (Some(c), Some('\'')) => {
                self.skip(c.len_utf8() + 1);
            }
            // A lifetime: its name is no identifier that a check asks about.
            _ => {
                self.skip_while(continues_identifier);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_tokens(source: &str, want: &[(usize, &str)]) {
        let got = tokens(source);
        let got: Vec<_> = got.iter().map(|token| (token.line, token.text)).collect();
        assert_eq!(got, want, "{source}");
    }

    #[test]
    fn code_is_seen_and_the_rest_is_not() {
        check_tokens("a // b\nc", &[(1, "a"), (2, "c")]);
        check_tokens("a /* b /* c */\n d */ e", &[(1, "a"), (2, "e")]);
        check_tokens(r#"a "b \" c \\" d"#, &[(1, "a"), (1, "d")]);
        check_tokens("a r#\"b \" c\n\"# d", &[(1, "a"), (2, "d")]);
        check_tokens(r#"b"x" c"y" br"z" cr"w" e"#, &[(1, "e")]);
        check_tokens(r"'a' '\'' '\u{1f}' b'q' 'ä' x", &[(1, "x")]);
        check_tokens("&'a str", &[(1, "&"), (1, "str")]);
        check_tokens("'unsafe: loop", &[(1, ":"), (1, "loop")]);
        check_tokens(
            "1.0e5 0x1f r#type r b",
            &[(1, "."), (1, "type"), (1, "r"), (1, "b")],
        );
        check_tokens("a::b", &[(1, "a"), (1, "::"), (1, "b")]);
    }

    #[test]
    fn unfinished_text_ends_quietly() {
        for source in [
            "\"", "r#\"", "/*", "'", "'\\", "b'", "r#", "use", "use a::{", "use {{",
        ] {
            let _ = paths(&tokens(source));
        }
    }

    fn check_paths(source: &str, want: &[&str]) {
        let got = paths(&tokens(source));
        let got: Vec<_> = got.iter().map(|path| path.segments.join("::")).collect();
        assert_eq!(got, want, "{source}");
    }

    #[test]
    fn paths_are_multiplied_out() {
        check_paths("use std::fs;", &["std::fs"]);
        check_paths("pub use ::std::fs as disk;", &["std::fs"]);
        check_paths(
            "use std::{io::{self, Read}, fs};",
            &["std::io", "std::io::Read", "std::fs"],
        );
        check_paths("use std::fs::*; f()", &["std::fs::*"]);
        check_paths("let x = std::fs::read(p)?; y.fs()", &["std::fs::read"]);
        check_paths("Vec::<u8>::new(); process::exit(1)", &["process::exit"]);
        check_paths("// std::fs\n\"std::fs\"", &[]);
    }

    #[test]
    fn imports_bind_names() {
        let source = "use a::{b, c::{self, d as e}, f::*};\n\npub(crate) use g;\nh::i();";
        let tokens = tokens(source);
        let paths = paths(&tokens);
        let got: Vec<_> = paths
            .iter()
            .map(|path| {
                let import = path.import;
                let import = import.map(|import| (import.name, import.line, import.public));
                (path.segments.join("::"), import)
            })
            .collect();
        let want = [
            ("a::b", Some(("b", 1, false))),
            ("a::c", Some(("c", 1, false))),
            ("a::c::d", Some(("e", 1, false))),
            ("a::f::*", Some(("*", 1, false))),
            ("g", Some(("g", 3, true))),
            ("h::i", None),
        ];
        let want: Vec<_> = want.map(|(path, import)| (path.to_owned(), import)).into();
        assert_eq!(got, want);
    }
}
