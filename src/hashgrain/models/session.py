"""The session of ONNX Runtime that a graph runs in, and the limits of one run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import BundleError
from hashgrain.models.description import MAP

if TYPE_CHECKING:
    import onnxruntime

BATCH = 32  # small enough to stay in cache, large enough to hide the cost of a call: measured flat from 16 to 64
# A graph of a stranger is run on batches of these lengths only, each of which was tried: shorter ones are padded.
TRIED = (1, 2, 4, 8, 16, BATCH)
PIXELS_A_BATCH = 1 << 19  # eight pictures of 224 px: a batch of 32 takes 300 MB more and is no faster
RUN_SECONDS = 300.0  # for one batch; what took seconds in its trial may be slower on a busy machine
Arrays = list[NDArray[np.float32]]
TokenIds = NDArray[np.int64]


def batch_of(size: tuple[int, int]) -> int:
    """How many pictures of this size to run at once: a power of two, as those that were tried."""
    fitting = max(1, min(BATCH, PIXELS_A_BATCH // (size[0] * size[1])))
    return 1 << (fitting.bit_length() - 1)


def open_any_session(onnx: bytes, whose: str, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Spinning threads would take the cores from the workers that decode the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # never guessed from the bytes
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated classes for a damaged graph
        raise BundleError(f"{whose} cannot be loaded: {first_line(error)}") from None


def open_session(onnx: bytes, name: str, bits: int, threads: int) -> onnxruntime.InferenceSession:
    whose = f"the graph of model {name!r}"
    session = open_any_session(onnx, whose, threads)
    takes = {(node.name, node.type) for node in session.get_inputs()}
    if takes != {("pixels", "tensor(uint8)")} or not {"outputs", "features"} <= _gives(session):
        raise BundleError(f"{whose} must take uint8 `pixels` and give `outputs` and `features`")
    _check_bits(session, whose, bits)
    return session


def open_text_session(onnx: bytes, name: str, bits: int, threads: int) -> onnxruntime.InferenceSession:
    whose = text_graph_of(name)
    session = open_any_session(onnx, whose, threads)
    takes = {(node.name, node.type) for node in session.get_inputs()}
    ids, mask = ("ids", "tensor(int64)"), ("mask", "tensor(int64)")
    if not {ids} <= takes <= {ids, mask} or "outputs" not in _gives(session):
        raise BundleError(f"{whose} must take int64 `ids`, and nothing else but int64 `mask`, and give `outputs`")
    _check_bits(session, whose, bits)
    return session


def text_graph_of(name: str) -> str:
    return f"the text graph of model {name!r}"


def run(session: onnxruntime.InferenceSession, name: str, wanted: list[str], pixels: NDArray[np.uint8]) -> Arrays:
    """One batch, through a graph we know."""
    whose = f"the graph of model {name!r}"
    try:
        arrays: Arrays = session.run(wanted, {"pixels": pixels})
    except Exception as error:  # onnxruntime raises a dozen unrelated classes
        raise BundleError(f"{whose} fails while it runs: {first_line(error)}") from None
    return _checked(arrays, whose, wanted, len(pixels))


def run_within_limits(
    session: onnxruntime.InferenceSession, name: str, wanted: list[str], pixels: NDArray[np.uint8]
) -> Arrays:
    """One batch, through a graph we do not know: of a length that was tried, and ended when it takes too long."""
    n = len(pixels)
    length = next(tried for tried in TRIED if tried >= n)
    filled = np.concatenate([pixels, np.zeros((length - n, *pixels.shape[1:]), np.uint8)]) if length > n else pixels
    whose = f"the graph of model {name!r}"
    arrays = run_ended(session, whose, wanted, {"pixels": filled})
    return [array[:n] for array in _checked(arrays, whose, wanted, length)]


def run_text(session: onnxruntime.InferenceSession, name: str, ids: TokenIds, mask: TokenIds) -> NDArray[np.float32]:
    """The outputs (bits,) of one phrase, ended when it takes too long."""
    whose = text_graph_of(name)
    takes = {node.name for node in session.get_inputs()}
    feeds = {key: value[None] for key, value in (("ids", ids), ("mask", mask)) if key in takes}
    ((outputs,),) = _checked(run_ended(session, whose, ["outputs"], feeds), whose, ["outputs"], 1)
    if not np.isfinite(outputs).all():
        raise BundleError(f"{whose} gives outputs that are no numbers; get the bundle again, or use another")
    return np.asarray(outputs, np.float32)


def _gives(session: onnxruntime.InferenceSession) -> set[str]:
    return {node.name for node in session.get_outputs()}


def _check_bits(session: onnxruntime.InferenceSession, whose: str, bits: int) -> None:
    (width,) = (node.shape[-1] if node.shape else 0 for node in session.get_outputs() if node.name == "outputs")
    if width != bits:
        raise BundleError(f"{whose} gives {width} outputs, its grains ask for {bits}")


def run_ended(session: onnxruntime.InferenceSession, whose: str, wanted: list[str], feeds: dict[str, Any]) -> Arrays:
    """One run, ended when it takes too long."""
    import onnxruntime

    options: Any = onnxruntime.RunOptions()
    timer = threading.Timer(RUN_SECONDS, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        arrays: Arrays = session.run(wanted, feeds, options)
    except Exception as error:  # as above
        took = f" (ended after {RUN_SECONDS:g} s)" if options.terminate else ""
        raise BundleError(f"{whose} fails while it runs{took}: {first_line(error)}") from None
    finally:
        timer.cancel()
    return arrays


def _checked(arrays: Arrays, whose: str, wanted: list[str], rows: int) -> Arrays:
    for output, array in zip(wanted, arrays, strict=True):
        axes, each = (4, "maps (width, rows, columns)") if output == MAP else (2, "rows")
        if array.dtype != np.float32 or array.ndim != axes or len(array) != rows:
            raise BundleError(
                f"{whose} gives {output} {array.dtype} {array.shape} for {rows} of its inputs;"
                f" they must be {each} of float32, one for each"
            )
    return arrays


def first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
