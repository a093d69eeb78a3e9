"""What people open: a collection of pictures on disk that answers questions."""

from hashgrain.library.adding import check_sources as check_sources
from hashgrain.library.library import Library as Library
from hashgrain.library.reading import encode_sources as encode_sources
from hashgrain.library.rebuilding import rebuild as rebuild
from hashgrain.library.rebuilding import rebuild_with as rebuild_with
from hashgrain.library.rebuilding import verify_library as verify_library
from hashgrain.library.report import AddReport as AddReport
