"""Pictures with labels, from folders, lists, tables, shards, arrays and saved datasets."""

from hashgrain.labelled.picture import PARTS as PARTS
from hashgrain.labelled.picture import LabelledPicture as LabelledPicture
from hashgrain.labelled.picture import same_part as same_part
from hashgrain.labelled.pictures import labelled_pictures as labelled_pictures
