"""What the splits of an audio-visual question set share: sounds, images and questions, to the sample or nearly."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from gonogo.methods.safe.instruments.hearing import correlation, sound_hash
from gonogo.methods.safe.instruments.rows import SPLITS, Row, taught_sounds


def leaks(
    rows: Sequence[tuple[str, Row]],
    waves: Mapping[str, np.ndarray],
    images: Mapping[str, np.ndarray],
) -> dict[str, list[str]]:
    prints = {
        name: hashlib.sha256(held.tobytes()).hexdigest()
        for name, held in [*waves.items(), *images.items()]
    }
    sounds, pictures, asked = defaultdict(list), defaultdict(set), defaultdict(set)
    for split, row in rows:
        picture, known_as = (
            prints.get(row.get("image"), row.get("image")),
            "test" if split == "vqa" else split,
        )  # vqa asks about the images of test
        pictures[picture].add((known_as, row.get("image")))
        asked[picture, row.get("question")].add(known_as)
        if split != "vqa":
            sounds[prints.get(row.get("audio"), row.get("audio"))].append(
                f"{split}:{row.get('id')}"
            )
    return {
        "duplicate_sounds": [
            f"{first} and {again}" for first, *more in sounds.values() for again in more
        ]
        + taught_sounds(rows, prints),
        "shared_images": [
            ", ".join(sorted(f"{s}:{n}" for s, n in where))
            for where in pictures.values()
            if len({s for s, _ in where}) > 1
        ],
        "shared_questions": [
            f"{question} in {', '.join(sorted(where))}"
            for (_, question), where in asked.items()
            if len(where) > 1
        ],
    }


def near_sounds(
    rows: Sequence[tuple[str, Row]], waves: Mapping[str, np.ndarray], same: float
) -> tuple[list[str], dict[str, float]]:
    """Pairs across splits that are one recording, and what random pairs of one split show."""
    of = {
        split: sorted({row["audio"] for s, row in rows if s == split and row.get("audio") in waves})
        for split in SPLITS
    }
    hashes = {
        split: np.array([sound_hash(waves[name]) for name in names]) for split, names in of.items()
    }
    floor = _by_chance(hashes)
    if not floor:
        return [], {}
    limit, hits, closest = float(np.percentile(floor, 5)), [], []
    for early, late in ((a, b) for a, b in combinations(SPLITS, 2) if of[a] and of[b]):
        twins, distances = _most_alike(hashes[late], hashes[early])
        for name, twin, distance in zip(of[late], twins, distances, strict=True):
            closest.append(float(distance))
            if (
                distance < limit
                and waves[name].tobytes() != waves[of[early][twin]].tobytes()
                and (found := correlation(waves[name], waves[of[early][twin]])) >= same
            ):
                hits.append(
                    f"{late}:{name} is {early}:{of[early][twin]}, {distance:.0f} of 256 bits apart, correlation {found:.2f}"
                )
    return hits, {
        "hash_bits_random_p05": limit,
        "hash_bits_random_least": float(min(floor)),
        "hash_bits_across_least": min(closest, default=math.nan),
    }


def _by_chance(hashes: Mapping[str, np.ndarray]) -> list[float]:
    """By how many bits random pairs of one split are apart."""
    floor, draw = [], np.random.default_rng(0)
    for held in (held for held in hashes.values() if len(held) > 1):
        one, other = draw.integers(0, len(held), (2, 4000))
        floor += list((256 - (held[one] * held[other]).sum(1))[one != other] / 2)
    return floor


def _most_alike(late: np.ndarray, early: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each late hash the place of the nearest early one, and by how many bits they are apart."""
    alike = np.concatenate(
        [chunk @ early.T for chunk in np.array_split(late, 1 + len(late) // 500)]
    )
    return alike.argmax(1), (256 - alike.max(1)) / 2


def dhash(pixels: np.ndarray) -> int:
    """64 bits: where the grey image, 9 by 8, grows lighter to the right (Krawetz 2013)."""
    from PIL import Image

    small = np.asarray(
        Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    ).astype(int)
    return int.from_bytes(np.packbits(np.diff(small, axis=1) > 0).tobytes(), "big")


def dhash_counts(
    rows: Sequence[tuple[str, Row]], images: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """How many test images share a dHash with a train image, and how many of a random half of train with the other half."""
    of = {
        split: sorted(
            {row["image"] for s, row in rows if s == split and row.get("image") in images}
        )
        for split in ("train", "test")
    }
    bits = {
        split: np.array([dhash(images[name]) for name in names], dtype=np.uint64)
        for split, names in of.items()
    }
    mixed = np.random.default_rng(0).permutation(bits["train"])
    half = len(mixed) // 2
    return {
        "test_images_sharing_a_dhash_with_train": int(np.isin(bits["test"], bits["train"]).sum()),
        "test_images": len(of["test"]),
        "train_half_sharing_a_dhash_with_the_other": int(np.isin(mixed[:half], mixed[half:]).sum()),
        "train_half": half,
    }
