//! The head of an array: a table as Python writes it, `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.

use std::io::{self, Read};

use super::NumpyDefect as Defect;
use crate::{Element, limits};

/// Bytes of a head; NumPy itself refuses longer ones than 10,000.
const HEAD_BYTES: usize = 10_000;

/// What the head of an array says.
#[derive(Debug, PartialEq)]
pub(super) struct Head {
    pub(super) element: Element,
    pub(super) fortran: bool,
    pub(super) shape: Vec<u64>,
    /// Where the elements begin.
    pub(super) data: u64,
}

/// Reads a head from the beginning of a file of `bytes` bytes.
pub(super) fn read(
    mut from: impl Read,
    bytes: u64,
    what: &str,
) -> io::Result<Result<Head, Defect>> {
    let wrong = || Ok(Err(Defect::Head { what: what.into() }));
    if bytes < 10 {
        return wrong();
    }
    let mut start = [0; 8];
    from.read_exact(&mut start)?;
    if !start.starts_with(b"\x93NUMPY") {
        return wrong();
    }
    let (length, before) = match start[6] {
        1 => {
            let mut length = [0; 2];
            from.read_exact(&mut length)?;
            (u16::from_le_bytes(length).into(), 10)
        }
        2 | 3 if bytes >= 12 => {
            let mut length = [0; 4];
            from.read_exact(&mut length)?;
            (u32::from_le_bytes(length), 12)
        }
        _ => return wrong(),
    };
    let data = before + u64::from(length);
    if data > bytes || length as usize > HEAD_BYTES {
        return wrong();
    }
    let mut table = vec![0; length as usize];
    from.read_exact(&mut table)?;
    let parsed = Table { rest: &table }.parse();
    let (descr, fortran, shape) = match parsed {
        Ok(parsed) => parsed,
        Err(why) => {
            return Ok(Err(Defect::Table {
                what: what.into(),
                why,
            }));
        }
    };
    Ok(match element(&descr) {
        Some(element) => Ok(Head {
            element,
            fortran,
            shape,
            data,
        }),
        None => Err(Defect::Type {
            what: what.into(),
            got: crate::printable(&descr, 60),
        }),
    })
}

/// The type of NumPy's name; `None` for what is not read.
fn element(descr: &str) -> Option<Element> {
    Some(match descr {
        "|b1" => Element::Bool,
        "|u1" => Element::U8,
        "|i1" => Element::I8,
        "<u2" => Element::U16,
        "<i2" => Element::I16,
        "<f2" => Element::F16,
        "<u4" => Element::U32,
        "<i4" => Element::I32,
        "<f4" => Element::F32,
        "<u8" => Element::U64,
        "<i8" => Element::I64,
        "<f8" => Element::F64,
        "<c8" => Element::C64,
        _ => return None,
    })
}

/// NumPy's name of a type; `None` for those that it does not have.
pub(crate) fn descr(element: Element) -> Option<&'static str> {
    Some(match element {
        Element::Bool => "|b1",
        Element::U8 => "|u1",
        Element::I8 => "|i1",
        Element::U16 => "<u2",
        Element::I16 => "<i2",
        Element::F16 => "<f2",
        Element::U32 => "<u4",
        Element::I32 => "<i4",
        Element::F32 => "<f4",
        Element::U64 => "<u8",
        Element::I64 => "<i8",
        Element::F64 => "<f8",
        Element::C64 => "<c8",
        Element::BF16
        | Element::F8E4M3
        | Element::F8E5M2
        | Element::F8E8M0
        | Element::F8E4M3FNUZ
        | Element::F8E5M2FNUZ => return None,
    })
}

/// The head of an array as NumPy writes it: its length is a multiple of 64.
pub(super) fn write(element: Element, shape: &[usize]) -> Option<Vec<u8>> {
    let descr = descr(element)?;
    let sizes: Vec<_> = shape.iter().map(usize::to_string).collect();
    let shape = match &sizes[..] {
        [one] => format!("({one},)"),
        sizes => format!("({})", sizes.join(", ")),
    };
    let mut table = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while !(10 + table.len() + 1).is_multiple_of(64) {
        table.push(' ');
    }
    table.push('\n');
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend((table.len() as u16).to_le_bytes());
    head.extend(table.into_bytes());
    Some(head)
}

/// What is left of a table.
struct Table<'a> {
    rest: &'a [u8],
}

type Why = &'static str;

impl<'a> Table<'a> {
    fn parse(mut self) -> Result<(String, bool, Vec<u64>), Why> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect(b'{', "it does not begin with {")?;
        while !self.takes(b'}') {
            let key = self.text()?;
            self.expect(b':', "a key without a value")?;
            let again = match key {
                "descr" => match self.peek() {
                    Some(b'\'' | b'"') => descr.replace(self.text()?.to_owned()).is_some(),
                    _ => return Err("it describes records, not numbers"),
                },
                "fortran_order" => fortran.replace(self.truth()?).is_some(),
                "shape" => shape.replace(self.sizes()?).is_some(),
                _ => return Err("a key that NumPy does not write"),
            };
            if again {
                return Err("a key that stands twice");
            }
            if !self.takes(b',') && self.peek() != Some(b'}') {
                return Err("values without a comma between them");
            }
        }
        if self.peek().is_some() {
            return Err("something behind the table");
        }
        match (descr, fortran, shape) {
            (Some(descr), Some(fortran), Some(shape)) => Ok((descr, fortran, shape)),
            _ => Err("a key is missing"),
        }
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        if is_there {
            self.rest = &self.rest[1..];
        }
        is_there
    }

    fn expect(&mut self, byte: u8, why: Why) -> Result<(), Why> {
        match self.takes(byte) {
            true => Ok(()),
            false => Err(why),
        }
    }

    /// A text in quotation marks without any that are masked.
    fn text(&mut self) -> Result<&'a str, Why> {
        const WHY: Why = "a text without quotation marks";
        let quote = self
            .peek()
            .filter(|byte| matches!(byte, b'\'' | b'"'))
            .ok_or(WHY)?;
        let inside = &self.rest[1..];
        let end = inside.iter().position(|byte| *byte == quote).ok_or(WHY)?;
        self.rest = &inside[end + 1..];
        std::str::from_utf8(&inside[..end]).map_err(|_| WHY)
    }

    fn truth(&mut self) -> Result<bool, Why> {
        self.peek();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word.as_bytes()) {
                self.rest = rest;
                return Ok(value);
            }
        }
        Err("fortran_order is neither True nor False")
    }

    /// A tuple of sizes.
    fn sizes(&mut self) -> Result<Vec<u64>, Why> {
        const WHY: Why = "the shape is no tuple of sizes";
        self.expect(b'(', WHY)?;
        let mut sizes = Vec::new();
        while !self.takes(b')') {
            self.peek();
            let digits = self
                .rest
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let (number, rest) = self.rest.split_at(digits);
            let number = std::str::from_utf8(number)
                .ok()
                .and_then(|text| text.parse().ok());
            sizes.push(number.ok_or(WHY)?);
            if sizes.len() > limits::RANK {
                return Err("the shape has too many dimensions");
            }
            // Python 2 wrote an L behind the number.
            self.rest = rest.strip_prefix(b"L").unwrap_or(rest);
            if !self.takes(b',') && self.peek() != Some(b')') {
                return Err(WHY);
            }
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(table: &str) -> Result<(String, bool, Vec<u64>), Why> {
        Table {
            rest: table.as_bytes(),
        }
        .parse()
    }

    #[test]
    fn tables_of_every_version_are_read() {
        let read = parse("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n");
        assert_eq!(read, Ok(("<f4".into(), false, vec![3, 4])));
        let read = parse("{'shape': (3L,), 'fortran_order': True, 'descr': \"|u1\"}");
        assert_eq!(read, Ok(("|u1".into(), true, vec![3])));
        let read = parse("{'descr':'<i8','fortran_order':False,'shape':()}");
        assert_eq!(read, Ok(("<i8".into(), false, vec![])));
    }

    #[test]
    fn other_tables_are_refused() {
        for table in [
            "",
            "{",
            "{}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,)}",
            "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'x': __import__('os')}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3,)} or 1",
        ] {
            assert!(parse(table).is_err(), "{table}");
        }
    }
}
