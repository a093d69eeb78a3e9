"""Memory that training frees stays with the process."""

import subprocess
import sys

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.train

ROUNDS = """
import resource, sys
import numpy as np
from hashgrain.learn.training.freed_memory import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(3)
np.ones(1 << 23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(1 << 23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", ROUNDS, how], capture_output=True, text=True)
    if done.returncode == 3:
        pytest.skip("not glibc")
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is a library of Linux")
def test_a_block_that_was_freed_is_used_again() -> None:
    # Huge pages would make faults few in any case, so both are counted here.
    assert faults("kept") < faults("given back") / 4
