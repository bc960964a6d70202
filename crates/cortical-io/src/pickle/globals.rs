//! The few things of Python's that a file of tensors may name. Nothing else is looked up.

use crate::Element;

/// Something that a pickle may name. None of them is executed: a call is kept as what was called and its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// `collections.OrderedDict`: becomes a table.
    OrderedDict,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`: storage, offset, shape, strides.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v3`: the same, and the type of the elements.
    RebuildTensorTyped,
    /// `torch._utils._rebuild_parameter`: the tensor is its first argument.
    RebuildParameter,
    /// `torch.FloatStorage` and its like.
    Storage(Stored),
    /// `torch.float32` and its like.
    Type(Stored),
    /// What may be named and is of no use: `torch.Size`, `torch.device`, sets, encoded bytes.
    Other,
}

/// Type of the elements of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A type of numbers that is read.
    Element(Element),
    /// Bytes, whose type the tensor says.
    Untyped,
    /// A type of numbers that is not read, with PyTorch's name.
    Not(&'static str),
}

use Stored::{Element as E, Not, Untyped};

/// Storages and types by their names in `torch`.
const STORAGES: [(&str, Stored); 17] = [
    ("DoubleStorage", E(Element::F64)),
    ("FloatStorage", E(Element::F32)),
    ("HalfStorage", E(Element::F16)),
    ("BFloat16Storage", E(Element::BF16)),
    ("LongStorage", E(Element::I64)),
    ("IntStorage", E(Element::I32)),
    ("ShortStorage", E(Element::I16)),
    ("CharStorage", E(Element::I8)),
    ("ByteStorage", E(Element::U8)),
    ("BoolStorage", E(Element::Bool)),
    ("UntypedStorage", Untyped),
    ("ComplexFloatStorage", Not("complex64")),
    ("ComplexDoubleStorage", Not("complex128")),
    ("QInt8Storage", Not("qint8")),
    ("QUInt8Storage", Not("quint8")),
    ("QInt32Storage", Not("qint32")),
    ("QUInt4x2Storage", Not("quint4x2")),
];
const TYPES: [(&str, Stored); 22] = [
    ("float64", E(Element::F64)),
    ("float32", E(Element::F32)),
    ("float16", E(Element::F16)),
    ("bfloat16", E(Element::BF16)),
    ("int64", E(Element::I64)),
    ("int32", E(Element::I32)),
    ("int16", E(Element::I16)),
    ("int8", E(Element::I8)),
    ("uint8", E(Element::U8)),
    ("bool", E(Element::Bool)),
    ("uint16", E(Element::U16)),
    ("uint32", E(Element::U32)),
    ("uint64", E(Element::U64)),
    ("float8_e4m3fn", E(Element::F8E4M3)),
    ("float8_e5m2", E(Element::F8E5M2)),
    ("float8_e8m0fnu", E(Element::F8E8M0)),
    ("float8_e4m3fnuz", E(Element::F8E4M3FNUZ)),
    ("float8_e5m2fnuz", E(Element::F8E5M2FNUZ)),
    ("complex32", Not("complex32")),
    ("complex64", Not("complex64")),
    ("complex128", Not("complex128")),
    ("float4_e2m1fn_x2", Not("float4_e2m1fn_x2")),
];
/// Tensors' types of the oldest files.
const TENSORS: [&str; 9] = [
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "LongTensor",
    "IntTensor",
    "ShortTensor",
    "CharTensor",
    "ByteTensor",
    "BoolTensor",
];

impl Global {
    /// What `module.name` stands for; `None` for all that is refused.
    pub(crate) fn find(module: &str, name: &str) -> Option<Self> {
        let among = |table: &[(&str, Stored)]| {
            let found = table.iter().find(|(known, _)| *known == name);
            found.map(|(_, stored)| *stored)
        };
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_tensor_v3") => Some(Self::RebuildTensorTyped),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Some(Self::RebuildParameter)
            }
            ("torch", "Size" | "device")
            | ("torch.serialization", "_get_layout")
            | ("_codecs", "encode")
            | ("builtins" | "__builtin__", "set" | "frozenset" | "bytearray") => Some(Self::Other),
            ("torch" | "torch.cuda", name) if TENSORS.contains(&name) => Some(Self::Other),
            ("torch" | "torch.cuda" | "torch.storage", _) => among(&STORAGES)
                .map(Self::Storage)
                .or_else(|| (module == "torch").then(|| among(&TYPES).map(Self::Type))?),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_run_is_not_found() {
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("nt", "system"),
            ("builtins", "eval"),
            ("builtins", "exec"),
            ("__builtin__", "getattr"),
            ("builtins", "__import__"),
            ("subprocess", "Popen"),
            ("torch", "load"),
            ("torch", "hub"),
            ("torch.hub", "load"),
            ("torch.storage", "_load_from_bytes"),
            ("torch.storage", "float32"),
            ("torch.serialization", "load"),
            ("torch._utils", "_rebuild_qtensor"),
            ("torch._utils", "_rebuild_wrapper_subclass"),
            ("torch.nn.modules.linear", "Linear"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy", "load"),
            ("functools", "partial"),
            ("collections", "OrderedDict.fromkeys"),
            ("collections.OrderedDict", ""),
            ("torch._utils", "_rebuild_tensor_v2.__globals__"),
            ("__torch__", "Net"),
            ("", ""),
        ] {
            assert_eq!(Global::find(module, name), None, "{module}.{name}");
        }
        let float = Global::find("torch", "FloatStorage");
        assert_eq!(float, Some(Global::Storage(E(Element::F32))));
        let float = Global::find("torch", "float32");
        assert_eq!(float, Some(Global::Type(E(Element::F32))));
    }
}
