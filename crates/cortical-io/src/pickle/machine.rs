//! The machine: one instruction after the other, a stack of values, a table of those that come again.

use std::collections::HashMap;
use std::io::BufRead;

use super::globals::Global;
use super::reader::Reader;
use super::value::{Node, Pickle, Value};
use super::{Failure, PickleDefect as Defect};

/// The memory that the pickles of a file may take together.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    left: u64,
}

impl Budget {
    /// As much as a file has bytes, and a little, for the smallest files have tables too.
    pub(crate) fn of_file(bytes: u64) -> Self {
        let limit = bytes.saturating_add(4 << 20);
        Self { limit, left: limit }
    }

    /// Counts bytes that something takes.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Defect> {
        // Lists and tables have up to twice the room that they need.
        match self.left.checked_sub(2 * bytes as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Defect::Memory { limit: self.limit }),
        }
    }
}

/// Reads one pickle; `reader` then stands behind it.
pub(crate) fn read<R: BufRead>(
    reader: &mut Reader<R>,
    budget: &mut Budget,
) -> Result<Pickle, Failure> {
    let mut machine = Machine {
        start: reader.at(),
        reader,
        budget,
        nodes: Vec::new(),
        stack: Vec::new(),
        deepest: 0,
        marks: Vec::new(),
        memo: HashMap::new(),
        next_memo: 0,
    };
    loop {
        let at = machine.reader.at() - machine.start;
        let code = machine.reader.byte()?;
        if code == b'.' {
            let root = machine.pop(At("STOP", at))?;
            let nodes = machine.nodes;
            return Ok(Pickle { nodes, root });
        }
        machine.step(code, at)?;
    }
}

/// Python's name of an instruction, and where it stands.
#[derive(Clone, Copy)]
struct At(&'static str, u64);

impl At {
    fn needs(self, expected: &'static str) -> Failure {
        let Self(name, at) = self;
        Defect::Operand { name, at, expected }.into()
    }
}

struct Machine<'a, R> {
    start: u64,
    reader: &'a mut Reader<R>,
    budget: &'a mut Budget,
    nodes: Vec<Node>,
    stack: Vec<Value>,
    /// Values that the stack has had at most.
    deepest: usize,
    /// Where the open groups begin in the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    next_memo: u32,
}

impl<R: BufRead> Machine<'_, R> {
    fn push(&mut self, value: Value) -> Result<(), Failure> {
        self.stack.push(value);
        if self.stack.len() > self.deepest {
            self.deepest = self.stack.len();
            self.budget.take(size_of::<Value>())?;
        }
        Ok(())
    }

    /// What is on top; nothing is taken from below the group that is open.
    fn pop(&mut self, at: At) -> Result<Value, Failure> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(at.needs("a value on the stack"));
        }
        Ok(self.stack.pop().expect("longer than the floor"))
    }

    /// The values of the group that was opened last.
    fn group(&mut self, at: At) -> Result<Vec<Value>, Failure> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(at.needs("a MARK before it")),
        }
    }

    /// Keeps something with parts of `extra` bytes.
    fn keep(&mut self, node: Node, extra: usize) -> Result<(), Failure> {
        self.budget.take(size_of::<Node>() + extra)?;
        let number = u32::try_from(self.nodes.len());
        let number = number.expect("4 billion of them are more than any budget");
        self.nodes.push(node);
        self.push(Value::Node(number))
    }

    /// A list or tuple of these.
    fn keep_items(
        &mut self,
        node: fn(Vec<Value>) -> Node,
        items: Vec<Value>,
    ) -> Result<(), Failure> {
        let extra = items.len() * size_of::<Value>();
        self.keep(node(items), extra)
    }

    fn text(&mut self, count: u64, at: At) -> Result<(), Failure> {
        let bytes = self.reader.bytes(count)?;
        let text = String::from_utf8(bytes).map_err(|_| at.needs("text in UTF-8"))?;
        let extra = text.len();
        self.keep(Node::Text(text.into()), extra)
    }

    /// Python 2's texts, which may be bytes.
    fn old_text(&mut self, count: u64) -> Result<(), Failure> {
        let bytes = self.reader.bytes(count)?;
        match String::from_utf8(bytes) {
            Ok(text) => {
                let extra = text.len();
                self.keep(Node::Text(text.into()), extra)
            }
            Err(_) => self.keep(Node::Bytes, 0),
        }
    }

    fn raw(&mut self, count: u64) -> Result<(), Failure> {
        self.reader.skip(count)?;
        self.keep(Node::Bytes, 0)
    }

    fn long(&mut self, count: u64) -> Result<(), Failure> {
        let bytes = self.reader.bytes(count)?;
        match bytes.len() {
            0 => self.push(Value::Int(0)),
            count @ 1..=8 => {
                let sign = if bytes[count - 1] & 0x80 == 0 {
                    0
                } else {
                    0xff
                };
                let mut all = [sign; 8];
                all[..count].copy_from_slice(&bytes);
                self.push(Value::Int(i64::from_le_bytes(all)))
            }
            extra => self.keep(Node::Long(bytes.into()), extra),
        }
    }

    fn u32(&mut self) -> Result<u32, Failure> {
        self.reader.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Failure> {
        self.reader.array().map(u64::from_le_bytes)
    }

    /// A length that Python writes as a signed number.
    fn length(&mut self, at: At) -> Result<u64, Failure> {
        let length = self.reader.array().map(i32::from_le_bytes)?;
        u64::try_from(length).map_err(|_| at.needs("a length that is not negative"))
    }

    fn remember(&mut self, number: u32, at: At) -> Result<(), Failure> {
        let value = self.pop(at)?;
        self.push(value)?;
        if self.memo.insert(number, value).is_none() {
            self.budget.take(size_of::<(u32, Value)>())?;
        }
        Ok(())
    }

    fn recall(&mut self, number: u32, at: At) -> Result<(), Failure> {
        match self.memo.get(&number) {
            Some(value) => self.push(*value),
            None => Err(at.needs("a value that was remembered before")),
        }
    }

    fn name(&mut self, module: &str, name: &str) -> Result<(), Failure> {
        match Global::find(module, name) {
            Some(global) => self.keep(Node::Global(global), 0),
            None => {
                let [module, name] = [module, name].map(|text| crate::printable(text, 80));
                Err(Defect::Global { module, name }.into())
            }
        }
    }

    /// A text that was just taken off the stack.
    fn text_of(&self, value: Value, at: At) -> Result<String, Failure> {
        match value {
            Value::Node(number) => match &self.nodes[number as usize] {
                Node::Text(text) => Ok(text.to_string()),
                _ => Err(at.needs("two texts")),
            },
            _ => Err(at.needs("two texts")),
        }
    }

    /// A call of something that is known: its note, or the table that it would make.
    fn call(&mut self, at: At) -> Result<(), Failure> {
        let (args, function) = (self.pop(at)?, self.pop(at)?);
        let node = |value| match value {
            Value::Node(number) => Some(&self.nodes[number as usize]),
            _ => None,
        };
        let (Some(Node::Global(global)), Some(Node::Tuple(items))) = (node(function), node(args))
        else {
            return Err(at.needs("something that was named, and a tuple"));
        };
        if *global != Global::OrderedDict {
            let call = Node::Call(*global, args);
            return self.keep(call, 0);
        }
        // Python 2 gives the pairs as the only argument.
        let pairs = match items[..] {
            [] => Vec::new(),
            [list] => {
                let pair = |value: &Value| match node(*value) {
                    Some(Node::List(pair) | Node::Tuple(pair)) => pair[..].try_into().ok(),
                    _ => None,
                };
                match node(list) {
                    Some(Node::List(list)) => {
                        list.iter().map(pair).collect::<Option<Vec<[Value; 2]>>>()
                    }
                    _ => None,
                }
                .ok_or_else(|| at.needs("a list of pairs"))?
            }
            _ => return Err(at.needs("a list of pairs or nothing")),
        };
        let extra = pairs.len() * size_of::<[Value; 2]>();
        self.keep(Node::Dict(pairs), extra)
    }

    /// What is on top and stays there, to be added to.
    fn target(&mut self, at: At) -> Result<&mut Node, Failure> {
        let value = self.pop(at)?;
        self.stack.push(value);
        match value {
            Value::Node(number) => Ok(&mut self.nodes[number as usize]),
            _ => Err(at.needs("a list or a table")),
        }
    }

    fn append(&mut self, items: Vec<Value>, at: At) -> Result<(), Failure> {
        self.budget.take(items.len() * size_of::<Value>())?;
        match self.target(at)? {
            Node::List(list) => list.extend(items),
            // What is in a set is of no use.
            Node::Call(Global::Other, _) => {}
            _ => return Err(at.needs("a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<Value>, at: At) -> Result<(), Failure> {
        self.budget.take(items.len() * size_of::<Value>())?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err(at.needs("keys and values in pairs"));
        };
        match self.target(at)? {
            Node::Dict(table) => table.extend(pairs),
            _ => return Err(at.needs("a table")),
        }
        Ok(())
    }

    /// Carries out the instruction `code` that stands at byte `at` of the pickle.
    fn step(&mut self, code: u8, at: u64) -> Result<(), Failure> {
        let op = |name| At(name, at);
        match code {
            0x80 => match self.reader.byte()? {
                2..=5 => Ok(()),
                got => Err(Defect::Protocol { got }.into()),
            },
            // A frame only says how many bytes to fetch at once.
            0x95 => self.u64().map(drop),
            b'(' => {
                self.budget.take(size_of::<usize>())?;
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'0' => match self.marks.last() {
                Some(mark) if *mark == self.stack.len() => {
                    self.marks.pop();
                    Ok(())
                }
                _ => self.pop(op("POP")).map(drop),
            },
            b'1' => self.group(op("POP_MARK")).map(drop),
            b'2' => {
                let value = self.pop(op("DUP"))?;
                self.push(value)?;
                self.push(value)
            }
            b'N' => self.push(Value::None),
            0x88 => self.push(Value::Bool(true)),
            0x89 => self.push(Value::Bool(false)),
            b'K' => {
                let n = self.reader.byte()?;
                self.push(Value::Int(n.into()))
            }
            b'M' => {
                let n = u16::from_le_bytes(self.reader.array()?);
                self.push(Value::Int(n.into()))
            }
            b'J' => {
                let n = i32::from_le_bytes(self.reader.array()?);
                self.push(Value::Int(n.into()))
            }
            // Python 2 writes numbers of more than 32 bits so, in whatever protocol.
            b'I' => {
                let line = self.reader.line()?;
                let number = line
                    .parse()
                    .map_err(|_| op("INT").needs("a whole number"))?;
                self.push(Value::Int(number))
            }
            b'G' => {
                let x = f64::from_be_bytes(self.reader.array()?);
                self.push(Value::Float(x))
            }
            0x8a => {
                let count = self.reader.byte()?;
                self.long(count.into())
            }
            0x8b => {
                let count = self.length(op("LONG4"))?;
                self.long(count)
            }
            0x8c => {
                let count = self.reader.byte()?;
                self.text(count.into(), op("SHORT_BINUNICODE"))
            }
            b'X' => {
                let count = self.u32()?;
                self.text(count.into(), op("BINUNICODE"))
            }
            0x8d => {
                let count = self.u64()?;
                self.text(count, op("BINUNICODE8"))
            }
            b'U' => {
                let count = self.reader.byte()?;
                self.old_text(count.into())
            }
            b'T' => {
                let count = self.length(op("BINSTRING"))?;
                self.old_text(count)
            }
            b'C' => {
                let count = self.reader.byte()?;
                self.raw(count.into())
            }
            b'B' => {
                let count = self.u32()?;
                self.raw(count.into())
            }
            0x8e | 0x96 => {
                let count = self.u64()?;
                self.raw(count)
            }
            b')' => self.keep(Node::Tuple(Vec::new()), 0),
            b']' => self.keep(Node::List(Vec::new()), 0),
            b'}' => self.keep(Node::Dict(Vec::new()), 0),
            _ => self.step_on_stack(code, at),
        }
    }

    /// The instructions that take something from the stack.
    fn step_on_stack(&mut self, code: u8, at: u64) -> Result<(), Failure> {
        let op = |name| At(name, at);
        match code {
            b't' => {
                let items = self.group(op("TUPLE"))?;
                self.keep_items(Node::Tuple, items)
            }
            0x85..=0x87 => {
                let op = op("TUPLE1");
                let mut items = (0x85..=code)
                    .map(|_| self.pop(op))
                    .collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                self.keep_items(Node::Tuple, items)
            }
            b'l' => {
                let items = self.group(op("LIST"))?;
                self.keep_items(Node::List, items)
            }
            b'd' => {
                let items = self.group(op("DICT"))?;
                self.keep(Node::Dict(Vec::new()), 0)?;
                self.set_items(items, op("DICT"))
            }
            // Sets are of no use here.
            0x8f => self.keep_other(),
            0x90 => self.group(op("ADDITEMS")).map(drop),
            0x91 => {
                self.group(op("FROZENSET"))?;
                self.keep_other()
            }
            b'a' => {
                let item = self.pop(op("APPEND"))?;
                self.append(vec![item], op("APPEND"))
            }
            b'e' => {
                let items = self.group(op("APPENDS"))?;
                self.append(items, op("APPENDS"))
            }
            b's' => {
                let (value, key) = (self.pop(op("SETITEM"))?, self.pop(op("SETITEM"))?);
                self.set_items(vec![key, value], op("SETITEM"))
            }
            b'u' => {
                let items = self.group(op("SETITEMS"))?;
                self.set_items(items, op("SETITEMS"))
            }
            b'q' => {
                let number = self.reader.byte()?;
                self.remember(number.into(), op("BINPUT"))
            }
            b'r' => {
                let number = self.u32()?;
                self.remember(number, op("LONG_BINPUT"))
            }
            0x94 => {
                let number = self.next_memo;
                self.next_memo = number
                    .checked_add(1)
                    .ok_or_else(|| op("MEMOIZE").needs("room"))?;
                self.remember(number, op("MEMOIZE"))
            }
            b'h' => {
                let number = self.reader.byte()?;
                self.recall(number.into(), op("BINGET"))
            }
            b'j' => {
                let number = self.u32()?;
                self.recall(number, op("LONG_BINGET"))
            }
            b'c' => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                self.name(&module, &name)
            }
            0x93 => {
                let op = op("STACK_GLOBAL");
                let (name, module) = (self.pop(op)?, self.pop(op)?);
                let (module, name) = (self.text_of(module, op)?, self.text_of(name, op)?);
                self.name(&module, &name)
            }
            b'R' => self.call(op("REDUCE")),
            // What makes an object without calling its constructor: noted in the same way.
            0x81 => self.call(op("NEWOBJ")),
            b'b' => {
                let op = op("BUILD");
                self.pop(op)?;
                match self.target(op)? {
                    // `_metadata` of a state dict, and attributes of parameters.
                    Node::Dict(_) | Node::Call(..) => Ok(()),
                    _ => Err(op.needs("a table or something that was called")),
                }
            }
            b'Q' => {
                let id = self.pop(op("BINPERSID"))?;
                self.keep(Node::Persistent(id), 0)
            }
            _ => Err(Defect::Instruction {
                name: refused(code),
                at,
            }
            .into()),
        }
    }

    /// Something that is kept for its identity only.
    fn keep_other(&mut self) -> Result<(), Failure> {
        self.keep(Node::Call(Global::Other, Value::None), 0)
    }
}

/// Python's name of an instruction that is not carried out.
fn refused(code: u8) -> String {
    let name = match code {
        b'i' => "INST",
        b'o' => "OBJ",
        0x92 => "NEWOBJ_EX",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        b'P' => "PERSID",
        b'p' => "PUT",
        b'g' => "GET",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'F' => "FLOAT",
        b'L' => "LONG",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => return format!("{code:#04x}, which no protocol has"),
    };
    name.to_owned()
}
