"""Losses, one small file each: the formula, and where it comes from."""

from hashgrain.learn.losses.centres import NestedCentreLoss as NestedCentreLoss
from hashgrain.learn.losses.centres import nested_centres as nested_centres
from hashgrain.learn.losses.instance import InstanceContrast as InstanceContrast
from hashgrain.learn.losses.quantisation import quantisation as quantisation
from hashgrain.learn.losses.supervised_contrast import SupervisedContrast as SupervisedContrast
