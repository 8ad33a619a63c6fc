"""Search: say how small, how fast or how good; get the model."""

from segopt_callbacks.search.answer import SearchResult
from segopt_callbacks.search.searching import search_compression
from segopt_callbacks.search.study import StudyError

__all__ = ["SearchResult", "StudyError", "search_compression"]
