"""From nothing to the first result of one's own in the browser: commands, seconds, megabytes.

The wheel is made before, as a package index would have it. Pip's cache is left out, and so is that of models: the home
folder is a new one. Takes 160 photographs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import sync_playwright

from footprint import megabytes
from report import need_data, table, write_section

ROOT = Path(__file__).parent.parent


def made_wheel(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(list(map(str, command)), check=True)
    (wheel,) = folder.glob("hashgrain-*.whl")
    return wheel


def first_result(address: str, picture: Path) -> None:
    """Open the page, choose a picture, and wait for what is found. A browser is there already."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(address)
        page.locator("input[type=file]").first.set_input_files(picture)
        page.wait_for_url("**upload=**")
        page.wait_for_selector(".results[aria-busy=false] .card img")
        assert page.locator(".card").count() > 1
        browser.close()


def main() -> None:
    rows: list[list[str]] = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        wheel, photos = made_wheel(home), home / "Pictures"
        shutil.copytree(need_data() / "photos", photos)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HASHGRAIN", "PYTHON", "XDG"))}
        environment = {**kept, "HOME": str(home), "PIP_NO_CACHE_DIR": "1"}
        tool = home / ".venv" / "bin" / "hashgrain"

        def timed(what: str, step: Callable[[], object]) -> None:
            started = time.monotonic()
            step()
            rows.append([what, f"{time.monotonic() - started:.1f} s"])
            print(*rows[-1], flush=True)

        def run(*command: object) -> None:
            subprocess.run(list(map(str, command)), cwd=home, env=environment, check=True, stdout=subprocess.DEVNULL)

        timed("`python3 -m venv .venv`", lambda: run(sys.executable, "-m", "venv", ".venv"))
        pip = home / ".venv" / "bin" / "pip"
        timed("`pip install 'hashgrain[serve]'`", lambda: run(pip, "install", "--quiet", f"{wheel}[serve]"))
        timed("`hashgrain add photos.hg ~/Pictures`", lambda: run(tool, "add", "photos.hg", photos))
        started = time.monotonic()
        command = [str(tool), "serve", "photos.hg", "--port", "0"]
        server = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert server.stdout is not None
        address = server.stdout.readline().decode().strip()
        rows.append(
            ["`hashgrain serve photos.hg --open`, until the page can be opened", f"{time.monotonic() - started:.1f} s"]
        )
        picture = next(iter(sorted(photos.glob("*.jpg"))))
        timed("open the page, choose a picture, see what is found", lambda: first_result(address, picture))
        server.terminate()
        server.wait()
        sizes = {
            "the environment": megabytes(home / ".venv"),
            "the model, assembled": megabytes(home / ".cache") if (home / ".cache").exists() else 0.0,
            "the library of 160 photographs": megabytes(home / "photos.hg"),
        }
    whole = sum(float(seconds.split()[0]) for _, seconds in rows)
    rows.append(["**all of it**", f"**{whole:.0f} s**"])
    taken = ", ".join(f"{what} {size:.0f} MB" for what, size in sizes.items())
    text = (
        f"{table(['step', 'time'], rows)}\n\nOn disk: {taken}. Python, Chromium and the photographs are there before."
    )
    write_section("i-new-user", "A new user's first result", "python benchmarks/new_user.py", text)


if __name__ == "__main__":
    main()
