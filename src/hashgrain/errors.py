"""What can go wrong, said once: the thing, the reason, the remedy."""


class HashgrainError(Exception):
    """The parent of every error we raise on purpose. Its text is fit to show to a person."""


class CodesError(HashgrainError):
    """Codes that do not fit: another width, other grains, a damaged file, NaN outputs."""


class ImageError(HashgrainError):
    """A picture we refuse: unreadable, truncated, too large, of a format we do not open."""


class BundleError(HashgrainError):
    """A model bundle we refuse: missing, damaged, altered, too large, of a newer format."""


class LibraryError(HashgrainError):
    """A library we cannot use as asked: missing, damaged, locked, newer, built with another model."""


class FilterError(HashgrainError):
    """A `where` expression that does not parse, or compares what cannot be compared."""


class QueryError(HashgrainError):
    """A question that makes no sense here: unknown grain, k out of range, no such item."""


class SourceError(HashgrainError):
    """A source of pictures that cannot be used: missing, unreadable, not an archive we know."""


class TrainingError(HashgrainError):
    """Training that cannot start or go on: data without labels, a loss that is not a number."""


class EvaluationError(HashgrainError):
    """Figures that cannot be had: labels of another length, an unknown protocol, data that changed, NaN features."""


class WorkerError(HashgrainError):
    """A process of our own that cannot be started, so that nothing is known of the pictures it was for."""


class EngineError(HashgrainError):
    """An engine that cannot be asked: unknown, ahead of its library or not able to follow it, of another library."""
