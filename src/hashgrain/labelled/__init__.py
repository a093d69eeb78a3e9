"""Pictures with labels, wherever people keep them: folders, tables, lists."""

from hashgrain.labelled.pictures import LabelledPicture as LabelledPicture
from hashgrain.labelled.pictures import labelled_pictures as labelled_pictures
