//! The source of a template, checked and prepared before the engine sees it.
//!
//! The engine's parser and its values recurse as deep as a template makes them, and it writes values out before it
//! counts them. So tags have a length here, and what a template makes passes through [`KEEP`] and [`FACTOR`], which
//! measure it: lists, objects, what is assigned, what a macro is given, and what is multiplied.

/// The most bytes of a template.
const BYTES: usize = 256 << 10;
/// The most words, signs and texts of one tag: a chain of operators is as deep as it is long.
const TOKENS: usize = 1_000;
/// The most brackets in each other.
const BRACKETS: usize = 24;
/// The most `elif` and the most `with`, which are as deep as there are many.
const BRANCHES: usize = 500;
const WITHS: usize = 16;

/// Measures a value that is kept.
pub(super) const KEEP: &str = "__keep";
/// Measures a value that becomes part of a namespace.
pub(super) const KEEP_IN: &str = "__keep_in";
/// Measures one side of a product.
pub(super) const FACTOR: &str = "__factor";

/// The source with everything measured that it makes, or what is too much.
pub(super) fn prepare(source: &str) -> Result<String, String> {
    if source.len() > BYTES {
        return Err(format!(
            "it has {} bytes, and at most {BYTES} are read",
            source.len()
        ));
    }
    let mut out = String::with_capacity(source.len() * 2);
    let (mut rest, mut branches, mut withs) = (source, 0, 0);
    while let Some(at) = rest
        .find("{{")
        .into_iter()
        .chain(rest.find("{%"))
        .chain(rest.find("{#"))
        .min()
    {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with("{#") {
            let end = rest.find("#}").map_or(rest.len(), |end| end + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let open = &rest[..2];
        let close = if open == "{{" { "}}" } else { "%}" };
        let tag = Tag::read(&rest[2..], close)?;
        let end = 2 + tag.length;
        let word = tag.word(0);
        branches += usize::from(word == "elif");
        withs += usize::from(word == "with");
        out.push_str(open);
        let raw = open == "{%" && word == "raw";
        match open {
            "{%" => tag.write_statement(&mut out),
            _ => tag.write(0, tag.tokens.len(), &mut out),
        }
        rest = &rest[end..];
        if raw {
            let end = rest.find("endraw").unwrap_or(rest.len());
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        }
    }
    if branches > BRANCHES {
        return Err(format!(
            "it has {branches} branches, and at most {BRANCHES} are read"
        ));
    }
    if withs > WITHS {
        return Err(format!(
            "it has {withs} `with`, and at most {WITHS} are read"
        ));
    }
    out.push_str(rest);
    Ok(out)
}

/// What a piece of a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Space,
    Word,
    Number,
    Text,
    Sign,
}

/// What stands between `{%` or `{{` and its end, in pieces.
#[derive(Debug)]
struct Tag<'s> {
    tokens: Vec<(Kind, &'s str)>,
    /// The end with its marks, such as `-%}`.
    end: &'s str,
    /// Bytes of all of it.
    length: usize,
}

/// Words behind which no value ends.
const OPERATORS: [&str; 13] = [
    "and",
    "or",
    "not",
    "in",
    "is",
    "if",
    "else",
    "elif",
    "for",
    "set",
    "recursive",
    "filter",
    "do",
];

impl<'s> Tag<'s> {
    fn read(text: &'s str, close: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let (mut at, mut words, mut depth) = (0, 0, 0_usize);
        loop {
            let rest = &text[at..];
            let Some(first) = rest.chars().next() else {
                // The engine says what is wrong with a tag that does not end.
                return Ok(Self {
                    tokens,
                    end: "",
                    length: text.len(),
                });
            };
            let marked = rest
                .strip_prefix(['-', '+'])
                .is_some_and(|rest| rest.starts_with(close));
            if depth == 0 && (marked || rest.starts_with(close)) {
                let length = close.len() + usize::from(marked);
                let end = &rest[..length];
                return Ok(Self {
                    tokens,
                    end,
                    length: at + length,
                });
            }
            let run = |is: &dyn Fn(char) -> bool| rest.find(|c| !is(c)).unwrap_or(rest.len());
            let (kind, length) = match first {
                c if c.is_whitespace() => (Kind::Space, run(&char::is_whitespace)),
                '"' | '\'' => (Kind::Text, text_length(rest, first)),
                c if c.is_ascii_digit() => (
                    Kind::Number,
                    run(&|c| c.is_ascii_alphanumeric() || c == '_'),
                ),
                c if c.is_alphanumeric() || c == '_' => {
                    (Kind::Word, run(&|c| c.is_alphanumeric() || c == '_'))
                }
                c => (
                    Kind::Sign,
                    if rest.starts_with("**") || rest.starts_with("==") {
                        2
                    } else {
                        c.len_utf8()
                    },
                ),
            };
            match first {
                '[' | '(' | '{' => depth += 1,
                ']' | ')' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            words += usize::from(kind != Kind::Space);
            if words > TOKENS {
                return Err(format!(
                    "one of its tags has more than {TOKENS} words and signs"
                ));
            }
            if depth > BRACKETS {
                return Err(format!(
                    "one of its tags has more than {BRACKETS} brackets in each other"
                ));
            }
            tokens.push((kind, &rest[..length]));
            at += length;
        }
    }

    /// The word or sign of this number, or nothing.
    fn word(&self, number: usize) -> &'s str {
        let words = self
            .tokens
            .iter()
            .filter(|(kind, text)| *kind != Kind::Space && !matches!(*text, "-" | "+"));
        words.map(|(_, text)| *text).nth(number).unwrap_or_default()
    }

    /// Writes a statement, with what it assigns measured.
    fn write_statement(&self, out: &mut String) {
        let all = self.tokens.len();
        let is = self
            .tokens
            .iter()
            .position(|token| *token == (Kind::Sign, "="));
        match (self.word(0), is) {
            ("set", Some(is)) => {
                let inside = self.tokens[..is].iter().any(|(_, text)| *text == ".");
                out.extend(self.tokens[..=is].iter().map(|(_, text)| *text));
                out.push_str(if inside { " __keep_in(" } else { " __keep(" });
                self.write_inner(is + 1, all, out);
                out.push(')');
                out.push_str(self.end);
            }
            // Its targets are names, be they in brackets.
            ("for", _) => {
                let is_in = |token: &(Kind, &str)| *token == (Kind::Word, "in");
                let target = self.tokens.iter().position(is_in).unwrap_or(0);
                out.extend(self.tokens[..target].iter().map(|(_, text)| *text));
                self.write(target, all, out);
            }
            // transformers marks with it what a model is trained on.
            ("generation", _) => out.push_str(&self.replaced("generation", "if true")),
            ("endgeneration", _) => out.push_str(&self.replaced("endgeneration", "endif")),
            ("macro", _) => {
                self.write(0, all, out);
                let names = self.parameters();
                if !names.is_empty() && !self.end.is_empty() {
                    // Nothing is written, and white space around the tag goes or stays as the template says.
                    let (a, b) = if self.end.starts_with('-') {
                        ("{%-", "-%}")
                    } else {
                        ("{%", "%}")
                    };
                    let names = names.join(", ");
                    out.push_str(&format!("{a} if {KEEP}({names}) is none {b}{a} endif {b}"));
                }
            }
            _ => self.write(0, all, out),
        }
    }

    fn replaced(&self, word: &str, by: &str) -> String {
        let tokens: String = self.tokens.iter().map(|(_, text)| *text).collect();
        tokens.replace(word, by) + self.end
    }

    /// The names of a macro's parameters.
    fn parameters(&self) -> Vec<&'s str> {
        let mut names = Vec::new();
        let (mut depth, mut next) = (0, false);
        for (kind, text) in &self.tokens {
            match (*kind, *text) {
                (Kind::Space, _) => continue,
                (Kind::Sign, "(") if depth == 0 => next = true,
                (Kind::Sign, ",") if depth == 1 => next = true,
                (Kind::Word, name) if next => {
                    names.push(name);
                    next = false;
                }
                _ => next = false,
            }
            match *text {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth -= 1,
                _ => {}
            }
        }
        names
    }

    fn write(&self, from: usize, to: usize, out: &mut String) {
        self.write_inner(from, to, out);
        out.push_str(self.end);
    }

    /// Writes pieces of an expression, with its lists, objects, tuples and factors measured.
    fn write_inner(&self, from: usize, to: usize, out: &mut String) {
        // Whether the last piece ends a value, so that a bracket behind it asks for a part or calls.
        let mut value = false;
        // For each open bracket, what is written behind its end.
        let mut ends: Vec<&str> = Vec::new();
        // The depth at which the second side of a product began.
        let mut factor: Option<usize> = None;
        let mut dotted = false;
        for at in from..to {
            let (kind, text) = self.tokens[at];
            if kind == Kind::Space {
                out.push_str(text);
                continue;
            }
            let goes_on = matches!(text, "." | "(" | "[") && value;
            if factor == Some(ends.len()) && value && !goes_on {
                out.push('|');
                out.push_str(FACTOR);
                out.push(' ');
                factor = None;
            }
            match (kind, text) {
                (Kind::Sign, "[" | "(" | "{") => {
                    let literal = !value;
                    if literal {
                        // As in `not(a or b)`, whose word must stay one.
                        if out.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                            out.push(' ');
                        }
                        out.push_str(KEEP);
                        out.push('(');
                    }
                    out.push_str(text);
                    ends.push(if literal { ")" } else { "" });
                    value = false;
                }
                (Kind::Sign, "]" | ")" | "}") => {
                    out.push_str(text);
                    out.push_str(ends.pop().unwrap_or_default());
                    value = true;
                }
                (Kind::Sign, "*") if value => {
                    out.push('|');
                    out.push_str(FACTOR);
                    out.push_str(" *");
                    factor = Some(ends.len());
                    value = false;
                }
                (Kind::Sign, sign) => {
                    out.push_str(sign);
                    value = false;
                }
                (_, word) => {
                    out.push_str(word);
                    value = kind != Kind::Word || dotted || !OPERATORS.contains(&word);
                }
            }
            dotted = text == ".";
        }
        if factor == Some(ends.len()) && value {
            out.push('|');
            out.push_str(FACTOR);
            out.push(' ');
        }
    }
}

/// The bytes of a text in quotes, the quotes included.
fn text_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_template_makes_is_measured() {
        for (source, want) in [
            ("a{# [ #}b", "a{# [ #}b"),
            ("{{ a[0].b('x]') }}", "{{ a[0].b('x]') }}"),
            ("{%- set a = b | c -%}x", "{%- set a = __keep( b | c )-%}x"),
            (
                "{% set n.a = [n.a] %}",
                "{% set n.a = __keep_in( __keep([n.a]) )%}",
            ),
            ("{% set a %}[1]{% endset %}", "{% set a %}[1]{% endset %}"),
            (
                "{{ {'a': (1, 2)}['a'] }}",
                "{{ __keep({'a': __keep((1, 2))})['a'] }}",
            ),
            (
                "{{ 'a' * b.c[1] + 2 }}",
                "{{ 'a' |__factor * b.c[1] |__factor + 2 }}",
            ),
            ("{{ (2 * x) }}", "{{ __keep((2 |__factor * x|__factor )) }}"),
            (
                "{% raw %}{{ [ }}{% endraw %}",
                "{% raw %}{{ [ }}{% endraw %}",
            ),
            ("{% for (a, b) in [1] %}", "{% for (a, b) in __keep([1]) %}"),
            (
                "{%- generation %}a{% endgeneration -%}",
                "{%- if true %}a{% endif -%}",
            ),
            ("{% if not(x) %}", "{% if not __keep((x)) %}"),
            ("{% if x in [1] %}", "{% if x in __keep([1]) %}"),
            (
                "{% macro m(a, b=[1]) -%} x",
                "{% macro m(a, b=__keep([1])) -%}{%- if __keep(a, b) is none -%}{%- endif -%} x",
            ),
        ] {
            assert_eq!(prepare(source).unwrap(), want, "{source}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused() {
        for source in [
            format!("{{{{ 1{} }}}}", "+1".repeat(100_000)),
            format!("{{{{ {}1 }}}}", "not ".repeat(100_000)),
            format!("{{{{ a{} }}}}", ".a".repeat(50_000)),
            format!("{{{{ a{} }}}}", "|d".repeat(50_000)),
            format!("{{{{ {}1{} }}}}", "[".repeat(100), "]".repeat(100)),
            format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(9_000)),
            "x".repeat(1 << 20),
        ] {
            assert!(prepare(&source).is_err(), "{}", &source[..40]);
        }
    }
}
