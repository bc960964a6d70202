"""How modules are called that take more than their inputs: masks, states, lengths."""

from torch import nn

# Arguments of the call that stand among a case's arguments of the constructor.
CALL_ARGUMENTS = {"MultiheadAttention": ("need_weights", "average_attn_weights")}


def attend(module, config, extra):
    keywords = {key: config[key] for key in CALL_ARGUMENTS["MultiheadAttention"] if key in config}
    keywords.setdefault("need_weights", False)

    def call(*inputs):
        # One input is attention to itself.
        return module(*(inputs * 3)[:3], **keywords, **extra)

    return call


def masked(module, _config, extra):
    return lambda *inputs: module(*inputs, **extra)


def recur(module, _config, extra):
    """Inputs are the sequence and the states it begins with; lengths make it a packed one."""

    def call(x, *states):
        states = states if len(states) != 1 else states[0]
        if "lengths" not in extra:
            return module(x, states or None) if isinstance(states, tuple) else module(x, states)
        pack = {"batch_first": module.batch_first}
        packed = nn.utils.rnn.pack_padded_sequence(x, extra["lengths"], enforce_sorted=False, **pack)
        output, ends = module(packed, states if not isinstance(states, tuple) or states else None)
        steps = x.shape[1 if module.batch_first else 0]
        return nn.utils.rnn.pad_packed_sequence(output, total_length=steps, **pack)[0], ends

    return call


CALLS = {
    "MultiheadAttention": attend,
    "TransformerEncoderLayer": masked,
    "TransformerDecoderLayer": masked,
    "RNN": recur,
    "LSTM": recur,
    "GRU": recur,
}
