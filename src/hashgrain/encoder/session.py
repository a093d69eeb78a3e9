"""The session of ONNX Runtime that a graph runs in, and the limits of one run."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import BundleError

if TYPE_CHECKING:
    import onnxruntime

BATCH = 32  # small enough to stay in cache, large enough to hide the cost of a call: measured flat from 16 to 64
# A graph of a stranger is run on batches of these lengths only, each of which was tried: shorter ones are filled up.
TRIED = (1, 2, 4, 8, 16, BATCH)
RUN_SECONDS = 300.0  # for one batch; what took seconds in its trial may be slower on a busy machine
Arrays = list[NDArray[np.float32]]


def open_session(onnx: bytes, name: str, bits: int, threads: int) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Spinning threads would take the cores from the workers that decode the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # never guessed from the bytes
    try:
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen unrelated classes for a damaged graph
        raise BundleError(f"the graph of model {name!r} cannot be loaded: {first_line(error)}") from None
    takes = {(node.name, node.type) for node in session.get_inputs()}
    gives = {node.name: node.shape for node in session.get_outputs()}
    if takes != {("pixels", "tensor(uint8)")} or not {"outputs", "features"} <= set(gives):
        raise BundleError(f"the graph of model {name!r} must take uint8 `pixels` and give `outputs` and `features`")
    if gives["outputs"][-1] != bits:
        raise BundleError(
            f"the graph of model {name!r} gives {gives['outputs'][-1]} outputs, its grains ask for {bits}"
        )
    return session


def run(session: onnxruntime.InferenceSession, name: str, wanted: list[str], pixels: NDArray[np.uint8]) -> Arrays:
    """One batch, through a graph we know."""
    try:
        found: Arrays = session.run(wanted, {"pixels": pixels})
    except Exception as error:  # as above
        raise BundleError(f"the graph of model {name!r} fails while it runs: {first_line(error)}") from None
    return _checked(found, name, wanted, len(pixels))


def run_within_limits(
    session: onnxruntime.InferenceSession, name: str, wanted: list[str], pixels: NDArray[np.uint8]
) -> Arrays:
    """One batch, through a graph we do not know: of a length that was tried, and ended when it takes too long."""
    import onnxruntime

    n = len(pixels)
    length = next(tried for tried in TRIED if tried >= n)
    filled = np.concatenate([pixels, np.zeros((length - n, *pixels.shape[1:]), np.uint8)]) if length > n else pixels
    options: Any = onnxruntime.RunOptions()
    timer = threading.Timer(RUN_SECONDS, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        found: Arrays = session.run(wanted, {"pixels": filled}, options)
    except Exception as error:  # as above
        took = f" (ended after {RUN_SECONDS:g} s)" if options.terminate else ""
        raise BundleError(f"the graph of model {name!r} fails while it runs{took}: {first_line(error)}") from None
    finally:
        timer.cancel()
    return [array[:n] for array in _checked(found, name, wanted, length)]


def _checked(found: Arrays, name: str, wanted: list[str], rows: int) -> Arrays:
    for output, array in zip(wanted, found, strict=True):
        if array.dtype != np.float32 or array.ndim != 2 or len(array) != rows:
            raise BundleError(
                f"the graph of model {name!r} gives {output} {array.dtype} {array.shape} for {rows} pictures;"
                " they must be rows of float32, one for each"
            )
    return found


def first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
