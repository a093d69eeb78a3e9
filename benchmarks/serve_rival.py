"""What one would write in an hour: FastAPI and Faiss over the same codes. Started by serve_load.py."""

from __future__ import annotations

import sys
from pathlib import Path

import faiss
import numpy as np
import uvicorn
from fastapi import FastAPI, Request

from hashgrain import Encoder, Library
from serve_grown import rows_of_library

K, MORE = 20, 4  # items in an answer; rows asked for, as a multiple, since several may be of one item


def application(place: Path) -> FastAPI:
    with Library.open(place) as library:
        items = library.items()
        paths = {item.id: item.path for item in items}
        with library.store.snapshot() as snapshot:
            wholes = dict(zip(paths, snapshot.codes(list(paths)), strict=True))
        codes, owners = (np.concatenate(column) for column in zip(*rows_of_library(library), strict=True))
    index = faiss.IndexBinaryFlat(64 * codes.shape[1])
    index.add(codes.view(np.uint8))
    encoder = Encoder.load("photo")
    app = FastAPI()

    def answer(code: np.ndarray) -> list[dict[str, object]]:
        distances, rows = index.search(code.view(np.uint8).reshape(1, -1), MORE * K)
        found: dict[int, int] = {}
        for distance, row in zip(distances[0].tolist(), rows[0].tolist(), strict=True):
            found.setdefault(int(owners[row]), distance)
        return [{"id": i, "path": paths[i], "distance": d} for i, d in list(found.items())[:K]]

    @app.get("/by-id/{item}")
    def by_id(item: int) -> list[dict[str, object]]:
        return answer(wholes[item])

    @app.post("/by-upload")
    async def by_upload(request: Request) -> list[dict[str, object]]:
        from io import BytesIO

        from PIL import Image
        from starlette.concurrency import run_in_threadpool

        body = await request.body()

        def work() -> list[dict[str, object]]:
            return answer(encoder.encode([Image.open(BytesIO(body)).convert("RGB")]).words[0])

        return await run_in_threadpool(work)

    return app


if __name__ == "__main__":
    uvicorn.run(application(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="error")
