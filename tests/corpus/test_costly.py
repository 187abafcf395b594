"""Every costly case through the real path, in processes with the limits that ship."""

import re
import time

import pytest

from dataset.batches import list_batches
from dataset.facts import facts
from dataset.images import ImageLimits
from records.errors import UnreadableBatch
from tasks.ingest.ingest import ingest
from tasks.ingest.settings import IngestParams
from tasks.validate.checks.files import FAULT_OF
from tests.corpus.costly_cases import COSTLY
from tests.corpus.costly_deliveries import COSTLY_DELIVERIES
from tests.corpus.files import whole
from tests.corpus.test_corpus import DAY, FEW, facts_of, judged

LIMITS = IngestParams(test_share=0.5)
QUICK = re.compile("tile of 40000|50000|parts of EXIF|20000 comments|claims|100000 frames")
"""Those that are soon made."""


@pytest.mark.parametrize("case", [case for case in COSTLY if QUICK.search(case.name)], ids=lambda case: case.name)
def test_what_is_out_of_proportion_is_refused_before_it_is_decoded(tmp_path, case):
    case.make(tmp_path / "file")
    encoded = (tmp_path / "file").read_bytes()
    start = time.process_time()
    found = facts(encoded, ImageLimits())
    assert time.process_time() - start < 1
    assert_verdict(case, found.problem, found.detail, found.frames)


def assert_verdict(case, problem, detail, frames):
    fault = FAULT_OF.get(problem, "file-unreadable") or ("animation" if frames > 1 else "")
    assert (fault, bool(re.search(case.sentence, detail or f"{frames} frames"))) == (case.verdict, True), detail


@pytest.fixture(scope="module")
def costly(tmp_path_factory):
    """Rows of a delivery with every costly file in it, and a good one before and behind them."""
    home = tmp_path_factory.mktemp("costly")
    folder = home / "delivery" / "cat"
    folder.mkdir(parents=True)
    for name in ("a good one", "zzz"):
        (folder / name).write_bytes(whole("PNG", name))
    for case in COSTLY:
        case.make(folder / case.name)
    batch = ingest(home / "batches", home / "staging", folder.parent, DAY, LIMITS, workers=2).batch
    for case in COSTLY:
        (folder / case.name).unlink()
    return {row.path: row for row in facts_of(home / "batches", batch).itertuples()}


@pytest.mark.slow
@pytest.mark.parametrize("case", COSTLY, ids=lambda case: case.name)
def test_a_costly_file_gets_its_verdict_within_the_limits(costly, case):
    row = costly[f"cat/{case.name}"]
    assert_verdict(case, row.problem, row.detail, row.frames)


@pytest.mark.slow
def test_good_files_beside_costly_ones_are_taken(costly):
    assert [costly[f"cat/{name}"].problem for name in ("a good one", "zzz")] == ["", ""]


LONG = re.compile("million|64 KiB|3000 rows|holes|row groups|20000 links|100000 rows")
"""Those that take a while to be made."""


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[pytest.mark.slow] if LONG.search(case.name) else []) for case in COSTLY_DELIVERIES],
    ids=[case.name for case in COSTLY_DELIVERIES],
)
def test_a_costly_delivery_gets_its_sentence_and_the_next_is_taken(tmp_path, case):
    source, home = tmp_path / "delivery", tmp_path / "workspace"
    case.make(source)
    sentence = sentence_of(source, home)
    assert re.search(case.sentence, sentence)
    assert sentence.isprintable()
    assert len(sentence) < 1100
    (tmp_path / "next" / "cat").mkdir(parents=True)
    (tmp_path / "next" / "cat" / "good.png").write_bytes(whole("PNG", "good"))
    assert ingest(home / "batches", home / "staging", tmp_path / "next", DAY, LIMITS, workers=1).batch.images == 1


def sentence_of(source, home):
    """The sentence with which a delivery is refused, by ingestion or by validation; or that it is admitted."""
    try:
        batch = ingest(home / "batches", home / "staging", source, DAY, LIMITS, workers=1).batch
    except UnreadableBatch as refused:
        assert list_batches(home / "batches") == ()
        return str(refused)
    return judged(facts_of(home / "batches", batch), batch, FEW).summary


def test_the_costly_corpus_is_large_and_its_names_differ():
    for table, least in ((COSTLY, 47), (COSTLY_DELIVERIES, 32)):
        assert len({case.name for case in table}) == len(table) >= least
