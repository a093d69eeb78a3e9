"""What people open: a collection of pictures on disk that answers questions."""

from hashgrain.library.adding import check_sources as check_sources
from hashgrain.library.library import Library as Library
from hashgrain.library.reading import encode_sources as encode_sources
from hashgrain.library.rebuilding import rebuild as rebuild
from hashgrain.library.rebuilding import rebuild_with as rebuild_with
from hashgrain.library.rebuilding import verify_library as verify_library
from hashgrain.library.report import AddReport as AddReport
from hashgrain.library.several import Found as Found
from hashgrain.library.several import Query as Query
from hashgrain.library.several import items_of_query as items_of_query
from hashgrain.library.several import refuse_mixed as refuse_mixed
from hashgrain.library.several import search_several as search_several
