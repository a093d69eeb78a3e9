"""What people open: a collection of pictures on disk that answers questions."""

from hashgrain.library.adding import AddReport as AddReport
from hashgrain.library.adding import encode_sources as encode_sources
from hashgrain.library.library import Library as Library
from hashgrain.library.library import rebuild_with as rebuild_with
from hashgrain.library.library import verify_library as verify_library
from hashgrain.library.several import Found as Found
from hashgrain.library.several import Query as Query
from hashgrain.library.several import items_of_query as items_of_query
from hashgrain.library.several import refuse_mixed as refuse_mixed
from hashgrain.library.several import search_several as search_several
