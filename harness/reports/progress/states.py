"""What is under way at one moment, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

SILENT_S = 180.0  # without an optimizer step, after which a reader should know


@dataclass(frozen=True)
class Training:
    """One run that trains. What its loop has not said yet, or never says, is None.

    seconds  : since the job began; silent_s: since its last optimizer step, or since it began.
    step     : optimizer steps done, of `steps`; resumed_at: those that a killed process had done.
    rate     : `unit` (tokens, pixels, rows) per second.
    """

    name: str
    seconds: float
    key: str = ""
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    rate: float | None = None
    unit: str = "tokens"
    left_s: float | None = None
    resumed_at: int = 0
    silent_s: float = 0.0


@dataclass(frozen=True)
class Measuring:
    """One measure that is being taken, and for how long already."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Snapshot:
    """What is under way, and how far the session's runs are: `done` of `total`, about `left_s` seconds to go.

    barred : nothing is under way because another session has the device for itself.
    """

    trainings: tuple[Training, ...] = ()
    measurings: tuple[Measuring, ...] = ()
    done: int = 0
    total: int = 0
    left_s: float | None = None
    barred: bool = False

    @property
    def idle(self) -> bool:
        """Whether there is nothing to show."""
        return not self.trainings and not self.measurings and not self.barred
