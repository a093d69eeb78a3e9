"""Where pictures come from: files, folders, globs, archives, tables, Python objects."""

from hashgrain.sources.find import Refused as Refused
from hashgrain.sources.find import Source as Source
from hashgrain.sources.find import find as find
from hashgrain.sources.reopen import file_of as file_of
from hashgrain.sources.reopen import reopen as reopen
