"""A graph of a stranger computes on pixels and does nothing else; what it may cost is tried first, outside."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from hashgrain import Encoder
from hashgrain.errors import BundleError
from hashgrain.models import Bundle, graph_check, protobuf, session, trial
from hashgrain.models.graph_check import check_graph
from made_graphs import (
    AXES,
    ENDS,
    FLOAT,
    GIVES,
    INT64,
    MEAN,
    SIDE,
    attribute,
    bundle_of,
    elsewhere,
    floats,
    graph,
    inner,
    integers,
    model,
    node,
    number,
    plain_graph,
    sparse,
    tensor,
    value,
    whole,
    with_step,
)

PIXELS = np.random.default_rng(1).integers(0, 256, (40, SIDE, SIDE, 3), np.uint8)
KEEP = node("Identity", ["colors"], ["result"])
ADD = node("MatMul", ["colors", "secret"], ["result"])  # which ONNX Runtime reads from the file without a word
HERE = elsewhere("secret", [3, 3], "secret.bin")
BRANCH = graph([node("Identity", ["secret"], ["inside"])], [HERE], [value("inside", FLOAT, [3, 3])])
DEEPER = graph(
    [node("If", ["which"], ["inside"], [attribute("then_branch", inner(6, BRANCH), 5)])],
    [],
    [value("inside", FLOAT, [3, 3])],
)


def constant(content: bytes, kind: int, name: str = "value") -> bytes:
    return node("Constant", [], ["secret"], [attribute(name, content, kind)])


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the graph would read, where it would look for it; reading it ends the test."""
    working = tmp_path / "working"
    working.mkdir()
    for place in (working / "secret.bin", tmp_path / "secret.bin"):
        place.write_bytes(struct.pack("<9f", *range(9)))
    monkeypatch.chdir(working)
    return working / "secret.bin"


def in_a_branch(branch: bytes) -> bytes:
    return with_step(
        node(
            "If", ["which"], ["secret"], [attribute(f"{name}_branch", inner(6, branch), 5) for name in ("then", "else")]
        ),
        ADD,
        tensors=[tensor("which", 9, [1], b"\1")],
    )


READS = {
    "a tensor": with_step(ADD, tensors=[HERE]),
    "a tensor a folder up": with_step(ADD, tensors=[elsewhere("secret", [3, 3], "../secret.bin")]),
    "a tensor by its full path": with_step(ADD, tensors=[elsewhere("secret", [3, 3], "/etc/hostname")]),
    "a tensor that only says so": with_step(ADD, tensors=[tensor("secret", FLOAT, [3, 3], extra=number(14, 1))]),
    "a tensor that names a file beside its bytes": with_step(
        ADD,
        tensors=[tensor("secret", FLOAT, [3, 3], bytes(36), inner(13, inner(1, "location") + inner(2, "secret.bin")))],
    ),
    "an attribute": with_step(constant(inner(5, HERE), 4), ADD),
    "an attribute with several tensors": with_step(constant(inner(10, HERE), 9), ADD),
    "a sparse attribute": with_step(constant(inner(22, sparse(HERE, [3])), 11, "sparse_value"), ADD),
    "several sparse attributes": with_step(constant(inner(23, sparse(HERE, [3])), 12, "sparse_value"), ADD),
    "a sparse tensor": with_step(ADD, extra=inner(15, sparse(HERE, [3]))),
    "a graph inside": in_a_branch(BRANCH),
    "a graph in a graph inside": in_a_branch(DEEPER),
    "graphs inside": with_step(
        node("Identity", ["colors"], ["result"], [attribute("graphs", inner(11, BRANCH), 10)]),
    ),
    "a function": with_step(KEEP, around=inner(25, inner(1, "f") + inner(7, constant(inner(5, HERE), 4)))),
    "a training graph": with_step(KEEP, around=inner(20, inner(1, BRANCH))),
}


@pytest.mark.parametrize("where", READS)
def test_a_graph_that_reads_files_is_refused_wherever_it_says_so(where: str, secret: Path) -> None:
    """Issue line A2. With ONNX Runtime alone, the first of these gives what the file holds as `features`."""
    with pytest.raises(BundleError, match="the graph of model 'made' is refused"):
        Encoder(bundle_of(READS[where]))


def test_such_a_bundle_is_not_even_read(secret: Path, tmp_path: Path) -> None:
    """What makes models smaller reads tensors by other means than ONNX Runtime."""
    folder = bundle_of(READS["a tensor"]).write(tmp_path / "model")
    with pytest.raises(BundleError, match="has its data in another file"):
        Bundle.read(folder)
    bundle_of(READS["a tensor"]).write_inside(tmp_path)
    with pytest.raises(BundleError, match="has its data in another file"):
        Bundle.read_inside(tmp_path)


def test_the_same_graph_without_the_file_is_run(secret: Path) -> None:
    values = tensor("secret", FLOAT, [3, 3], struct.pack("<9f", *range(9)))
    outputs = Encoder(bundle_of(with_step(ADD, tensors=[values]))).outputs(PIXELS)
    expected = PIXELS.mean(axis=(1, 2)) @ np.arange(9).reshape(3, 3)
    assert np.allclose(outputs, expected, rtol=1e-4)


REFUSED = {
    "an operator of another domain": (
        with_step(node("Gelu", ["colors"], ["result"], domain="com.microsoft")),
        "domain",
    ),
    "an operator that reads a compiled file": (
        with_step(node("EPContext", ["colors"], ["result"], domain="com.microsoft")),
        "domain",
    ),
    "a plug-in": (with_step(node("Read", ["colors"], ["result"], domain="my.plugin")), "domain"),
    "Loop": (with_step(node("Loop", ["", "", "colors"], ["result"])), "control flow"),
    "Scan": (with_step(node("Scan", ["colors"], ["result"])), "control flow"),
    "If": (with_step(node("If", ["colors"], ["result"])), "control flow"),
    "an operator nobody knows": (with_step(node("Teleport", ["colors"], ["result"])), "not among the operators"),
    "a size that depends on pixels, NonZero": (with_step(node("NonZero", ["colors"], ["result"])), "not among"),
    "random numbers": (with_step(node("RandomNormalLike", ["colors"], ["result"])), "not among"),
    "text": (with_step(node("Cast", ["colors"], ["result"], [whole("to", 8)])), "text"),
    "a tensor of text": (with_step(KEEP, tensors=[tensor("t", 8, [1], extra=inner(6, "x"))]), "type 8"),
    "a tensor of an unknown type": (with_step(KEEP, tensors=[tensor("t", 99, [1], b"x")]), "type 99"),
    "a tensor smaller than it says": (with_step(KEEP, tensors=[tensor("t", FLOAT, [1 << 39], b"x" * 8)]), "its shape"),
    "a tensor larger than it says": (with_step(KEEP, tensors=[tensor("t", FLOAT, [1], b"x" * 8)]), "its shape"),
    "a tensor of odd bytes": (with_step(KEEP, tensors=[tensor("t", FLOAT, [2], b"x" * 7)]), "its shape"),
    "a tensor given twice over": (
        with_step(KEEP, tensors=[tensor("t", FLOAT, [1], b"xxxx", inner(4, b"xxxx"))]),
        "its shape",
    ),
    "a negative shape": (with_step(KEEP, tensors=[tensor("t", FLOAT, [-1], b"")]), "shape"),
    "an endless shape": (with_step(KEEP, tensors=[tensor("t", FLOAT, [1] * 17, b"xxxx")]), "17|more than 16"),
    "an attribute that refers to another": (
        with_step(node("Identity", ["colors"], ["result"], [attribute("a", inner(21, "b"), 2)])),
        "refers",
    ),
    "a value from nowhere": (with_step(node("Identity", ["nowhere"], ["result"])), "before anything gives it"),
    "a value made twice": (with_step(KEEP, node("Identity", ["colors"], ["result"])), "exists already"),
    "an opset of the future": (with_step(KEEP, opset=4000), "version 4000"),
    "an opset below zero": (with_step(KEEP, opset=-1), "version -1"),
    "a field nobody knows": (with_step(KEEP, around=inner(77, "x")), "field 77"),
    "two graphs": (with_step(KEEP, around=inner(7, graph([], [], []))), "twice"),
    "a name of two kinds": (with_step(KEEP, around=number(2, 1)), "wire type"),
    "the runtime's own format": (b"\0\0\0\0ORTM" + plain_graph(), "own format"),
    "features without end": (
        model(graph([*MEAN, KEEP, *ENDS], [AXES], [GIVES[0], value("features", FLOAT, ["batch", 1 << 20])])),
        "wide",
    ),
    "no features": (model(graph([node("Cast", ["pixels"], ["outputs"])], [], [GIVES[0]])), "must take"),
    "an output that is a sequence": (
        model(graph([], [], [inner(1, "pixels") + inner(2, inner(4, b""))])),
        "not a tensor",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_graph_has_no_need_of_is_refused_before_a_session_is_made(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a session was made")

    monkeypatch.setattr(trial, "_try", never)
    onnx, reason = REFUSED[what]
    with pytest.raises(BundleError, match=reason):
        Encoder(bundle_of(onnx))


AS_INTEGERS = node("Cast", ["colors"], ["counts"], [whole("to", INT64)])
OF_PIXELS = node("Slice", ["counts", "zero", "one"], ["some"])
SHAPED = {
    "Reshape": node("Reshape", ["colors", "row"], ["result"]),
    "Expand": node("Expand", ["colors", "row"], ["result"]),
    "Tile": node("Tile", ["colors", "row"], ["result"]),
    "ConstantOfShape": node("ConstantOfShape", ["row"], ["result"]),
    "Range": node("Range", ["zero", "row", "one"], ["result"]),
    "Pad": node("Pad", ["colors", "row"], ["result"]),
    "Resize": node("Resize", ["colors", "", "", "row"], ["result"]),
    "Slice": node("Slice", ["colors", "zero", "row"], ["result"]),
    "TopK": node("TopK", ["colors", "row"], ["result", "places"]),
    "OneHot": node("OneHot", ["counts", "row", "values"], ["result"]),
    "Split": node("Split", ["colors", "row"], ["result", "rest"]),
    "Upsample": node("Upsample", ["colors", "row"], ["result"]),
}


@pytest.mark.parametrize("operator", SHAPED)
def test_a_size_computed_from_pixels_is_refused(operator: str) -> None:
    """What one trial shows must hold for every picture."""
    tensors = [integers("zero", 0), integers("one", 1), integers("flat", -1), floats("values", 0, 1)]
    row = node("Reshape", ["some", "flat"], ["row"])
    with pytest.raises(BundleError, match="depends on the pixels"):
        check_graph(with_step(AS_INTEGERS, OF_PIXELS, row, SHAPED[operator], tensors=tensors), "it", bits=3)


def test_a_size_computed_from_the_number_of_pictures_is_run() -> None:
    steps = [node("Shape", ["colors"], ["sizes"]), node("Reshape", ["colors", "sizes"], ["result"])]
    encoder = Encoder(bundle_of(with_step(*steps)))
    assert np.allclose(encoder.outputs(PIXELS), PIXELS.mean(axis=(1, 2)), rtol=1e-5)
    assert encoder.outputs(PIXELS[:0]).shape == (0, 3)


def test_the_model_in_the_package_would_pass() -> None:
    bundle = Bundle.read("default")
    check_graph(bundle.onnx, "it", bits=bundle.grains.bits)


def test_a_graph_of_millions_of_fields_is_refused_in_no_time() -> None:
    started = time.monotonic()
    many = tensor("t", FLOAT, [4_000_000], extra=(varint_field := b"\x25\0\0\0\0") * 4_000_000)
    assert len(varint_field) == 5
    with pytest.raises(BundleError, match="more fields"):
        check_graph(with_step(KEEP, tensors=[many]), "it")
    with pytest.raises(BundleError, match="more than 16 values"):
        check_graph(with_step(KEEP, tensors=[inner(1, b"\1" * (8 << 20)) + number(2, FLOAT)]), "it")
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("limit", ["MAX_NODES", "MAX_TENSORS"])
def test_more_nodes_or_tensors_than_a_model_has_are_refused(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_check, limit, 4)
    steps = [node("Identity", ["colors"], [f"copy{i}"]) for i in range(5)]
    tensors = [floats(f"t{i}", 1) for i in range(5)]
    with pytest.raises(BundleError, match="more than 4"):
        check_graph(with_step(*steps, KEEP, tensors=tensors), "it")


def test_every_way_to_cut_or_change_a_graph_is_told_or_harmless() -> None:
    """No exception but ours leaves the check, whatever the bytes."""
    whole_graph = with_step(node("Add", ["colors", "one"], ["result"]), tensors=[floats("one", 1, 1, 1)])
    random = np.random.default_rng(0)
    for trial_number in range(3000):
        bad = bytearray(whole_graph)
        for _ in range(1 + trial_number % 3):
            bad[random.integers(len(bad))] = random.integers(256)
        if trial_number % 5 == 0:
            del bad[random.integers(len(bad)) :]
        try:
            check_graph(bytes(bad), "it", bits=3)
        except BundleError as error:
            assert str(error).startswith("it ")


def test_wire_numbers_of_more_than_64_bits_are_refused() -> None:
    with pytest.raises(protobuf.WireError, match="64 bits"):
        protobuf.Reader().read(memoryview(b"\x08" + b"\xff" * 10 + b"\1"), {1: "v"})
    negative = protobuf.Reader().read(memoryview(b"\x08" + b"\xff" * 9 + b"\1"), {1: "v"})
    assert negative.number(1) == -1


# --- the trial


def blow_up(elements: int) -> bytes:
    """A result of so many floats, of which the runtime knows only when it runs."""
    steps = [
        node("Shape", ["colors"], ["sizes"]),
        node("Slice", ["sizes", "zero", "one"], ["n"]),
        node("Mul", ["n", "factor"], ["length"]),
        node("ConstantOfShape", ["length"], ["huge"]),
        node("ReduceSum", ["huge"], ["sum"], [whole("keepdims", 0)]),
        node("Add", ["colors", "sum"], ["result"]),
    ]
    return with_step(*steps, tensors=[integers("zero", 0), integers("one", 1), integers("factor", elements)])


def test_a_graph_that_takes_more_memory_than_it_may_is_refused_and_costs_this_process_nothing() -> None:
    bundle = bundle_of(blow_up(1 << 36))
    with pytest.raises(BundleError, match=r"made.*ConstantOfShape"):
        Encoder(bundle)
    with pytest.raises(BundleError, match=r"2 GB of memory|ConstantOfShape"):
        trial.check_by_trial(
            bundle_of(blow_up(1 << 26), "large"),
            trial.TrialLimits("large", 3, (SIDE, SIDE), len(blow_up(1 << 26)), memory=2 << 30),
        )


def test_a_graph_that_takes_longer_than_it_may_is_refused() -> None:
    slow = with_step(
        node("Expand", ["one", "large"], ["square"]),
        node("MatMul", ["square", "square"], ["product"]),
        node("ReduceSum", ["product"], ["sum"], [whole("keepdims", 0)]),
        node("Add", ["colors", "sum"], ["result"]),
        tensors=[floats("one", 1), integers("large", 6000, 6000)],
    )
    limits = trial.TrialLimits("slow", 3, (SIDE, SIDE), len(slow), memory=8 << 30, seconds=1.5)
    started = time.monotonic()
    with pytest.raises(BundleError, match=r"took longer than 1\.5 s"):
        trial.check_by_trial(bundle_of(slow, "slow"), limits)
    assert time.monotonic() - started < 10


def test_a_graph_that_fails_while_it_runs_is_refused_with_the_reason() -> None:
    bad = with_step(
        node("Gather", ["colors", "far"], ["gone"], [whole("axis", 1)]),
        node("Add", ["colors", "gone"], ["result"]),
        tensors=[integers("far", 99)],
    )
    with pytest.raises(BundleError, match="made"):
        Encoder(bundle_of(bad))
    one_row = with_step(node("ReduceMean", ["colors", "first"], ["result"]), tensors=[integers("first", 0)])
    with pytest.raises(BundleError, match="rows of float32, one for each"):
        Encoder(bundle_of(one_row))


def test_a_graph_that_fails_after_it_was_opened_is_an_error_of_ours() -> None:
    """Issue line A5: now a raw exception of the runtime."""

    class Failing:
        def run(self, *_: object) -> None:
            raise RuntimeError("Non-zero status code\nwith a long story")

    encoder = Encoder(bundle_of(plain_graph()))
    encoder._session = Failing()  # type: ignore[assignment]
    with pytest.raises(BundleError, match=r"fails while it runs: Non-zero status code$"):
        encoder.outputs(PIXELS)


def test_a_run_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard inside this process, should a run be slower than its trial."""
    steps = [
        node("ReduceSum", ["colors"], ["spread"], [whole("keepdims", 0)]),
        node("Expand", ["spread", "large"], ["square"]),
        *[node("MatMul", [f"p{i}" if i else "square", "square"], [f"p{i + 1}"]) for i in range(12)],
        node("ReduceSum", ["p12"], ["sum"], [whole("keepdims", 0)]),
        node("Add", ["colors", "sum"], ["result"]),
    ]
    bundle = bundle_of(with_step(*steps, tensors=[integers("large", 1500, 1500)]))
    opened = session.open_session(bundle.onnx, "made", 3, 1)
    monkeypatch.setattr(session, "RUN_SECONDS", 0.1)
    with pytest.raises(BundleError, match=r"ended after 0\.1 s"):
        session.run_within_limits(opened, "made", ["outputs"], PIXELS[:1])


def test_codes_do_not_change_by_filling_a_batch_up() -> None:
    encoder = Encoder(bundle_of(plain_graph()))
    own = session.open_session(plain_graph(), "made", 3, 1)
    for n in (0, 1, 3, 17, 32, 33, 40):
        assert np.array_equal(encoder.outputs(PIXELS[:n]), own.run(["outputs"], {"pixels": PIXELS[:n]})[0])


def test_a_trial_is_made_once_and_a_spoilt_verdict_only_costs_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tried = []
    real = trial._try
    monkeypatch.setattr(trial, "_try", lambda *args: tried.append(1) or real(*args))
    bundle = bundle_of(plain_graph())
    Encoder(bundle)
    Encoder(bundle)
    assert len(tried) == 1
    (verdict,) = (tmp_path / "hashgrain" / "models").iterdir()
    said = json.loads(verdict.read_text())
    assert said["passed"] is True
    assert 10 << 20 < said["peak"] < 1 << 30
    for spoilt in ("", "[]", '{"passed": 1}', "[" * 100_000):
        verdict.write_text(spoilt)
        Encoder(bundle)
    assert len(tried) == 5
    monkeypatch.setenv("XDG_CACHE_HOME", str(verdict))  # a file: nothing can be kept there
    Encoder(bundle)
    assert len(tried) == 6
    Encoder.load("default")
    assert len(tried) == 6


def test_what_is_tried_is_not_what_stands_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    trial.check_by_trial(bundle_of(plain_graph(), "elsewhere"))


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs POSIX signals")
def test_a_trial_ends_with_its_parent(tmp_path: Path) -> None:
    """The child reads its graph for ever; when the parent is killed, it sees the pipe end."""
    pid = tmp_path / "pid"
    endless = (
        "import os, sys, time; sys.path.insert(0, sys.argv[1]); import hashgrain.models.trial as trial;"
        f"trial._limit_process = lambda _: open({str(pid)!r}, 'w').write(str(os.getpid()));"
        "trial._run = lambda *_: time.sleep(60); trial.serve(sys.argv[2])"
    )
    script = (
        "from hashgrain.models import trial; from made_graphs import bundle_of, plain_graph;"
        f"trial.BOOTSTRAP = {endless!r}; trial.check_by_trial(bundle_of(plain_graph(), 'endless'))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(trial.__file__).parents[2])])
    environment = {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(tmp_path)}
    parent = subprocess.Popen([sys.executable, "-c", script], env=environment)
    _wait_for(lambda: pid.exists() and pid.read_text() != "")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    _wait_for(lambda: not _lives(int(pid.read_text())))


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def _wait_for(true: object) -> None:
    deadline = time.monotonic() + 20
    while not true():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)
