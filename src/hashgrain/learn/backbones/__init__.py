"""Backbones turn pictures into features. `build` makes one by name, `set_trained` selects what of it is trained."""

from hashgrain.learn.backbones.backbone import Backbone as Backbone
from hashgrain.learn.backbones.compact import CompactBackbone as CompactBackbone
from hashgrain.learn.backbones.freezing import Trained as Trained
from hashgrain.learn.backbones.freezing import set_trained as set_trained
from hashgrain.learn.backbones.lora import add_lora as add_lora
from hashgrain.learn.backbones.lora import merge_lora as merge_lora
from hashgrain.learn.backbones.zoo import build as build
