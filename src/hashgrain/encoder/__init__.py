"""From pictures to codes: the model bundle, and the session that runs it."""

from hashgrain.encoder.bundle import Bundle as Bundle
from hashgrain.encoder.description import Calibration as Calibration
from hashgrain.encoder.description import Threshold as Threshold
from hashgrain.encoder.encoder import Encoder as Encoder
from hashgrain.encoder.tower import TextTower as TextTower
