"""Duplicates of a library: groups of copies, which of them to keep and why, and acting upon the others.

with Library.open("photos.hg", "w") as library:
    duplicates = find_duplicates(library)
    for group in duplicates.groups:
        print(group.kept.path, group.reason, [copy.item.path for copy in group.copies])
    report = act_on(library, duplicates, "move", folder="copies", dry_run=False)
    undo(library, report.undo_file)
"""

from hashgrain.apps.duplicates.acting import Action as Action
from hashgrain.apps.duplicates.acting import ActionReport as ActionReport
from hashgrain.apps.duplicates.acting import Outcome as Outcome
from hashgrain.apps.duplicates.acting import act_on as act_on
from hashgrain.apps.duplicates.finding import find_duplicates as find_duplicates
from hashgrain.apps.duplicates.found import Copy as Copy
from hashgrain.apps.duplicates.found import Duplicates as Duplicates
from hashgrain.apps.duplicates.found import Group as Group
from hashgrain.apps.duplicates.found import PartOf as PartOf
from hashgrain.apps.duplicates.page import summary as summary
from hashgrain.apps.duplicates.page import thumbnails_of as thumbnails_of
from hashgrain.apps.duplicates.page import write_page as write_page
from hashgrain.apps.duplicates.ranking import KEEPS as KEEPS
from hashgrain.apps.duplicates.ranking import Keep as Keep
from hashgrain.apps.duplicates.rows import as_document as as_document
from hashgrain.apps.duplicates.rows import rows_of as rows_of
from hashgrain.apps.duplicates.rows import write_csv as write_csv
from hashgrain.apps.duplicates.thresholds import WORDS as WORDS
from hashgrain.apps.duplicates.thresholds import Word as Word
from hashgrain.apps.duplicates.undoing import UndoReport as UndoReport
from hashgrain.apps.duplicates.undoing import undo as undo
