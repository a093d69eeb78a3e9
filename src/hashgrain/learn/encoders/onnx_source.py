"""An ONNX file as a network: its input, and the outputs that are features."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashgrain.errors import BundleError, TrainingError
from hashgrain.graphs.heads import FEATURES, MAP, Given, Planes, from_pixels
from hashgrain.learn.backbones.taken_pixels import PixelInput, takes_pixels
from hashgrain.learn.data.kept_features import AT_ONCE
from hashgrain.learn.encoders import preprocessing
from hashgrain.learn.encoders.files import SourceFiles
from hashgrain.learn.encoders.network import Network
from hashgrain.learn.encoders.preprocessing import Preprocessing, Wishes
from hashgrain.models.bundle_files import MAX_ONNX_BYTES
from hashgrain.models.graph_check import check_graph
from hashgrain.models.session import TRIED, first_line
from hashgrain.models.trial import try_graph

if TYPE_CHECKING:
    import onnxruntime

DESCRIBED = "preprocessor_config.json"
# Names that exporters give to the output for the whole picture, best first.
WHOLE = ("features", "image_embeds", "pooler_output", "embeddings", "embedding", "sentence_embedding")
TOKENS = "last_hidden_state"
PROJECTED = "image_embeds"
MAX_REGISTERS = 16  # tokens in addition to those of patches
TAKEN_AS = {
    "": "as the network gives it",
    "map": "mean over the map",
    "first": "first token (CLS)",
    "mean": "mean over the patches",
}


@dataclass(frozen=True)
class Value:
    """An input or output, as ONNX Runtime describes it."""

    name: str
    type: str
    shape: list[int | str | None]


@dataclass(frozen=True)
class Declared:
    """The declared inputs and outputs of a graph, with the interface of a session."""

    inputs: list[Value]
    outputs: list[Value]

    def get_inputs(self) -> list[Value]:
        return self.inputs

    def get_outputs(self) -> list[Value]:
        return self.outputs


@dataclass(frozen=True)
class Tried:
    """An output of a trial run."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def ndim(self) -> int:
        return len(self.shape)


def from_file(file: Path, size: int | None, wishes: Wishes) -> Network:
    """Read `onnx:FILE`. A preprocessor_config.json beside the file, or one folder above, states the preprocessing; the
    user's wishes override it."""
    if not file.is_file():
        raise TrainingError(f"no file {file}; onnx:FILE takes an ONNX model")
    taken = SourceFiles(file.parent)
    stated: Preprocessing | None = None
    beside: dict[str, str] = {}
    for folder in (file.parent, file.parent.parent):
        if stated is None and (folder / DESCRIBED).is_file():
            description = SourceFiles(folder)
            stated = preprocessing.from_transformers(description.json(DESCRIBED))
            beside = description.taken()
    network = vision(taken.read(file.name, MAX_ONNX_BYTES), str(file), stated, size, wishes)
    return replace(network, source={**network.source, "license": taken.license(), "files": {**taken.taken(), **beside}})


def vision(
    content: bytes, where: str, stated: Preprocessing | None, size: int | None, wishes: Wishes | None = None
) -> Network:
    """The graph as a network of ours; `source` records what was used. The graph runs only in a limited process."""
    declared = declared_by(content, where)
    asked = _asked_size(declared, size, stated)
    wishes = wishes or Wishes()
    takes = takes_pixels(declared, where, asked, wishes.layout, lambda pixels: _runs(content, pixels, asked))
    if takes.bytes and (wishes.mean or wishes.std):
        raise TrainingError(f"{where} takes bytes as they are: leave out mean and std")
    if takes.one_by_one:
        raise TrainingError(f"{where} takes one picture at a time; export it for batches of any length")
    way = wishes.over(replace(stated, size=asked) if stated else preprocessing.plain(asked))
    given, tried = _taken(content, takes, asked, where)
    open_edges = _takes_other_sizes(declared, content, takes, asked, given)
    edges = ("width", "height") if open_edges else (asked, asked)
    graph = from_pixels(
        content, takes.name, given, edges, None if takes.bytes else Planes(way.mean, way.std, takes.last)
    )
    _check_made(graph, where, asked, given.width)
    facts = way.described()
    if takes.last:
        facts |= {"layout": "nhwc"}
    if takes.bytes:
        facts |= {"mean": "in the graph", "std": "in the graph"}
    return Network(
        graph,
        asked,
        given.width,
        {
            "preprocessing": facts,
            "feature": f"{given.output}: {TAKEN_AS[given.token or ('map' if tried[given.output].ndim == 4 else '')]}",
            "dimension": given.width,
            MAP: given.cells or "none",
            "sizes": "any" if open_edges else "this one only",
        },
    )


def declared_by(content: bytes, where: str) -> Declared:
    """The declared inputs and outputs of a graph, after checks; nothing of the graph runs."""
    try:
        check_graph(content, where)
    except BundleError as error:
        raise TrainingError(str(error)) from None
    import onnx

    graph = onnx.load_from_string(content).graph
    constants = {tensor.name for tensor in graph.initializer}
    return Declared(
        [_value(each) for each in graph.input if each.name not in constants], list(map(_value, graph.output))
    )


def _value(described: Any) -> Value:
    from onnx import TensorProto

    tensor = described.type.tensor_type
    edges = [edge.dim_value if edge.HasField("dim_value") else edge.dim_param or None for edge in tensor.shape.dim]
    return Value(described.name, f"tensor({TensorProto.DataType.Name(tensor.elem_type).lower()})", edges)


def _check_made(graph: bytes, where: str, size: int, width: int) -> None:
    """Try the finished graph on batches of the sizes that it will get."""
    rows = [length for length in TRIED if length <= AT_ONCE]
    try:
        gives = try_graph(graph, where, {"pixels": ("uint8", (size, size, 3))}, rows)
    except BundleError as error:
        raise TrainingError(str(error)) from None
    if gives[FEATURES] != ("float32", (rows[-1], width)):
        raise TrainingError(f"{where} gives features {gives[FEATURES]} for {rows[-1]} pictures; use another network")


def opened(content: bytes, where: str) -> onnxruntime.InferenceSession:
    """A session in this process, for a graph that was tried in another process."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated classes for a damaged graph
        raise TrainingError(f"{where} is not an ONNX model that can be loaded: {first_line(error)}") from None


def _asked_size(declared: Declared, size: int | None, stated: Preprocessing | None) -> int:
    """The size that the user asks for, or that the graph fixes, or that its description states."""
    edges = [edge for node in declared.get_inputs()[:1] for edge in node.shape[1:]]
    fixed = [edge for edge in edges if isinstance(edge, int) and edge != 3]
    return size or (fixed[0] if fixed else None) or (stated.size if stated else 224)


def _run(content: bytes, takes: PixelInput, size: int, where: str) -> dict[str, Tried]:
    """The outputs for two pictures."""
    kind = "uint8" if takes.bytes else "float32"
    gives = try_graph(content, where, {takes.name: (kind, takes.shape(size))}, [2])
    tried = {name: Tried(*each) for name, each in gives.items()}
    # Shapes of maps are compared with channels first, which is how they are used.
    turned = {name: (each.shape[0], each.shape[3], *each.shape[1:3]) for name, each in tried.items() if each.ndim == 4}
    return tried | {name: Tried(tried[name].dtype, shape) for name, shape in turned.items() if takes.last}


def _runs(content: bytes, takes: PixelInput, size: int) -> bool:
    try:
        _run(content, takes, size, "it")
    except BundleError:
        return False
    return True


def _taken(content: bytes, takes: PixelInput, size: int, where: str) -> tuple[Given, dict[str, Tried]]:
    try:
        tried = _run(content, takes, size, where)
    except BundleError as error:
        raise TrainingError(f"{where} cannot run on pictures of {size} px: {error}") from None
    given = chosen(tried, where)
    return replace(given, rank=tried[given.output].ndim, last=takes.last), tried


def chosen(tried: dict[str, Tried], where: str) -> Given:
    """Choose the output for the whole picture and the one for its map, by names and by shapes for 2 pictures."""
    usable = {name: array for name, array in tried.items() if array.dtype == "float32" and array.shape[:1] == (2,)}
    rows = [name for name, array in usable.items() if array.ndim == 2]
    named = [name for name in WHOLE if name in usable and usable[name].ndim in (2, 4)]
    maps = [name for name, array in usable.items() if array.ndim == 4]
    tokens = [name for name, array in usable.items() if array.ndim == 3]
    single = rows if len(rows) == 1 else []
    plain = [*named, *single, *(maps if len(maps) == 1 else [])]
    if plain:
        output, width = plain[0], usable[plain[0]].shape[1]
        return _with_map(Given(output, width), usable, maps, tokens)
    if tokens and not rows:
        output = TOKENS if TOKENS in tokens else tokens[0]
        count, width = usable[output].shape[1:]
        before = tokens_before(count)
        given = Given(output, width, token="first" if before else "mean", before=before or 0)
        return _with_map(given, usable, maps, tokens)
    raise TrainingError(
        f"{where} gives {_shapes(tried)}; name the output that holds the features of a picture 'features', floats"
        " (n, width), (n, tokens, width) or (n, width, h, w)"
    )


def tokens_before(count: int) -> int:
    """The number of tokens before a square of patches; 0 where all are patches, or no square fits."""
    side = math.isqrt(count)
    return count - side * side if count - side * side <= MAX_REGISTERS else 0


def _with_map(given: Given, usable: dict[str, Tried], maps: list[str], tokens: list[str]) -> Given:
    """Add the map whose cells are as wide as the features, if there is one."""
    same = [name for name in maps if usable[name].shape[1] == given.width]
    if same:
        return replace(given, cells=MAP if MAP in same else same[0])
    if given.output == PROJECTED:
        return given  # tokens are not projected into its space
    for name in tokens:
        count, width = usable[name].shape[1:]
        before = tokens_before(count)
        side = math.isqrt(count - before)
        if width == given.width and side > 1 and side * side == count - before:
            return replace(given, cells=name, before=before, grid=(side, side))
    return given


def _takes_other_sizes(declared: Declared, content: bytes, takes: PixelInput, size: int, given: Given) -> bool:
    """Whether the graph also runs on larger pictures, with features of the same width."""
    if given.grid or any(isinstance(edge, int) and edge != 3 for edge in declared.get_inputs()[0].shape[1:]):
        return False
    try:
        return _run(content, takes, size + 32, "it")[given.output].shape[1] == given.width
    except BundleError:
        return False


def _shapes(tried: dict[str, Tried]) -> str:
    return ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in tried.items()) or "nothing"
