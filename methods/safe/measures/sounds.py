"""How good each item's sound is: how long it lasts and how far its event stands out of the noise. No torch."""

from __future__ import annotations

import wave
from typing import Any

from gonogo.methods.run import RunFolder
from gonogo.methods.safe import rows


def sounds(run: RunFolder, split: str = "test") -> dict[str, Any]:
    """The sounds of a split, in its order.

    arrays: snr [dB] as the row declares it, NaN where the sound is noise alone or the row does not say; noise: 1 where it is
    noise alone.

    Metrics:
        seconds [seconds]: of each row's sound
    """
    asked = rows.read(run.data, split)
    files, place = rows.distinct(asked, "audio")
    lasting = []
    for file in files:
        with wave.open(str(run.data / file), "rb") as held:
            lasting.append(held.getnframes() / held.getframerate())
    snr = [row.get("snr") for row in asked]
    return {
        "values": {"seconds": [lasting[at] for at in place]},
        "unit": {"seconds": "seconds"},
        "sampling_unit": "item",
        "counts": {"items": len(asked), "sounds": len(files)},
        "digests": {"rows": rows.digest(asked)},
        "arrays": {
            "snr": [float("nan") if level is None else float(level) for level in snr],
            "noise": [float(row["role"] == "noise") for row in asked],
        },
    }
