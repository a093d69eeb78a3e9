"""The published protocols by name: their queries, training pictures, databases and counting rules.

Each protocol is an entry below; applied to real pictures it gives a manifest. A changed entry is a new version: figures
of two versions are not comparable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from hashgrain.errors import EvaluationError
from hashgrain.evaluate.ranking import Convention

Relevance = Literal["same class", "shares a label"]
Database = Literal["all but queries", "all but queries and train", "train"]
Side = Literal["seen", "unseen", "all"]

UNSEEN = 0.3
OPEN_SETS = ("seen@seen", "seen@all", "unseen@unseen", "unseen@all")  # classes of queries @ classes of the database

CROPPED = "resize the shorter edge to 256, crop 224 from the middle, ImageNet mean and deviation"
SMALL = "the picture as it is (32 x 32), scaled to what the model takes, no crop"
AS_MODEL = "whatever the model takes: the picture scaled to its input size, no crop"


@dataclass(frozen=True)
class Take:
    """A rule that selects pictures, in an order that depends on the seed and their contents: a number per class (or
    label), a total, a share of each class, or all; from one part of the data, if it names one."""

    per_class: int | None = None
    total: int | None = None
    share: float | None = None
    part: str | None = None
    tail: float | None = None  # a long tail: all of the largest class, ever fewer of the others, down to 1 / tail

    def words(self) -> str:
        count = "all" if self.tail is None else f"a long tail of {self.tail:g} to 1"
        if self.total is not None:
            count = f"{self.total:,}"
        elif self.per_class is not None:
            count = f"{self.per_class} of each class"
        elif self.share is not None:
            count = f"{self.share:.0%} of each class"
        return count + (f" of the part {self.part!r}" if self.part else "")


@dataclass(frozen=True)
class Protocol:
    name: str
    about: str
    queries: Take
    train: Take  # from the pictures that are not queries
    database: Database
    cutoff: int | None = None  # None: the whole list
    convention: Convention = "hash"
    relevance: Relevance = "same class"
    transform: str = AS_MODEL
    pool: str | None = None  # the part of the data from which the database comes, if it is one part
    keeps_unlabelled: bool = False  # includes pictures whose set of labels is empty
    unlabelled: bool = False  # for methods that train without labels
    unseen: float = 0  # this share of the classes is unseen in training; queries and database have only these
    asks: Side | None = None  # the classes of the queries, if some are unseen in training
    searches: Side | None = None  # the classes of the database
    counts: Mapping[str, int] = field(default_factory=dict)  # expected numbers, which are checked
    manifests: Mapping[int, str] = field(default_factory=dict)  # expected digests by seed, on the original pictures
    version: int = 1

    def facts(self) -> dict[str, object]:
        """The rules in words."""
        taken = {"queries": self.queries.words(), "train": self.train.words(), "database": self.database}
        cutoff = "the whole list" if self.cutoff is None else self.cutoff
        rules = {"cut-off": cutoff, "convention": self.convention, "relevant": self.relevance}
        numbers = ", ".join(f"{count:,} {what}" for what, count in self.counts.items()) or "as many as there are"
        more = {"kept from training": f"{self.unseen:.0%} of the classes"} if self.unseen else {}
        more |= {"labels": "never learned from"} if self.unlabelled else {}
        if self.asks:
            more |= {"classes that ask": self.asks, "classes that are searched": str(self.searches)}
        head: dict[str, object] = {"protocol": f"{self.name}, version {self.version}", "about": self.about}
        return head | taken | more | rules | {"counts": numbers, "pictures": self.transform}


_CIFAR = {"queries": 1_000, "train": 5_000, "database": 59_000, "classes": 10, "pictures": 60_000}
_NUS = {"queries": 2_100, "train": 10_500, "database": 193_734, "classes": 21, "pictures": 195_834}
# Fine-grained sets, by their official parts: queries, training pictures, classes.
FINE_GRAINED = (
    ("cub", "the birds of CUB-200-2011", 5_794, 5_994, 200),
    ("cars", "Stanford Cars", 8_041, 8_144, 196),
    ("nabirds", "NABirds, graded by its hierarchy", 24_633, 23_929, 555),
)
PARTED = {"test": "parts", "val": "parts-val"}  # protocols whose queries are a publisher's test or validation part
_FLICKR = {"queries": 1_000, "train": 4_000, "database": 20_000, "pictures": 25_000}


def _by_parts(name: str, what: str, queries: int, train: int, classes: int) -> Protocol:
    counts = {"queries": queries, "train": train, "database": train, "classes": classes, "pictures": queries + train}
    about = f"{what}: queries from the official test part; training set and database are the official training part"
    parts = Take(part="test"), Take(part="train")
    return Protocol(name, about, *parts, "train", transform=CROPPED, counts=counts)


def _by_lists(name: str, about: str, counts: Mapping[str, int]) -> Protocol:
    """A protocol of NUS-WIDE, by lists of queries, training pictures and database."""
    return Protocol(
        name,
        about,
        Take(part="test"),
        Take(part="train"),
        "all but queries",
        cutoff=5000,
        relevance="shares a label",
        transform=CROPPED,
        pool="database",
        counts=counts,
    )


def _parts(name: str, part: str) -> Protocol:
    about = f"any labelled pictures in parts: queries from {part}; training set and database are train"
    return Protocol(name, about, Take(part=part), Take(part="train"), "train")


def _long_tail(classes: int, factor: int) -> Protocol:
    """Class i of C, in the order of names, has n * factor ** (-i / (C - 1)) training pictures."""
    return Protocol(
        f"cifar{classes}-lt-{factor}",
        f"queries from the official test part; training on a long tail of the official training part, with {factor}"
        " times as many pictures of the largest class as of the smallest; the database is all of it",
        Take(part="test"),
        Take(part="train", tail=factor),
        "all but queries",
        transform=SMALL,
        pool="train",
        counts={"queries": 10_000, "database": 50_000, "classes": classes, "pictures": 60_000},
    )


_ALL = (
    Protocol(
        "cifar10",
        "100 queries and 500 training pictures of each class of the pooled 60,000; the database leaves the training"
        " pictures out (HashNet and its heirs)",
        Take(per_class=100),
        Take(per_class=500),
        "all but queries and train",
        transform=SMALL,
        counts=_CIFAR | {"database": 54_000},
        manifests={0: "e645387b4afcd937b36cea1976d52dbc75a98de8c7779c31879fc460eec71ee1"},
    ),
    Protocol(
        "cifar10-1",
        "100 queries and 500 training pictures of each class of the pooled 60,000; the database holds the training"
        " pictures: the most common in papers (DPSH, DSDH, GreedyHash I, OrthoHash 1)",
        Take(per_class=100),
        Take(per_class=500),
        "all but queries",
        transform=SMALL,
        counts=_CIFAR,
        manifests={
            0: "5045bae249afeddad3d5fb0fb325b6103386ecec062c53020b853834cd8ae734",
            1: "f68d40ec859b96725c2b29deb099f0644657d301010ff68638a12ba4cc423315",
            2: "aaf5b2da6b6b8097e2524295bacc0d2d359aa574ee3f237f79b44b3f694ac12b",
        },
    ),
    Protocol(
        "cifar10-2",
        "queries are the official test pictures, training set and database the official training pictures (GreedyHash"
        " II, OrthoHash 2)",
        Take(part="test"),
        Take(part="train"),
        "train",
        transform=SMALL,
        counts=_CIFAR | {"queries": 10_000, "train": 50_000, "database": 50_000},
        manifests={0: "e8db43764b1ef72b0520515819d8b9f102b6ddeb436c5ee603a807dba6f92274"},
    ),
    Protocol(
        "cifar10-unsup-I",
        "as cifar10-2, for training without labels; the first 1,000 count (BiHalf, SDC, CroVCA)",
        Take(part="test"),
        Take(part="train"),
        "train",
        cutoff=1000,
        transform=SMALL,
        unlabelled=True,
        counts=_CIFAR | {"queries": 10_000, "train": 50_000, "database": 50_000},
        manifests={0: "214e581fef9bacbe5ea3a11a7926f506744edb35841c97e590d461ffb32fb04c"},
    ),
    Protocol(
        "cifar10-unsup-II",
        "as cifar10-1, for training without labels; the first 1,000 count (MeCoQ, SPQ)",
        Take(per_class=100),
        Take(per_class=500),
        "all but queries",
        cutoff=1000,
        transform=SMALL,
        unlabelled=True,
        counts=_CIFAR,
        manifests={0: "c64c23412864a63f12ab2de10aa1b25f7b42268a041f1b7ae7535ef89ebf4b00"},
    ),
    Protocol(
        "cifar10-cib",
        "queries are half of the official test pictures, the training set is 500 of each class, the database is the"
        " official training pictures; the first 1,000 count (CIBHash)",
        Take(per_class=500, part="test"),
        Take(per_class=500, part="train"),
        "all but queries",
        cutoff=1000,
        transform=SMALL,
        pool="train",
        counts=_CIFAR | {"queries": 5_000, "database": 50_000},
        manifests={0: "0d6e130bc54f33b6276b8c7ce464a3a31e3cd594a581e2a2e89e842ac3bd7c87"},
    ),
    Protocol(
        "cifar10-unseen",
        "three of the ten classes are unseen in training; queries and database have only these: a classifier written"
        " in bits does not win here",
        Take(per_class=100),
        Take(),
        "all but queries",
        transform=SMALL,
        unseen=0.3,
        counts=_CIFAR | {"queries": 300, "train": 42_000, "database": 17_700},
        manifests={0: "a12ab7a1e68f270e3648a6191ab0645bc5d4ba8e058d6c333c4ea6a581f7130b"},
    ),
    Protocol(
        "cifar100-h",
        "the official parts, 100 classes in 20 superclasses, graded (HPDH)",
        Take(part="test"),
        Take(part="train"),
        "train",
        cutoff=2500,
        transform=SMALL,
        counts={
            "queries": 10_000,
            "train": 50_000,
            "database": 50_000,
            "classes": 100,
            "superclasses": 20,
            "pictures": 60_000,
        },
    ),
    Protocol(
        "cifar100-shc",
        "50 queries and 100 training pictures of each of 100 classes of the pooled 60,000; the database leaves the"
        " training pictures out (SHC)",
        Take(per_class=50),
        Take(per_class=100),
        "all but queries and train",
        cutoff=1000,
        transform=SMALL,
        counts={"queries": 5_000, "train": 10_000, "database": 45_000, "classes": 100, "pictures": 60_000},
    ),
    *(_long_tail(classes, factor) for classes in (10, 100) for factor in (10, 50, 100)),
    *(_by_parts(*row) for row in FINE_GRAINED),
    Protocol(
        "imagenet100",
        "100 classes of ImageNet: queries are 50 validation pictures of each, the training set is 130 of each, the"
        " database is the rest of the training part (HashNet)",
        Take(per_class=50, part="val"),
        Take(per_class=130, part="train"),
        "all but queries",
        cutoff=1000,
        transform=CROPPED,
        pool="train",
        counts={"queries": 5_000, "train": 13_000, "database": 128_503, "classes": 100, "pictures": 133_503},
    ),
    Protocol(
        "nuswide_21",
        "pictures of the 21 most common concepts: 100 queries and 500 training pictures per concept, no picture drawn"
        " twice",
        Take(per_class=100),
        Take(per_class=500),
        "all but queries",
        cutoff=5000,
        relevance="shares a label",
        transform=CROPPED,
        counts=_NUS,
    ),
    _by_lists(
        "nuswide_21_m",
        "the pictures of the 21 most common concepts in HashNet's set of NUS-WIDE, by published lists (CSQ)",
        {"queries": 2_100, "train": 10_500, "classes": 21},
    ),
    _by_lists(
        "nuswide_81_m",
        "HashNet's set of NUS-WIDE, 223,496 pictures of 81 concepts, by its lists",
        {"queries": 5_000, "train": 10_000, "database": 218_496, "classes": 81},
    ),
    Protocol(
        "voc2012",
        "the 11,540 labelled pictures of Pascal VOC 2012: 1,000 queries, 4,000 for training, the rest is the database"
        " (DeepHash-pytorch)",
        Take(total=1_000),
        Take(total=4_000),
        "all but queries and train",
        relevance="shares a label",
        transform=CROPPED,
        counts={"queries": 1_000, "train": 4_000, "database": 6_540, "classes": 20, "pictures": 11_540},
    ),
    Protocol(
        "coco",
        "the 122,218 labelled pictures of COCO 2014: 5,000 queries; a database of the rest, 10,000 of it for training",
        Take(total=5_000),
        Take(total=10_000),
        "all but queries",
        cutoff=5000,
        relevance="shares a label",
        transform=CROPPED,
        counts={"queries": 5_000, "train": 10_000, "database": 117_218, "classes": 80, "pictures": 122_218},
    ),
    Protocol(
        "mirflickr-24",
        "25,000 pictures with 24 labels: 1,000 queries, 4,000 for training, a database of 20,000 (FIRe, CroVCA)",
        Take(total=1_000),
        Take(total=4_000),
        "all but queries and train",
        cutoff=5000,
        relevance="shares a label",
        transform=CROPPED,
        keeps_unlabelled=True,
        counts=_FLICKR | {"classes": 24},
    ),
    Protocol(
        "mirflickr-38",
        "the same pictures with 38 labels, the 14 stricter ones counted apart (DeepHash-pytorch)",
        Take(total=1_000),
        Take(total=4_000),
        "all but queries and train",
        cutoff=None,
        relevance="shares a label",
        transform=CROPPED,
        keeps_unlabelled=True,
        counts=_FLICKR | {"classes": 38},
    ),
    Protocol(
        "tiny-imagenet",
        "queries are the validation part, training set and database the training part; 200 classes, 27 superclasses",
        Take(part="val"),
        Take(part="train"),
        "train",
        cutoff=1000,
        counts={
            "queries": 5_000,
            "train": 80_000,
            "database": 80_000,
            "classes": 200,
            "superclasses": 27,
            "pictures": 85_000,
        },
        manifests={0: "8b1293cbf8d6607ca8cfaf8d70e43334ea18f0178a231011b9b5aea493e55940"},
    ),
    Protocol(
        "folder",
        "any labelled pictures: queries are a tenth of each class, training set and database the rest",
        Take(share=0.1),
        Take(),
        "train",
    ),
    *(_parts(name, part) for part, name in PARTED.items()),
    Protocol(
        "folder-unseen",
        "any labelled pictures: 3 in 10 classes are unseen in training; queries and database have only these",
        Take(share=0.1),
        Take(),
        "all but queries",
        unseen=0.3,
    ),
)
PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def protocol(name: str) -> Protocol:
    """The protocol of that name, or a base protocol with the classes of queries and database; else an error."""
    base, _, sides = name.rpartition("-")
    if sides in OPEN_SETS and base in PROTOCOLS and not PROTOCOLS[base].unseen:
        asks, _, searches = sides.partition("@")
        about = f"{base} with 3 in 10 classes unseen in training: queries of {asks} classes, a database of {searches}"
        restricted = {"unseen": UNSEEN, "asks": asks, "searches": searches}
        return replace(PROTOCOLS[base], name=name, about=about, **restricted)  # type: ignore[arg-type]
    if name not in PROTOCOLS:
        raise EvaluationError(f"no protocol {name!r}; there are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def about(name: str) -> str:
    """A sentence about a protocol; "" for an unknown one."""
    try:
        return protocol(name).about
    except EvaluationError:
        return ""


def expanded(name: str) -> list[str]:
    """The protocols for a name on the command line: NAME-open means all four combinations of OPEN_SETS."""
    base = name.removesuffix("-open")
    return [f"{base}-{sides}" for sides in OPEN_SETS] if base != name and base in PROTOCOLS else [name]
