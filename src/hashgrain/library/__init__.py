"""What people open: a collection of pictures on disk that answers questions."""

from hashgrain.library.adding import AddReport as AddReport
from hashgrain.library.library import Library as Library
