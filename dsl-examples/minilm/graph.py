"""The sentence encoder as an ONNX graph of onnxruntime's fused operators: what its own optimizer makes of an exported BERT, so that nothing is left to gain.

Used by reference.py and peer.py. `python3 -m pip install onnxruntime==1.31.1 onnx==1.23.2 tokenizers==0.23.3 safetensors==0.8.0 numpy==2.4.6`.
"""
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

LAYERS, HEADS, EPS = 6, 12, 1e-12
# Tokens of a sentence at most (`max_seq_length` of the model's sentence_bert_config.json).
LONGEST = 256


def sentences():
    return (pathlib.Path(__file__).parent / "sentences.txt").read_text(encoding="utf-8").splitlines()


def tokenizer(model):
    """The model's own, without its padding to 128 tokens, and with the length that sentence-transformers cuts at."""
    made = Tokenizer.from_file(str(model / "tokenizer.json"))
    made.no_padding()
    made.enable_truncation(LONGEST)
    return made


def weights(model):
    return load_file(model / "model.safetensors")


def padded(tokens):
    """Token ids and the mask of a batch, both [sentences, longest]."""
    ids = np.zeros((len(tokens), max(map(len, tokens))), np.int32)
    mask = np.zeros_like(ids)
    for row, sentence in enumerate(tokens):
        ids[row, : len(sentence)] = sentence
        mask[row, : len(sentence)] = 1
    return ids, mask


def session(w, threads):
    """An onnxruntime session: (ids, mask) -> embeddings [sentences, 384]."""
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def weight(name, transposed=False):
        return constant(name, w[name].T if transposed else w[name])

    def node(op, inputs, outputs, domain="", **attributes):
        nodes.append(helper.make_node(op, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def fused(op, inputs, outputs, **attributes):
        return node(op, inputs, outputs, "com.microsoft", **attributes)

    e = "embeddings."
    tables = [weight(f"{e}{kind}_embeddings.weight") for kind in ("word", "position", "token_type")]
    norm = lambda at: [weight(f"{at}LayerNorm.weight"), weight(f"{at}LayerNorm.bias")]
    # Every token is of kind 0.
    node("Sub", ["ids", "ids"], ["kinds"])
    h = fused("EmbedLayerNormalization", ["ids", "kinds", *tables, *norm(e), "mask"], ["h", "lengths"], epsilon=EPS)
    for layer in range(LAYERS):
        p = f"encoder.layer.{layer}."
        a, name = f"{p}attention.self.", lambda what: f"{what}{layer}"
        parts = ("query", "key", "value")
        joined = constant(f"{a}weight", np.concatenate([w[f"{a}{part}.weight"].T for part in parts], 1))
        bias = constant(f"{a}bias", np.concatenate([w[f"{a}{part}.bias"] for part in parts]))
        o = fused("Attention", [h, joined, bias, "lengths"], [name("attended")], num_heads=HEADS)
        o = node("MatMul", [o, weight(f"{p}attention.output.dense.weight", True)], [name("projected")])
        extra = [*norm(f"{p}attention.output."), weight(f"{p}attention.output.dense.bias")]
        h = fused("SkipLayerNormalization", [o, h, *extra], [name("middle")], epsilon=EPS)
        o = node("MatMul", [h, weight(f"{p}intermediate.dense.weight", True)], [name("widened")])
        o = fused("BiasGelu", [o, weight(f"{p}intermediate.dense.bias")], [name("active")])
        o = node("MatMul", [o, weight(f"{p}output.dense.weight", True)], [name("narrowed")])
        extra = [*norm(f"{p}output."), weight(f"{p}output.dense.bias")]
        h = fused("SkipLayerNormalization", [o, h, *extra], [name("out")], epsilon=EPS)
    node("Cast", ["mask"], ["live"], to=TensorProto.FLOAT)
    node("Unsqueeze", ["live", constant("last", np.array([2]))], ["column"])
    node("Mul", [h, "column"], ["kept"])
    tokens = constant("tokens", np.array([1]))
    node("ReduceSum", ["kept", tokens], ["total"], keepdims=0)
    node("ReduceSum", ["live", tokens], ["count"], keepdims=1)
    node("Div", ["total", "count"], ["mean"])
    node("LpNormalization", ["mean"], ["y"], axis=1, p=2)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT32, ["B", "L"]) for name in ("ids", "mask")]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", w[f"{e}LayerNorm.bias"].shape[0]])]
    graph = helper.make_graph(nodes, "encoder", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    made = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: made.run(None, {"ids": ids, "mask": mask})[0]


def versions():
    import tokenizers

    return f"onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}, tokenizers {tokenizers.__version__}, numpy {np.__version__}"
