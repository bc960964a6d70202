//! Filters of Jinja that the engine lacks, or has without counting what they make.

use super::measure::{Limits, refuse};
use minijinja::value::{Kwargs, Rest, Value};
use minijinja::{Environment, Error, State};

/// The most values that these filters take or make.
const VALUES: usize = 100_000;

pub(super) fn add(environment: &mut Environment<'_>, limits: Limits) {
    environment.add_filter("batch", batch);
    environment.add_filter("slice", slice);
    environment.add_filter("wordcount", wordcount);
    environment.add_filter(
        "center",
        move |text: &str, more: Rest<Value>, named: Kwargs| center(text, more, named, limits),
    );
    environment.add_filter("truncate", truncate);
    environment.add_filter("wordwrap", wordwrap);
}

/// What a filter is given beside its value, at places and by names.
struct Arguments {
    places: std::vec::IntoIter<Value>,
    named: Kwargs,
}

impl Arguments {
    fn new(mut places: Rest<Value>, named: Kwargs) -> Self {
        Self {
            places: std::mem::take(&mut *places).into_iter(),
            named,
        }
    }

    /// The next argument, if it is given.
    fn value(&mut self, name: &str) -> Result<Option<Value>, Error> {
        match self.places.next() {
            Some(value) => Ok(Some(value)),
            None => self.named.get(name),
        }
    }

    /// The next argument, or what it is where it is not given.
    fn next<T: TryFrom<Value, Error = Error>>(&mut self, name: &str, or: T) -> Result<T, Error> {
        self.value(name)?.map_or(Ok(or), T::try_from)
    }

    /// The next argument as text.
    fn text(&mut self, name: &str, or: &str) -> Result<String, Error> {
        let value = self.value(name)?;
        let text = value.map(|value| value.as_str().map(str::to_owned));
        let text = text.unwrap_or_else(|| Some(or.to_owned()));
        text.ok_or_else(|| refuse("an argument of a filter is no text"))
    }

    /// What short lists are filled up with, if they are.
    fn fill(&mut self) -> Result<Option<Value>, Error> {
        let fill = self.value("fill_with")?;
        Ok(fill.filter(|fill| !fill.is_none()))
    }

    fn finish(mut self) -> Result<(), Error> {
        match self.places.next() {
            Some(_) => Err(refuse("a filter has more arguments than it takes")),
            None => self.named.assert_all_used(),
        }
    }
}

/// The values of a list, counted.
fn values(state: &mut State<'_, '_>, list: &Value) -> Result<Vec<Value>, Error> {
    let mut all = Vec::new();
    for value in list.try_iter()? {
        if all.len() == VALUES {
            return Err(too_many());
        }
        all.push(value);
    }
    state.consume_fuel(1 + all.len() as u64)?;
    Ok(all)
}

fn too_many() -> Error {
    refuse("a filter has more values than the template of a conversation needs")
}

/// Lists of so many values; the last one is filled up with `fill_with`.
fn batch(
    state: &mut State<'_, '_>,
    list: &Value,
    more: Rest<Value>,
    named: Kwargs,
) -> Result<Vec<Value>, Error> {
    let mut more = Arguments::new(more, named);
    let size: usize = more.next("linecount", 0)?;
    let fill: Option<Value> = more.fill()?;
    more.finish()?;
    if !(1..=VALUES).contains(&size) {
        return Err(too_many());
    }
    let all = values(state, list)?;
    let mut lists: Vec<Vec<Value>> = all.chunks(size).map(<[Value]>::to_vec).collect();
    if let (Some(last), Some(fill)) = (lists.last_mut(), fill) {
        state.consume_fuel(size as u64)?;
        last.resize(size, fill);
    }
    Ok(lists.into_iter().map(Value::from).collect())
}

/// So many lists of as many values as can be, the longer ones first; the shorter ones get `fill_with`.
fn slice(
    state: &mut State<'_, '_>,
    list: &Value,
    more: Rest<Value>,
    named: Kwargs,
) -> Result<Vec<Value>, Error> {
    let mut more = Arguments::new(more, named);
    let slices: usize = more.next("slices", 0)?;
    let fill: Option<Value> = more.fill()?;
    more.finish()?;
    if !(1..=VALUES).contains(&slices) {
        return Err(too_many());
    }
    let all = values(state, list)?;
    state.consume_fuel(slices as u64)?;
    let (each, longer) = (all.len() / slices, all.len() % slices);
    let mut rest = &all[..];
    let mut lists = Vec::with_capacity(slices);
    for number in 0..slices {
        let (own, behind) = rest.split_at(each + usize::from(number < longer));
        rest = behind;
        let mut own = own.to_vec();
        if number >= longer {
            own.extend(fill.clone());
        }
        lists.push(Value::from(own));
    }
    Ok(lists)
}

fn wordcount(text: &str) -> usize {
    let parts = text.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    parts.filter(|part| !part.is_empty()).count()
}

/// Spaces on both sides, as Python's `str.center` shares them.
fn center(text: &str, more: Rest<Value>, named: Kwargs, limits: Limits) -> Result<String, Error> {
    let mut more = Arguments::new(more, named);
    let width: usize = more.next("width", 80)?;
    more.finish()?;
    if width > limits.bytes {
        return Err(refuse("a text is to be centred in too large a width"));
    }
    let spaces = width.saturating_sub(text.chars().count());
    let left = spaces / 2 + (spaces & width & 1);
    Ok([&" ".repeat(left), text, &" ".repeat(spaces - left)].concat())
}

/// The first characters of a text that is much longer, and a mark that it goes on.
fn truncate(text: &str, more: Rest<Value>, named: Kwargs) -> Result<String, Error> {
    let mut more = Arguments::new(more, named);
    let length: usize = more.next("length", 255)?;
    let cuts_words = more.next("killwords", false)?;
    let end = more.text("end", "...")?;
    let leeway: usize = more.next("leeway", 5)?;
    more.finish()?;
    let kept = length.checked_sub(end.chars().count());
    let kept = kept.ok_or_else(|| refuse("truncate needs a length of at least that of its end"))?;
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text.to_owned());
    }
    let start: String = text.chars().take(kept).collect();
    let start = match start.rsplit_once(' ') {
        Some((words, _)) if !cuts_words => words,
        _ => &start,
    };
    Ok([start, &end].concat())
}

/// Lines of at most so many characters, as Python's `textwrap` breaks them.
fn wordwrap(
    state: &mut State<'_, '_>,
    text: &str,
    more: Rest<Value>,
    named: Kwargs,
) -> Result<String, Error> {
    let mut more = Arguments::new(more, named);
    let width: usize = more.next("width", 79)?;
    let breaks_words = more.next("break_long_words", true)?;
    let between = more.text("wrapstring", "\n")?;
    let at_hyphens = more.next("break_on_hyphens", true)?;
    more.finish()?;
    if width == 0 {
        return Err(refuse("wordwrap needs a width of at least 1"));
    }
    let lines = text.len() / width.min(2) + 1;
    state.consume_fuel((text.len() + lines.saturating_mul(between.len())) as u64 / 16 + 1)?;
    let wrapped = split_lines(text).into_iter().map(|line| {
        let line: Vec<char> = line.chars().collect();
        let lines = wrap(&line, width, breaks_words, at_hyphens);
        lines.join(&between)
    });
    Ok(wrapped.collect::<Vec<_>>().join(&between))
}

/// As Python's `str.splitlines`.
fn split_lines(text: &str) -> Vec<&str> {
    let is_end = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_end) {
        lines.push(&rest[..at]);
        let end = if rest[at..].starts_with("\r\n") {
            2
        } else {
            rest[at..].chars().next().map_or(1, char::len_utf8)
        };
        rest = &rest[at + end..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// The lines that one line becomes.
fn wrap(text: &[char], width: usize, breaks_words: bool, at_hyphens: bool) -> Vec<String> {
    let mut chunks = chunks(text, at_hyphens);
    chunks.reverse();
    let is_blank = |chunk: &[char]| chunk.iter().all(|c| c.is_whitespace());
    let mut lines: Vec<String> = Vec::new();
    while let Some(next) = chunks.last() {
        if is_blank(next) && !lines.is_empty() {
            chunks.pop();
        }
        let (mut line, mut length) = (Vec::new(), 0);
        while let Some(chunk) = chunks.last().filter(|chunk| length + chunk.len() <= width) {
            length += chunk.len();
            line.push(*chunk);
            chunks.pop();
        }
        if let Some(chunk) = chunks.last_mut().filter(|chunk| chunk.len() > width) {
            if breaks_words {
                let mut end = width - length;
                // Behind a hyphen, if there is one among more than hyphens.
                let hyphen = chunk[..end].iter().rposition(|c| *c == '-');
                if let Some(hyphen) = hyphen.filter(|at| chunk[..*at].iter().any(|c| *c != '-'))
                    && at_hyphens
                {
                    end = hyphen + 1;
                }
                let (own, rest) = chunk.split_at(end);
                line.push(own);
                *chunk = rest;
            } else if line.is_empty() {
                line.extend(chunks.pop());
            }
        }
        if line.last().is_some_and(|chunk| is_blank(chunk)) {
            line.pop();
        }
        if !line.is_empty() {
            lines.push(line.concat().into_iter().collect());
        }
    }
    lines
}

/// Words with their hyphens and the space between them, as the regular expression of `textwrap` splits them.
fn chunks(text: &[char], at_hyphens: bool) -> Vec<&[char]> {
    let is_space = |at: usize| {
        text.get(at)
            .is_some_and(|c| "\t\n\u{b}\u{c}\r ".contains(*c))
    };
    let is_word = |at: usize| {
        text.get(at)
            .is_some_and(|c| c.is_alphanumeric() || *c == '_')
    };
    let is_letter = |at: usize| is_word(at) && !text[at].is_numeric();
    let is_hyphen = |at: usize| text.get(at) == Some(&'-');
    let ends_word =
        |at: usize| is_word(at) || text.get(at).is_some_and(|c| "!\"'&.,?".contains(*c));
    // Where a dash between two words ends.
    let dash = |at: usize| -> Option<usize> {
        let end = (at..).find(|at| !is_hyphen(*at))?;
        (at > 0 && ends_word(at - 1) && end >= at + 2 && is_word(end)).then_some(end)
    };
    let is_in_word = |at: usize| {
        let two = at >= 2 && is_letter(at - 2) && is_letter(at - 1);
        let three = at >= 3 && is_letter(at - 3) && is_hyphen(at - 2) && is_letter(at - 1);
        let behind =
            is_letter(at + 1) && (is_letter(at + 2) || is_hyphen(at + 2) && is_letter(at + 3));
        is_hyphen(at) && (two || three) && behind
    };
    let mut found = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let space = (start..).find(|at| !is_space(*at)).unwrap_or(start);
        let end = if space > start {
            space
        } else if let Some(end) = dash(start).filter(|_| at_hyphens) {
            end
        } else {
            let mut at = start + 1;
            loop {
                if at_hyphens && is_in_word(at) {
                    break at + 1;
                }
                if at >= text.len() || is_space(at) || at_hyphens && dash(at).is_some() {
                    break at;
                }
                at += 1;
            }
        };
        found.push(&text[start..end]);
        start = end;
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::{ChatTemplate, Message};

    fn rendered(source: &str) -> String {
        let said = ChatTemplate::new(source).render(&[Message::new("user", "hi")], true);
        said.unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn filters_make_what_jinja_makes() {
        // What jinja2 3.1 says.
        for (source, want) in [
            ("{{ [1,2,3,4,5]|batch(2)|list }}", "[[1, 2], [3, 4], [5]]"),
            ("{{ [1,2,3]|batch(2, 0)|list }}", "[[1, 2], [3, 0]]"),
            ("{{ []|batch(2, 0)|list }}", "[]"),
            (
                "{{ [1,2,3]|batch(linecount=4, fill_with=9)|list }}",
                "[[1, 2, 3, 9]]",
            ),
            (
                "{{ range(7)|slice(3)|list }}",
                "[[0, 1, 2], [3, 4], [5, 6]]",
            ),
            (
                "{{ range(7)|slice(3, 'x')|list }}",
                "[[0, 1, 2], [3, 4, 'x'], [5, 6, 'x']]",
            ),
            ("{{ [1]|slice(slices=3)|list }}", "[[1], [], []]"),
            (
                "[{{ 'ab'|center(5) }}][{{ 'abc'|center(6) }}][{{ 'abc'|center(1) }}][{{ 'é'|center(width=4) }}]",
                "[  ab ][ abc  ][abc][ é  ]",
            ),
            ("{{ 'a b, c_d é-f'|wordcount }}", "5"),
            ("{{ 'foo bar baz qux'|truncate(9) }}", "foo..."),
            ("{{ 'foo bar baz qux'|truncate(9, True) }}", "foo ba..."),
            ("{{ 'foo bar baz qux'|truncate(11) }}", "foo bar baz qux"),
            (
                "{{ 'foo bar baz qux'|truncate(11, leeway=0) }}",
                "foo bar...",
            ),
            (
                "{{ 'foobarbazqux'|truncate(5, end='', leeway=0) }}",
                "fooba",
            ),
            (
                "{{ 'one two-three four'|wordwrap(8) }}",
                "one two-\nthree\nfour",
            ),
            (
                "{{ 'one two-three four'|wordwrap(8, break_on_hyphens=False) }}",
                "one two-\nthree\nfour",
            ),
            (
                "{{ 'aaaaaaaaaa bb'|wordwrap(4, wrapstring='|') }}",
                "aaaa|aaaa|aa|bb",
            ),
            ("{{ 'aaaaaaaaaa bb'|wordwrap(4, False) }}", "aaaaaaaaaa\nbb"),
            ("{{ 'a  b\n\nc'|wordwrap(3) }}", "a\nb\n\nc"),
            (
                "{{ 'well-known--or not: x-y-z 1-2'|wordwrap(7) }}",
                "well-\nknown--\nor not:\nx-y-z\n1-2",
            ),
        ] {
            assert_eq!(rendered(source), want, "{source}");
        }
    }

    #[test]
    fn what_filters_make_is_counted() {
        for source in [
            "{{ [1]|batch(10000000000, 0)|list|length }}",
            "{{ [1]|batch(0)|list|length }}",
            "{{ [1]|slice(10000000000)|list|length }}",
            "{{ 'a'|center(10000000000)|length }}",
            "{{ 'abcdef'|truncate(2) }}",
            "{{ 'abc'|wordwrap(0) }}",
            "{{ [1]|batch(2, nothing=1) }}",
            "{% set ns=namespace(a=[1]) %}{% for i in range(100) %}{% set ns.a=ns.a|batch(1)|list %}{% endfor %}{{ ns.a }}",
            "{% for i in range(9999) %}{% for j in range(9999) %}{{ 'x'|center(900)|length }}{% endfor %}{% endfor %}",
        ] {
            let said = rendered(source);
            assert!(
                said.starts_with("the chat template fails: "),
                "{source}: {said}"
            );
        }
        assert_eq!(rendered("{{ strftime_now('%Y')|length }}"), "4");
    }
}
