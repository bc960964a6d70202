//! Crafted pickles: what executes, what never ends and what takes too much is refused, without a panic.

use super::*;
use proptest::prelude::*;

fn run(bytes: &[u8]) -> Result<Pickle, PickleDefect> {
    let mut budget = Budget::of_file(bytes.len() as u64);
    match read(&mut Reader::new(bytes, bytes.len() as u64), &mut budget) {
        Ok(pickle) => Ok(pickle),
        Err(Failure::Defect(defect)) => Err(defect),
        Err(Failure::Io(error)) => panic!("{error}"),
    }
}

fn refused(bytes: &[u8]) -> String {
    run(bytes).unwrap_err().to_string()
}

#[test]
fn plain_data_is_read() {
    let pickle = run(
        b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x07X\x01\x00\x00\x00b](M\x00\x01J\xff\xff\xff\xffeu.",
    )
    .unwrap();
    let Some(Node::Dict(pairs)) = pickle.node(pickle.root()) else {
        panic!()
    };
    assert_eq!(pickle.text(pairs[0][0]), Some("a"));
    assert_eq!(pairs[0][1], Value::Int(7));
    assert_eq!(
        pickle.items(pairs[1][1]).unwrap(),
        [Value::Int(256), Value::Int(-1)]
    );
    let number = |bytes: &[u8]| run(bytes).unwrap().root();
    assert_eq!(
        number(b"\x80\x02I12345678901\n."),
        Value::Int(12_345_678_901)
    );
    assert_eq!(number(b"\x80\x02\x8a\x02\xff\x7f."), Value::Int(32767));
    assert_eq!(number(b"\x80\x02\x8a\x01\xff."), Value::Int(-1));
    assert_eq!(number(b"\x80\x02\x8a\x00."), Value::Int(0));
    assert_eq!(number(b"\x80\x02G\x3f\xf8\0\0\0\0\0\0."), Value::Float(1.5));
    // Python 2's ordered table: the pairs are the argument.
    let old = run(b"\x80\x02ccollections\nOrderedDict\n]]U\x01aK\x01ea\x85R.");
    assert!(old.is_err(), "APPENDS needs a MARK");
    let old = run(b"\x80\x02ccollections\nOrderedDict\n](](U\x01aK\x01ee\x85R.").unwrap();
    assert!(matches!(old.node(old.root()), Some(Node::Dict(pairs)) if pairs.len() == 1));
}

#[test]
fn every_way_to_a_function_is_refused_by_its_name() {
    for (bytes, name) in [
        (
            &b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R."[..],
            "os.system",
        ),
        (
            b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x8c\x02ls\x85R.",
            "os.system",
        ),
        // The names of a STACK_GLOBAL by way of the memo, and under other values.
        (
            b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94NN00h\x00h\x01\x93.",
            "os.system",
        ),
        (
            b"\x80\x04\x8c\x08builtins2\x8c\x04eval\x93.",
            "builtins.eval",
        ),
        (b"\x80\x02c__builtin__\neval\n.", "__builtin__.eval"),
        // A name that goes through another, as protocol 4 allows.
        (
            b"\x80\x04\x8c\x05torch\x8c\x10Size.__class__.x\x93.",
            "torch.Size",
        ),
        (b"\x80\x02(ios\nsystem\n.", "INST"),
        (b"\x80\x02(cos\nsystem\no.", "os.system"),
        (b"\x80\x02(ccollections\nOrderedDict\no.", "OBJ"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"\x80\x02\x83\x01\0.", "EXT2"),
        (b"\x80\x02\x84\x01\0\0\0.", "EXT4"),
        (b"\x80\x04ccollections\nOrderedDict\n)}\x92.", "NEWOBJ_EX"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x05\x98.", "READONLY_BUFFER"),
        (b"\x80\x02Pa\n.", "PERSID"),
        (b"\x80\x02S'a'\n.", "STRING"),
        (b"\x80\x02\xff.", "0xff"),
        (b"\x80\x01N.", "protocol 1"),
        (b"\x80\x06N.", "protocol 6"),
    ] {
        let message = refused(bytes);
        assert!(message.contains(name), "{name}: {message}");
    }
    // What is known may be called, and only noted: no state is set on it.
    let built = run(b"\x80\x02ctorch\ndevice\nX\x03\0\0\0cpu\x85R}b.").unwrap();
    assert!(matches!(
        built.node(built.root()),
        Some(Node::Call(Global::Other, _))
    ));
}

#[test]
fn calls_and_states_of_other_things_are_refused() {
    for (bytes, name) in [
        // A call of a text, of a number, of what was called; arguments that are no tuple.
        (&b"\x80\x02X\x01\0\0\0a)R."[..], "REDUCE"),
        (b"\x80\x02K\x01)R.", "REDUCE"),
        (b"\x80\x02ctorch\nSize\n)R)R.", "REDUCE"),
        (b"\x80\x02ctorch\nSize\n]R.", "REDUCE"),
        (b"\x80\x02ccollections\nOrderedDict\nK\x01\x85R.", "REDUCE"),
        (
            b"\x80\x02ccollections\nOrderedDict\n\x89\x89\x86R.",
            "REDUCE",
        ),
        (b"\x80\x02X\x01\0\0\0a)\x81.", "NEWOBJ"),
        (b"\x80\x02ctorch\nFloatStorage\n}b.", "BUILD"),
        (b"\x80\x02]}b.", "BUILD"),
        (b"\x80\x02K\x01}b.", "BUILD"),
        (b"\x80\x02}K\x01a.", "APPEND"),
        (b"\x80\x02]K\x01K\x02s.", "SETITEM"),
        (b"\x80\x02}(K\x01u.", "SETITEMS"),
        (b"\x80\x02ctorch\nSize\n(K\x01K\x01u.", "SETITEMS"),
        (b"\x80\x02h\x07.", "BINGET"),
        (b"\x80\x02j\xff\xff\xff\xff.", "LONG_BINGET"),
        (b"\x80\x02q\x00.", "BINPUT"),
        (b"\x80\x02.", "STOP"),
        (b"\x80\x020.", "POP"),
        (b"\x80\x02t.", "TUPLE"),
        (b"\x80\x02\x85.", "TUPLE1"),
        (b"\x80\x02N(\x85.", "TUPLE1"),
        (b"\x80\x02N(2.", "DUP"),
        (b"\x80\x02N(.", "STOP"),
        (b"\x80\x02\x8b\xff\xff\xff\xff.", "LONG4"),
        (b"\x80\x02X\x01\0\0\0\xff.", "BINUNICODE"),
        (b"\x80\x02I1x\n.", "INT"),
    ] {
        let message = refused(bytes);
        assert!(
            message.contains(&format!("instruction {name} ")),
            "{name}: {message}"
        );
    }
}

#[test]
fn lengths_are_not_believed() {
    for bytes in [
        &b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffa"[..],
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fa",
        b"\x80\x05\x96\0\0\0\0\0\0\0\x01a",
        b"\x80\x02X\xff\xff\xff\xffa",
        b"\x80\x02T\xff\xff\xff\x7fa",
        b"\x80\x02\x8b\xff\xff\xff\x7fa",
        b"\x80\x02B\xff\xff\xff\xffa",
        b"\x80\x02cos",
        b"\x80\x02N",
        b"\x80",
        b"",
    ] {
        assert!(
            matches!(run(bytes), Err(PickleDefect::Cut { .. })),
            "{bytes:?}"
        );
    }
    let long = [&b"\x80\x02c"[..], &[b'a'; 5000], b"\nb\n."].concat();
    assert!(matches!(run(&long), Err(PickleDefect::Line { .. })));
}

#[test]
fn memory_is_counted() {
    let many = |code: &[u8]| {
        let mut bytes = b"\x80\x02".to_vec();
        for _ in 0..4_000_000 / code.len() {
            bytes.extend(code);
        }
        bytes.push(b'.');
        run(&bytes)
    };
    for code in [
        &b"]"[..],
        b")",
        b"}",
        b"(",
        b"N",
        b"2",
        b"\x8f",
        b"](K\x01K\x01t",
    ] {
        let prefix = if code == b"2" { &b"N2"[..] } else { code };
        assert!(
            matches!(many(prefix), Err(PickleDefect::Memory { .. })),
            "{code:?}"
        );
    }
    // Many memo entries, and the same long list again and again.
    let mut memo = b"\x80\x02N".to_vec();
    for number in 0..600_000_u32 {
        memo.push(b'r');
        memo.extend(number.to_le_bytes());
    }
    memo.push(b'.');
    assert!(run(&memo).is_err());
    let mut copies = b"\x80\x02](".to_vec();
    copies.extend(b"](NNe".repeat(10_000));
    copies.extend(b"eq\x000");
    copies.extend(b"ccollections\nOrderedDict\nh\x00\x85R0".repeat(10_000));
    copies.push(b'.');
    assert!(matches!(run(&copies), Err(PickleDefect::Memory { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn whatever_stands_there_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = run(&[&b"\x80\x04"[..], &bytes].concat());
    }

    #[test]
    fn instructions_in_any_order_never_panic(
        codes in prop::collection::vec(prop::sample::select(b"(012NtlduaesqhR}])bQ.\x81\x85\x86\x87\x88\x8f\x90\x91\x94".to_vec()), 0..60)
    ) {
        let mut bytes = b"\x80\x04ccollections\nOrderedDict\nq\x00".to_vec();
        for code in codes {
            bytes.push(code);
            if matches!(code, b'q' | b'h') {
                bytes.push(0);
            }
        }
        let _ = run(&bytes);
    }
}
