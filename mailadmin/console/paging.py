"""Lists that come a page at a time."""

PAGE = 50


class Paged:
    """One page of something, `page` from 1, of `total` in all: how many pages there are, and where this one begins."""

    __slots__ = ()

    total: int
    page: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return -(-self.total // PAGE)

    @property
    def first(self) -> int:
        """The place of the first row."""
        return (self.page - 1) * PAGE + 1 if self.total else 0


def within(page: int, total: int) -> int:
    """`page` if there is one, else the nearest."""
    return min(max(page, 1), max(1, -(-total // PAGE)))
