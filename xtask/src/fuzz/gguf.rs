//! GGUF files: a tokenizer alone, and a model of quantized weights.

const WHOLE: u32 = 5;
const HALF: u32 = 4;
const FLOAT: u32 = 6;
const TEXT: u32 = 8;
const LIST: u32 = 9;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A field with a value of four bytes.
fn number(name: &str, kind: u32, value: [u8; 4]) -> Vec<u8> {
    [&text(name)[..], &kind.to_le_bytes(), &value].concat()
}

fn named(name: &str, value: &str) -> Vec<u8> {
    [&text(name)[..], &TEXT.to_le_bytes(), &text(value)].concat()
}

/// A field with a list of this kind.
fn list(name: &str, kind: u32, values: &[Vec<u8>]) -> Vec<u8> {
    let head = [LIST.to_le_bytes(), kind.to_le_bytes()].concat();
    let count = (values.len() as u64).to_le_bytes();
    [&text(name)[..], &head, &count, &values.concat()].concat()
}

fn texts(name: &str, values: &[&str]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|value| text(value)).collect();
    list(name, TEXT, &values)
}

/// The beginning of a file with so many tensors.
fn head(tensors: usize, fields: &[Vec<u8>]) -> Vec<u8> {
    let counts = [tensors as u64, fields.len() as u64].map(u64::to_le_bytes);
    [
        &b"GGUF"[..],
        &3_u32.to_le_bytes(),
        &counts.concat(),
        &fields.concat(),
    ]
    .concat()
}

/// A file without tensors that holds a tokenizer of the kind of GPT-2.
pub(super) fn tokenizer() -> Vec<u8> {
    let tokens = [
        "<unk>", "a", "</s>", "e", "h", "w", "l", "wh", "al", "whal", "whale",
    ];
    let kind = |i: usize| [1_u32, 3][usize::from(i == 2)].to_le_bytes().to_vec();
    let kinds: Vec<_> = (0..tokens.len()).map(kind).collect();
    let fields = [
        named("general.architecture", "llama"),
        named("tokenizer.ggml.model", "gpt2"),
        texts("tokenizer.ggml.tokens", &tokens),
        list("tokenizer.ggml.token_type", WHOLE, &kinds),
        texts("tokenizer.ggml.merges", &["w h", "a l", "wh al", "whal e"]),
    ];
    head(0, &fields)
}

/// A llama of one block with weights of every quantized type that is read.
pub(super) fn quantized_model() -> Vec<u8> {
    const WIDTH: usize = 256;
    const VOCABULARY: usize = 16;
    let size = |name: &str, value: usize| {
        number(&format!("llama.{name}"), HALF, (value as u32).to_le_bytes())
    };
    let fields = [
        named("general.architecture", "llama"),
        size("context_length", 32),
        size("embedding_length", WIDTH),
        size("block_count", 1),
        size("feed_forward_length", WIDTH),
        size("attention.head_count", 2),
        number(
            "llama.attention.layer_norm_rms_epsilon",
            FLOAT,
            1e-5_f32.to_le_bytes(),
        ),
    ];
    // The numbers of the types in GGUF, and the numbers and bytes of their blocks.
    let (q4_0, q4_1, q8_0) = ((2_u32, 32, 18), (3, 32, 20), (8, 32, 34));
    let (q4_k, q6_k, f32) = ((12, 256, 144), (14, 256, 210), (0, 1, 4));
    let norm = &[WIDTH][..];
    let square = &[WIDTH, WIDTH][..];
    let tensors = [
        ("token_embd", &[WIDTH, VOCABULARY][..], q8_0),
        ("output_norm", norm, f32),
        ("blk.0.attn_norm", norm, f32),
        ("blk.0.attn_q", square, q4_0),
        ("blk.0.attn_k", square, q4_1),
        ("blk.0.attn_v", square, q8_0),
        ("blk.0.attn_output", square, q4_k),
        ("blk.0.ffn_norm", norm, f32),
        ("blk.0.ffn_gate", square, q6_k),
        ("blk.0.ffn_up", square, q4_k),
        ("blk.0.ffn_down", square, q8_0),
    ];
    let mut file = head(tensors.len(), &fields);
    let mut data = Vec::new();
    for (name, shape, (kind, numbers, bytes)) in tensors {
        file.extend(text(&format!("{name}.weight")));
        file.extend((shape.len() as u32).to_le_bytes());
        file.extend(shape.iter().flat_map(|size| (*size as u64).to_le_bytes()));
        file.extend(kind.to_le_bytes());
        file.extend((data.len() as u64).to_le_bytes());
        // Small scales and weights in every type.
        let count = shape.iter().product::<usize>() / numbers * bytes;
        data.resize(data.len() + count, 0x11);
        data.resize(data.len().next_multiple_of(ALIGNMENT), 0);
    }
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    [file, data].concat()
}

/// Where tensors begin.
const ALIGNMENT: usize = 32;
