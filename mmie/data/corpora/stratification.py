"""Iterative stratification: division of posts such that each split has its share of every label.

Source: Sechidis, Tsoumakas and Vlahavas, "On the Stratification of Multi-label Data", ECML PKDD
2011. Here a group of posts that must stay together takes the place of an example, and its labels
count as often as they occur in it. Implemented here because the libraries that have it
(scikit-multilearn, iterative-stratification) divide single examples with binary labels.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence


def stratify(
    labels: Sequence[Counter[Hashable]],
    sizes: Sequence[int],
    shares: Sequence[float],
    seed: int = 0,
) -> list[int]:
    """Divide groups between splits.

    The label with the fewest groups that are left is distributed first. Each of its groups goes to
    the split that lacks the label most, then to the one that lacks most posts, then to a random
    one.

    Args:
        labels: Number of each label in each group.
        sizes: Number of posts in each group.
        shares: Share of each split. They add up to 1.
        seed: Seed of the order of groups and of ties.

    Returns:
        Index of the split of each group.

    >>> stratify([Counter({"PER": 1})] * 4 + [Counter()] * 4, [1] * 8, [0.5, 0.5]).count(0)
    4
    """
    numbers = random.Random(seed)
    order = list(range(len(labels)))
    numbers.shuffle(order)
    left: defaultdict[Hashable, list[int]] = defaultdict(list)
    for group in order:
        for label in labels[group]:
            left[label].append(group)
    total = sum(labels, Counter())
    lacking = [{label: share * count for label, count in total.items()} for share in shares]
    lacking_posts = [share * sum(sizes) for share in shares]
    splits = [-1] * len(labels)

    def assign(group: int, label: Hashable | None) -> None:
        def lack(split: int) -> tuple[float, float, float]:
            own = 0.0 if label is None else lacking[split][label]
            return own, lacking_posts[split], numbers.random()

        candidates = [split for split, share in enumerate(shares) if share > 0]
        split = max(candidates, key=lack)
        splits[group] = split
        lacking_posts[split] -= sizes[group]
        for name, count in labels[group].items():
            lacking[split][name] -= count

    while left:
        rarest = min(left, key=lambda label: (len(left[label]), str(label)))
        for group in left.pop(rarest):
            if splits[group] < 0:
                assign(group, rarest)
        for label in list(left):
            left[label] = [group for group in left[label] if splits[group] < 0]
            if not left[label]:
                del left[label]
    for group in order:
        if splits[group] < 0:
            assign(group, None)
    return splits
