"""What was admitted before a batch: an index by content and by look, so that no night reads the archive to look it up.

The index is a SQLite file, derived and local: it may be deleted at any time and is then built again from the facts of
the batches. It holds every experience that was ever looked at, under a key of its content; which of them count is said
when it is opened, so a rollback needs no change. To look an image up costs the logarithm of what is there.
"""

import contextlib
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from records.batch import BACKGROUND, classes_in
from records.experience import Experience
from tasks.validate.histograms import BINS, FACTS, Counts, spread_of
from tasks.validate.histograms import COLUMNS as SPREAD
from tasks.validate.near_duplicates import CROWD, are_informative, bands_of, bits_between, numbers_of

LOOKED_UP = tuple(dict.fromkeys(("image", "label", "split", "phash", *SPREAD)))
"""Columns of a shard that are indexed."""

FORM = 1
"""Raised whenever what is stored changes its meaning; an index of another form is built anew."""

TABLES = """
create table if not exists experience (id integer primary key, key text unique not null, batch text not null);
create table if not exists label (id integer primary key, name text unique not null);
create table if not exists image (
    content blob, experience integer, row integer, label integer, test integer, primary key (content, experience)
) without rowid;
create table if not exists look (
    band integer, experience integer, row integer, look integer, side integer, label integer, test integer,
    primary key (band, experience, row)
) without rowid;
create table if not exists spread (
    experience integer, label integer, images integer, counts blob, primary key (experience, label)
) without rowid;
create temp table lineage (experience integer primary key, place integer);
create temp table asked (row integer primary key, content blob);
create temp table asked_look (band integer, row integer, look integer);
"""


@dataclass(frozen=True, eq=False)
class EarlierImages:
    """Images of the experiences that count, for looking up an image by its content."""

    _index: sqlite3.Connection
    learned: int | None = None
    """How many of the experiences, from the first on, the current model has learned; None: all. Later ones came in the
    same night: their images count as known, but are no past to compare with."""

    @classmethod
    def of(cls, learned: Iterable[tuple[Experience, pd.DataFrame]]) -> "EarlierImages":
        """In working memory, of some experiences, each with the facts of its whole batch (index 0..n-1)."""
        index = cls(_connect(Path(":memory:")))
        for experience, facts in learned:
            index.add(experience, facts)
        return index

    def add(self, experience: Experience, facts: pd.DataFrame | Callable[[], pd.DataFrame]) -> None:
        """Let one more experience count. The facts of its whole batch are asked for only if it is not indexed yet.

        The batch that is to be validated must not be among them: all its images would be known.
        """
        key = f"{FORM} {experience.fingerprint()}"
        number = self._number(key)
        if number is None:
            table = facts() if callable(facts) else facts
            with self._index:
                # At once for writing: a transaction that began by reading may not wait for another process.
                self._index.execute("begin immediate")
                number = self._number(key) or self._insert(key, experience, table)
        self._index.execute("insert or ignore into lineage values (?, (select count(*) from lineage))", (number,))

    def _number(self, key: str) -> int | None:
        found = self._index.execute("select id from experience where key = ?", (key,)).fetchone()
        return int(found[0]) if found else None

    def met(self, images: "pd.Series[str]") -> pd.DataFrame:
        """Where images, by their content ids, were admitted before: a row an image that was, with its index.

        Columns `batch`, `row` (in that batch), `label`, `test` (bool). Of several places one in which it was tested.
        """
        with self._index:
            self._index.execute("begin")
            self._index.execute("delete from asked")
            self._index.executemany(
                "insert into asked values (?, ?)", zip(images.index.tolist(), map(bytes.fromhex, images), strict=True)
            )
            found = self._index.execute(
                "select asked.row, batch, image.row, name, test from asked join image using (content) "
                "join lineage using (experience) join experience on experience.id = image.experience "
                "join label on label.id = image.label order by asked.row, test desc, place"
            ).fetchall()
        return _frame(found, ("batch", "row", "label", "test"))

    def like(self, looks: "pd.Series[str]", distance: int, side: int) -> pd.DataFrame:
        """Where images were admitted before that look the same: at most `distance` bits of the hashes differ.

        Earlier images with a shorter side below `side` do not count. As `met`; of several one in which it was tested,
        then the nearest.
        """
        hashes = numbers_of(looks)
        kept: list[pd.DataFrame] = []
        with self._index:
            self._index.execute("begin")
            self._index.execute("delete from asked_look")
            rows, bands, signed = looks.index.to_numpy(), bands_of(hashes), _signed(hashes)
            for band in range(bands.shape[1]):
                self._index.executemany(
                    "insert into asked_look values (?, ?, ?)",
                    zip(bands[:, band].tolist(), rows.tolist(), signed.tolist(), strict=True),
                )
            cursor = self._index.execute(
                "select asked_look.row, asked_look.look, look.look, look.experience, look.row, look.label, test, place "
                "from asked_look join look using (band) join lineage using (experience) where side >= ?",
                (side,),
            )
            while part := cursor.fetchmany(200_000):
                kept.append(_near(part, distance))
        near = pd.concat(kept) if kept else _near([], distance)
        near = near.sort_values(["asked", "test", "bits", "place", "row"], ascending=[True, False, True, True, True])
        near = near.drop_duplicates("asked").set_index("asked")
        batch = dict(self._index.execute("select id, batch from experience").fetchall())
        name = dict(self._index.execute("select id, name from label").fetchall())
        return pd.DataFrame(
            {
                "batch": near["experience"].map(batch).astype(str),
                "row": near["row"],
                "label": near["label"].map(name).astype(str),
                "test": near["test"].astype(bool),
            }
        )

    def spread(self, latest: int) -> Mapping[str, Counts]:
        """Label to how the facts of its images were spread, over the `latest` experiences that were learned."""
        found = self._index.execute(
            "select name, counts from spread join lineage using (experience) join label on label.id = spread.label "
            "where place between ? and ?",
            self._places(latest),
        ).fetchall()
        total: dict[str, Counts] = {}
        for name, packed in found:
            counts = np.frombuffer(zlib.decompress(packed), dtype="<i4").reshape(len(FACTS), BINS).astype(np.int64)
            total[name] = total[name] + counts if name in total else counts
        return total

    def _places(self, latest: int) -> tuple[int, int]:
        """First and last place of the experiences that were learned latest."""
        count = self.learned
        if count is None:
            count = int(self._index.execute("select count(*) from lineage").fetchone()[0])
        return max(0, count - latest), count - 1

    def tests(self, labels: Sequence[str], most: int, latest: int) -> pd.DataFrame:
        """Test images of some classes, at most `most` of each, of the `latest` experiences that were learned.

        Columns `batch`, `row`, `label`. Those with the smallest content ids, which is a sample that depends on nothing
        else; where test images are many the search ends after `SEARCHED` of them.
        """
        wanted, found = set(labels), []
        counts = dict.fromkeys(wanted, 0)
        for batch, row, label in self._index.execute(
            "select batch, row, name from image join lineage using (experience) "
            "join experience on experience.id = image.experience join label on label.id = image.label "
            "where test and place between ? and ? order by content limit ?",
            (*self._places(latest), SEARCHED),
        ):
            if label in wanted and counts[label] < most:
                counts[label] += 1
                found.append((batch, row, label))
                if counts[label] == most and min(counts.values()) == most:
                    break
        return pd.DataFrame(found, columns=["batch", "row", "label"])

    def close(self) -> None:
        """Let go of the file."""
        self._index.close()

    def _insert(self, key: str, experience: Experience, facts: pd.DataFrame) -> int:
        admitted = facts.drop(index=list(experience.left_out))
        number = int(
            self._index.execute(
                "insert into experience (key, batch) values (?, ?) returning id", (key, experience.batch)
            ).fetchone()[0]
        )
        # Of images with masks a label names several classes; what they look like is kept by single ones.
        possible = {*experience.classes, BACKGROUND}
        several = (label for label in admitted["label"].unique() if possible.issuperset(classes_in(label)))
        names = dict.fromkeys((*experience.classes, *several))
        self._index.executemany("insert or ignore into label (name) values (?)", ((name,) for name in names))
        code = dict(self._index.execute("select name, id from label").fetchall())
        label = [code[name] for name in admitted["label"]]
        test = [int(split == "test") for split in admitted["split"]]
        rows = admitted.index.tolist()
        contents = map(bytes.fromhex, admitted["image"])
        # In the order of the key, or the tree is written here and there.
        self._index.executemany(
            "insert or ignore into image values (?, ?, ?, ?, ?)",
            sorted((c, number, r, of, t) for c, r, of, t in zip(contents, rows, label, test, strict=True)),
        )
        self._insert_looks(number, admitted, label, test)
        self._index.executemany(
            "insert into spread values (?, ?, ?, ?)",
            (
                (number, code[name], int(counts[0].sum()), zlib.compress(counts.astype("<i4").tobytes()))
                for name, counts in spread_of(_by_class(admitted, experience.classes)).items()
            ),
        )
        return number

    def _insert_looks(self, number: int, admitted: pd.DataFrame, label: list[int], test: list[int]) -> None:
        side = admitted[["width", "height"]].min(axis=1)
        informative = (side.to_numpy() >= LEAST_SIDE) & are_informative(admitted["phash"])
        looks = numbers_of(admitted["phash"][informative])
        facts = np.stack(
            [
                admitted.index.to_numpy()[informative],
                _signed(looks),
                side.to_numpy()[informative],
                np.array(label, dtype=np.int64)[informative],
                np.array(test, dtype=np.int64)[informative],
            ],
            axis=1,
        ).tolist()
        bands = bands_of(looks)
        for band in range(bands.shape[1]):
            order = np.argsort(bands[:, band], kind="stable").tolist()
            values = bands[:, band].tolist()
            self._index.executemany(
                "insert into look select ?1, ?2, ?3, ?4, ?5, ?6, ?7 where "
                "(select count(*) from (select 1 from look where band = ?1 limit ?8)) < ?8",
                ((values[i], number, *facts[i], CROWD) for i in order),
            )


SEARCHED = 50_000
LEAST_SIDE = 16
"""Looks of images with a shorter side are not indexed; `validate.near_side` cannot ask for less."""


@contextlib.contextmanager
def earlier_images(
    path: Path, lineage: Sequence[Experience], facts_of: Callable[[Experience], pd.DataFrame]
) -> Iterator[EarlierImages]:
    """The index at `path`, with the experiences of a lineage, oldest first, that count.

    `facts_of` gives `LOOKED_UP` of a whole batch; it is asked for experiences that are not indexed yet. Raises
    `sqlite3.DatabaseError`, here and in whatever is looked up; if the index `is_damaged`, remove it and begin again.
    """
    earlier = _opened(path, lineage, facts_of)
    try:
        yield earlier
    finally:
        earlier.close()


def is_damaged(error: sqlite3.DatabaseError) -> bool:
    """True if the file is no index any more; not if it is merely busy, or the disk full."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def remove_index(path: Path) -> None:
    """Remove an index, with what SQLite keeps beside it: that would be played back into the next one."""
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)


def _opened(path: Path, lineage: Sequence[Experience], facts_of: Callable[[Experience], pd.DataFrame]) -> EarlierImages:
    path.parent.mkdir(parents=True, exist_ok=True)
    earlier = EarlierImages(_connect(path), learned=len(lineage))
    try:
        for experience in lineage:
            earlier.add(experience, lambda experience=experience: facts_of(experience))  # type: ignore[misc]
    except BaseException:
        earlier.close()
        raise
    return earlier


def _connect(path: Path) -> sqlite3.Connection:
    index = sqlite3.connect(path, timeout=60, check_same_thread=False, isolation_level=None)
    try:
        index.executescript(f"pragma journal_mode = wal; pragma synchronous = normal; {TABLES}")
    except BaseException:
        index.close()
        raise
    return index


def _by_class(images: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """A row for each image and class of it."""
    if set(images["label"].unique()) <= set(classes):
        return images
    rows = images.assign(label=images["label"].map(classes_in)).explode("label")
    return rows[rows["label"].isin(classes)]


def _signed(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The same 64 bits as a number that SQLite can hold."""
    return numbers.view(np.int64)


def _near(pairs: Sequence[tuple[int, ...]], distance: int) -> pd.DataFrame:
    columns = ("asked", "own", "look", "experience", "row", "label", "test", "place")
    met = pd.DataFrame(pairs, columns=list(columns), dtype=np.int64)
    bits = bits_between(met["own"].to_numpy().view(np.uint64), met["look"].to_numpy().view(np.uint64))
    return met.assign(bits=bits)[bits <= distance]


def _frame(found: Sequence[tuple[object, ...]], columns: tuple[str, ...]) -> pd.DataFrame:
    """The first row of each asked one, with its index."""
    table = pd.DataFrame(found, columns=["asked", *columns]).drop_duplicates("asked").set_index("asked")
    return table.astype({"batch": str, "row": np.int64, "label": str, "test": bool})
