"""Whatever text comes in: it is kept as it is or refused with one sentence, and does no harm in the report."""

import csv
import unicodedata
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataset.deliveries.delivery import read_delivery
from dataset.deliveries.folders import UNSEEN
from dataset.deliveries.items import LONGEST_LABEL, label_of, label_problem
from dataset.deliveries.manifests import REQUIRED, read_manifest
from records.errors import UnreadableBatch
from records.formatting import plain
from tasks.ingest.ingest import ingest
from tests.corpus.files import whole
from tests.corpus.test_corpus import DAY, FEW, SHARES, assert_harmless, facts_of, judged

# What UTF-8 can hold; half of all characters are chosen among those that trouble somebody.
TROUBLE = "\0\n\r\t\x1b\"',;=+-@<>&/\\|.{}%$\u202e\u2066\ufeff\u2028\u200d\u0301\xad \u3000aä日\U0001f431"
character = st.sampled_from(TROUBLE) | st.characters(exclude_categories=["Cs"])
text = st.text(character, max_size=20)
name = st.text(character, min_size=1, max_size=12)


def write_csv(file, lines):
    with file.open("w", encoding="utf-8", newline="") as open_file:
        csv.writer(open_file).writerows(lines)
    return file


@given(
    columns=st.lists(name, max_size=3, unique=True).map(lambda names: [n for n in names if n not in REQUIRED]),
    data=st.data(),
)
@settings(max_examples=200)
def test_a_manifest_that_csv_writes_is_read_back(columns, data):
    lines = data.draw(st.lists(st.tuples(text, text, *[text] * len(columns)), min_size=1, max_size=4))
    header = ["path", "label", *columns]
    with TemporaryDirectory() as folder:
        manifest = read_manifest(write_csv(Path(folder) / "manifest.csv", [header, *lines]))
    assert manifest.columns == tuple(columns)
    assert [(row.path, row.label, *row.columns) for row in manifest.rows] == lines


@given(content=st.binary(max_size=200) | st.binary(max_size=60).map(lambda end: b"path,label\n1.png,cat\n" + end))
@settings(max_examples=300)
@pytest.mark.parametrize("called", ["manifest.csv", "manifest.parquet"])
def test_any_bytes_are_a_manifest_or_one_sentence(called, content):
    with TemporaryDirectory() as folder:
        (Path(folder) / called).write_bytes(content)
        delivery, sentence = given_or_told(lambda: read_delivery(Path(folder)))
    assert delivery is None or delivery.items
    assert sentence.isprintable()
    assert delivery or folder in sentence


@pytest.mark.slow
@given(columns=st.tuples(name, name), lines=st.lists(st.tuples(text, text, text, text), max_size=6))
@settings(max_examples=100)
def test_any_text_goes_into_a_batch_as_it_is_or_not_at_all(columns, lines):
    header = ("path", "label", *columns)
    lines = [("good.png", "cat", "", ""), *lines]
    with TemporaryDirectory() as place:
        delivery, home = delivered(Path(place), header, lines)
        arrival, sentence = given_or_told(lambda: ingest(home / "batches", home / "staging", delivery, DAY, SHARES))
        if arrival is None:
            assert sentence.isprintable()
            assert max(Counter(header).values()) > 1
            return
        batch = arrival.batch
        table = facts_of(home / "batches", batch)
    assert batch.columns == columns
    kept = table[["path", "label", *(f"user.{column}" for column in columns)]].itertuples(index=False, name=None)
    assert sorted(kept) == sorted((path, unicodedata.normalize("NFC", label), *more) for path, label, *more in lines)


def given_or_told(action):
    """What an action gives, or the sentence with which it refuses."""
    try:
        return action(), ""
    except UnreadableBatch as refused:
        return None, str(refused)


def delivered(place, header, lines):
    """A delivery of good.png and a manifest, and a place for its batch."""
    delivery = place / "delivery"
    delivery.mkdir()
    (delivery / "good.png").write_bytes(whole("PNG"))
    write_csv(delivery / "manifest.csv", [header, *lines])
    return delivery, place / "home"


@pytest.mark.slow
@given(lines=st.lists(st.tuples(text | st.just("good.png"), text), min_size=20, max_size=20))
@settings(max_examples=6)
def test_any_text_is_harmless_in_a_report(lines):
    with TemporaryDirectory() as place:
        delivery, home = delivered(Path(place), ("path", "label"), lines)
        batch = ingest(home / "batches", home / "staging", delivery, DAY, SHARES).batch
        report = judged(facts_of(home / "batches", batch), batch, FEW)
    assert_harmless(report)


@given(called=st.text(character, min_size=1, max_size=30).filter(lambda n: n.strip(".") and not set(n) & {"/", "\0"}))
@example(called="_READY")
@settings(max_examples=150)
def test_any_file_name_is_kept(called):
    with TemporaryDirectory() as place:
        folder = Path(place) / "cat"
        folder.mkdir()
        (folder / called).write_bytes(b"")
        (folder / "good.png").write_bytes(b"")
        found = {item.path for item in read_delivery(Path(place)).items}
    seen = not called.startswith(".") and called.lower() not in UNSEEN
    assert found == {"cat/good.png", *([f"cat/{called}"] if seen else [])}


# Digests

images = st.sampled_from(range(5))
rows = st.lists(st.tuples(images, st.sampled_from("ab"), st.sampled_from(["", "x", "xx"])), min_size=1, max_size=4)


def digest_of(lines):
    """The digest of a delivery whose image files have the bytes of their number."""
    with TemporaryDirectory() as place:
        delivery, home = Path(place) / "delivery", Path(place) / "home"
        delivery.mkdir()
        for number in range(5):
            (delivery / f"{number}.png").write_bytes(b"%d" % number)
        write_csv(delivery / "manifest.csv", [("path", "label", "note"), *((f"{n}.png", *rest) for n, *rest in lines)])
        return ingest(home / "batches", home / "staging", delivery, DAY, SHARES).batch.digest


@pytest.mark.slow
@given(one=rows, other=rows, data=st.data())
@settings(max_examples=60)
def test_the_digest_is_that_of_the_content_in_any_order(one, other, data):
    digest = digest_of(one)
    assert digest_of(data.draw(st.permutations(one))) == digest
    assert (digest_of(other) == digest) == (sorted(other) == sorted(one))


# Labels and printed text


@given(st.text(max_size=300))
@settings(max_examples=500)
def test_every_label_is_fine_or_told_why_not(label):
    problem, detail = label_problem(label)
    assert bool(problem) == bool(detail)
    assert not problem or problem.startswith("label-")
    if not problem:
        assert 0 < len(label) <= LONGEST_LABEL
        assert set(label).isdisjoint("/\\\0\n\r\u202e")
        label.encode()
    assert label_of(label_of(label)) == label_of(label)


@given(st.text(max_size=500))
@settings(max_examples=300)
def test_plain_text_can_be_printed_anywhere(shown):
    assert plain(shown).isprintable()
    assert len(plain(shown)) <= 400
    plain(shown).encode()
