//! The engine that a stranger's template runs in: bounded in steps, memory, stack and what it writes.

use super::clock::strftime_now;
use super::filters;
use super::measure::{Limits, is_namespace, refuse};
use super::source::{FACTOR, KEEP, KEEP_IN, prepare};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Serde, Tuple, Value as Jinja, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, escape_formatter};
use serde_json::Value;

/// Steps after which a template is taken to never end; a step pays for 64 bytes too. A long conversation has more.
const FUEL: u64 = 1_000_000;
/// Bytes of stack for the deepest value and the longest tag that are read.
const STACK: usize = 128 << 20;
/// The deepest calls.
const CALLS: usize = 120;
/// The most bytes of a text that may be multiplied.
const FACTOR_BYTES: usize = 256;
/// The most digits of a width or precision.
const WIDTH_DIGITS: usize = 3;
/// Filters that make values of values faster than they are counted; no template of a published model has them.
const LEFT_OUT: [&str; 4] = ["chain", "groupby", "pprint", "zip"];

/// What a template makes of its values, or why it makes nothing.
pub(super) fn render(source: &str, context: &Value) -> Result<String, String> {
    let source = prepare(source)?;
    let given = size(context);
    let limits = Limits {
        bytes: (1 << 20) + 4 * given,
    };
    let work = || {
        let context = Jinja::from(Serde(context));
        let environment = environment(limits, FUEL + 16 * given as u64)?;
        environment.render_str(&source, context)
    };
    let text = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK);
        let thread = thread.spawn_scoped(scope, work);
        let thread = thread.map_err(|why| format!("there is no thread for it: {why}"))?;
        // Some checks of the engine are panics.
        let done = thread.join();
        let done = done.map_err(|_| "its engine cannot run it".to_owned())?;
        done.map_err(|error| match (error.kind(), error.detail()) {
            (ErrorKind::OutOfFuel, _) => "it takes too many steps or writes too much".to_owned(),
            (_, Some(detail)) => detail.to_owned(),
            (_, None) => error.to_string(),
        })
    })?;
    match text.len() > limits.bytes {
        true => Err(format!(
            "it writes {} bytes, and at most {} are taken",
            text.len(),
            limits.bytes
        )),
        false => Ok(text),
    }
}

/// The bytes of all texts in a value.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(|part| 1 + size(part)).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, part)| name.len() + size(part))
            .sum(),
        _ => 1,
    }
}

fn environment(limits: Limits, fuel: u64) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(CALLS);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build()?);
    for name in LEFT_OUT {
        environment.remove_filter(name);
    }
    environment.set_unknown_method_callback(method);
    environment.set_formatter(move |out, state, value| {
        limits.check(state, value, false)?;
        escape_formatter(out, state, value)
    });
    environment.add_function("raise_exception", |why: String| -> Result<Jinja, Error> {
        Err(refuse(&why))
    });
    environment.add_function("strftime_now", |format: &str| strftime_now(format));
    environment.add_function(KEEP, move |state: &State<'_, '_>, values: Rest<Jinja>| {
        for value in &*values {
            // A namespace by itself is handed on, not kept in anything.
            if !is_namespace(value) {
                limits.check(state, value, true)?;
            }
        }
        Ok::<_, Error>(one(values))
    });
    environment.add_function(
        KEEP_IN,
        move |state: &State<'_, '_>, values: Rest<Jinja>| {
            for value in &*values {
                limits.check(state, value, true)?;
            }
            Ok::<_, Error>(one(values))
        },
    );
    environment.add_function(
        "namespace",
        move |state: &State<'_, '_>, first: Option<Jinja>, more: Kwargs| {
            let fields = fields(state, limits, first, more)?;
            minijinja::functions::namespace(from_args::<(Option<_>,)>(&[fields])?.0)
        },
    );
    environment.add_function(
        "dict",
        move |state: &State<'_, '_>, first: Option<Jinja>, more: Kwargs| {
            fields(state, limits, first, more)
        },
    );
    environment.add_filter(FACTOR, |value: Jinja| match value.kind() {
        ValueKind::Number | ValueKind::Bool => Ok(value),
        ValueKind::String
            if value
                .as_str()
                .is_some_and(|text| text.len() <= FACTOR_BYTES) =>
        {
            Ok(value)
        }
        _ => Err(refuse(
            "only numbers and short texts can be multiplied here",
        )),
    });
    environment.add_filter(
        "tojson",
        move |state: &State<'_, '_>, value: &Jinja, options: Kwargs| {
            limits.check(state, value, false)?;
            to_json(value, &options)
        },
    );
    environment.add_filter("string", move |state: &State<'_, '_>, value: &Jinja| {
        limits.check(state, value, false)?;
        minijinja::filters::string(state, value)
    });
    filters::add(&mut environment, limits);
    environment.add_filter("format", |text: &str, values: Rest<Jinja>| {
        check_format(text)?;
        minijinja::formatting::format(minijinja::formatting::FormatStyle::Printf, text, &values)
    });
    Ok(environment)
}

/// One value, or several as a tuple.
fn one(mut values: Rest<Jinja>) -> Jinja {
    match values.len() {
        1 => values.remove(0),
        _ => Jinja::from(Tuple::from(std::mem::take(&mut *values))),
    }
}

/// The object of an object and fields that are named, measured.
fn fields(
    state: &State<'_, '_>,
    limits: Limits,
    first: Option<Jinja>,
    more: Kwargs,
) -> Result<Jinja, Error> {
    let fields = minijinja::functions::dict(first, more)?;
    limits.check(state, &fields, true)?;
    Ok(fields)
}

/// The methods that Python's values have, those that are counted too late counted before.
fn method(
    state: &mut State<'_, '_>,
    value: &Jinja,
    name: &str,
    args: &[Jinja],
) -> Result<Jinja, Error> {
    if let Some(text) = value.as_str() {
        match name {
            "format" => check_format(text)?,
            "split" | "splitlines" | "rsplit" => state.consume_fuel(1 + text.len() as u64 / 4)?,
            // The filter counts what it writes as it goes.
            "join" if args.len() == 1 => {
                return state.apply_filter("join", &[args[0].clone(), value.clone()]);
            }
            _ => {}
        }
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

/// Refuses widths and precisions that somebody else's memory is to pay for.
fn check_format(text: &str) -> Result<(), Error> {
    let longest = text
        .split(|c: char| !c.is_ascii_digit())
        .map(str::len)
        .max();
    let marks = text.contains('{') || text.contains('%');
    // A width may be an argument too.
    let asks = text.contains('*') || text.contains("{}}") || text.matches('{').count() > 64;
    let nested = text
        .split('{')
        .any(|part| part.contains(':') && !part.contains('}'));
    match marks && (asks || nested || longest > Some(WIDTH_DIGITS)) {
        true => Err(refuse(
            "a format has a width that is too large, or that is no number",
        )),
        false => Ok(()),
    }
}

/// As Python's `json.dumps` writes it, for the filter that comes with the engine writes for HTML.
fn to_json(value: &Jinja, options: &Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let value = serde_json::to_value(value).map_err(|why| refuse(&why.to_string()))?;
    let mut out = String::new();
    write_json(&value, indent.map(|indent| indent.min(16)), 0, &mut out);
    Ok(out)
}

fn write_json(value: &Value, indent: Option<usize>, depth: usize, out: &mut String) {
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    // Without lines of its own, what follows a comma stands behind a space.
    let comma = if indent.is_some() { "," } else { ", " };
    let next = |at: usize, out: &mut String| {
        out.push_str(if at > 0 { comma } else { "" });
        line(depth + 1, out);
    };
    match value {
        Value::Array(list) if !list.is_empty() => {
            out.push('[');
            for (at, part) in list.iter().enumerate() {
                next(at, out);
                write_json(part, indent, depth + 1, out);
            }
            line(depth, out);
            out.push(']');
        }
        Value::Object(fields) if !fields.is_empty() => {
            out.push('{');
            for (at, (name, part)) in fields.iter().enumerate() {
                next(at, out);
                out.push_str(&format!("{}: ", Value::from(name.as_str())));
                write_json(part, indent, depth + 1, out);
            }
            line(depth, out);
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}
