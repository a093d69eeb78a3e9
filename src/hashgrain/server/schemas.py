"""What requests and answers hold: the reference of the JSON, from which the OpenAPI description is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

MAX_K = 1_000  # hits of one page
MAX_ITEMS = 10_000  # that a request names
MAX_TRASHED = 1_000  # copies: each is read once more before
MAX_NAMES, MAX_NAME = 100, 200  # tags of one change, and the characters of each
MAX_BOXES = 16
MAX_EXAMPLES = 100
MAX_TEXT = 2_000  # characters
MAX_ID = 2**63 - 1

Id = Annotated[int, Field(ge=1, le=MAX_ID)]
Token = Annotated[str, Field(min_length=1, max_length=64)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
Ids = Annotated[list[Id], Field(min_length=1, max_length=MAX_ITEMS)]
Key = Annotated[str, Field(min_length=1, max_length=MAX_NAME)]
Names = Annotated[list[Annotated[str, Field(min_length=1, max_length=MAX_NAME)]], Field(max_length=MAX_NAMES)]
Edges = Annotated[list[float], Field(min_length=4, max_length=4)]


class Strict(BaseModel):
    """A request: a key that it does not have, a number in quotes, and NaN are mistakes."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Example(Strict):
    """A picture: one that was uploaded, or an item of the library."""

    upload: Token | None = Field(None, description="What POST /api/v1/uploads answered.")
    item: Id | None = Field(None, description="The id of an item.")

    @model_validator(mode="after")
    def _one(self) -> Example:
        if (self.upload is None) == (self.item is None):
            raise ValueError("give either upload or item")
        return self


class QueryOf(Strict):
    """What to search with: a picture, words, or both."""

    upload: Token | None = Field(None, description="What POST /api/v1/uploads answered.")
    item: Id | None = Field(None, description="The id of an item. It is left out of the answer.")
    text: Text | None = Field(None, description="Words, if the model knows any: see `text` of GET /api/v1/library.")

    @model_validator(mode="after")
    def _some(self) -> QueryOf:
        if self.upload is not None and self.item is not None:
            raise ValueError("give upload or item, not both")
        if self.upload is None and self.item is None and self.text is None:
            raise ValueError("give upload, item or text")
        return self


class SearchRequest(Strict):
    """A search. Options mean what they mean in `Library.search`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": {"item": 12}, "grain": "look", "k": 60},
                {"query": {"upload": "TOKEN"}, "boxes": [[0.1, 0.2, 0.5, 0.6]], "where": "width > 800"},
                {"query": {"text": "a dog in the snow"}, "min_score": 0.5},
            ]
        }
    )

    query: QueryOf | None = Field(None, description="May be left out if `like` has an example.")
    boxes: list[Edges] = Field([], max_length=MAX_BOXES, description="Parts of the picture: left, top, right, bottom.")
    match: Literal["any", "all", "mean"] = "any"
    like: list[Example] = Field([], max_length=MAX_EXAMPLES, description="More examples of what to find.")
    unlike: list[Example] = Field([], max_length=MAX_EXAMPLES, description="Examples of what not to find.")
    grain: Annotated[str, Field(max_length=100)] | None = Field(None, description="The finest, unless given.")
    parts: Literal["auto", "whole", "all"] = "auto"
    turned: bool = Field(False, description="Ask in all 8 orientations.")
    where: Annotated[str, Field(max_length=10_000)] | None = Field(None, description="A filter.")
    items: Ids | None = Field(None, description="Search among these items alone.")
    min_score: float | None = Field(None, ge=0, le=1, description="The smallest score of a hit.")
    within: int | None = Field(None, ge=0, le=MAX_ID, description="The largest distance of a hit, in bits.")
    group: bool = Field(False, description="Answer with `groups` in place of `hits`; there are no further pages.")
    refine: bool = Field(False, description="Fit the boxes of the first 10 hits closer.")
    rerank: int | None = Field(
        None,
        ge=1,
        le=MAX_K,
        description="How many of the first hits to order by the outputs of the model for the picture.",
    )
    k: int = Field(60, ge=1, le=MAX_K, description="How many hits to answer with.")
    cursor: Annotated[str, Field(max_length=4_000)] | None = Field(
        None, description="`next` of the page before; everything else but `k` stays the same."
    )


class WhyRequest(Strict):
    """Which hit to explain, for which query. It needs a picture; words beside it do not count."""

    query: QueryOf
    item: Id
    grain: Annotated[str, Field(max_length=100)] | None = None


class MetaRequest(Strict):
    """Changes of an item's metadata. `place.city` is the key `city` inside `place`."""

    set: dict[str, Any] = {}
    unset: list[str] = []


class TagsRequest(Strict):
    """Names that items get, and names that they lose, in a list under a key of their metadata."""

    items: Ids
    key: Key = "tag"
    add: Names = []
    remove: Names = []

    @model_validator(mode="after")
    def _apart(self) -> TagsRequest:
        if not self.add and not self.remove:
            raise ValueError("give names to add or to remove")
        if set(self.add) & set(self.remove):
            raise ValueError("a name is to be added and removed")
        return self


class ItemsRequest(Strict):
    """Items by id."""

    items: Ids


class TrashRequest(Strict):
    """Copies that GET /api/v1/duplicates answered with."""

    items: Annotated[list[Id], Field(min_length=1, max_length=MAX_TRASHED)]


class UrlRequest(Strict):
    """Where a picture is: an https address."""

    url: Annotated[str, Field(min_length=1, max_length=2_000)]


class AddFolder(Strict):
    """A folder by the name that the server was started with: see `features` of GET /api/v1/library."""

    folder: Annotated[str, Field(min_length=1, max_length=64)]
    parts: bool = Field(True, description="Encode the parts of new pictures, too.")


class JobRequest(Strict):
    """What to do beside answering."""

    add: AddFolder


class PartOut(BaseModel):
    index: int
    box: list[float] | None
    span: list[float] | None


class HitOut(BaseModel):
    """A hit, as `Hit.as_dict()` has it."""

    id: int
    path: str
    distance: int
    grain: str
    distances: dict[str, int]
    word: str
    score: float
    width: int | None
    height: int | None
    format: str
    taken: str | None
    meta: dict[str, Any]
    details: dict[str, Any]
    part: PartOut | None
    verified: dict[str, Any] | None


class SearchAnswer(BaseModel):
    """Hits, the nearest first; or, with `group`, `levels` and `groups`."""

    hits: list[HitOut] | None = None
    levels: list[dict[str, Any]] | None = None
    groups: list[dict[str, Any]] | None = None
    next: str | None = Field(description="The cursor of the next page; null after the last hit.")
    total: int | None = Field(description="How many hits there are on all pages, if that is known.")
    closest: float | None = Field(description="The score of the nearest item, if `min_score` left no hit.")
    words: dict[str, Any] | None = Field(description="How the text was read.")
    milliseconds: float


class ItemOut(BaseModel):
    """An item of the library."""

    id: int
    path: str
    content: str
    width: int | None
    height: int | None
    format: str
    taken: str | None
    added: str
    size: int | None
    mtime_ns: int | None
    meta: dict[str, Any]
    details: dict[str, Any]


class ItemsAnswer(BaseModel):
    items: list[ItemOut]
    next: str | None


class GrainOut(BaseModel):
    name: str
    bits: int


class FeaturesOut(BaseModel):
    """What the server was started with: folders to add from, a trash for copies, fetching from addresses."""

    folders: list[str]
    trash: bool
    urls: bool


class LibraryOut(BaseModel):
    """What is served, and what it can do."""

    name: str
    pictures: int
    items_with_parts: int
    detail: str | None
    grains: list[GrainOut]
    default_grain: str
    model: str
    text: bool
    writable: bool
    version: str
    fields: list[str]
    features: FeaturesOut


class UploadOut(BaseModel):
    upload: str
    width: int | None
    height: int | None
    format: str


class AddedOut(BaseModel):
    """`added` is false if the library has this picture already: then `item` is the one that it has."""

    added: bool
    item: ItemOut


class RemovedOut(BaseModel):
    undo: str


class ManyRemovedOut(BaseModel):
    """`undo` brings all of them back."""

    undo: str
    removed: int


class LeftOut(BaseModel):
    """A file that is not put back."""

    path: str
    why: str


class RestoredOut(BaseModel):
    """The ids of the items that are in the library again, and what could not be put back."""

    restored: list[int]
    left: list[LeftOut]


class TagOut(BaseModel):
    name: str | int | float | bool
    count: int


class TagsAnswer(BaseModel):
    """The values of a field or of a key of metadata, most frequent first."""

    key: str
    tags: list[TagOut]


class ChangedOut(BaseModel):
    """`undo` gives the items the metadata that they had; it is null if nothing changed."""

    changed: int
    undo: str | None


class Mistake(BaseModel):
    field: str
    reason: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[Mistake] | None = None
