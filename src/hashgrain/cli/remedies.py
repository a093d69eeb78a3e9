"""The library's remedies as command lines: only the command line knows its verbs and options."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from hashgrain.errors import RAISE_MAX_PIXELS, HashgrainError, Remedy

# By the key of a remedy; its values fill the braces. A remedy without a key is right as the library says it.
COMMANDS = {
    "adapt_bundle": "name a model, as bundle:NAME or bundle:FOLDER; other recipes train networks of a package:"
    " hashgrain recipes",
    "add_parts": "give it parts: hashgrain parts {library} --add",
    "add_to": "add to it: hashgrain add {library} FOLDER",
    "attach": "attach the library: hashgrain engine attach {library} URL",
    "bring_back": "bring them back and run this again, or drop them: hashgrain update --prune {library}",
    "bring_weights": "bring weights, --weights FILE.safetensors, pip or hub, or take a model you have,"
    " --set trained=head --set backbone=bundle:photo --set size=224; --weights random says that noise is meant",
    "build_anew": "build the library anew: hashgrain add NEW.hg FOLDER",
    "check_disk": "the disk may be full or failing: free space, run again, then `hashgrain verify`",
    "delete_and_verify": "delete it, then `hashgrain verify {library}`",
    "draw_split": "get the data again, or draw a new split: hashgrain protocols NAME --data DATA --out FOLDER",
    "drop_parts": "drop them first: hashgrain parts {library} --drop",
    "encode_anew": "{first}encode its pictures anew: hashgrain rebuild {library} --model BUNDLE",
    "encode_with_model": "ask with an item or with codes; or encode its pictures with a model:"
    " hashgrain rebuild {library} --model BUNDLE",
    "fetch_repository": "add --download, or bring the repository as a folder and take folder:PATH",
    "fetch_text": "add --download; for pictures alone, take onnx:{pictures}",
    "fit_hasher": "fit it on features with --hasher {hasher}",
    "give_bits": "--bits {bits}",
    "give_labels": "give them (--labels), one row per feature row",
    "give_paths": "say whose they are, in a file with a path a line, in the order of the codes (--paths)",
    "give_token": "give it one: --token-file FILE, or the environment variable HASHGRAIN_SERVE_TOKEN",
    "give_widths": "give --bits of 1 to {bits}",
    "index": "hashgrain index {library}",
    "index_anew": "it is made anew by `hashgrain index`",
    "label_some": "label some first: hashgrain meta {library} PATH... --set {name}=LABEL",
    "lower_rate": "try a lower rate in another folder: --set learning_rate={rate} --run ...",
    "make_again": "make it again: hashgrain add {path} FOLDER",
    "make_library": "make one: hashgrain add {path} FOLDER",
    "make_new_library": "make one: hashgrain add NAME.hg FOLDER",
    "make_or_restore": "make one: hashgrain add NAME.hg {path}, or restore the catalogue from a backup",
    "make_room": "free some space and run the command again",
    "make_room_for_run": "make room, or name another folder with --run",
    "mend_code": "`hashgrain rebuild` mends it, or take it out, `hashgrain remove --id {item}`, and add its file again",
    "measure_unseen": "train by the protocol (hashgrain train --protocol NAME, or --manifest FILE) and evaluate by the"
    " same, measure on other pictures, or measure all the same with --allow-seen",
    "more_pictures": "give at least {least}, or fewer bits (--bits)",
    "name_labels": "give --manifest, or put queries_labels.npy and database_labels.npy beside them",
    "name_part": "take one part alone: name its folder (or list) with --data",
    "name_model": "if they are of that model, say so with --model; codes of two models do not mix",
    "other_place": "name another place with --out",
    "other_port": "take another: --port PORT, or --port 0 for any that is free",
    "other_protocol": "take a recipe without labels, or another protocol (hashgrain protocols)",
    "other_run": "choose another folder with --run, or remove this one",
    "other_size": "try another --size",
    "other_size_or_version": "another --size, or version, may do",
    "prune_all": "if they are gone for good, say so: hashgrain update --prune --yes {library}",
    "raise_max_pixels": "raise the limit with --max-pixels if you trust it",
    "rebuild": "`hashgrain rebuild {library}` mends it",
    "rebuild_for_words": "hashgrain rebuild LIBRARY --model photo",
    "regressing_recipe": "take --recipe label-codes, or another with one grain",
    "remove_item": "take it out, `hashgrain remove --id {item}`, and add its file again",
    "remove_items": "hashgrain remove the item, then add its file again",
    "replace": "to give what is there its new code, say so (--replace)",
    "restore": "restore it from a backup, or build the library again with `hashgrain add`",
    "same_model": "build one again with the model of the other: hashgrain rebuild LIBRARY --model BUNDLE",
    "set": "--set {setting}",
    "set_colors": "say --set mean= and --set std=, such as {usual}",
    "show_ids": "`hashgrain search` shows the ids",
    "take_protocol": "take --protocol {protocol}, or name the folder (or list) of one part with --data",
    "trained_protocol": "name one that has, such as --protocol folder",
    "without_parts": "search it without --parts",
    "update": "`hashgrain update {library}` encodes it anew",
    "verify": "run again, then `hashgrain verify`",
}


def as_command(remedy: str) -> str:
    """What to type, where the remedy is a command; otherwise the remedy."""
    if isinstance(remedy, Remedy) and remedy.key:
        return COMMANDS[remedy.key].format(**remedy.values)
    return remedy


def error_text(error: HashgrainError) -> str:
    """The error as the terminal shows it: what is wrong, and what to type."""
    return f"{error.message}; {as_command(error.remedy)}" if error.remedy else error.message


def refusal_documents(refused: Iterable[Any]) -> list[dict[str, str]]:
    """Refusals as JSON has them."""
    return [{**dataclasses.asdict(each), "reason": reason_text(each.reason)} for each in refused]


def reason_text(reason: str) -> str:
    """Why a picture was refused: a library keeps it as text, in its own words."""
    if reason.endswith(RAISE_MAX_PIXELS):
        return reason.removesuffix(RAISE_MAX_PIXELS) + as_command(RAISE_MAX_PIXELS)
    return reason
