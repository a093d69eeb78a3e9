"""Losses by name, one file per loss, with its formula and its source."""

from collections.abc import Mapping

from hashgrain.learn.losses.adsh import AdshLoss
from hashgrain.learn.losses.bi_half import BiHalfLoss
from hashgrain.learn.losses.cib_hash import CibHashLoss
from hashgrain.learn.losses.code_regression import CodeRegressionLoss
from hashgrain.learn.losses.coding_rate import CodingRateLoss
from hashgrain.learn.losses.concept_hash import ConceptHashLoss
from hashgrain.learn.losses.contrastive import ContrastiveLoss
from hashgrain.learn.losses.crh import CrhLoss
from hashgrain.learn.losses.csq import CsqLoss
from hashgrain.learn.losses.dch import DchLoss
from hashgrain.learn.losses.dfh import DfhLoss
from hashgrain.learn.losses.dhn import DhnLoss
from hashgrain.learn.losses.distance_preserving import DistancePreservingLoss
from hashgrain.learn.losses.dpn import DpnLoss
from hashgrain.learn.losses.dpsh import DpshLoss
from hashgrain.learn.losses.dsdh import DsdhLoss
from hashgrain.learn.losses.dsh import DshLoss
from hashgrain.learn.losses.dtsh import DtshLoss
from hashgrain.learn.losses.feature_distances import FeatureDistancesLoss
from hashgrain.learn.losses.greedy_hash import GreedyHashLoss
from hashgrain.learn.losses.greedy_hash_unsupervised import GreedyHashUnsupervisedLoss
from hashgrain.learn.losses.hashnet import HashNetLoss
from hashgrain.learn.losses.hpdh import HpdhLoss
from hashgrain.learn.losses.hyp2 import Hyp2Loss
from hashgrain.learn.losses.idhn import IdhnLoss
from hashgrain.learn.losses.instance import InstanceContrast as InstanceContrast
from hashgrain.learn.losses.logit_adjusted import LogitAdjustedLoss
from hashgrain.learn.losses.loss import Loss as Loss
from hashgrain.learn.losses.mds import MdsLoss
from hashgrain.learn.losses.mihash import MiHashLoss
from hashgrain.learn.losses.n_pair import NPairLoss
from hashgrain.learn.losses.neighbor_contrast import NeighborContrastLoss
from hashgrain.learn.losses.ortho_hash import OrthoHashLoss
from hashgrain.learn.losses.sdc import SdcLoss
from hashgrain.learn.losses.shdh import ShdhLoss
from hashgrain.learn.losses.supervised_contrast import SupervisedContrastLoss
from hashgrain.learn.losses.triplet import TripletLoss

LOSSES: Mapping[str, type[Loss]] = {
    "contrastive": ContrastiveLoss,
    "triplet": TripletLoss,
    "n_pair": NPairLoss,
    "supervised_contrast": SupervisedContrastLoss,
    "code_regression": CodeRegressionLoss,
    "distance_preserving": DistancePreservingLoss,
    "dsh": DshLoss,
    "dpsh": DpshLoss,
    "dhn": DhnLoss,
    "hashnet": HashNetLoss,
    "dch": DchLoss,
    "dtsh": DtshLoss,
    "idhn": IdhnLoss,
    "greedy_hash": GreedyHashLoss,
    "csq": CsqLoss,
    "dpn": DpnLoss,
    "ortho_hash": OrthoHashLoss,
    "dsdh": DsdhLoss,
    "mihash": MiHashLoss,
    "adsh": AdshLoss,
    "dfh": DfhLoss,
    "hyp2": Hyp2Loss,
    "mds": MdsLoss,
    "crh": CrhLoss,
    "concept_hash": ConceptHashLoss,
    "shdh": ShdhLoss,
    "hpdh": HpdhLoss,
    "logit_adjusted": LogitAdjustedLoss,
    "bi_half": BiHalfLoss,
    "cib_hash": CibHashLoss,
    "greedy_hash_unsupervised": GreedyHashUnsupervisedLoss,
    "coding_rate": CodingRateLoss,
    "neighbor_contrast": NeighborContrastLoss,
    "feature_distances": FeatureDistancesLoss,
    "sdc": SdcLoss,
}
