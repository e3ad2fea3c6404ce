"""What somebody types into the search of a list: words that all have to be there, each in one of some columns."""

from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, or_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import ReturnTypeFromArgs

MOST_WORDS = 10


class any_case(ReturnTypeFromArgs[str]):
    """A text for LIKE, so that ASCII letters have no case: SQLite's LIKE knows none, and is quick without `lower()`."""

    inherit_cache = True


@compiles(any_case)
def _any_case(element: any_case, compiler: SQLCompiler, **options: Any) -> str:
    return compiler.process(element.clause_expr.element, **options)


@compiles(any_case, "postgresql")
def _any_case_in_postgresql(element: any_case, compiler: SQLCompiler, **options: Any) -> str:
    return f'lower({compiler.process(element.clause_expr, **options)} COLLATE "C")'


def words(typed: str) -> list[str]:
    """The words of a search, in lower case."""
    return typed.lower().split()[:MOST_WORDS]


def holds(word: str, *columns: SQLColumnExpression[str]) -> ColumnElement[bool]:
    """Whether one of `columns` holds `word`, which is in lower case; % and _ stand for themselves."""
    # The databases only know the case of ASCII letters here, so others are looked for as they are usually written.
    spellings = {word} if word.isascii() else {_lower_ascii(s) for s in (word, word.upper(), word.capitalize())}
    return or_(*(any_case(c).contains(s, autoescape=True) for c in columns for s in sorted(spellings)))


def _lower_ascii(text: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)
