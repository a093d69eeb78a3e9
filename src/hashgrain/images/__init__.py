"""Opening pictures nobody vouches for."""

from hashgrain.images.cost import DEFAULT_MAX_PIXELS as DEFAULT_MAX_PIXELS
from hashgrain.images.decode import Facts as Facts
from hashgrain.images.decode import Picture as Picture
from hashgrain.images.decode import open_picture as open_picture
from hashgrain.images.formats import FORMATS as FORMATS
from hashgrain.images.thumbnails import thumbnail as thumbnail
from hashgrain.images.workers import DecodePool as DecodePool
from hashgrain.images.workers import decode_workers as decode_workers
