"""What the figures are to be, and how they are printed: a JSON object each, with its goals and whether they are met."""

import json
from collections.abc import Mapping
from typing import Any

MAILBOX, FULL, FAR, FLEET = "mailbox", "full folder", "mailbox at 50 ms", "fleet"
FIRST, SAME, CHANGED, MEMORY = "first sync", "nothing changed", "100 new, 500 flags, 50 gone", "memory"
PREVIEWS = "first sync, previews instead of texts"

Goal = tuple[str, str, float]  # the name of a value, `<=` or `>=`, the limit
GOALS: Mapping[tuple[str, str], tuple[Goal, ...]] = {
    (MAILBOX, FIRST): (
        ("ratio_to_reader", "<=", 3),
        ("ratio_to_mbsync", ">=", 2),
    ),
    (MAILBOX, PREVIEWS): (("with_texts_ratio_to_reader", "<=", 5),),
    (MAILBOX, CHANGED): (("cpu", "<=", 0.025), ("cpu_ratio_to_mbsync", ">=", 5)),
    (MAILBOX, MEMORY): (("megabytes", "<=", 200),),
    (FULL, FIRST): (("ratio_to_mbsync", ">=", 2.2),),
    (FULL, SAME): (("cpu", "<=", 0.005), ("look_cpu", "<=", 0.005), ("cpu_ratio_to_mbsync", ">=", 40)),
    (FULL, CHANGED): (("cpu", "<=", 0.020), ("cpu_ratio_to_mbsync", ">=", 13)),
    (FULL, MEMORY): (("megabytes", "<=", 120),),
    (FLEET, FIRST): (("ratio_to_mbsync", ">=", 4),),
    (FLEET, SAME): (("accounts_per_minute", ">=", 10_000),),
}


def report(kind: str, what: str, figure: Mapping[str, Any], *, has_goals: bool = True) -> None:
    """Print one figure; `has_goals` is false for smaller sizes than those for which the goals are."""
    goals = [goal for goal in GOALS.get((kind, what), ()) if has_goals and goal[0] in figure]
    told = {f"{name} {sign} {limit:g}": _is_reached(figure[name], sign, limit) for name, sign, limit in goals}
    print(json.dumps({"kind": kind, "what": what, **figure} | ({"goals": told} if told else {})), flush=True)


def _is_reached(value: float, sign: str, limit: float) -> bool:
    return value <= limit if sign == "<=" else value >= limit
