"""Every benchmark, one after the other, never beside one another."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
for name in ("fresh_clone", "footprint", "encode_photos", "kill_add", "quality", "near_copies"):
    print(f"--- {name}", flush=True)
    subprocess.run([sys.executable, HERE / f"{name}.py"], check=True)
