"""
How long an image will take on a board that was measured.

The model of a run. Decoders and target work at the same time, and the slower of the two decides; zeroes are asked for
when all else is written, and the read-back comes last:

    write  = max(seconds of the medium for the data, work of the processors) + zeroes, as the medium takes them + flush
    work   = data / decompression + packed bytes / SHA-256 + data / XXH3          (all on all processors)
    verify = max(image / rate of reading, image / XXH3)
"""

from __future__ import annotations

from dataclasses import dataclass

from hupfast.bench.calm import full_queue
from hupfast.bench.document import Document, Run
from hupfast.bench.pace import find_pace
from hupfast.bench.stats import median
from hupfast.bench.verdict import LEVEL, stage_rate
from hupfast.errors import UsageError


@dataclass(frozen=True)
class Prediction:
    """Seconds that an image will take to be written (its flush included), and to be read back."""

    write_seconds: float
    verify_seconds: float

    @property
    def seconds(self) -> float:
        """Both."""
        return self.write_seconds + self.verify_seconds


class Predictor:
    """Predictions for one board, with the settings of its verdict. What all samples tell is worked out once."""

    def __init__(self, document: Document) -> None:
        self._rates, self._stages = document.verdict.rates, document.stages
        self._pace = find_pace(document)
        self._zero = _zero_seconds(document)
        self._read = _read_rate(document)

    def predict(self, image_size: int, packed_size: int, zero_share: float = 0.0, level: int = LEVEL) -> Prediction:
        """
        How long one image will take.

        image_size, packed_size: bytes, equal for a raw image. zero_share: of the raw bytes, what is zero, 0 to 1.
        level: of zstd. Raises: UsageError when a number makes no sense.
        """
        if image_size < 0 or packed_size < 0 or not 0 <= zero_share <= 1:
            raise UsageError("an image has no negative size, and no more zeroes than bytes")
        rates = self._rates
        zeroes = image_size * zero_share
        data = image_size - zeroes
        decompress = stage_rate(self._stages, "decompress", level)
        work = data / decompress if decompress and packed_size < image_size else 0.0
        work += packed_size / rates.sha256 if rates.sha256 else 0.0
        work += data / rates.xxh3 if rates.xxh3 else 0.0
        medium = self._pace.seconds(data, image_size)
        as_data, seconds = self._zero
        zeroing = self._pace.seconds(data + zeroes * as_data, image_size) - medium + zeroes * seconds
        verify = image_size / self._read if self._read else 0.0
        if rates.xxh3:
            verify = max(verify, image_size / rates.xxh3)
        return Prediction(max(medium, work) + zeroing + self._pace.flush, verify)


def predict(
    document: Document, image_size: int, packed_size: int, zero_share: float = 0.0, level: int = LEVEL
) -> Prediction:
    """How long one image will take on the board of a document; see Predictor."""
    return Predictor(document).predict(image_size, packed_size, zero_share, level)


def _zero_seconds(document: Document) -> tuple[float, float]:
    """
    What a byte of zeroes takes: as so many bytes of data behind the others, and seconds beside that.

    With a long write, zeroes take what more data would take, as far as the medium is as fast with them when nothing
    stalls: of the few pieces that a short run zeroes, a stall may be in every round.
    """
    verdict = document.verdict
    zeroing = [run for run in document.runs if run.plain and run.operation == "zero"]
    if document.sustained is None or not zeroing or not verdict.rates.zero or not verdict.rates.write:
        return 0.0, 1 / (verdict.rates.zero or verdict.rates.write or 1.0)
    chosen = (verdict.block, verdict.depth)
    writing = [run for run in document.runs if run.plain and run.operation == "write"]
    write = max([verdict.rates.write, *(_even_rate(run) for run in writing if (run.block, run.depth) == chosen)])
    return write / max([verdict.rates.zero, *map(_even_rate, zeroing)]), 0.0


def _even_rate(run: Run) -> float:
    """The rate of a run, if each operation took as long as the one in the middle; 0 where that is not known."""
    waited = [us for some in full_queue(run) for us in some]
    if not waited or not run.block or not run.depth:
        return 0.0
    each = median(waited) / 1e6 / (run.block * run.depth)  # for a byte
    seconds = sum(one.bytes * each + one.flush_seconds for one in run.rounds)
    return sum(one.bytes for one in run.rounds) / seconds if seconds else 0.0


def _read_rate(document: Document) -> float | None:
    """
    What reading does with the settings of the verdict, for the read-back takes them too.

    Of the depth that is nearest; between two measured block sizes, a request takes what lies between theirs.
    """
    verdict = document.verdict
    plain = [run for run in document.runs if run.plain and run.operation == "read"]
    if not plain:
        return None
    depth = min((run.depth for run in plain), key=lambda one: abs(one.bit_length() - verdict.depth.bit_length()))
    known = [run for run in plain if run.depth == depth and run.block and run.rate.median]
    found = sorted((run.block, run.block / run.rate.median) for run in known)
    if not found:
        return None
    below, above = found[0], found[-1]
    for one in found:
        below = one if one[0] <= verdict.block else below
        above = min(above, one) if one[0] >= verdict.block else above
    if above[0] <= below[0]:
        return below[0] / below[1]
    part = min(max((verdict.block - below[0]) / (above[0] - below[0]), 0.0), 1.0)
    return _between(below[0], above[0], part) / _between(below[1], above[1], part)


def _between(first: float, second: float, part: float) -> float:
    return first + part * (second - first)
