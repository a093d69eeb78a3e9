"""`hashgrain search`: find the pictures nearest to a picture, or that match words."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hashgrain.cli.exit_codes import FAILED, OK, PARTLY
from hashgrain.cli.groups import GROUPED, Grouped, grouped, print_groups, radii_of
from hashgrain.cli.hits import Form, print_answers
from hashgrain.cli.output import (
    DEFAULT_MAX_PIXELS,
    Json,
    JsonLines,
    LibraryPath,
    MaxPixels,
    Print0,
    Quiet,
    Threads,
    complain,
    print_json,
    say,
)
from hashgrain.cli.together import FOLDER, SEVERAL, check_together

if TYPE_CHECKING:
    from hashgrain.library import Library, LibraryHit
    from hashgrain.search import Hit
    from hashgrain.search.run import Explained

DEFAULT_K = 10


def search(
    library: LibraryPath,
    query: Annotated[
        str | None,
        typer.Argument(metavar="QUERY", help="A picture, or a folder of them; - reads a picture from stdin."),
    ] = None,
    item: Annotated[int | None, typer.Option("--id", help="Use the item of this id as the query.")] = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            metavar="ITEM",
            help="Use an item, by its path or id, or a picture as an example of what to find. Repeatable.",
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(
            "--unlike", metavar="ITEM", help="Leave out items that are nearer to this than to the examples. Repeatable."
        ),
    ] = None,
    like_weight: Annotated[
        list[float] | None,
        typer.Option("--like-weight", help="Weight of each --like, in their order, for --match mean. Repeatable."),
    ] = None,
    codes: Annotated[
        Path | None, typer.Option("--codes", help="Use each code of a .npy, .hgc or .parquet file as a query.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", help='Search by words: "a dog in the snow", alone or with a picture.'),
    ] = None,
    also: Annotated[
        list[Path] | None, typer.Option("--also", help="Search this library too, of the same model. Repeatable.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="URL",
            help="Search in a database: postgresql://host/database?schema=photos, clickhouse://host, chdb:///folder.",
        ),
    ] = None,
    k: Annotated[int | None, typer.Option("-k", help="How many hits to find. (default: 10, with --group 100)")] = None,
    grain: Annotated[
        str | None,
        typer.Option(
            "--grain", "-g", help="How fine to look, by a grain of the model: kind, thing, look. (default: the finest)"
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", "-w", help='Keep items for which this holds: "year >= 2020 and width > 800".'),
    ] = None,
    within: Annotated[
        int | None,
        typer.Option("--within", help="Keep hits with at most this many differing bits at the grain."),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", help="Keep hits with at least this score, from 0 to 1. None may be left."),
    ] = None,
    coarse_to_fine: Annotated[
        bool,
        typer.Option("--coarse-to-fine", help="Take a shortlist at the coarsest grain, and order it at --grain."),
    ] = False,
    shortlist: Annotated[
        int | None,
        typer.Option("--shortlist", help="Length of the shortlist; ties with its last item are added. (default: 1000)"),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(
            "--recall", help="Instead of a length, the share of the nearest to keep, measured on items: 0.99."
        ),
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option("--stages", help="Several shortlists, coarse to fine, such as kind:1000,thing:100."),
    ] = None,
    separate: Annotated[
        bool, typer.Option("--separate", help="Each grain is a code of its own: compare only the bits that it adds.")
    ] = False,
    rerank: Annotated[
        int | None,
        typer.Option(
            "--rerank", min=1, help="Order this many of the nearest anew, by the model's outputs for the picture."
        ),
    ] = None,
    parts: Annotated[
        bool | None,
        typer.Option(
            "--parts/--whole",
            help="Find each item by its whole or nearest part, whichever is nearer, or by its whole alone. (default: by"
            " whichever is more probable)",
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box",
            metavar="L,T,R,B",
            help="Use a part of the picture as the query: its edges in pixels or fractions. Repeatable.",
        ),
    ] = None,
    match: Annotated[
        Literal["any", "all", "mean"] | None,
        typer.Option(
            "--match",
            help="Match any of several boxes or examples, or all; or order by the mean distance to the examples."
            " (default: any)",
        ),
    ] = None,
    turned: Annotated[
        bool, typer.Option("--turned", help="Ask in all 8 orientations, turned and mirrored: the nearest counts.")
    ] = False,
    group: Annotated[
        bool, typer.Option("--group", help="Group the hits: kinds, their things, and looks with their near copies.")
    ] = False,
    radius: Annotated[
        str | None,
        typer.Option("--radius", help="With --group, how many bits a group spans at a grain: kind:8,thing:20."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify", help="Match the first 20 hits with the picture point by point. Needs the extra verify."
        ),
    ] = False,
    verify_seconds: Annotated[
        float | None, typer.Option("--verify-seconds", help="How long --verify may take. (default: 2)")
    ] = None,
    refine: Annotated[
        bool, typer.Option("--refine", help="Fit the boxes of the first 10 hits closer. Their files are read again.")
    ] = False,
    not_self: Annotated[
        bool, typer.Option("--not-self", help="Leave out the query's own file, and all with the same bytes.")
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with thumbnails to this file.")] = None,
    show: Annotated[bool, typer.Option("--open", help="Write the page and open it in the browser.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Explain how the answer was found: search path, codes compared, time.")
    ] = False,
    threads: Threads = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    print0: Print0 = False,
    as_json: Json = False,
    as_jsonl: JsonLines = False,
    quiet: Quiet = False,
) -> int:
    """Find the pictures of LIBRARY nearest to a picture, exactly.

    The distance counts differing bits at the grain. Hits at equal distance are ordered by the whole code. In a pipe,
    each hit is a line: word, distance, id, path. With --also, the library comes before the id. With a folder of
    queries, the query comes first. Paths with control characters or a backslash are escaped there (`a\\nb.jpg`);
    --print0 and --json give names as they are.

    In a library with parts, an item is found by its whole or by its nearest part, whichever is more probable. Distance
    and word are those of what matched. With --parts, the nearer of the two counts, and a column after the distance
    names it: its box in fractions of the picture (left, top, right, bottom), or its span in seconds. With --whole, or
    in several libraries, parts do not count.

    With --box, the query is a part of the picture: its left, top, right and bottom edge, in fractions of the picture if
    none is above 1, else in pixels. With several boxes, --match all finds items that are near to every one of them.

    With several --like, the nearest of the examples counts for each item; with --match all the farthest, with --match
    mean the mean of the distances, weighted by --like-weight. QUERY or --id is one more example, the first. With
    --unlike, an item is left out if what was found of it is nearer to that than to the example that counts.

    The box of a hit is the window of a grid that matched. With --refine it is fitted closer to what the query shows; a
    thing in a scene gets a better box, a crop of the picture itself does not.

    With --verify, a column after the distance has the number of points of the picture that agree about where it lies in
    the hit. It says no if too few agree, and - for hits that were not tried: files that are gone, hits after the first
    20, and those for which there was no time. The order of the hits does not change.

    With --rerank N, the N nearest are ordered anew by how well their bits agree with the model's real-valued outputs
    for the picture: a bit counts more if the model is more certain of it. Small pieces come first more often.

    With --text, hits are ordered by score, which takes the place of the word. How the words were read is reported on
    stderr, and with --json under "text", beside "hits".

    With --group, a hit joins the nearest group whose first hit is within the radius at a grain, or opens one. Each line
    is a group, or a near copy: its grain, how many pictures it has, and the columns of its first hit.

    With --min-score, hits with a smaller score are left out: the probability that the two belong together where the
    model is calibrated, else the share of equal bits. That nothing is so close is an answer (exit code 0).

    With --coarse-to-fine or --stages, items outside a shortlist are not found. --explain shows the length of each
    shortlist, and the distance of its last item.

    Example: hashgrain search photos.hg cat.jpg -k 5 --grain thing
    """
    from hashgrain.cli.examples import are_several, example_of, example_options
    from hashgrain.cli.queries import ask_codes, ask_several, asked_with
    from hashgrain.cli.stages import staged
    from hashgrain.library import Library, LibraryHit

    like, unlike = like or [], unlike or []
    examples = are_several(query, item, like, unlike)
    _check_one_query(query, item, like if not examples else [], codes, text, examples)
    form, radii = _form(print0, as_json, as_jsonl), radii_of(radius)
    refused, explained = 0, None
    with ExitStack() as stack:
        opened = [stack.enter_context(Library.open(library, engine=engine))]
        opened += [stack.enter_context(Library.open(path)) for path in also or []]
        grains = opened[0].grains
        grain = grains.finest if grain is None else grains.named(grain)
        alone = bool(like) and not examples
        asked = example_of(like[0], opened[0]) if alone else asked_with(query, item, opened[0])
        folder = codes is not None or (isinstance(asked, Path) and asked.is_dir())
        check_together(
            {FOLDER: folder, SEVERAL: examples, "--text": text is not None, "--codes": codes is not None}
            | {"--also": also, "--not-self": not_self, "--html": html, "--open": show, "--explain": explain}
            | {"--group": group, "--radius": radii, "--box": box, "--turned": turned, "--match": match}
            | {"--verify": verify, "--verify-seconds": verify_seconds is not None, "--refine": refine}
            | {"--stages": stages, "--coarse-to-fine": coarse_to_fine, "--separate": separate}
            | {"--like-weight": like_weight, "--engine": engine, "--rerank": rerank}
        )
        options: dict[str, Any] = {"k": (GROUPED if group else DEFAULT_K) if k is None else k, "grain": grain}
        options |= {"where": where, "within": within, "threads": threads, "min_score": min_score}
        options |= _part_options(parts, box, match or "any", turned, several=bool(also))
        options |= _looking_again(verify, verify_seconds, refine) | ({} if rerank is None else {"rerank": rerank})
        if examples:
            options |= example_options(opened[0], like, unlike, match, like_weight)
        options |= staged(grains, grain, coarse_to_fine, shortlist, recall, stages, separate)
        if codes is not None:
            answers = ask_codes(opened[0], codes, options)
        elif also or folder or not_self:
            answers, refused = ask_several(opened, asked, max_pixels, not_self, options)
        else:
            explained = opened[0].explain(asked, text=text, max_pixels=max_pixels, **options)
            answers = [(str(asked), [LibraryHit(opened[0], hit) for hit in explained.hits])]
        groups = grouped(opened[0], explained.hits, radii) if group and explained else None
        closest = None
        if min_score is not None and not any(hits for _, hits in answers) and not folder:
            closest = _closest(opened, asked, text, max_pixels, not_self, options)
        if html or show:
            shown = options["like"][0] if examples and asked is None else asked
            listed = groups or [each.hit for each in answers[0][1]]
            _write_page(opened[0], shown, text, listed, html, show, quiet)
    if explained and explained.phrase:
        say(explained.phrase.summary(), quiet)
    if explained and as_json and (explain or text is not None or groups):
        print_json(_document(explained, explain, groups))
        return 0
    title = f"nearest at {grain}" if text is None else f"best at {grain}"
    places = bool(parts) or (parts is None and sys.stdout.isatty() and any(map(_has_part, answers)))
    distance = f"bits of {grains[grain]}"
    if groups:
        print_groups(groups, form, f"{title}, grouped", distance)
    else:
        several = bool(also)
        print_answers(answers, form, title, distance, folder=folder, several=several, parts=places, verified=verify)
    if not any(hits for _, hits in answers) and (form == "table" or min_score is not None):
        say("nothing found" if min_score is None else _nothing_close(closest), quiet)
    if explained and explain:
        for line in explained.summary().splitlines():
            complain(line)
    return (PARTLY if answers else FAILED) if refused else OK


def _closest(
    libraries: list[Library], asked: Any, text: str | None, max_pixels: int, not_self: bool, options: dict[str, Any]
) -> Hit | None:
    """The first hit that there would be without a smallest score."""
    from hashgrain.cli.queries import ask_several

    options = options | {"k": 1, "min_score": None}
    if len(libraries) == 1 and not not_self:
        return next(iter(libraries[0].search(asked, text=text, max_pixels=max_pixels, **options)), None)
    answers, _ = ask_several(libraries, asked, max_pixels, not_self, options)
    return next((found.hit for _, hits in answers for found in hits), None)


def _nothing_close(closest: Hit | None) -> str:
    return "nothing close" if closest is None else f"nothing close (the nearest has {closest.score:g})"


def _has_part(answer: tuple[str, list[LibraryHit]]) -> bool:
    return any(each.hit.part is not None and each.hit.part.index for each in answer[1])


def _part_options(
    parts: bool | None, boxes: list[str] | None, match: str, turned: bool, *, several: bool
) -> dict[str, Any]:
    """The arguments for parts of items and of the query. Several libraries are searched by wholes, unless asked."""
    from hashgrain.cli.values import box_of

    default = "whole" if several else "auto"
    options: dict[str, Any] = {"parts": default if parts is None else "all" if parts else "whole"}
    if not (boxes or turned):
        return options
    return options | {"boxes": [box_of(box) for box in boxes or ()], "match": match, "turned": turned}


def _looking_again(verify: bool, seconds: float | None, refine: bool) -> dict[str, Any]:
    """The arguments for looking at the pictures of the first hits again."""
    options: dict[str, Any] = {"refine": True} if refine else {}
    if verify:
        options |= {"verify": True} | ({} if seconds is None else {"verify_seconds": seconds})
    return options


def _check_one_query(query: object, item: object, like: list[str], codes: object, text: object, examples: bool) -> None:
    given = sum(each is not None for each in (query, item, codes)) + bool(like)
    if given > 1 or (not given and text is None and not examples) or (codes is not None and text is not None):
        raise typer.BadParameter(
            "give one of these: a picture, --id or --like of an item, --codes, or --text", param_hint="QUERY"
        )


def _form(print0: bool, as_json: bool, as_jsonl: bool) -> Form:
    forms: dict[Form, bool] = {"paths": print0, "json": as_json, "jsonl": as_jsonl}
    chosen = [form for form, wanted in forms.items() if wanted]
    if len(chosen) > 1:
        raise typer.BadParameter("--print0, --json and --jsonl are different outputs; choose one")
    return chosen[0] if chosen else "table"


def _document(explained: Explained, explain: bool, groups: Grouped | None) -> dict[str, Any]:
    read = {} if explained.phrase is None else {"text": explained.phrase.as_dict()}
    account = {"explain": explained.as_dict()} if explain else {}
    hits = {"hits": [hit.as_dict() for hit in explained.hits]} if groups is None else groups.as_dict()
    return {**read, **hits, **account}


def _write_page(
    library: Library,
    asked: Any,
    text: str | None,
    hits: list[Hit] | Grouped,
    html: Path | None,
    show: bool,
    quiet: bool,
) -> None:
    from hashgrain.apps.answer_page import write_answer_page
    from hashgrain.apps.group_page import write_grouped_answer

    if isinstance(hits, Grouped):
        page = write_grouped_answer(library, asked, hits.groups, html, text=text)
    else:
        page = write_answer_page(library, asked, hits, html, text=text)
    say(f"wrote {page}", quiet)
    if show:
        typer.launch(page.absolute().as_uri())
