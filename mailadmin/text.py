"""The one way of words to the screen: everything that people read goes through `t`, so that it can be translated."""


def t(text: str, **values: object) -> str:
    """`text` in the reader's language, with `{name}` replaced by `values`. So far that is the source's language."""
    return text.format(**values) if values else text
